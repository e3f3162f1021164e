//! The reading of rows: files one after another, and the sink that takes each row.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use arrow::datatypes::SchemaRef;

/// A file, a folder, or a pattern such as `extracts/*.csv`.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) patterns: Vec<PathBuf>,
    pub(crate) extension: &'static str,
}

impl Paths {
    /// The files in the order of their paths, each once.
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
        // Under two names, the rows of one file would count twice.
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
        // Only a file counts: a pipe would block, and a device has no end.
        if pattern.is_file() {
            return Ok(vec![pattern.to_owned()]);
        }
        let text = pattern.to_str().context("the path is not UTF-8")?;
        let found = glob::glob(text).with_context(|| format!("{text} is no pattern of paths"))?;
        Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|path| path.is_file()).collect())
    }
}

/// Reads all rows of a source, any number of times.
pub(crate) trait Reader: Send + Sync {
    /// Its columns, without the columns of the origin.
    fn columns(&self) -> SchemaRef;

    /// Gives every row to the sink.
    ///
    /// # Errors
    /// A file cannot be read to its end. This ends the ingest.
    fn read(&self, sink: &mut dyn Sink) -> anyhow::Result<()>;
}

/// Files of one format, one after another.
pub(super) struct Files<F> {
    pub(super) paths: Vec<PathBuf>,
    pub(super) columns: SchemaRef,
    pub(super) format: F,
}

impl<F> Files<F> {
    /// Leaves out the rows of some files. Those files still define the columns.
    pub(super) fn past(mut self, read_before: &[PathBuf]) -> Self {
        self.paths.retain(|path| !read_before.contains(path));
        self
    }
}

/// The format of a file.
pub(super) trait FileFormat: Send + Sync {
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

/// The receiver of a reader's rows.
pub(crate) trait Sink {
    /// Takes a row as text, with its line.
    ///
    /// # Errors
    /// Nobody wants rows any more.
    fn row(&mut self, line: u64, values: &[Option<&str>]) -> anyhow::Result<()>;

    /// Takes rows that already have types. The first is at `line`.
    ///
    /// # Errors
    /// As for [`Sink::row`].
    fn batch(&mut self, line: u64, batch: arrow::array::RecordBatch) -> anyhow::Result<()>;

    /// Reports a row that cannot be read.
    fn bad(&mut self, line: u64, why: String);

    /// Reports a row without any value.
    fn blank(&mut self);

    /// Begins the next file. `how`: its format, in words.
    fn file(&mut self, path: &str, how: String);
}

/// The last part of a path. Readers of reports know the folder.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
