//! The conformance report of one dataset: how many rows were read, kept and left out, and whether they may replace the
//! data that are served.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Date32Type, Decimal128Type, Int64Type};
use chrono::Datelike;
use loda_contract::{Column, ColumnType, Contract, Domain, Role};
use loda_identity::write_private;
use serde::{Deserialize, Serialize};

use crate::ingest::config::Thresholds;
use crate::ingest::finding::{Decided, Finding};
use crate::ingest::mapping::Mapping;
use crate::ingest::source::SourceReport;

/// The number of examples of one fault, and of unknown codes of one column, that are kept at most.
pub(crate) const EXAMPLES: usize = 20;

/// If the share of a band moves by more than this between two snapshots, the report says so.
const MOVED: f64 = 0.1;

/// With fewer rows than this, shares say nothing.
const FEW: u64 = 100;

/// The report on the rows of one dataset.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub dataset: String,
    pub title: String,
    /// The day that the data describe, in ISO form.
    pub as_at: String,
    /// The snapshot that was written. `None` for a check, and for a report with refusals.
    pub snapshot: Option<u64>,
    pub sources: BTreeMap<String, SourceReport>,
    /// Values that the mapping's functions could not read, by function and shape. They became NULL.
    #[serde(default)]
    pub unread: BTreeMap<String, BTreeMap<String, u64>>,
    /// Rows that the mapping gave.
    pub read: u64,
    pub kept: u64,
    /// Rows that were left out, with the most frequent reason first.
    pub rejected: Vec<Rejected>,
    pub columns: Vec<ColumnReport>,
    /// Rows that repeat a unit, by domain, where the contract gives a unit one row.
    pub repeated: Vec<(String, u64)>,
    /// What somebody has to decide, or has decided.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Differences from the last good snapshot.
    pub drift: Vec<String>,
    /// Reasons why the rows may not replace the data that are served. Empty if they may.
    pub refusals: Vec<String>,
}

/// Rows that were left out for one reason.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rejected {
    pub column: String,
    pub reason: String,
    pub rows: u64,
    /// The places of the first of them.
    pub places: Vec<RowPlace>,
    /// Codes that the contract does not have, and how often each occurs.
    pub codes: BTreeMap<String, u64>,
}

/// The origin of a row. Without a file, `line` is the row's number in the mapping's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPlace {
    pub file: String,
    pub line: u64,
}

/// The values of the kept rows in one column.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ColumnReport {
    pub name: String,
    pub filled: u64,
    /// Rows by band: a code, a year, or a range between edges. Empty for names, keys and free text.
    pub bands: BTreeMap<String, u64>,
}

impl Rejected {
    pub(crate) fn add(&mut self, column: &str, reason: &str, place: impl FnOnce() -> RowPlace, code: Option<String>) {
        if self.rows == 0 {
            (self.column, self.reason) = (column.to_owned(), reason.to_owned());
        }
        self.rows = self.rows.saturating_add(1);
        if self.places.len() < EXAMPLES {
            self.places.push(place());
        }
        if let Some(code) = code
            && (self.codes.len() < EXAMPLES || self.codes.contains_key(&code))
        {
            *self.codes.entry(code).or_default() += 1;
        }
    }
}

impl ColumnReport {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), filled: 0, bands: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, column: &Column, values: &ArrayRef) {
        self.filled = self.filled.saturating_add((values.len() - values.null_count()) as u64);
        let Some(band) = bands(column, values) else { return };
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            *self.bands.entry(band(row)).or_default() += 1;
        }
    }
}

/// The band of a row's value. Bands are coarse enough for a report.
fn bands<'a>(column: &'a Column, values: &'a ArrayRef) -> Option<Box<dyn Fn(usize) -> String + 'a>> {
    Some(match &column.role {
        Role::Dimension(Domain::Codes(_)) => {
            let texts = values.as_string_opt::<i32>()?;
            Box::new(move |row| texts.value(row).to_owned())
        }
        Role::Dimension(Domain::Dates { .. }) => {
            let days = values.as_primitive_opt::<Date32Type>()?;
            Box::new(move |row| days.value_as_date(row).map_or_else(String::new, |date| date.year().to_string()))
        }
        Role::Dimension(Domain::Range { min, max }) => {
            let numbers = values.as_primitive_opt::<Int64Type>()?;
            let width = (max.saturating_sub(*min) / 10).max(1);
            Box::new(move |row| {
                let from = numbers.value(row).div_euclid(width).saturating_mul(width);
                if width == 1 { from.to_string() } else { format!("{from} to {}", from.saturating_add(width - 1)) }
            })
        }
        Role::Measure { edges, .. } => {
            let units: Box<dyn Fn(usize) -> i128> = match column.kind {
                ColumnType::Decimal(_) => {
                    let units = values.as_primitive_opt::<Decimal128Type>()?;
                    Box::new(move |row| units.value(row))
                }
                _ => {
                    let units = values.as_primitive_opt::<Int64Type>()?;
                    Box::new(move |row| i128::from(units.value(row)))
                }
            };
            Box::new(move |row| format!("band {}", edges.iter().filter(|edge| **edge <= units(row)).count() + 1))
        }
        _ => return None,
    })
}

impl Report {
    fn path(state: &Path, contract: &Contract) -> PathBuf {
        state.join("reports").join(format!("{}.json", contract.dataset))
    }

    /// The report of the snapshot that is served, if there is one.
    pub(crate) fn last_good(state: &Path, contract: &Contract) -> Option<Self> {
        let text = std::fs::read_to_string(Self::path(state, contract)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Keeps the report beside the snapshot. The next report is compared with it.
    pub(crate) fn remember(&self, state: &Path, contract: &Contract) -> anyhow::Result<()> {
        std::fs::create_dir_all(state.join("reports"))?;
        Ok(write_private(&Self::path(state, contract), &serde_json::to_vec_pretty(self)?)?)
    }

    /// The number of rows that could not be read, before the mapping.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.sources.values().map(|source| source.bad).sum()
    }

    /// The number of rows that are not kept, unreadable ones included.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.read.saturating_sub(self.kept).saturating_add(self.unreadable())
    }

    /// Adds findings, and questions of `loda-node init`, each with its decision. What is not decided refuses the rows.
    pub(crate) fn decide(
        &mut self,
        found: impl Iterator<Item = Finding>,
        questions: &BTreeMap<String, String>,
        decided: &BTreeMap<String, Decided>,
    ) {
        let asked = questions.iter().map(|(key, question)| {
            Finding::new(key, "loda-node init asked", question, "answer it in contract or mapping, and say so")
        });
        for mut finding in asked.chain(found) {
            finding.decided = decided.get(&finding.key).cloned();
            if !self.findings.iter().any(|known| known.key == finding.key) {
                self.findings.push(finding);
            }
        }
        let open: Vec<&str> =
            self.findings.iter().filter(|finding| finding.decided.is_none()).map(|f| f.key.as_str()).collect();
        if !open.is_empty() {
            self.refusals.push(format!(
                "{} to decide: {}. Mend it, or write who decided and why in [dataset.decided]",
                match open.len() {
                    1 => "1 finding is".to_owned(),
                    many => format!("{many} findings are"),
                },
                open.join(", ")
            ));
        }
    }

    /// Adds the drift from `last`, and the reasons why the rows may not replace the last good snapshot of `last_rows`
    /// rows. `beside`: the rows come in addition to that snapshot's.
    pub(crate) fn judge(
        &mut self,
        contract: &Contract,
        thresholds: &Thresholds,
        last: Option<&Self>,
        last_rows: Option<u64>,
        beside: bool,
    ) {
        let (left_out, all) = (self.left_out(), self.read.saturating_add(self.unreadable()));
        let share = left_out as f64 / all.max(1) as f64;
        if all > 0 && share > thresholds.rejected {
            self.refusals.push(format!(
                "{left_out} of {all} rows are left out ({:.1} %), and thresholds.rejected allows {:.1} %",
                share * 100.0,
                thresholds.rejected * 100.0
            ));
        }
        let given: u64 = self.sources.values().map(|source| source.rows).sum();
        if self.kept == 0 && (all > 0 || given > 0 || (last_rows.is_some() && !beside)) {
            self.refusals.push("no row is kept".to_owned());
        }
        for (domain, rows) in &self.repeated {
            self.refusals.push(format!(
                "{rows} rows repeat a {domain} that has a row already, and the contract says one row each: keep one in the \
                 mapping"
            ));
        }
        if let Some(rows) = last_rows
            && !beside
            && (self.kept as f64) < rows as f64 * (1.0 - thresholds.shrink)
        {
            self.refusals.push(format!(
                "{} rows are kept, and the last snapshot has {rows}: thresholds.shrink allows {:.0} % fewer",
                self.kept,
                thresholds.shrink * 100.0
            ));
        }
        if let Some(last) = last {
            self.drift_from(contract, last);
        }
    }

    fn drift_from(&mut self, contract: &Contract, last: &Self) {
        let mut drift = Vec::new();
        for column in &contract.columns {
            let find = |report: &Self| report.columns.iter().find(|c| c.name == column.name).cloned();
            let (Some(now), Some(before)) = (find(self), find(last)) else { continue };
            if self.kept < FEW || last.kept < FEW {
                continue;
            }
            let filled = |of: &ColumnReport, kept: u64| of.filled as f64 / kept as f64;
            let (was, is) = (filled(&before, last.kept), filled(&now, self.kept));
            if (was - is).abs() > MOVED {
                drift.push(format!(
                    "{}: filled in {:.0} % of rows, before in {:.0} %",
                    column.name,
                    is * 100.0,
                    was * 100.0
                ));
            }
            let bands = now.bands.keys().chain(before.bands.keys().filter(|band| !now.bands.contains_key(*band)));
            for band in bands {
                let share =
                    |of: &ColumnReport, kept: u64| of.bands.get(band).copied().unwrap_or(0) as f64 / kept as f64;
                let (was, is) = (share(&before, last.kept), share(&now, self.kept));
                if (was - is).abs() > MOVED {
                    drift.push(format!(
                        "{}: {band} is {:.0} % of rows, before {:.0} %",
                        column.name,
                        is * 100.0,
                        was * 100.0
                    ));
                }
            }
        }
        self.drift = drift;
    }
}

impl std::fmt::Display for RowPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.file.as_str() {
            "" => write!(f, "row {} of the mapping", self.line),
            file => write!(f, "{file} line {}", self.line),
        }
    }
}

impl Report {
    /// Adds the report on earlier files to this report on new ones.
    pub(crate) fn add(&mut self, earlier: &Self, mapping: &Mapping) {
        for (name, before) in &earlier.sources {
            let appends = mapping.sources.iter().any(|source| source.appends && source.name == *name);
            if let Some(now) = self.sources.get_mut(name).filter(|_| appends) {
                now.add(before);
            }
        }
        for (function, shapes) in &earlier.unread {
            let now = self.unread.entry(function.clone()).or_default();
            shapes.iter().for_each(|(shape, count)| *now.entry(shape.clone()).or_default() += count);
        }
        self.read = self.read.saturating_add(earlier.read);
        self.kept = self.kept.saturating_add(earlier.kept);
        for before in &earlier.rejected {
            match self.rejected.iter_mut().find(|now| now.column == before.column && now.reason == before.reason) {
                Some(now) => {
                    now.rows = now.rows.saturating_add(before.rows);
                    now.places = before.places.iter().chain(&now.places).take(EXAMPLES).cloned().collect();
                    before.codes.iter().for_each(|(code, rows)| *now.codes.entry(code.clone()).or_default() += rows);
                }
                None => self.rejected.push(before.clone()),
            }
        }
        self.rejected.sort_by_key(|rejected| std::cmp::Reverse(rejected.rows));
        for before in &earlier.columns {
            match self.columns.iter_mut().find(|now| now.name == before.name) {
                Some(now) => {
                    now.filled = now.filled.saturating_add(before.filled);
                    before.bands.iter().for_each(|(band, rows)| *now.bands.entry(band.clone()).or_default() += rows);
                }
                None => self.columns.push(before.clone()),
            }
        }
    }
}
