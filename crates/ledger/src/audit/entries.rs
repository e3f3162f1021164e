//! Entries of one log, checked by the party's key.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::entry::Entry;
use crate::payload::Opening;
use crate::search::SignedEntry;

/// An entry that was checked.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Its number in the log, from 0.
    pub number: u64,
    /// When it was written, by its party's clock.
    pub time: DateTime<Utc>,
    /// The entry.
    pub what: Entry,
    /// What was asked or released, if that was read and is kept. It opens the entry's commitment.
    pub text: Option<Vec<u8>>,
    /// The SHA-256 of its line, in hexadecimal.
    pub line: String,
    previous: String,
}

/// So few signatures are checked on one processor.
const FEW: usize = 64;

/// Why a party's entries cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFault {
    /// The key of the log did not sign it, or it is no entry.
    NotSigned {
        /// The number of the last entry before it; `None` at the first.
        after: Option<u64>,
    },
    /// It does not follow the entry before it: one was left out, changed or put in between.
    NotNext {
        /// The number that it should have.
        expected: u64,
    },
    /// The text beside it is not the one that the entry is a commitment to.
    OtherText {
        /// The entry's number.
        number: u64,
    },
}

impl fmt::Display for LogFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSigned { after: None } => f.write_str("its first entry is not signed by its key"),
            Self::NotSigned { after: Some(number) } => {
                write!(f, "what follows entry {number} is not signed by its key")
            }
            Self::NotNext { expected } => {
                write!(f, "entry {expected} is missing, or is not the one that the next entry names")
            }
            Self::OtherText { number } => {
                write!(f, "the words shown beside entry {number} are not those that it was a commitment to")
            }
        }
    }
}

/// Checks entries of any search, each by its signature. `key`: the log's public key in hexadecimal.
///
/// # Errors
/// The first entry that is not as it was signed, or whose text is another.
pub fn each_signed(found: Vec<(SignedEntry, Option<Opening>)>, key: &str) -> Result<Vec<Logged>, LogFault> {
    let mut all: Vec<Logged> = Vec::new();
    let good = signatures(&found, key);
    for ((signed, opening), good) in found.into_iter().zip(good) {
        let after = all.last().map(|last| last.number);
        if !good {
            return Err(LogFault::NotSigned { after });
        }
        let next = logged(&signed, opening, after)?;
        if after.is_some_and(|after| next.number <= after) {
            return Err(LogFault::NotNext { expected: next.number });
        }
        all.push(next);
    }
    Ok(all)
}

/// Whether the key signed each entry. A signature takes a twentieth of a millisecond, so all processors take their part.
fn signatures(found: &[(SignedEntry, Option<Opening>)], key: &str) -> Vec<bool> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let part = found.len().div_ceil(workers).max(FEW);
    let check = |part: &[(SignedEntry, Option<Opening>)]| -> Vec<bool> {
        part.iter().map(|(signed, _)| signed.is_signed_by(key)).collect()
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = found.chunks(part).map(|part| scope.spawn(move || check(part))).collect();
        // A thread that ended early has checked nothing.
        running
            .into_iter()
            .zip(found.chunks(part))
            .flat_map(|(one, part)| one.join().unwrap_or(vec![false; part.len()]))
            .collect()
    })
}

/// Checks entries that follow each other without a gap. Each names the hash of the one before it, so the signature of the
/// last one holds for all.
///
/// # Errors
/// As [`each_signed`]; and an entry that does not follow the one before it.
pub fn chained(found: Vec<(SignedEntry, Option<Opening>)>, key: &str) -> Result<Vec<Logged>, LogFault> {
    let mut all: Vec<Logged> = Vec::new();
    let last = found.len().saturating_sub(1);
    for (place, (signed, opening)) in found.into_iter().enumerate() {
        let after = all.last().map(|last| last.number);
        if place == last && !signed.is_signed_by(key) {
            return Err(LogFault::NotSigned { after });
        }
        let next = logged(&signed, opening, after)?;
        if let Some(before) = all.last() {
            let expected = before.number.saturating_add(1);
            if next.number != expected || next.previous != before.line {
                return Err(LogFault::NotNext { expected });
            }
        }
        all.push(next);
    }
    Ok(all)
}

fn logged(signed: &SignedEntry, opening: Option<Opening>, after: Option<u64>) -> Result<Logged, LogFault> {
    let read = signed.read().ok_or(LogFault::NotSigned { after })?;
    let time = DateTime::parse_from_rfc3339(&read.time).map_err(|_| LogFault::NotSigned { after })?;
    let opens = |opening: &Opening| read.what.event.commitment().is_some_and(|of| opening.opens(&of));
    if opening.as_ref().is_some_and(|opening| !opens(opening)) {
        return Err(LogFault::OtherText { number: read.sequence });
    }
    Ok(Logged {
        number: read.sequence,
        time: time.to_utc(),
        line: signed.line_sha256(),
        text: opening.map(|opening| opening.text),
        previous: read.previous,
        what: read.what,
    })
}
