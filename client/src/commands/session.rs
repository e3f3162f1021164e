//! One run of the program: its outputs and its exit code.

use std::io::{ErrorKind, Write};

use super::failure::Failure;
use crate::error::ClientError;
use crate::exit;
use crate::screen::Screen;

/// The outputs of one run.
pub(crate) struct Session<'a> {
    pub(crate) screen: Screen,
    pub(crate) out: &'a mut dyn Write,
    pub(crate) err: &'a mut dyn Write,
}

impl Session<'_> {
    /// Reports the failure on standard error, and returns the exit code.
    pub(crate) fn report(&mut self, failure: Failure) -> u8 {
        // The reader of a pipe may close it early. That is no failure.
        if matches!(&failure, Failure::Output(error) if error.kind() == ErrorKind::BrokenPipe) {
            return exit::COMPLETE;
        }
        let text = match &failure {
            Failure::Client(ClientError::Refused { rule, message, advice }) if advice.is_empty() => {
                format!("refused: {message}\n  rule: {rule}\n")
            }
            Failure::Client(ClientError::Refused { rule, message, advice }) => {
                format!("refused: {message}\n  rule: {rule}\n  advice: {advice}\n")
            }
            other => format!("loda: {other}\n"),
        };
        // If this cannot be written, there is no place to report it.
        let _ = self.err.write_all(text.as_bytes());
        match &failure {
            Failure::Client(error) => exit::of_error(error),
            Failure::Usage(_) => exit::USAGE,
            Failure::Identity(_) | Failure::File { .. } | Failure::Output(_) => exit::FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn reported(failure: Failure) -> (u8, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = Session { screen: Screen::default(), out: &mut out, err: &mut err }.report(failure);
        (code, String::from_utf8_lossy(&err).into_owned())
    }

    #[test]
    fn a_refusal_gives_rule_message_and_advice() {
        let refused =
            ClientError::Refused { rule: "grid".into(), message: "too many cells".into(), advice: "band age".into() };
        let expected = "refused: too many cells\n  rule: grid\n  advice: band age\n";
        assert_eq!(reported(refused.into()), (exit::REFUSED, expected.into()));
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        assert_eq!(reported(io::Error::from(ErrorKind::BrokenPipe).into()), (exit::COMPLETE, String::new()));
        assert_eq!(reported(io::Error::from(ErrorKind::StorageFull).into()).0, exit::FAILED);
    }
}
