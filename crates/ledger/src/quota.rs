//! Refusals in the log: the first of each asker one by one, the rest as their number.
//!
//! Otherwise an asker without an agreement fills the disk, which stops the log and with it every answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Entry, Hourly, Kind};

/// Refusals within an hour that stand in the log one by one: of one asker, and of all.
const EACH: u32 = 60;
const ALL: u32 = 1000;

/// Askers and rules that are told apart of the rest, and lines about them in its entry.
const APART: usize = 1000;
const LINES: usize = 20;

/// Counts the refusals that do not stand in the log one by one.
#[derive(Default)]
pub struct RefusalQuota(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    logged: Hourly,
    /// By asker and rule.
    rest: BTreeMap<(String, String), u64>,
}

impl RefusalQuota {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a refusal is to be logged; otherwise it is counted, and is part of the entry that [`Self::due`] gives.
    #[must_use]
    pub fn takes(&self, entry: &Entry) -> bool {
        let Counted { logged, rest } = &mut *self.counted();
        // The rest of an hour that is over is still to be told of.
        let fits = rest.is_empty() || !logged.is_over();
        if fits && logged.all() < ALL && logged.of(&entry.analyst) < EACH {
            logged.add(&entry.analyst);
            return true;
        }
        let whose = if rest.len() < APART { entry.analyst.clone() } else { "others".to_owned() };
        let of = rest.entry((whose, entry.detail.clone())).or_default();
        *of = of.saturating_add(1);
        false
    }

    /// The entry of what was counted, when its hour is over, or at the `end`; none where there is nothing.
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
        Some(Entry { kind: Kind::Refuse, ..Entry::admin(detail) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_number_of_refusals_makes_many_entries_and_none_is_lost() {
        let quota = RefusalQuota::default();
        let refusal = |who: String| Entry { kind: Kind::Refuse, analyst: who, ..Entry::admin("agreement") };
        let one = (0..10_000).filter(|_| quota.takes(&refusal("one".to_owned()))).count();
        let others = (0..10_000).filter(|number| quota.takes(&refusal(format!("{number}")))).count();
        assert_eq!((one, others), (EACH as usize, (ALL - EACH) as usize));
        assert!(quota.due(false).is_none());
        let rest = quota.due(true).unwrap();
        let expected = 20_000 - ALL;
        assert!(
            rest.detail.starts_with(&format!("{expected} more refusals")) && rest.detail.len() < 2_000,
            "{}",
            rest.detail
        );
        assert!(rest.detail.contains("9940 agreement of one"), "{}", rest.detail);
        assert!(quota.due(true).is_none() && quota.takes(&refusal("one".to_owned())));
    }
}
