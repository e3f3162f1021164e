//! The sources of a borough's rows: extracted files, workbooks and databases.
//!
//! ```text
//! file, sheet, table ─ reader ─► text columns + __file + __line ─► the mapping's SQL
//! ```
//!
//! Every source except Parquet gives text, and the mapping gives the text its meaning. Each row carries its file and
//! line, so a fault can be found. A row that cannot be read is reported and left out. A file that cannot be read ends
//! the ingest, and the last good snapshot stays.

mod config;
mod formats;
mod header;
mod kind;
mod missing;
mod reader;
mod report;
mod table;
mod unpivot;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use crate::ingest::finding::Finding;

pub use self::config::Format;
pub(crate) use self::config::SourceEntry;
pub(crate) use self::formats::csv::{CsvRules, CsvSource, first_records};
pub(crate) use self::formats::json::JsonSource;
pub(crate) use self::formats::parquet::ParquetSource;
use self::formats::postgres::PostgresSource;
use self::formats::sqlite::SqliteSource;
pub(crate) use self::formats::workbook::{FirstRows, WorkbookSource, first_rows};
pub(crate) use self::header::{Header, Rename, clean_names, usual_width};
use self::kind::SourceKind;
pub(crate) use self::missing::Missing;
pub(crate) use self::reader::{Paths, Reader, Sink};
pub use self::report::SourceReport;
pub(crate) use self::report::{FILE, Intake, LINE};
pub(crate) use self::table::carry_origin;
use self::table::{SourceTable, TableSettings};
pub(crate) use self::unpivot::Unpivot;

/// One named source of a dataset.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub format: Format,
    kind: Box<dyn SourceKind>,
    /// Other names for columns, for files of other years.
    rename: Rename,
    /// Columns that become rows.
    unpivot: Option<Unpivot>,
    /// Texts that stand for nothing.
    missing: Missing,
    /// Whether files are added to it, and none is changed.
    pub(crate) appends: bool,
    /// Files that are only looked at. Their rows have been read before.
    read_before: Vec<PathBuf>,
}

impl Source {
    /// A source that keeps the names of its columns.
    pub(crate) fn plain(name: String, format: Format, kind: Box<dyn SourceKind>) -> Self {
        let (rename, read_before) = (Rename::default(), Vec::new());
        let missing = Missing::default();
        Self { name, format, kind, rename, unpivot: None, missing, appends: false, read_before }
    }

    /// A source of the configuration's settings. Paths are relative to `base`.
    ///
    /// # Errors
    /// The error says which settings do not fit together, and gives the fix.
    pub(crate) fn of_entry(entry: SourceEntry, base: &Path) -> Result<Self, String> {
        entry.check()?;
        let kind: Box<dyn SourceKind> = match entry.format {
            Format::Csv => Box::new(CsvSource::from_entry(&entry, base)?),
            Format::Ndjson => Box::new(JsonSource::from_entry(&entry, base)?),
            Format::Parquet => Box::new(ParquetSource::from_entry(&entry, base)?),
            Format::Xlsx => Box::new(WorkbookSource::from_entry(&entry, base)?),
            Format::Sqlite => Box::new(SqliteSource::from_entry(&entry, base)?),
            Format::Postgres => Box::new(PostgresSource::from_entry(&entry, base)?),
        };
        let missing = Missing::new(&entry.missing, &entry.missing_in);
        let SourceEntry { name, format, rename, unpivot, appends, .. } = entry;
        Ok(Self { rename: Rename(rename), unpivot, missing, appends, ..Self::plain(name, format, kind) })
    }

    /// The files that the source reads now. Empty for a database on a server.
    pub(crate) fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        self.kind.paths().map_or_else(|| Ok(Vec::new()), Paths::files)
    }

    /// Whether its rows can change while its files do not.
    pub(crate) fn is_database(&self) -> bool {
        self.kind.is_database()
    }

    /// From now on, the source reads exactly these files. Some of them have been read before.
    pub(crate) fn pin(&mut self, files: Vec<PathBuf>, read_before: Vec<PathBuf>) {
        self.read_before = read_before;
        if let Some(paths) = self.kind.paths_mut() {
            paths.patterns = files;
        }
    }

    /// What its workbooks have in other sheets, as findings. Files of other formats have none.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        self.kind.findings(&self.name)
    }

    /// The first path of the configuration. `None` for a database on a server.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.kind.paths()?.patterns.first().map(PathBuf::as_path)
    }

    /// Looks at the columns, and returns the table that the mapping reads.
    ///
    /// # Errors
    /// As for [`Source::reader`].
    pub(crate) fn open(&self, intake: &Arc<Intake>) -> anyhow::Result<SourceTable> {
        let reader = self.reader()?;
        let unknown = self.missing.unknown(&reader.columns());
        anyhow::ensure!(
            unknown.is_empty(),
            "source '{}': missing_in names {}, and it has no such column",
            self.name,
            unknown.join(", ")
        );
        let settings = TableSettings { unpivot: self.unpivot.clone(), missing: self.missing.clone() };
        Ok(SourceTable::new(self.name.clone(), settings, reader, Arc::clone(intake)))
    }

    /// Looks at the columns.
    ///
    /// # Errors
    /// Nothing can be read. The error names the source and the file.
    pub(crate) fn reader(&self) -> anyhow::Result<Box<dyn Reader>> {
        self.kind.open(&self.rename, &self.read_before).with_context(|| format!("source '{}'", self.name))
    }
}
