//! The marks that one party has seen of another party's log. Each next head has to continue them.
//!
//! Coordinator and nodes tell each other the length and last hash of their logs, and the last mark that each has seen of the
//! other's log. The next head proves that the log continues this mark: it carries the hash of the entry that was the last one
//! then. A log that became shorter, or differs from that entry on, cannot give this proof.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::sha256::Hash;

/// The length and last hash of a log at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The number of entries.
    pub entries: u64,
    /// SHA-256 of the last entry's line; zeros if there is no entry.
    pub hash: [u8; 32],
}

/// The present mark of a log, for a reader that saw the log before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The present mark.
    pub now: Mark,
    /// The number of entries when the reader last saw the log; 0 if the reader has not seen it.
    pub at: u64,
    /// SHA-256 of the line of entry number `at`; `None` if the log has fewer entries.
    pub at_hash: Option<[u8; 32]>,
}

/// The reason why a head does not prove that a log continues the marks that were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The head speaks of an entry that is not among the last marks. The party may be asked again.
    Unproven,
    /// The log is shorter than it was.
    Back {
        /// The number of entries that were seen.
        had: u64,
        /// The number of entries now.
        has: u64,
    },
    /// The log differs from some entry on.
    Forked {
        /// The number of a seen entry that is now another one, or follows another one.
        at: u64,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unproven => f.write_str("does not show that it continues what was seen of it"),
            Self::Back { had, has } => write!(f, "went back: it had {had} entries, and has {has}"),
            Self::Forked { at } => write!(f, "is not the one that was seen: entry {at} or one before it is another"),
        }
    }
}

/// Checks that a head continues one of the last marks. Without any mark every head passes.
///
/// # Errors
/// The reason why it does not.
pub fn shows<'a>(head: &Head, seen: impl IntoIterator<Item = &'a Mark>) -> Result<(), Doubt> {
    let (mut first, mut known) = (true, None);
    for mark in seen {
        first = false;
        if mark.entries == head.now.entries && mark.hash != head.now.hash {
            return Err(Doubt::Forked { at: mark.entries });
        }
        known = known.or((mark.entries == head.at).then_some(mark));
    }
    if first {
        return Ok(());
    }
    let known = known.ok_or(Doubt::Unproven)?;
    match head.at_hash {
        None if head.at > 0 => Err(Doubt::Back { had: head.at, has: head.now.entries }),
        _ if head.now.entries < head.at => Err(Doubt::Back { had: head.at, has: head.now.entries }),
        Some(hash) if hash != known.hash => Err(Doubt::Forked { at: head.at }),
        _ => Ok(()),
    }
}

/// The short name of a log: the first sixteen hexadecimal digits of the key that signs it.
#[must_use]
pub fn of_key(public_hex: &str) -> String {
    public_hex.chars().take(16).collect()
}

/// A mark of another party's log, as an entry holds it: `key entries hash`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Seen {
    /// The log's short name, as [`of_key`] gives it.
    pub log: String,
    /// The mark.
    pub mark: Mark,
}

impl From<Seen> for String {
    fn from(Seen { log, mark }: Seen) -> Self {
        format!("{log} {} {}", mark.entries, hex::encode(mark.hash))
    }
}

impl FromStr for Seen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = "not what is seen of a log";
        let mut words = text.split(' ');
        let (Some(log), Some(entries), Some(hash), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(fault);
        };
        let mut bytes = Hash::default();
        hex::decode_to_slice(hash, &mut bytes).map_err(|_| fault)?;
        let entries = entries.parse().map_err(|_| fault)?;
        Ok(Self { log: log.to_owned(), mark: Mark { entries, hash: bytes } })
    }
}

impl TryFrom<String> for Seen {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(entries: u64, hash: u8) -> Mark {
        Mark { entries, hash: [hash; 32] }
    }

    fn head(now: Mark, at: u64, at_hash: Option<u8>) -> Head {
        Head { now, at, at_hash: at_hash.map(|hash| [hash; 32]) }
    }

    #[test]
    fn a_head_continues_what_was_seen_or_is_named() {
        let seen = [mark(5, 5), mark(7, 7)];
        for (what, head, expected) in [
            ("as it was", head(mark(7, 7), 7, Some(7)), Ok(())),
            ("longer", head(mark(9, 9), 7, Some(7)), Ok(())),
            ("late", head(mark(6, 6), 5, Some(5)), Ok(())),
            ("shorter", head(mark(6, 6), 7, None), Err(Doubt::Back { had: 7, has: 6 })),
            ("shorter, and told otherwise", head(mark(6, 6), 7, Some(7)), Err(Doubt::Back { had: 7, has: 6 })),
            ("another one, longer", head(mark(9, 9), 7, Some(1)), Err(Doubt::Forked { at: 7 })),
            ("another one, as long", head(mark(7, 1), 7, Some(1)), Err(Doubt::Forked { at: 7 })),
            ("another one, as long, and told otherwise", head(mark(7, 1), 7, Some(7)), Err(Doubt::Forked { at: 7 })),
            ("of nothing that was seen", head(mark(9, 9), 6, Some(6)), Err(Doubt::Unproven)),
            ("without a proof", head(mark(9, 9), 0, None), Err(Doubt::Unproven)),
        ] {
            assert_eq!(shows(&head, &seen), expected, "{what}");
        }
        assert_eq!(shows(&head(mark(1, 1), 0, None), &[]), Ok(()));
        let written = Seen { log: "0123456789abcdef".to_owned(), mark: mark(7, 7) };
        assert_eq!(String::from(written.clone()).parse(), Ok(written));
        assert!("a 1 00".parse::<Seen>().is_err() && "a b".parse::<Seen>().is_err());
    }
}
