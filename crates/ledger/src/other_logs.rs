//! The logs of other parties, as this party has seen them.
//!
//! The marks that a party has seen are written into its own log, so that a forger has to change both logs.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::entry::Entry;
use crate::seen::{Doubt, Head, Mark, Seen, shows};

/// The number of marks kept for each log. A head that continues an older mark may arrive late.
const KEPT: usize = 256;

/// A head may arrive this long after a newer mark was seen.
const LATE: Duration = Duration::from_secs(120);

/// The logs of other parties, by short name.
#[derive(Debug, Default)]
pub struct OtherLogs(Mutex<HashMap<String, Other>>);

#[derive(Debug, Default)]
struct Other {
    /// The marks with the time when each was seen, the newest last.
    seen: VecDeque<(Mark, Instant)>,
    doubt: Option<Doubt>,
    /// The number of entries in the last mark that is written into this party's own log.
    said: u64,
}

/// The judgement of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The doubt about the log; `None` if the head continues the marks that were seen.
    pub doubt: Option<Doubt>,
    /// Whether the log came under doubt with this head, or out of it.
    pub changed: bool,
}

impl OtherLogs {
    fn of<T>(&self, log: &str, with: impl FnOnce(&mut Other) -> T) -> T {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        with(logs.entry(log.to_owned()).or_default())
    }

    /// Adds the marks that an entry of this party's own log records.
    pub fn note(&self, entry: &Entry) {
        for Seen { log, mark } in &entry.seen {
            self.of(log, |other| {
                other.take(*mark);
                other.said = other.said.max(mark.entries);
            });
        }
    }

    /// The newest marks that are not yet in this party's own log. From now on they count as written.
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

    /// The newest mark of a log; the default mark if the log was not seen.
    #[must_use]
    pub fn newest(&self, log: &str) -> Mark {
        self.of(log, |other| other.seen.back().map(|(mark, _)| *mark).unwrap_or_default())
    }

    /// The doubt about a log, if there is any.
    #[must_use]
    pub fn doubt(&self, log: &str) -> Option<Doubt> {
        self.of(log, |other| other.doubt)
    }

    /// Judges a head, and adds its mark if it continues the marks that were seen. If the sender was asked to continue the mark
    /// `sent`, the head has to continue this mark. An unasked head has to continue one of the newest marks.
    pub fn judge(&self, log: &str, head: &Head, sent: Option<Mark>) -> Judged {
        self.of(log, |other| {
            let shown = match sent {
                Some(Mark { entries: 0, .. }) => shows(head, []),
                Some(sent) => shows(head, [&sent]),
                None => shows(head, other.current()),
            };
            let doubt = shown.err();
            // A sender that was asked for one mark and shows another is not asked again.
            let again = sent.is_none() && doubt == Some(Doubt::Unproven);
            if doubt.is_none() {
                other.take(head.now);
            }
            // A sender that will be asked again is not yet under doubt.
            let changed = !again && doubt.is_some() != other.doubt.is_some();
            if !again {
                other.doubt = doubt;
            }
            Judged { doubt, changed }
        })
    }
}

impl Other {
    /// The newest mark, and the marks that were the newest within [`LATE`]. A head that continues them may still arrive.
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

    #[test]
    fn what_was_seen_is_shown_by_the_newest_marks_and_those_of_a_short_while_ago() {
        let logs = OtherLogs::default();
        let judged = |now: Mark, at: u64, sent: Option<Mark>| {
            let at_hash = (at > 0).then_some([u8::try_from(at).unwrap_or_default(); 32]);
            logs.judge("log", &Head { now, at, at_hash }, sent).doubt
        };
        assert_eq!(judged(mark(5, 5), 0, None), None, "nothing was seen before");
        assert_eq!(judged(mark(7, 7), 5, None), None);
        // A head that was overtaken by another, and a head that was asked for one mark.
        assert_eq!(judged(mark(6, 6), 5, None), None);
        assert_eq!(judged(mark(8, 8), 7, Some(mark(7, 7))), None);
        assert_eq!(judged(mark(9, 9), 5, Some(mark(8, 8))), Some(Doubt::Unproven));
        assert_eq!(logs.doubt("log"), Some(Doubt::Unproven), "another mark than it was asked for is held against it");
        assert_eq!(judged(mark(9, 9), 8, Some(mark(8, 8))), None);
        assert_eq!((logs.doubt("log"), logs.newest("log")), (None, mark(9, 9)));
        // An old mark proves nothing long after it was the newest: its sender may have left out later entries.
        let Some(long_ago) = Instant::now().checked_sub(LATE) else { return };
        logs.of("log", |other| other.seen.iter_mut().for_each(|(_, seen)| *seen = long_ago));
        assert_eq!(judged(mark(20, 20), 7, None), Some(Doubt::Unproven));
        assert_eq!(judged(mark(20, 20), 9, None), None);
        // Each mark is written down once.
        let said = logs.unsaid();
        assert!(said.len() == 1 && said[0].mark == mark(20, 20) && logs.unsaid().is_empty());
        let again = OtherLogs::default();
        again.note(&Entry { seen: said, ..Entry::admin("") });
        assert!(again.newest("log") == mark(20, 20) && again.unsaid().is_empty());
    }
}
