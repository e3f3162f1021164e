//! What can go wrong with names, manifests and the federation's files.

use std::io;
use std::path::PathBuf;

/// A file, a key or a manifest of our own cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// `"read"`, `"write"` or `"make"`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key or a list of signatures cannot be used.
    #[error("{what}: {reason}")]
    Unusable {
        /// Its name, and the place that it came from.
        what: String,
        /// The problem, and the fix.
        reason: String,
    },
    /// The manifest is not valid.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The cryptographic library failed to make a key or a random number.
    #[error("the cryptographic library failed")]
    Crypto,
}

impl FederationError {
    pub(crate) fn unusable(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unusable { what: what.into(), reason: reason.into() }
    }
}

/// The manifest could not be read, or is not valid. Displays as `file:line: problem; fix`.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error("cannot read the manifest {origin}: {source}")]
    Read {
        /// The file.
        origin: String,
        /// Why.
        source: io::Error,
    },
    /// The text is not a valid manifest.
    #[error("{origin}{}: {problem}; {fix}", line.map(|l| format!(":{l}")).unwrap_or_default())]
    Invalid {
        /// The file, or another source of the text.
        origin: String,
        /// The line, from 1, where it is known.
        line: Option<usize>,
        /// The problem.
        problem: String,
        /// The fix.
        fix: String,
    },
}
