//! What each command does.

mod explain;
mod federation;
mod lists;
mod pki;
mod query;
mod question;
mod token;
mod trial;

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use loda_identity::IdentityError;

use crate::args::{Command, Loda};
use crate::client::Client;
use crate::config::Config;
use crate::error::ClientError;
use crate::{Screen, exit};

/// The ends of one run.
pub(crate) struct Session<'a> {
    pub(crate) screen: Screen,
    pub(crate) out: &'a mut dyn Write,
    pub(crate) err: &'a mut dyn Write,
}

/// Why a command stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What was typed cannot be done; the text says what can.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Identity(#[from] IdentityError),
    #[error("cannot {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
}

pub(crate) async fn dispatch(loda: Loda, session: &mut Session<'_>) -> Result<u8, Failure> {
    let config = loda.config.as_deref();
    match loda.command {
        Command::Query(query) => query::run(&query, config, session).await,
        Command::Explain(explain) => explain::run(&explain, config, session).await,
        Command::Catalogue(catalogue) => lists::catalogue(&catalogue, config, session).await,
        Command::Nodes(nodes) => lists::nodes(&nodes, config, session).await,
        Command::Federation(federation) => federation::run(&federation.command, config, session).await,
        Command::Token(token) => token::run(&token.command, config, session).await,
        Command::Pki(pki) => pki::run(&pki.command, config, session),
    }
}

impl Session<'_> {
    /// Says what failed, and gives the exit code.
    pub(crate) fn report(&mut self, failure: Failure) -> u8 {
        // The reader of a pipe has enough: that is no fault.
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
        // Nowhere is left to report that this cannot be written.
        let _ = self.err.write_all(text.as_bytes());
        match &failure {
            Failure::Client(error) => exit::of_error(error),
            Failure::Usage(_) => exit::USAGE,
            Failure::Identity(_) | Failure::File { .. } | Failure::Output(_) => exit::FAILED,
        }
    }
}

async fn connect(config: Option<&Path>) -> Result<Client, Failure> {
    let config = Config::find(config).map_err(ClientError::from)?;
    Ok(Client::connect(&config).await?)
}

#[cfg(test)]
mod tests {
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
