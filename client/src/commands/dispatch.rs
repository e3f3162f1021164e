//! From a parsed command line to its command.

use super::failure::Failure;
use super::session::Session;
use super::{audit, explain, federation, lists, manual, pki, query, token};
use crate::args::{Command, Loda};

/// Runs the command, and returns its exit code.
pub(crate) async fn dispatch(loda: Loda, session: &mut Session<'_>) -> Result<u8, Failure> {
    let config = loda.config.as_deref();
    match loda.command {
        Command::Query(query) => query::run(&query, config, session).await,
        Command::Explain(explain) => explain::run(&explain, config, session).await,
        Command::Catalogue(catalogue) => lists::catalogue(&catalogue, config, session).await,
        Command::Nodes(nodes) => lists::nodes(&nodes, config, session).await,
        Command::Purposes(purposes) => lists::purposes(&purposes, config, session).await,
        Command::Federation(federation) => federation::run(&federation.command, config, session).await,
        Command::Token(token) => token::run(&token.command, config, session).await,
        Command::Pki(pki) => pki::run(&pki.command, config, session),
        Command::Audit(audit) => audit::run(&audit.command, config, session).await,
        Command::Completions { shell } => manual::completions(shell, session),
        Command::Manual { out } => manual::manual(&out, session),
    }
}
