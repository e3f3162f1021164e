//! The state of query logs, as node and coordinator tell it to each other.

use loda_ledger::{Head, Mark};
use loda_proto::v1::told::Word;
use loda_proto::v1::{LogHead, State};

/// The message for a head. `log`: the key that signs the log, as [`loda_ledger::of_key`] gives it. `seen`: the number
/// of entries of the reader's log that were seen last.
#[must_use]
pub fn told(log: &str, head: &Head, seen: u64) -> LogHead {
    let bytes = |hash: [u8; 32]| hash.to_vec();
    LogHead {
        entries: head.now.entries,
        hash: if head.now.entries == 0 { Vec::new() } else { bytes(head.now.hash) },
        at: head.at,
        at_hash: head.at_hash.map(bytes).unwrap_or_default(),
        seen,
        log: log.to_owned(),
    }
}

/// Whether a node sends the head of its log with this word. It does with the last word, and with the first part of a
/// release.
#[must_use]
pub fn comes_with(word: &Word) -> bool {
    match word {
        Word::Refusal(_) => true,
        Word::State(state) => {
            let state = State::try_from(*state).unwrap_or_default();
            !matches!(state, State::Queued | State::Running | State::Held)
        }
        Word::Chunk(chunk) => chunk.header.is_some(),
    }
}

/// The head in a message. `None` if it is malformed, or is of another log.
#[must_use]
pub fn heard(log: &str, told: &LogHead) -> Option<Head> {
    if told.log != log {
        return None;
    }
    let hash = |bytes: &[u8]| -> Option<Option<[u8; 32]>> {
        if bytes.is_empty() { Some(None) } else { bytes.try_into().ok().map(Some) }
    };
    let hash_of_last = hash(&told.hash)?;
    if hash_of_last.is_none() != (told.entries == 0) {
        return None;
    }
    let now = Mark { entries: told.entries, hash: hash_of_last.unwrap_or_default() };
    Some(Head { now, at: told.at, at_hash: hash(&told.at_hash)? })
}
