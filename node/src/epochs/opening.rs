//! The openings of epochs and the closings of periods, as the log records them.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};
use loda_contract::Epoch;
use loda_ledger::{Change, Entry, Event, Opened};

/// By dataset, and by the name of the epoch or the period.
#[derive(Debug, Default)]
pub(crate) struct Openings(BTreeMap<(String, String), Opened>);

impl Openings {
    /// Takes up an opening from an entry of the log.
    pub(crate) fn note(&mut self, entry: &Entry) {
        if let Event::Admin(Change::Opened(opened)) = &entry.event {
            self.insert(&entry.dataset, opened.clone());
        }
    }

    pub(super) fn of(&self, dataset: &str, name: &str) -> Option<&Opened> {
        self.0.get(&(dataset.to_owned(), name.to_owned()))
    }

    pub(super) fn insert(&mut self, dataset: &str, opened: Opened) {
        self.0.insert((dataset.to_owned(), opened.name.clone()), opened);
    }

    /// The names of a dataset's epochs and periods, with their openings.
    pub(super) fn names(&self, dataset: &str) -> impl Iterator<Item = (&str, &Opened)> {
        let of_dataset = self.0.iter().filter(move |((known, _), _)| known == dataset);
        of_dataset.map(|((_, name), opening)| (name.as_str(), opening))
    }
}

/// The name of the epoch that contains a day: `2026Q4`, `2026-11`, `2026`.
pub(super) fn name(epoch: Epoch, day: NaiveDate) -> String {
    match epoch {
        Epoch::Month => format!("{}-{:02}", day.year(), day.month()),
        Epoch::Quarter => format!("{}Q{}", day.year(), day.month0() / 3 + 1),
        Epoch::Year => day.year().to_string(),
    }
}

/// The first day after the epoch that contains a day.
pub(crate) fn end(epoch: Epoch, day: NaiveDate) -> NaiveDate {
    let (year, month) = match epoch {
        Epoch::Month => (day.year(), day.month() + 1),
        Epoch::Quarter => (day.year(), day.month0() / 3 * 3 + 4),
        Epoch::Year => (day.year() + 1, 1),
    };
    let (year, month) = if month > 12 { (year + 1, month - 12) } else { (year, month) };
    NaiveDate::from_ymd_opt(year, month, 1).unwrap_or(NaiveDate::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn epochs_have_the_names_of_their_days() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(name(Epoch::Quarter, day("2026-11-28")), "2026Q4");
        assert_eq!(name(Epoch::Quarter, day("2027-01-01")), "2027Q1");
        assert_eq!(name(Epoch::Month, day("2026-03-31")), "2026-03");
        assert_eq!(name(Epoch::Year, day("2026-01-01")), "2026");
        assert_eq!(end(Epoch::Quarter, day("2026-11-28")), day("2027-01-01"));
        assert_eq!(end(Epoch::Quarter, day("2026-03-31")), day("2026-04-01"));
        assert_eq!(end(Epoch::Month, day("2026-12-31")), day("2027-01-01"));
        assert_eq!(end(Epoch::Year, day("2026-02-28")), day("2027-01-01"));
    }
}
