//! The query log, behind a narrow seam.
//!
//! No log, no answer: a party appends before it runs and before it releases, and fails where the
//! append fails. Today's [`SignedLines`] writes one signed JSON line an entry, each naming the hash of
//! the one before; the transparency log of the design replaces it behind [`Log`].

mod check;
mod head;
mod hourly;
mod index;
mod lines;
mod quota;
mod search;
mod seen;
mod spool;

pub use check::verify_lines;
pub use hourly::Hourly;
pub use lines::SignedLines;
pub use quota::RefusalQuota;
pub use search::{Found, Search, search};
pub use seen::{Doubt, Head, Judged, Mark, OtherLogs, Seen, of_key, shows};
pub use spool::Spool;

use serde::{Deserialize, Serialize};

/// Somewhere durable to append to.
pub trait Log: Send + Sync {
    /// Appends, and returns only when the entry is on disk.
    ///
    /// # Errors
    /// Where the entry may not be durable: the caller must not go on.
    fn append(&self, entry: &Entry) -> Result<(), LogError>;

    /// Why nothing can be written, where that is so: who asks makes it be tried again.
    fn fault(&self) -> Option<String> {
        None
    }

    /// Whether nothing will ever be written by this process: it has to be started again. Looks whether somebody else has
    /// touched the log meanwhile.
    fn is_stopped(&self) -> bool {
        false
    }

    /// How far the log has come, with the hash of its entry number `at`, for one who saw that one.
    fn head(&self, at: u64) -> Head;
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
    /// How far the logs of others had come, as this party saw them then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Seen>,
}

impl Entry {
    /// A change, or a state, that is of no query.
    #[must_use]
    pub fn admin(detail: impl Into<String>) -> Self {
        let empty = String::new;
        Self {
            kind: Kind::Admin,
            query: empty(),
            analyst: empty(),
            purpose: empty(),
            dataset: empty(),
            agreement: empty(),
            fragment: empty(),
            detail: detail.into(),
            seen: Vec::new(),
        }
    }

    /// A change of one dataset.
    #[must_use]
    pub fn of_dataset(dataset: &str, detail: impl Into<String>) -> Self {
        Self { dataset: dataset.to_owned(), ..Self::admin(detail) }
    }
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
    #[error("query log {path}: {what} while this ran. Somebody else has changed it: keep what is there for an inquiry")]
    Touched { path: String, what: String },
    #[error(
        "query log {path}: it held {had} entries, and {what}. Somebody cut it, or put an older or another one in its place: \
         restore the log and {head} from the backup together; where they are lost, tell the federation before you move both away"
    )]
    Back { path: String, head: String, had: u64, what: String },
    #[error(
        "query log: {path} cannot be read: {problem}; it says how many entries the log has: restore it from the backup"
    )]
    Head { path: String, problem: String },
}
