//! The conformance report of one dataset: how many rows were read, kept and left out, and whether they may replace the
//! data that are served.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Date32Type, Decimal128Type, Int64Type};
use chrono::Datelike;
use loda_contract::{Column, ColumnType, Contract, Domain, Role};
use loda_identity::write_private;
use serde::{Deserialize, Serialize};

use crate::ingest::config::Thresholds;
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
        if self.kept == 0 && (all > 0 || (last_rows.is_some() && !beside)) {
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

    /// One line for the operator's log.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut line = match self.snapshot {
            Some(id) => format!("{}: snapshot {id}, {} of {} rows kept", self.dataset, self.kept, self.read),
            None => format!("{}: {} of {} rows keep the contract", self.dataset, self.kept, self.read),
        };
        if self.unreadable() > 0 {
            let _infallible = write!(line, "; {} rows could not be read", self.unreadable());
        }
        for Rejected { column, reason, rows, .. } in &self.rejected {
            let _infallible = write!(line, "; {rows} left out where {column} {reason}");
        }
        for refusal in &self.refusals {
            let _infallible = write!(line, "; refused: {refusal}");
        }
        line
    }

    /// The whole report, for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!("{} – {}, as at {}\n", self.dataset, self.title, self.as_at);
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        for (name, source) in &self.sources {
            line(format!(
                "\n  source {name}: {} rows read, {} blank, {} unreadable",
                source.rows, source.blank, source.bad
            ));
            for (file, how, rows) in &source.files {
                line(format!("    {file}: {rows} rows ({how})"));
            }
            for (why, (rows, places)) in &source.faults {
                let places = places.iter().map(|(file, line)| RowPlace { file: file.clone(), line: *line }.to_string());
                line(format!("    {rows} × {why}: {}", listed(places, *rows)));
            }
        }
        line(format!(
            "\n  mapping: {} rows; {} keep the contract, {} do not",
            self.read,
            self.kept,
            self.read - self.kept
        ));
        let given: u64 = self.sources.values().map(|source| source.rows).sum();
        if given > self.read {
            line(format!(
                "    {} rows of the sources give none: the mapping filters or joins them away",
                given - self.read
            ));
        }
        for rejected in &self.rejected {
            let places = rejected.places.iter().map(ToString::to_string);
            line(format!(
                "    {} × {} {}: {}",
                rejected.rows,
                rejected.column,
                rejected.reason,
                listed(places, rejected.rows)
            ));
            if !rejected.codes.is_empty() {
                let codes = rejected.codes.iter().map(|(code, rows)| format!("'{code}' ({rows})"));
                line(format!("      not in the code list: {}", codes.collect::<Vec<_>>().join(", ")));
            }
        }
        for (function, shapes) in &self.unread {
            let told = shapes.iter().map(|(shape, count)| format!("{shape} ({count})")).collect::<Vec<_>>().join(", ");
            let count: u64 = shapes.values().sum();
            line(format!("    {count} values became NULL in {function}(); by shape: {told}"));
        }
        line("\n  column                            filled   most frequent".to_owned());
        for column in &self.columns {
            let mut bands: Vec<(&String, &u64)> = column.bands.iter().collect();
            bands.sort_by_key(|(name, rows)| (std::cmp::Reverse(**rows), *name));
            let top = bands.iter().take(3).map(|(name, rows)| format!("{name} {:.0} %", share(**rows, self.kept)));
            line(format!(
                "  {:<32} {:>6.1} %   {}",
                column.name,
                share(column.filled, self.kept),
                top.collect::<Vec<_>>().join(", ")
            ));
        }
        for drift in &self.drift {
            line(format!("\n  drift: {drift}"));
        }
        match self.refusals.as_slice() {
            [] => line("\n  This may be served.".to_owned()),
            refusals => {
                refusals.iter().for_each(|refusal| line(format!("\n  refused: {refusal}")));
                line("  The last good snapshot stays in use.".to_owned());
            }
        }
        // Cells may hold control characters that a terminal would obey.
        out.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
    }

    /// The whole report as a page of its own.
    #[must_use]
    pub fn html(&self) -> String {
        let verdict = if self.refusals.is_empty() { "may be served" } else { "is refused" };
        format!(
            "<!doctype html><html lang=\"en-GB\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>{title}: conformance report</title><style>body{{font:1rem/1.5 \
             system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#111;background:#fff}}\
             pre{{white-space:pre-wrap;font:.9rem/1.5 ui-monospace,monospace}}</style><main><h1>{title}</h1><p>As at \
             {as_at}: this {verdict}.</p><pre>{text}</pre></main></html>\n",
            title = escaped(&self.title),
            as_at = self.as_at,
            text = escaped(&self.text())
        )
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

fn listed(places: impl Iterator<Item = String>, rows: u64) -> String {
    let shown: Vec<String> = places.take(5).collect();
    let more = rows.saturating_sub(shown.len() as u64);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn share(rows: u64, of: u64) -> f64 {
    rows as f64 * 100.0 / of.max(1) as f64
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
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
