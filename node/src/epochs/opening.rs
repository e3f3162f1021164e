//! What epochs opened with and periods closed with, as the log tells.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};
use loda_contract::Epoch;
use loda_ledger::{Entry, Kind};

/// What a dataset opened with in an epoch, or a period of it closed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    /// The epoch whose name keys of cells hold; of a period `closed` or `restated`.
    pub(super) drawn: String,
    pub(super) snapshot: u64,
    pub(super) sha256: String,
}

/// By dataset, and by the name of the epoch or period.
#[derive(Debug, Default)]
pub(crate) struct Openings(BTreeMap<(String, String), Opening>);

impl Openings {
    /// Takes up what an entry of the log says of an epoch.
    pub(crate) fn note(&mut self, entry: &Entry) {
        if entry.kind == Kind::Admin
            && let Some((name, opening)) = Opening::parse(&entry.detail)
        {
            self.insert(&entry.dataset, &name, opening);
        }
    }

    pub(super) fn of(&self, dataset: &str, name: &str) -> Option<&Opening> {
        self.0.get(&(dataset.to_owned(), name.to_owned()))
    }

    pub(super) fn insert(&mut self, dataset: &str, name: &str, opening: Opening) {
        self.0.insert((dataset.to_owned(), name.to_owned()), opening);
    }

    /// The names under which something of a dataset is known.
    pub(super) fn names(&self, dataset: &str) -> impl Iterator<Item = (&str, &Opening)> {
        let of_dataset = self.0.iter().filter(move |((known, _), _)| known == dataset);
        of_dataset.map(|((_, name), opening)| (name.as_str(), opening))
    }
}

impl Opening {
    /// In the log. `what`: `epoch` or `period`.
    pub(super) fn words(&self, what: &str, name: &str) -> String {
        format!(
            "{what} {name} is served from snapshot {} drawn as {} sha256 {}",
            self.snapshot, self.drawn, self.sha256
        )
    }

    /// Reads what [`Opening::words`] writes: the name, and what it opened with.
    fn parse(detail: &str) -> Option<(String, Self)> {
        let words: Vec<&str> = detail.split(' ').collect();
        let [
            "epoch" | "period",
            name,
            "is",
            "served",
            "from",
            "snapshot",
            snapshot,
            "drawn",
            "as",
            drawn,
            "sha256",
            sha256,
        ] = words.as_slice()
        else {
            return None;
        };
        let opening =
            Self { drawn: (*drawn).to_owned(), snapshot: snapshot.parse().ok()?, sha256: (*sha256).to_owned() };
        Some(((*name).to_owned(), opening))
    }
}

/// The name of the epoch that a day is in: `2026Q4`, `2026-11`, `2026`.
pub(super) fn name(epoch: Epoch, day: NaiveDate) -> String {
    match epoch {
        Epoch::Month => format!("{}-{:02}", day.year(), day.month()),
        Epoch::Quarter => format!("{}Q{}", day.year(), day.month0() / 3 + 1),
        Epoch::Year => day.year().to_string(),
    }
}

/// The first day after the epoch that a day is in.
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
    fn what_an_epoch_opened_with_is_read_from_the_log() {
        let opening = Opening { drawn: "2026Q3".to_owned(), snapshot: 7, sha256: "ab12".to_owned() };
        assert_eq!(Opening::parse(&opening.words("epoch", "2026Q4")), Some(("2026Q4".to_owned(), opening)));
        assert_eq!(Opening::parse("snapshot 7 of 2026-11-28"), None);
    }

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
