//! The report on the rows of each source before the mapping.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::ingest::columns::judgement::{Look, Uses, of_columns};
use crate::ingest::columns::suspects::Suspicion;
use crate::ingest::finding::Finding;

/// The columns with a row's origin.
pub(crate) const FILE: &str = "__file";
pub(crate) const LINE: &str = "__line";

/// The number of examples of one fault that are kept.
const EXAMPLES: usize = 20;

/// What is known of the sources, while the mapping runs.
#[derive(Default)]
pub(crate) struct Intake(Mutex<BTreeMap<String, Known>>);

/// What is known of one source.
#[derive(Default)]
struct Known {
    report: SourceReport,
    look: Look,
    /// Rows that look like no records, by file and line.
    suspects: BTreeMap<(String, u64), Suspicion>,
}

/// Rows that look like no records, by source and file and line.
pub(crate) type AllSuspects = BTreeMap<(String, u64), (String, Suspicion)>;

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
    pub(super) fn note(&self, source: &str, report: SourceReport, look: Look) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(source.to_owned()).or_default();
        if report.seen() >= known.report.seen() {
            (known.report, known.look) = (report, look);
        }
    }

    /// Notes rows that look like no records, before the mapping has them.
    pub(super) fn suspect(&self, source: &str, suspects: impl IntoIterator<Item = ((String, u64), Suspicion)>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(source.to_owned()).or_default().suspects.extend(suspects);
    }

    pub(crate) fn suspects(&self) -> AllSuspects {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(source, known): (&String, &Known)| {
            let source = source.clone();
            let named =
                move |(line, suspicion): (&(String, u64), &Suspicion)| (line.clone(), (source.clone(), *suspicion));
            known.suspects.iter().map(named).collect::<Vec<_>>()
        };
        all.iter().flat_map(of).collect()
    }

    pub(crate) fn report(&self) -> BTreeMap<String, SourceReport> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(source, known)| (source.clone(), known.report.clone())).collect()
    }

    /// The findings about the columns of all sources.
    pub(crate) fn findings(&self, uses: &Uses) -> Vec<Finding> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().flat_map(|(source, known)| of_columns(source, &known.look.profiles, uses)).collect()
    }
}
