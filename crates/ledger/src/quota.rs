//! Refusals and explanations in the log: the first ones of each asker have an entry each, the others are counted in one entry.
//!
//! Without this limit an asker without an agreement could fill the disk. A full disk stops the log, and with it every answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::entry::Entry;
use crate::event::{Event, Refused};
use crate::hourly::Hourly;

/// The number of refusals within an hour that have an entry each: of one asker, and of all askers.
const EACH: u32 = 60;
const ALL: u32 = 1000;

/// The number of (asker, rule) pairs that are counted separately, and the number of them that the entry names.
const APART: usize = 1000;
const LINES: usize = 20;

/// Counts the refusals that have no entry of their own.
#[derive(Default)]
pub struct RefusalQuota(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    logged: Hourly,
    /// The number of refusals without an entry, by asker and rule.
    rest: BTreeMap<(String, String), u64>,
}

impl RefusalQuota {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the caller logs this refusal. If not, the refusal is counted for the entry that [`Self::due`] returns.
    #[must_use]
    pub fn takes(&self, entry: &Entry) -> bool {
        let Counted { logged, rest } = &mut *self.counted();
        // The counts of a finished hour wait for their entry.
        let fits = rest.is_empty() || !logged.is_over();
        if fits && logged.all() < ALL && logged.of(&entry.analyst) < EACH {
            logged.add(&entry.analyst);
            return true;
        }
        let whose = if rest.len() < APART { entry.analyst.clone() } else { "others".to_owned() };
        let rule = match &entry.event {
            Event::Refuse(Refused::One { rule, .. }) => rule.clone(),
            Event::Explain { .. } => "explained".to_owned(),
            other => other.detail(),
        };
        let of = rest.entry((whose, rule)).or_default();
        *of = of.saturating_add(1);
        false
    }

    /// The entry for the counted refusals, once their hour is over or at the `end`; `None` if nothing was counted.
    #[must_use]
    pub fn due(&self, end: bool) -> Option<Entry> {
        let mut counted = self.counted();
        if !(end || counted.logged.is_over()) {
            return None;
        }
        counted.logged.end();
        let rest = std::mem::take(&mut counted.rest);
        if rest.is_empty() {
            return None;
        }
        let number: u64 = rest.values().sum();
        let mut most: Vec<_> = rest.into_iter().collect();
        most.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let lines = most.iter().take(LINES).map(|((who, rule), count)| format!("{count} {rule} of {who}"));
        let detail = format!("{number} more refusals within the hour: {}", lines.collect::<Vec<_>>().join(", "));
        Some(Entry::of(Event::Refuse(Refused::Rest(detail))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_number_of_refusals_makes_many_entries_and_none_is_lost() {
        let quota = RefusalQuota::default();
        let refusal = |who: String| {
            let refused = Refused::One { rule: "agreement".to_owned(), asked: None };
            Entry { analyst: who, ..Entry::of(Event::Refuse(refused)) }
        };
        let one = (0..10_000).filter(|_| quota.takes(&refusal("one".to_owned()))).count();
        let others = (0..10_000).filter(|number| quota.takes(&refusal(format!("{number}")))).count();
        assert_eq!((one, others), (EACH as usize, (ALL - EACH) as usize));
        assert!(quota.due(false).is_none());
        let rest = quota.due(true).unwrap().event.detail();
        let expected = 20_000 - ALL;
        assert!(rest.starts_with(&format!("{expected} more refusals")) && rest.len() < 2_000, "{}", rest);
        assert!(rest.contains("9940 agreement of one"), "{rest}");
        assert!(quota.due(true).is_none() && quota.takes(&refusal("one".to_owned())));
    }
}
