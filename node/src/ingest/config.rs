//! The `[[dataset]]` section: how one dataset is read and served, parsed once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::NaiveDate;
use serde::Deserialize;

use crate::epochs::iso;
use crate::ingest::mapping::Mapping;
use crate::ingest::source::{Source, SourceEntry};

/// One dataset of the configuration.
#[derive(Clone, Debug)]
pub struct DatasetConfig {
    pub contract: PathBuf,
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
    /// The share of the last good snapshot's rows that may be missing, from 0 to 1.
    pub shrink: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { rejected: 0.2, shrink: 0.5 }
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
}

impl DatasetEntry {
    /// Parses an entry. Paths are relative to `base`.
    ///
    /// # Errors
    /// The error says which settings do not fit together, and gives the fix.
    pub(crate) fn parse(self, base: &Path) -> Result<DatasetConfig, String> {
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
        let Thresholds { rejected, shrink } = self.thresholds;
        if [rejected, shrink].iter().any(|share| !(0.0..=1.0).contains(share)) {
            return Err("[dataset.thresholds] are shares between 0 and 1".to_owned());
        }
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
            as_at,
            mapping,
            thresholds: self.thresholds,
            refresh,
            restated: restated.collect::<Result<_, _>>()?,
            dimensions: self.dimensions,
            decision: self.decision,
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
