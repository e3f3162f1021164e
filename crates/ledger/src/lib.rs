//! The query log, behind a narrow seam.
//!
//! No log, no answer: a party appends before it runs and before it releases, and fails where the
//! append fails. Today's [`SignedLines`] writes one signed JSON line an entry, each naming the hash of
//! the one before; the transparency log of the design replaces it behind [`Log`].

mod lines;
mod search;
mod spool;

pub use lines::{SignedLines, verify_lines};
pub use search::{Found, Search, search};
pub use spool::Spool;

use serde::{Deserialize, Serialize};

/// Somewhere durable to append to.
pub trait Log: Send + Sync {
    /// Appends, and returns only when the entry is on disk.
    ///
    /// # Errors
    /// Where the entry may not be durable: the caller must not go on.
    fn append(&self, entry: &Entry) -> Result<(), LogError>;
}

/// One entry. It holds what was asked and what became of it, never a figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub kind: Kind,
    pub query: String,
    pub analyst: String,
    pub purpose: String,
    pub dataset: String,
    /// The agreement that allowed it, with its version; empty where none did.
    pub agreement: String,
    /// SHA-256 of the canonical fragment, in hexadecimal.
    pub fragment: String,
    /// The rule that refused, the snapshot read, or another static word.
    pub detail: String,
}

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    /// The coordinator is about to send a query.
    Intent,
    /// The coordinator is about to release a result.
    Outcome,
    /// A node is about to run.
    Accept,
    Refuse,
    /// A node is about to let figures leave.
    Release,
    Fail,
    /// A change of agreement or snapshot.
    Admin,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("query log {path}: {source}; nothing runs until it can be written")]
    Write { path: String, source: std::io::Error },
    #[error("query log {path}, line {line}: {problem}; keep the file and start a new one")]
    Damaged { path: String, line: usize, problem: &'static str },
    #[error("query log: an earlier write failed; restart once the disk is mended")]
    Stopped,
}
