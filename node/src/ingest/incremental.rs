//! Sources that only gain files, such as sensor readings by week or payments by month.
//!
//! The rows of a new file come in addition to those that a snapshot already has. The snapshot always equals a reading
//! of all files that are there. This holds if the mapping takes each file by itself, and nothing but new files has
//! changed. Otherwise everything is read again.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, ensure};
use ring::digest;

use crate::ingest::conformance::report::Report;
use crate::ingest::mapping::Mapping;
use crate::ingest::residents;
use crate::snapshot::Snapshot;
use crate::snapshot::provenance::{ReadFrom, Stamp, stamps};

/// The files that a mapping would be read from now. `None` if no source of it appends.
///
/// # Errors
/// Files of the source cannot be told apart.
pub(crate) fn read_from_now(mapping: &Mapping, state: &Path) -> anyhow::Result<Option<ReadFrom>> {
    let Some(source) = mapping.sources.iter().find(|source| source.appends) else { return Ok(None) };
    let files = source.files()?;
    let mut names = BTreeSet::new();
    for file in &files {
        let name = file.file_name().context("a file has no name")?;
        ensure!(
            names.insert(name),
            "source '{}': two files are called {}: rows are told by the names of their files",
            source.name,
            name.display()
        );
    }
    let others = mapping.sources.iter().filter(|source| !source.appends).filter_map(|source| source.files().ok());
    let residents = mapping.asks_for_residents().then(|| residents::path(state));
    let others = stamps(others.flatten().chain(residents));
    let basis = format!("{} {mapping:?} {others:?}", env!("CARGO_PKG_VERSION"));
    let basis = hex::encode(digest::digest(&digest::SHA256, basis.as_bytes()));
    Ok(Some(ReadFrom { basis, files: stamps(files.into_iter()) }))
}

/// The files that are new since a snapshot. `None` if something else has changed too.
fn new_files<'a>(now: &'a ReadFrom, earlier: &ReadFrom) -> Option<Vec<&'a Stamp>> {
    let unchanged = now.basis == earlier.basis && earlier.files.iter().all(|file| now.files.contains(file));
    // The first file defines the columns.
    let unchanged = unchanged && now.files.first() == earlier.files.first();
    unchanged.then(|| now.files.iter().filter(|file| !earlier.files.contains(file)).collect())
}

/// The mapping over exactly these files. It passes over the files of the earlier reading.
pub(crate) fn pinned_mapping(now: &ReadFrom, mapping: &Mapping, earlier: Option<&ReadFrom>) -> Mapping {
    let paths = |files: &[Stamp]| files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
    let mut pinned = mapping.clone();
    for source in pinned.sources.iter_mut().filter(|source| source.appends) {
        source.pin(paths(&now.files), earlier.map(|earlier| paths(&earlier.files)).unwrap_or_default());
    }
    pinned
}

/// The part that has to be read.
pub(crate) enum ReadingPlan {
    /// Everything.
    Whole,
    /// New files. Their rows come in addition to those of the last snapshot.
    New(Snapshot, Report),
    /// Nothing, because nothing has changed.
    Nothing(Snapshot, Report),
}

impl ReadingPlan {
    /// The part that has changed since the last good snapshot.
    pub(crate) fn since(now: &ReadFrom, last: Option<Snapshot>, report: Option<Report>) -> Self {
        let (Some(last), Some(report)) = (last, report) else { return Self::Whole };
        let new =
            last.read_from.as_ref().filter(|_| report.snapshot == Some(last.id)).and_then(|from| new_files(now, from));
        match new {
            None => Self::Whole,
            Some(new) if new.is_empty() => Self::Nothing(last, report),
            Some(_) => Self::New(last, report),
        }
    }
}
