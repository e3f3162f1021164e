//! The failures of a command.

use std::io;
use std::path::PathBuf;

use loda_identity::{FederationError, IdentityError};

use crate::error::ClientError;

/// The reason why a command stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The command line cannot be carried out. The text gives the fix.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Identity(#[from] IdentityError),
    #[error("cannot {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
}

impl From<FederationError> for Failure {
    fn from(error: FederationError) -> Self {
        Self::Identity(error.into())
    }
}
