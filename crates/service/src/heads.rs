//! How far query logs have come, as node and coordinator tell each other.

use loda_ledger::{Head, Mark};
use loda_proto::v1::told::Word;
use loda_proto::v1::{LogHead, State};

/// For the wire. `log`: the key that signs it, as [`loda_ledger::of_key`] gives it; `seen`: how many entries of the reader's log
/// were seen last.
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

/// Whether a node's word comes with how far its log has come: the last word, or the first part of what it releases.
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

/// What was told of a log; none where it is no head, or of another log.
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
