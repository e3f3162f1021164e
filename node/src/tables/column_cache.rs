//! Columns of registers. They are kept while the snapshots that they were read from are served.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::columns::Codes;

/// A column of a register, and the files that it was read from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ColumnKey {
    pub(super) domain: String,
    pub(super) column: String,
    pub(super) files: Vec<PathBuf>,
}

/// If the kept columns would take more bytes than this, all of them are dropped first.
const KEPT_BYTES: usize = 64 << 20;

/// The kept columns.
#[derive(Default)]
pub(super) struct ColumnCache(Mutex<HashMap<ColumnKey, Arc<Codes>>>);

impl ColumnCache {
    /// A kept column, or else the column that `read` returns, which is then kept.
    pub(super) fn get_or_read(
        &self,
        key: ColumnKey,
        read: impl FnOnce() -> anyhow::Result<Codes>,
    ) -> anyhow::Result<Arc<Codes>> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(codes) = lock().get(&key) {
            return Ok(Arc::clone(codes));
        }
        let codes = Arc::new(read()?);
        let mut columns = lock();
        let bytes: usize = columns.values().map(|codes| codes.bytes()).sum();
        if bytes.saturating_add(codes.bytes()) > KEPT_BYTES {
            columns.clear();
        }
        columns.insert(key, Arc::clone(&codes));
        Ok(codes)
    }

    /// Drops all columns.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
