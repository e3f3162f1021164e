//! Where a borough's rows come from: files as they were extracted, workbooks, databases.
//!
//! ```text
//! file, sheet, table ─ reader ─► text columns + __file + __line ─► the mapping's SQL
//! ```
//!
//! Everything but Parquet gives text: what it means is the mapping's to say. Each row knows the file and the line that
//! it came from, so that a fault can be found. A row that cannot be read is told and left out; a file that cannot be
//! read ends the ingest, and the last good snapshot stays.

mod csv;
mod encoding;
mod entry;
mod json;
mod parquet;
mod postgres;
mod sqlite;
mod table;
mod unpivot;
mod workbook;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::quoting::Quoting;

pub(crate) use self::csv::{CsvRules, first_records};
pub use self::entry::Format;
pub(crate) use self::entry::SourceEntry;
pub(crate) use self::postgres::Postgres;
pub(crate) use self::table::{SourceTable, carry_origin};
pub(crate) use self::unpivot::Unpivot;
pub(crate) use self::workbook::first_rows;

/// The columns that say where a row came from.
pub(crate) const FILE: &str = "__file";
pub(crate) const LINE: &str = "__line";

/// Examples of one fault that are kept.
const EXAMPLES: usize = 20;

/// One named source of a dataset.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub format: Format,
    pub(crate) from: From,
    /// Other names for columns, as files of other years have them.
    pub(crate) rename: Rename,
    /// Columns that become rows.
    pub(crate) unpivot: Option<Unpivot>,
    /// Whether files are added to it and none is changed.
    pub(crate) appends: bool,
    /// Files that are only looked at: their rows have been read.
    pub(crate) read_before: Vec<PathBuf>,
}

/// What a source reads.
#[derive(Clone, Debug)]
pub(crate) enum From {
    Csv { paths: Paths, rules: CsvRules },
    Json { paths: Paths },
    Parquet { paths: Paths },
    Workbook { paths: Paths, sheet: Option<String>, header: Header },
    Sqlite { paths: Paths, query: String },
    Postgres(Postgres),
}

/// Columns by the name in the file, and the name that they get.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rename(pub(crate) BTreeMap<String, String>);

impl Rename {
    fn apply(&self, names: Vec<String>) -> Vec<String> {
        names.into_iter().map(|name| self.0.get(&name).cloned().unwrap_or(name)).collect()
    }
}

/// A file, a folder, or a pattern such as `extracts/*.csv`.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) patterns: Vec<PathBuf>,
    pub(crate) extension: &'static str,
}

/// Which record names the columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Header {
    /// The n-th record, from 1.
    At(u64),
    /// The first record that has all of these names.
    With(Vec<String>),
    /// None does: these are the names.
    Given(Vec<String>),
}

impl Paths {
    /// The files, in the order of their names, each once.
    pub(crate) fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for pattern in &self.patterns {
            let found = self.matching(pattern)?;
            if found.is_empty() {
                bail!("{}: no such file", pattern.display());
            }
            files.extend(found);
        }
        files.sort();
        files.dedup();
        // Under another name the same rows would count twice.
        let mut seen: BTreeMap<PathBuf, &PathBuf> = BTreeMap::new();
        for file in &files {
            if let Some(other) = seen.insert(file.canonicalize()?, file) {
                bail!("{} and {} are one file", other.display(), file.display());
            }
        }
        Ok(files)
    }

    fn matching(&self, pattern: &Path) -> anyhow::Result<Vec<PathBuf>> {
        if pattern.is_dir() {
            let all = std::fs::read_dir(pattern)?.map(|entry| Ok(entry?.path()));
            let all = all.collect::<std::io::Result<Vec<_>>>()?;
            let fits = |path: &PathBuf| {
                path.extension().is_some_and(|e| e.eq_ignore_ascii_case(self.extension)) && path.is_file()
            };
            return Ok(all.into_iter().filter(fits).collect());
        }
        // A pipe would be waited for, and a device has no end.
        if pattern.is_file() {
            return Ok(vec![pattern.to_owned()]);
        }
        let text = pattern.to_str().context("the path is not UTF-8")?;
        let found = glob::glob(text).with_context(|| format!("{text} is no pattern of paths"))?;
        Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|path| path.is_file()).collect())
    }
}

impl Source {
    /// The files that it reads now; none for a database.
    pub(crate) fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        match &self.from {
            From::Csv { paths, .. }
            | From::Json { paths }
            | From::Parquet { paths }
            | From::Workbook { paths, .. }
            | From::Sqlite { paths, .. } => paths.files(),
            From::Postgres(_) => Ok(Vec::new()),
        }
    }

    /// Whether what it gives can change while its files do not.
    pub(crate) fn is_database(&self) -> bool {
        matches!(self.from, From::Sqlite { .. } | From::Postgres(_))
    }

    /// Reads exactly these files from now on, of which some have been read before.
    pub(crate) fn pin(&mut self, files: Vec<PathBuf>, read_before: Vec<PathBuf>) {
        self.read_before = read_before;
        match &mut self.from {
            From::Csv { paths, .. }
            | From::Json { paths }
            | From::Parquet { paths }
            | From::Workbook { paths, .. }
            | From::Sqlite { paths, .. } => paths.patterns = files,
            From::Postgres(_) => {}
        }
    }

    /// The first path as it is configured; none for a database on a server.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.from {
            From::Csv { paths, .. }
            | From::Json { paths }
            | From::Parquet { paths }
            | From::Workbook { paths, .. }
            | From::Sqlite { paths, .. } => paths.patterns.first().map(PathBuf::as_path),
            From::Postgres(_) => None,
        }
    }

    /// Looks at the columns, and gives the table that the mapping reads.
    ///
    /// # Errors
    /// As [`Source::reader`].
    pub(crate) fn open(&self, intake: &Arc<Intake>) -> anyhow::Result<SourceTable> {
        Ok(SourceTable::new(self, self.reader()?, Arc::clone(intake)))
    }

    /// Looks at the columns.
    ///
    /// # Errors
    /// Where nothing can be read, naming the file.
    pub(crate) fn reader(&self) -> anyhow::Result<Box<dyn Reader>> {
        self.opened().with_context(|| format!("source '{}'", self.name))
    }

    fn opened(&self) -> anyhow::Result<Box<dyn Reader>> {
        let rename = self.rename.clone();
        let past = &self.read_before;
        Ok(match &self.from {
            From::Csv { paths, rules } => Box::new(csv::open(paths.files()?, rules.clone(), rename)?.past(past)),
            From::Json { paths } => Box::new(json::open(paths.files()?)?.past(past)),
            From::Parquet { paths } => Box::new(parquet::open(paths.files()?)?.past(past)),
            From::Workbook { paths, sheet, header } => {
                Box::new(workbook::open(paths.files()?, sheet.clone(), header.clone(), rename)?.past(past))
            }
            From::Sqlite { paths, query } => Box::new(sqlite::open(paths.files()?, query.clone())?),
            From::Postgres(postgres) => Box::new(postgres::open(postgres.clone())?),
        })
    }
}

/// Reads all rows of a source, as often as it is asked to.
pub(crate) trait Reader: Send + Sync {
    /// Its columns, without those of the origin.
    fn columns(&self) -> SchemaRef;

    /// Gives every row to the sink.
    ///
    /// # Errors
    /// What ends the ingest: a file that cannot be read to its end.
    fn read(&self, sink: &mut dyn Sink) -> anyhow::Result<()>;
}

/// Files that are written alike, one after another.
struct Files<F> {
    paths: Vec<PathBuf>,
    columns: SchemaRef,
    format: F,
}

impl<F> Files<F> {
    /// Without the rows of some, which still say what the columns are.
    fn past(mut self, read_before: &[PathBuf]) -> Self {
        self.paths.retain(|path| !read_before.contains(path));
        self
    }
}

/// How one such file is read.
trait FileFormat: Send + Sync {
    /// Gives every row of a file to the sink, in the order of `columns`.
    fn read_file(&self, path: &Path, columns: &SchemaRef, sink: &mut dyn Sink) -> anyhow::Result<()>;
}

impl<F: FileFormat> Reader for Files<F> {
    fn columns(&self) -> SchemaRef {
        SchemaRef::clone(&self.columns)
    }

    fn read(&self, sink: &mut dyn Sink) -> anyhow::Result<()> {
        for path in &self.paths {
            self.format.read_file(path, &self.columns, sink).with_context(|| file_name(path))?;
        }
        Ok(())
    }
}

/// Where a reader's rows go.
pub(crate) trait Sink {
    /// A row as text, with its line.
    ///
    /// # Errors
    /// Where nobody wants it any more.
    fn row(&mut self, line: u64, values: &[Option<&str>]) -> anyhow::Result<()>;

    /// Rows that have types already, the first at `line`.
    ///
    /// # Errors
    /// As [`Sink::row`].
    fn batch(&mut self, line: u64, batch: arrow::array::RecordBatch) -> anyhow::Result<()>;

    /// A row that cannot be read.
    fn bad(&mut self, line: u64, why: String);

    /// A row without any value.
    fn blank(&mut self);

    /// The next file begins; how it is read, in words.
    fn file(&mut self, path: &str, how: String);
}

/// Columns of text.
fn text_schema(names: impl IntoIterator<Item = String>) -> SchemaRef {
    Arc::new(Schema::new(names.into_iter().map(|n| Field::new(n, DataType::Utf8, true)).collect::<Vec<_>>()))
}

/// What was read of each source, while the mapping runs.
#[derive(Default)]
pub(crate) struct Intake(Mutex<BTreeMap<String, SourceReport>>);

/// What became of the rows of one source before the mapping.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SourceReport {
    /// File by file, how it was read, and its rows.
    pub files: Vec<(String, String, u64)>,
    pub rows: u64,
    /// Rows without any value.
    pub blank: u64,
    /// Rows that could not be read.
    pub bad: u64,
    /// Reasons, how many, and where the first of them stand (file, line).
    pub faults: BTreeMap<String, (u64, Vec<(String, u64)>)>,
}

impl SourceReport {
    /// What was read of earlier files.
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

    fn counted(&mut self, rows: u64) {
        self.rows = self.rows.saturating_add(rows);
        if let Some((_, _, of_file)) = self.files.last_mut() {
            *of_file = of_file.saturating_add(rows);
        }
    }

    fn bad(&mut self, file: &str, line: u64, why: String) {
        self.bad = self.bad.saturating_add(1);
        let (count, examples) = self.faults.entry(why).or_default();
        *count = count.saturating_add(1);
        if examples.len() < EXAMPLES {
            examples.push((file.to_owned(), line));
        }
    }

    /// Everything that was there.
    fn seen(&self) -> u64 {
        self.rows.saturating_add(self.blank).saturating_add(self.bad)
    }
}

impl Intake {
    /// What one reading came to. A mapping that reads a source twice, be it at once, counts it once: as the reading that went
    /// further.
    fn note(&self, source: &str, report: SourceReport) {
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

/// A path's last part: reports are read by people who know the folder.
fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Names as they may stand in SQL: trimmed, one space at most, no name twice, none empty.
fn clean_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut clean: Vec<String> = Vec::new();
    for (number, name) in names.into_iter().enumerate() {
        let name = name.trim_start_matches('\u{feff}').split_whitespace().collect::<Vec<_>>().join(" ");
        let name = if name.is_empty() { format!("column {}", number + 1) } else { name };
        let mut fresh = name.clone();
        let mut copy = 2;
        while clean.contains(&fresh) {
            fresh = format!("{name} {copy}");
            copy += 1;
        }
        clean.push(fresh);
    }
    clean
}

impl Header {
    /// The names, if this record is the header. `number` counts from 1.
    fn names(&self, number: u64, record: &[&str]) -> Option<Vec<String>> {
        match self {
            Self::At(at) => (number == *at).then(|| clean_names(record.iter().copied())),
            Self::With(wanted) => {
                let names = clean_names(record.iter().copied());
                wanted.iter().all(|w| names.iter().any(|n| n.eq_ignore_ascii_case(w))).then_some(names)
            }
            Self::Given(_) => None,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::At(at) => format!("record {at}"),
            Self::With(names) => format!("a record with {}", names.join(", ")),
            Self::Given(_) => "none".to_owned(),
        }
    }
}

/// The places of the wanted columns in a file that may have them in another order.
///
/// # Errors
/// Where a column is missing or new: the header has drifted.
fn places(wanted: &SchemaRef, found: &[String]) -> anyhow::Result<Vec<usize>> {
    let missing: Vec<&str> =
        wanted.fields().iter().map(|f| f.name().as_str()).filter(|w| !found.iter().any(|f| f == w)).collect();
    let fresh: Vec<&str> = found.iter().map(String::as_str).filter(|f| wanted.field_with_name(f).is_err()).collect();
    if !missing.is_empty() || !fresh.is_empty() {
        let list = |names: &[&str]| names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ");
        let told = |lacks: String, has: String| {
            format!(
                "its header is not that of the first file: it lacks {lacks}, and has {has}. Give it a source of its own, or \
                 `rename` its columns"
            )
        };
        // A file without its header has a record in that place.
        return Err(Quoting::new(
            told(
                if missing.is_empty() { "nothing".to_owned() } else { list(&missing) },
                if fresh.is_empty() { "nothing new".to_owned() } else { list(&fresh) },
            ),
            told(format!("{} columns", missing.len()), format!("{} others", fresh.len())),
        )
        .into());
    }
    let place = |name: &str| found.iter().position(|f| f == name).context("a column has no place");
    wanted.fields().iter().map(|f| place(f.name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_clean_and_apart() {
        assert_eq!(
            clean_names(["\u{feff} Supplier  Name", "Total", "", "Total"]),
            ["Supplier Name", "Total", "column 3", "Total 2"]
        );
    }
}
