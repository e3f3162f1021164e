//! The `[[dataset]]` section: how one dataset is read and served, parsed once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::{AsArray, Date32Array, RecordBatch};
use arrow::datatypes::Date32Type;
use chrono::NaiveDate;
use loda_contract::{Column, Contract, Domain, Grain, Role};
use loda_identity::Gss;
use serde::Deserialize;

use crate::epochs::iso;
use crate::ingest::finding::Decided;
use crate::ingest::mapping::Mapping;
use crate::ingest::source::{Source, SourceEntry};

/// One dataset of the configuration.
#[derive(Clone, Debug)]
pub struct DatasetConfig {
    pub contract: PathBuf,
    /// The borough whose rows the mapping gives.
    pub borough: Gss,
    pub as_at: AsAt,
    /// It gives the contract's columns by name.
    pub mapping: Mapping,
    pub thresholds: Thresholds,
    pub refresh: Refresh,
    /// For rows that come by period: the closed periods that are restated, each once, with the reason.
    pub restated: BTreeMap<NaiveDate, String>,
    /// The largest sum of a table's weights here, if it is less than the contract allows.
    pub dimensions: Option<u32>,
    /// A steward's decision against an assessment.
    pub decision: Option<Decision>,
    /// The period that the data cover. Without it, every day that the contract has.
    pub covers: Option<Covers>,
    /// What `loda-node init` asked, by key.
    pub questions: BTreeMap<String, String>,
    /// A steward's decisions about questions and findings, by key.
    pub decided: BTreeMap<String, Decided>,
}

/// The days that a date column can have in a borough's data. Figures of other days are marked as without data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covers {
    pub column: String,
    /// The first and the last day. `None`: that side is open.
    pub from: Option<NaiveDate>,
    pub until: Option<NaiveDate>,
}

/// The `[dataset.covers]` section.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CoversEntry {
    column: String,
    from: Option<String>,
    until: Option<String>,
}

impl CoversEntry {
    fn parse(self) -> Result<Covers, String> {
        let day = |name: &str, text: Option<String>| match text {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(day) => Ok(Some(day)),
                Err(_) => Err(format!("[dataset.covers] {name} = \"{text}\": write YYYY-MM-DD")),
            },
        };
        let (from, until) = (day("from", self.from)?, day("until", self.until)?);
        match (from, until) {
            (None, None) => Err("[dataset.covers] needs from, until, or both: the first and the last day".to_owned()),
            (Some(from), Some(until)) if from > until => {
                Err(format!("[dataset.covers] begins on {from} and ends before, on {until}"))
            }
            _ => Ok(Covers { column: self.column, from, until }),
        }
    }
}

impl Covers {
    /// Checks that a contract has the column, and that it is a list of dates.
    ///
    /// # Errors
    /// A sentence with the fix.
    pub(crate) fn fits(&self, contract: &Contract) -> Result<(), String> {
        let is_date = |column: &&Column| matches!(column.role, Role::Dimension(Domain::Dates { .. }));
        let dates: Vec<&str> = contract.columns.iter().filter(is_date).map(|column| column.name.as_str()).collect();
        if dates.contains(&self.column.as_str()) {
            return Ok(());
        }
        let known = if dates.is_empty() { "none".to_owned() } else { dates.join(", ") };
        Err(format!(
            "[dataset.covers] column = \"{}\": no date column of {} has this name (there is: {known})",
            self.column, contract.dataset
        ))
    }

    /// The number of dates of a column that lie outside. `grain`: dates are stored as its first days.
    fn outside(&self, days: &Date32Array, grain: Grain) -> usize {
        let number = |date: NaiveDate| i64::from(Date32Type::from_naive_date(date));
        let (from, until) = (self.from.map(number), self.until.map(number));
        let is_outside = |day: &i32| {
            let early = from.is_some_and(|from| i64::from(grain.next(*day)) <= from);
            early || until.is_some_and(|until| i64::from(*day) > until)
        };
        days.iter().flatten().filter(is_outside).count()
    }
}

/// A decision to serve larger tables than an assessment found good.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    pub dimensions: u32,
    /// The person who decided, the day, and the reason.
    pub by: String,
    #[serde(deserialize_with = "iso::deserialize")]
    pub on: NaiveDate,
    pub why: String,
}

/// The day that the data of a dataset describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsAt {
    Day(NaiveDate),
    /// The day on which the data are read.
    Today,
    /// The day on which the newest file was written.
    NewestFile,
}

impl DatasetConfig {
    /// The number of rows with a day outside the period that the data are said to cover.
    pub(crate) fn outside(&self, contract: &Contract, rows: &RecordBatch) -> usize {
        let Some(covers) = &self.covers else { return 0 };
        let grain = contract.columns.iter().find(|column| column.name == covers.column).map(|column| &column.role);
        let Some(Role::Dimension(Domain::Dates { grain, .. })) = grain else { return 0 };
        let days = rows.column_by_name(&covers.column).and_then(|days| days.as_primitive_opt::<Date32Type>());
        days.map_or(0, |days| covers.outside(days, *grain))
    }

    /// The day that data describe if they are read now.
    pub(crate) fn day(&self) -> NaiveDate {
        let today = chrono::Utc::now().date_naive();
        match self.as_at {
            AsAt::Day(day) => day,
            AsAt::Today => today,
            AsAt::NewestFile => {
                let written = self.mapping.files().filter_map(|file| std::fs::metadata(file).ok()?.modified().ok());
                written.max().map_or(today, |at| chrono::DateTime::<chrono::Utc>::from(at).date_naive())
            }
        }
    }
}

/// The limits within which a new snapshot may replace the last good one.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// The share of the rows read that may be left out, from 0 to 1.
    pub rejected: f64,
    /// The share of the values given to a function that may become NULL, from 0 to 1.
    pub unread: f64,
    /// The share of the last good snapshot's rows that may be missing, from 0 to 1.
    pub shrink: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { rejected: 0.2, unread: 0.05, shrink: 0.5 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatasetEntry {
    contract: PathBuf,
    as_at: String,
    sql: String,
    source: Vec<SourceEntry>,
    /// Code lists by name: a system's own codes, and the contract's word for each.
    #[serde(default)]
    codes: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    thresholds: Thresholds,
    /// `start`, `change`, or a time such as `6h`.
    refresh: Option<String>,
    /// For the first day of a period, the reason why its rows are restated.
    #[serde(default)]
    restate: BTreeMap<String, String>,
    dimensions: Option<u32>,
    decision: Option<Decision>,
    covers: Option<CoversEntry>,
    #[serde(default)]
    questions: BTreeMap<String, String>,
    #[serde(default)]
    decided: BTreeMap<String, Decided>,
}

impl DatasetEntry {
    /// Parses an entry. Paths are relative to `base`.
    ///
    /// # Errors
    /// The error says which settings do not fit together, and gives the fix.
    pub(crate) fn parse(self, borough: &Gss, base: &Path) -> Result<DatasetConfig, String> {
        let as_at = match self.as_at.as_str() {
            "today" => AsAt::Today,
            "newest-file" => AsAt::NewestFile,
            date => AsAt::Day(
                date.parse()
                    .map_err(|_| format!("as_at = \"{date}\": write YYYY-MM-DD, \"today\" or \"newest-file\""))?,
            ),
        };
        if self.dimensions == Some(0) {
            return Err("[[dataset]] dimensions = 0: no table would be left; leave the dataset out".to_owned());
        }
        if let Some(decision) = &self.decision
            && (decision.dimensions == 0 || decision.by.trim().is_empty() || decision.why.trim().is_empty())
        {
            return Err(
                "decision needs dimensions from 1 on, by (who decided), on (YYYY-MM-DD) and why, in words".to_owned()
            );
        }
        let sources = self.source.into_iter().map(|source| Source::of_entry(source, base));
        let Thresholds { rejected, unread, shrink } = self.thresholds;
        if [rejected, unread, shrink].iter().any(|share| !(0.0..=1.0).contains(share)) {
            return Err("[dataset.thresholds] are shares between 0 and 1".to_owned());
        }
        self.decided.iter().try_for_each(|(key, decided)| decided.check(key))?;
        let refresh = Refresh::of_entry(self.refresh.as_deref())?;
        let mapping = Mapping::new(sources.collect::<Result<_, _>>()?, self.sql, self.codes)?;
        let restated = self.restate.into_iter().map(|(period, why)| match period.parse() {
            Ok(day) if !why.trim().is_empty() => Ok((day, why)),
            _ => Err(format!(
                "[dataset.restate] \"{period}\" = \"{why}\": write the first day of a closed period as YYYY-MM-DD, and why"
            )),
        });
        Ok(DatasetConfig {
            contract: base.join(self.contract),
            borough: borough.clone(),
            as_at,
            mapping,
            thresholds: self.thresholds,
            refresh,
            restated: restated.collect::<Result<_, _>>()?,
            dimensions: self.dimensions,
            decision: self.decision,
            covers: self.covers.map(CoversEntry::parse).transpose()?,
            questions: self.questions,
            decided: self.decided,
        })
    }
}

/// The times at which a dataset is read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// When the node starts.
    #[default]
    Start,
    /// When its files have changed, and nothing writes to them any more.
    Change,
    Every(Duration),
}

impl Refresh {
    /// The refresh of an entry of the configuration. Without an entry, [`Refresh::Start`].
    pub(crate) fn of_entry(entry: Option<&str>) -> Result<Self, String> {
        let refresh = entry.map_or(Some(Self::Start), Self::parse);
        refresh.ok_or_else(|| "refresh: write start, change, or a time such as 6h".to_owned())
    }

    /// Parses `start`, `change`, or a time such as `30m`, `6h` or `1d`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "start" => return Some(Self::Start),
            "change" => return Some(Self::Change),
            _ => {}
        }
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        let number: u64 = number.parse().ok().filter(|n| *n > 0)?;
        Some(Self::Every(Duration::from_secs(number.checked_mul(seconds)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(Refresh::parse("6h"), Some(Refresh::Every(Duration::from_secs(21_600))));
        assert_eq!(Refresh::parse("change"), Some(Refresh::Change));
        for no in ["", "h", "0h", "6", "6w", "-1h", "é"] {
            assert_eq!(Refresh::parse(no), None, "{no}");
        }
    }
}
