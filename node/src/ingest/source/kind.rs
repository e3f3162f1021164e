//! The tasks of each kind of source. A new kind implements this trait.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use super::config::SourceEntry;
use super::header::Rename;
use super::reader::{Paths, Reader};
use crate::ingest::finding::Finding;

/// One kind of source.
pub(crate) trait SourceKind: Debug + Send + Sync {
    /// A source of the configuration's settings. Paths are relative to `base`.
    ///
    /// # Errors
    /// The error says which settings do not fit together, and gives the fix.
    fn from_entry(entry: &SourceEntry, base: &Path) -> Result<Self, String>
    where
        Self: Sized;

    /// The paths of its files. `None` for a database on a server.
    fn paths(&self) -> Option<&Paths>;

    /// The same paths, to be replaced by exactly the files that are read.
    fn paths_mut(&mut self) -> Option<&mut Paths>;

    /// Whether its rows can change while its files do not.
    fn is_database(&self) -> bool {
        false
    }

    /// Looks at the columns. The files of `read_before` still define the columns, but their rows are passed over.
    ///
    /// # Errors
    /// Nothing can be read. The error names the file.
    fn open(&self, rename: &Rename, read_before: &[PathBuf]) -> anyhow::Result<Box<dyn Reader>>;

    /// What its files have beside the rows that are read. `source`: its name.
    fn findings(&self, _source: &str) -> Vec<Finding> {
        Vec::new()
    }

    fn copy(&self) -> Box<dyn SourceKind>;
}

impl Clone for Box<dyn SourceKind> {
    fn clone(&self) -> Self {
        self.copy()
    }
}
