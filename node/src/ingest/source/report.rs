//! The report on the rows of each source before the mapping.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The columns with a row's origin.
pub(crate) const FILE: &str = "__file";
pub(crate) const LINE: &str = "__line";

/// The number of examples of one fault that are kept.
const EXAMPLES: usize = 20;

/// The reports of the sources, while the mapping runs.
#[derive(Default)]
pub(crate) struct Intake(Mutex<BTreeMap<String, SourceReport>>);

/// The report on the rows of one source before the mapping.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SourceReport {
    /// For each file, its name, its format in words, and its number of rows.
    pub files: Vec<(String, String, u64)>,
    pub rows: u64,
    /// Rows without any value.
    pub blank: u64,
    /// Rows that could not be read.
    pub bad: u64,
    /// For each reason, the number of rows, and the places of the first of them (file, line).
    pub faults: BTreeMap<String, (u64, Vec<(String, u64)>)>,
}

impl SourceReport {
    /// Adds the report on earlier files.
    pub(crate) fn add(&mut self, earlier: &Self) {
        self.files = earlier.files.iter().chain(&self.files).cloned().collect();
        self.rows = self.rows.saturating_add(earlier.rows);
        self.blank = self.blank.saturating_add(earlier.blank);
        self.bad = self.bad.saturating_add(earlier.bad);
        for (why, (rows, places)) in &earlier.faults {
            let (now, at) = self.faults.entry(why.clone()).or_default();
            *now = now.saturating_add(*rows);
            *at = places.iter().chain(at.iter()).take(EXAMPLES).cloned().collect();
        }
    }

    pub(super) fn counted(&mut self, rows: u64) {
        self.rows = self.rows.saturating_add(rows);
        if let Some((_, _, of_file)) = self.files.last_mut() {
            *of_file = of_file.saturating_add(rows);
        }
    }

    pub(super) fn bad(&mut self, file: &str, line: u64, why: String) {
        self.bad = self.bad.saturating_add(1);
        let (count, examples) = self.faults.entry(why).or_default();
        *count = count.saturating_add(1);
        if examples.len() < EXAMPLES {
            examples.push((file.to_owned(), line));
        }
    }

    /// The number of all rows, blank and unreadable ones included.
    fn seen(&self) -> u64 {
        self.rows.saturating_add(self.blank).saturating_add(self.bad)
    }
}

impl Intake {
    /// Notes the result of one reading. A mapping may read a source twice, even at once. Then the source counts once,
    /// by the reading that went further.
    pub(super) fn note(&self, source: &str, report: SourceReport) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(source.to_owned()).or_default();
        if report.seen() >= known.seen() {
            *known = report;
        }
    }

    pub(crate) fn report(&self) -> BTreeMap<String, SourceReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
