//! The origin of a snapshot's rows. It tells whether reading again would give other rows.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// The files that the rows of a snapshot were read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReadFrom {
    /// A digest of everything else that the rows depend on: the mapping, its other sources, the residents, this
    /// program.
    pub(crate) basis: String,
    /// The files of the source that appends, in the order in which they are read.
    pub(crate) files: Vec<Stamp>,
}

/// A file with its size and time of writing. Stamps are equal if the file has not changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) path: PathBuf,
    bytes: u64,
    written: Option<SystemTime>,
}

/// The stamps of those files that exist.
pub(crate) fn stamps(files: impl Iterator<Item = PathBuf>) -> Vec<Stamp> {
    let stamp = |path: PathBuf| {
        let about = std::fs::metadata(&path).ok()?;
        Some(Stamp { path, bytes: about.len(), written: about.modified().ok() })
    };
    files.filter_map(stamp).collect()
}
