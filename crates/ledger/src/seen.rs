//! What one party has seen of another's log: each next head has to continue it.
//!
//! Coordinator and nodes tell each other how far their logs have come, and each says how far it has seen the other's. The next
//! head proves that it continues that: it has the hash of the entry that was the last one then. A log that went back, or is
//! another one from there on, cannot. What was seen stands in the log of the one who saw it, so that both would have to be
//! changed.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Entry;

/// SHA-256 of an entry's line.
pub(crate) type Hash = [u8; 32];

/// How far a log had come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub entries: u64,
    /// Of the last entry's line; zeros where there is none.
    pub hash: [u8; 32],
}

/// How far a log has come, told to one who saw it before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub now: Mark,
    /// How many entries it had when the reader saw it; 0: the reader has not seen it.
    pub at: u64,
    /// The hash of the last of these; none where it has fewer.
    pub at_hash: Option<[u8; 32]>,
}

/// Why a head does not show that a log continues what was seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It speaks of an entry that is none of those that were seen last: it may be asked again.
    Unproven,
    /// It is shorter than it was.
    Back { had: u64, has: u64 },
    /// It is another log from some entry on.
    Forked { at: u64 },
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

/// Whether a head continues one of the marks that were seen last.
///
/// # Errors
/// Why it does not.
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

/// A log by the key that signs it: the first sixteen digits.
#[must_use]
pub fn of_key(public_hex: &str) -> String {
    public_hex.chars().take(16).collect()
}

/// A mark of somebody's log, as an entry holds it: `key entries hash`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Seen {
    /// As [`of_key`] gives it.
    pub log: String,
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

/// How many marks of one log are kept: what was told of the newest ones may come late.
const KEPT: usize = 256;

/// How late what was sent may come.
const LATE: Duration = Duration::from_secs(120);

/// The logs of others, as this party has seen them.
#[derive(Debug, Default)]
pub struct OtherLogs(Mutex<HashMap<String, Other>>);

#[derive(Debug, Default)]
struct Other {
    /// The newest last, with when each was seen.
    seen: VecDeque<(Mark, Instant)>,
    doubt: Option<Doubt>,
    /// Entries of the last mark that stands in this party's own log.
    said: u64,
}

/// What a head says of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    pub doubt: Option<Doubt>,
    /// Whether it said otherwise before.
    pub changed: bool,
}

impl OtherLogs {
    fn of<T>(&self, log: &str, with: impl FnOnce(&mut Other) -> T) -> T {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        with(logs.entry(log.to_owned()).or_default())
    }

    /// Takes in what an entry of this party's own log says was seen.
    pub fn note(&self, entry: &Entry) {
        for Seen { log, mark } in &entry.seen {
            self.of(log, |other| {
                other.take(*mark);
                other.said = other.said.max(mark.entries);
            });
        }
    }

    /// The newest marks that do not stand in this party's own log yet; from now on they count as said.
    #[must_use]
    pub fn unsaid(&self) -> Vec<Seen> {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = |(log, other): (&String, &mut Other)| {
            let (mark, _) = *other.seen.back()?;
            (mark.entries > std::mem::replace(&mut other.said, mark.entries)).then(|| Seen { log: log.clone(), mark })
        };
        let mut unsaid: Vec<Seen> = logs.iter_mut().filter_map(newest).collect();
        unsaid.sort_by(|a, b| a.log.cmp(&b.log));
        unsaid
    }

    /// How far a log had come at most; nothing where it was not seen.
    #[must_use]
    pub fn newest(&self, log: &str) -> Mark {
        self.of(log, |other| other.seen.back().map(|(mark, _)| *mark).unwrap_or_default())
    }

    /// What is held against a log.
    #[must_use]
    pub fn doubt(&self, log: &str) -> Option<Doubt> {
        self.of(log, |other| other.doubt)
    }

    /// Takes in a head, where it continues what was seen. It has to continue `sent`, where that was what its sender was asked
    /// to show; and one of the newest marks where it comes unasked.
    pub fn judge(&self, log: &str, head: &Head, sent: Option<Mark>) -> Judged {
        self.of(log, |other| {
            let shown = match sent {
                Some(Mark { entries: 0, .. }) => shows(head, []),
                Some(sent) => shows(head, [&sent]),
                None => shows(head, other.current()),
            };
            let doubt = shown.err();
            // Who was asked to show one very mark, and shows another, is not asked again.
            let again = sent.is_none() && doubt == Some(Doubt::Unproven);
            if doubt.is_none() {
                other.take(head.now);
            }
            // It may be asked again: nothing is held against it yet.
            let changed = !again && doubt.is_some() != other.doubt.is_some();
            if !again {
                other.doubt = doubt;
            }
            Judged { doubt, changed }
        })
    }
}

impl Other {
    /// The newest mark, and those that were the newest a short while ago: what continues them may still be on its way.
    fn current(&self) -> impl Iterator<Item = &Mark> {
        let until = self.seen.iter().skip(1).map(|(_, next)| Some(*next)).chain([None]);
        let marks = self.seen.iter().zip(until);
        marks.filter(|(_, until)| until.is_none_or(|until| until.elapsed() < LATE)).map(|((mark, _), _)| mark)
    }

    fn take(&mut self, mark: Mark) {
        if self.seen.back().is_some_and(|(newest, _)| newest.entries >= mark.entries) || mark.entries == 0 {
            return;
        }
        if self.seen.len() >= KEPT {
            self.seen.pop_front();
        }
        self.seen.push_back((mark, Instant::now()));
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

    #[test]
    fn what_was_seen_is_shown_by_the_newest_marks_and_those_of_a_short_while_ago() {
        let logs = OtherLogs::default();
        let judged = |now: Mark, at: u64, sent: Option<Mark>| {
            let at_hash = (at > 0).then_some([u8::try_from(at).unwrap_or_default(); 32]);
            logs.judge("log", &Head { now, at, at_hash }, sent).doubt
        };
        assert_eq!(judged(mark(5, 5), 0, None), None, "nothing was seen before");
        assert_eq!(judged(mark(7, 7), 5, None), None);
        // On its way while another came; and asked for one very mark.
        assert_eq!(judged(mark(6, 6), 5, None), None);
        assert_eq!(judged(mark(8, 8), 7, Some(mark(7, 7))), None);
        assert_eq!(judged(mark(9, 9), 5, Some(mark(8, 8))), Some(Doubt::Unproven));
        assert_eq!(logs.doubt("log"), Some(Doubt::Unproven), "another mark than it was asked for is held against it");
        assert_eq!(judged(mark(9, 9), 8, Some(mark(8, 8))), None);
        assert_eq!((logs.doubt("log"), logs.newest("log")), (None, mark(9, 9)));
        // Long after it was the newest an old mark proves nothing: whoever shows it may have left out what came since.
        let Some(long_ago) = Instant::now().checked_sub(LATE) else { return };
        logs.of("log", |other| other.seen.iter_mut().for_each(|(_, seen)| *seen = long_ago));
        assert_eq!(judged(mark(20, 20), 7, None), Some(Doubt::Unproven));
        assert_eq!(judged(mark(20, 20), 9, None), None);
        // What was seen is written down once.
        let said = logs.unsaid();
        assert!(said.len() == 1 && said[0].mark == mark(20, 20) && logs.unsaid().is_empty());
        let again = OtherLogs::default();
        again.note(&Entry { seen: said, ..Entry::admin("") });
        assert!(again.newest("log") == mark(20, 20) && again.unsaid().is_empty());
    }
}
