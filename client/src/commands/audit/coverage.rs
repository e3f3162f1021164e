//! How much of each dataset's tables about people each analyst has asked for.
//!
//! About people, boroughs answer tables that contracts fix, and no other (ADR 1). So what an analyst knows is which of these
//! tables they have had: each with the tables of fewer columns in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Datelike, Timelike, Utc, Weekday};
use loda_contract::Contract;
use loda_ledger::End;
use loda_ledger::audit::Question;
use loda_question::Contracts;
use loda_question::table::Table;

/// What one analyst has asked of one dataset.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// The questions that boroughs were asked.
    pub(crate) asked: usize,
    /// Those without an answer.
    pub(crate) unanswered: usize,
    /// Those that were refused before a borough was asked.
    pub(crate) refused: usize,
    /// Those at night (19:00 to 07:00 UTC) or at a weekend.
    pub(crate) unusual: usize,
    /// The tables of the dataset's own columns that were asked for.
    tables: BTreeSet<Asked>,
    /// The tables that contracts allow, as far as they are counted. `None`: the dataset is not about people.
    pub(crate) of: Option<usize>,
}

/// A table: its rows, and its columns.
type Asked = (String, BTreeSet<String>);

impl Coverage {
    /// How many of the dataset's tables follow from those that were asked for.
    pub(crate) fn covered(&self) -> usize {
        below(&self.tables).len()
    }
}

/// What each analyst has asked of each dataset. `contract`: of a dataset, if the manifest names it.
pub(crate) fn coverage(
    found: &[Question],
    contract: &dyn Fn(&str) -> Option<Arc<Contract>>,
) -> BTreeMap<(String, String), Coverage> {
    let mut all: BTreeMap<(String, String), Coverage> = BTreeMap::new();
    for question in found {
        let begun = &question.begun;
        let datasets: BTreeSet<&str> = begun.what.dataset.split(' ').collect();
        for dataset in datasets {
            let of = all.entry((begun.what.analyst.clone(), dataset.to_owned())).or_default();
            of.unusual = of.unusual.saturating_add(usize::from(is_unusual(begun.time)));
            if question.rule().is_some() {
                of.refused = of.refused.saturating_add(1);
            }
            if !question.was_sent() {
                continue;
            }
            of.asked = of.asked.saturating_add(1);
            if !matches!(question.end(), Some(End::Answered { .. })) {
                of.unanswered = of.unanswered.saturating_add(1);
                continue;
            }
            let sent = question.asked().map(|asked| asked.fragments).unwrap_or_default();
            of.tables.extend(sent.iter().filter_map(|sent| table(&sent.sql)));
        }
    }
    let mut possible: BTreeMap<String, Option<BTreeSet<Asked>>> = BTreeMap::new();
    for ((_, dataset), of) in &mut all {
        let tables = possible.entry(dataset.clone()).or_insert_with(|| allowed(dataset, contract));
        of.tables.retain(|asked| tables.as_ref().is_some_and(|tables| tables.contains(asked)));
        of.of = tables.as_ref().map(BTreeSet::len);
    }
    all
}

/// All tables of a dataset's own columns that its contract allows.
fn allowed(dataset: &str, contract: &dyn Fn(&str) -> Option<Arc<Contract>>) -> Option<BTreeSet<Asked>> {
    let of = contract(dataset).filter(|of| of.protection.may_be_about_people())?;
    let contracts: Contracts<'_> = contract;
    let largest = Table::largest(&of, &|_| true, contracts);
    Some(below(&largest.iter().filter_map(|largest| table(&largest.sql())).collect()))
}

/// The tables and those of fewer columns.
fn below(tables: &BTreeSet<Asked>) -> BTreeSet<Asked> {
    let mut all = BTreeSet::new();
    let mut left: Vec<Asked> = tables.iter().cloned().collect();
    while let Some((rows, columns)) = left.pop() {
        if all.contains(&(rows.clone(), columns.clone())) {
            continue;
        }
        for column in &columns {
            let fewer = columns.iter().filter(|other| *other != column).cloned().collect();
            left.push((rows.clone(), fewer));
        }
        all.insert((rows, columns));
    }
    all
}

/// The table that a fragment's SQL asks for, as [`Table::sql`] writes it.
fn table(sql: &str) -> Option<Asked> {
    let (_, rest) = sql.split_once(" FROM \"")?;
    let (rows, rest) = rest.split_once('"')?;
    let columns = match rest.strip_prefix(" GROUP BY CUBE (") {
        Some(columns) => columns.strip_suffix(')')?.split(", ").map(|name| name.trim_matches('"').to_owned()).collect(),
        None if rest.is_empty() => BTreeSet::new(),
        None => return None,
    };
    Some((rows.to_owned(), columns))
}

/// Whether few people work at this time.
fn is_unusual(at: DateTime<Utc>) -> bool {
    !(7..19).contains(&at.hour()) || matches!(at.weekday(), Weekday::Sat | Weekday::Sun)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_table_brings_those_of_fewer_columns() {
        let asked = |columns: &[&str]| ("person".to_owned(), columns.iter().map(|name| (*name).to_owned()).collect());
        let sql = "SELECT \"age_band\", \"tenure\", COUNT(DISTINCT person) FROM \"person\" GROUP BY CUBE (\"age_band\", \"tenure\")";
        assert_eq!(table(sql), Some(asked(&["tenure", "age_band"])));
        assert_eq!(table("SELECT COUNT(*) FROM \"person\""), Some(asked(&[])));
        assert_eq!(table("SELECT COUNT(*) FROM \"person\" WHERE a = 'b'"), None);
        let all = below(&[asked(&["a", "b"]), asked(&["b", "c"])].into());
        assert_eq!(all.len(), 6, "{all:?}");
    }

    #[test]
    fn nights_and_weekends_are_unusual() {
        for (time, unusual) in
            [("2026-11-30T12:00:00Z", false), ("2026-11-30T06:59:59Z", true), ("2026-11-29T12:00:00Z", true)]
        {
            assert_eq!(is_unusual(time.parse().unwrap()), unusual, "{time}");
        }
    }
}
