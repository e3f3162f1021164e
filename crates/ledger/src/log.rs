//! The trait of a log, and the faults of one.

use crate::entry::Entry;
use crate::seen::Head;

/// A durable log that a party appends to.
pub trait Log: Send + Sync {
    /// Appends entries in their order. Returns only when all of them are on disk, with the number of the first (from 0).
    /// After a crash the first ones may stand without the others.
    ///
    /// # Errors
    /// If one of them may not be durable. The caller must not go on.
    fn append_all(&self, entries: &[Entry]) -> Result<u64, LogError>;

    /// Appends one entry, as [`Log::append_all`].
    ///
    /// # Errors
    /// As [`Log::append_all`].
    fn append(&self, entry: &Entry) -> Result<u64, LogError> {
        self.append_all(std::slice::from_ref(entry))
    }

    /// The reason why nothing can be written at present; `None` if the log can be written. Each call tries the write again.
    fn fault(&self) -> Option<String> {
        None
    }

    /// Whether this process will never write again, so that it has to be restarted. Each call checks whether another process
    /// has changed the log.
    fn is_stopped(&self) -> bool {
        false
    }

    /// The log's length and last hash, and the hash of its entry number `at` for a reader that saw that entry.
    fn head(&self, at: u64) -> Head;
}

/// A fault of a log. The texts name the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The system refused to open, read or write a file of the log.
    #[error("query log {path}: {source}; nothing runs until it can be written")]
    Write {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A whole line does not verify.
    #[error("query log {path}, line {line}: {problem}; keep the file and start a new one")]
    Damaged {
        /// The log's file.
        path: String,
        /// The number of the line, from 1.
        line: usize,
        /// The fault of the line.
        problem: &'static str,
    },
    /// An entry is longer than a transparency log holds.
    #[error(
        "query log {path}: an entry of {bytes} bytes is too long to be logged: fewer boroughs or figures make it shorter"
    )]
    Long {
        /// The log's file.
        path: String,
        /// The entry's length.
        bytes: usize,
    },
    /// This process has stopped writing, after a failed fsync or after another process changed the log.
    #[error("query log: an earlier write failed; restart once the disk is mended")]
    Stopped,
    /// Another process changed the log while this process held it open.
    #[error("query log {path}: {what} while this ran. Somebody else has changed it: keep what is there for an inquiry")]
    Touched {
        /// The log's file.
        path: String,
        /// The change.
        what: String,
    },
    /// The log is shorter than its head file says, or another log is in its place.
    #[error(
        "query log {path}: it held {had} entries, and {what}. Somebody cut it, or put an older or another one in its place: \
         restore the log and {head} from the backup together; where they are lost, tell the federation before you move both away"
    )]
    Back {
        /// The log's file.
        path: String,
        /// The head file.
        head: String,
        /// The number of entries in the head file.
        had: u64,
        /// The difference.
        what: String,
    },
    /// The log is not the one of which a checkpoint was signed.
    #[error(
        "query log {path}: {what}. No checkpoint of it is signed: restore the log of that checkpoint from the backup; where \
         it is lost, tell the federation before you move log, key and checkpoint away"
    )]
    Checkpoint {
        /// The log's file, or that of its checkpoint.
        path: String,
        /// The fault.
        what: String,
    },
    /// The head file is missing or damaged.
    #[error(
        "query log: {path} cannot be read: {problem}; it says how many entries the log has: restore it from the backup"
    )]
    Head {
        /// The head file.
        path: String,
        /// The fault.
        problem: String,
    },
}
