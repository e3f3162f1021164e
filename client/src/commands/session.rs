//! One run of the program: its outputs and its exit code.

use std::io::{ErrorKind, Write};

use super::failure::Failure;
use crate::error::ClientError;
use crate::exit;
use crate::render;
use crate::screen::Screen;

/// Stands before a statement that a refusal advises.
const WRITE: &str = "Write: ";

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
        let wrapped = |text: String| render::wrapped(&text, self.screen.err_width);
        let text = match &failure {
            Failure::Client(ClientError::Refused { rule, message, advice }) => {
                let refused = wrapped(format!("refused: {message}\n  rule: {rule}\n"));
                match advice.split_once(WRITE) {
                    _ if advice.is_empty() => refused,
                    Some((known, sql)) => {
                        let known = wrapped(format!("  advice: {known}{}\n", WRITE.trim_end()));
                        format!("{refused}{known}{}\n", render::laid_out(sql, self.screen.err_width))
                    }
                    None => refused + &wrapped(format!("  advice: {advice}\n")),
                }
            }
            other => wrapped(format!("loda: {other}\n")),
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
    fn advised_sql_has_a_line_of_its_own() {
        let advice = "Did you mean 'x y'? Write: SELECT COUNT(*) FROM t WHERE a = 'x y'".to_owned();
        let refused = ClientError::Refused { rule: "no-such-value".into(), message: "a has no 'xy'".into(), advice };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let screen = Screen { err_width: Some(40), ..Screen::default() };
        Session { screen, out: &mut out, err: &mut err }.report(refused.into());
        let text = String::from_utf8_lossy(&err);
        assert!(
            text.ends_with(
                "  advice: Did you mean 'x y'? Write:\n    SELECT COUNT(*)\n    FROM t\n    WHERE a = 'x y'\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        assert_eq!(reported(io::Error::from(ErrorKind::BrokenPipe).into()), (exit::COMPLETE, String::new()));
        assert_eq!(reported(io::Error::from(ErrorKind::StorageFull).into()).0, exit::FAILED);
    }
}
