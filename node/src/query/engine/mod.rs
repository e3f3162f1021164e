//! The engine: it computes the statistics of a question's cells from snapshots.
//!
//! Another engine can join here, in this process or on several machines. An engine sees plans and snapshots, and
//! releases nothing. Its statistics go to a method of disclosure control.

mod datafusion;

use std::any::Any;

use arrow::array::RecordBatch;
use futures::future::BoxFuture;
use loda_question::Question;

pub(crate) use self::datafusion::DataFusionEngine;
#[cfg(feature = "unprotected")]
pub(crate) use self::datafusion::SnapshotTables;
use crate::snapshot::Snapshot;

/// Runs questions over snapshots.
pub(crate) trait Engine: Send + Sync {
    /// The statistics of each (cell, units, conditions) of a question. Their columns have the names that
    /// `loda_disclosure::disclose` expects. The work ends when the future is dropped.
    fn statistics<'a>(
        &'a self,
        question: &'a Question,
        snapshots: &'a [Snapshot],
    ) -> BoxFuture<'a, Result<CellStatistics, EngineError>>;

    /// Lets go of the files of a dataset's snapshot, because another one is served from now on.
    fn forget(&self, dataset: &str);
}

/// The (cell, unit) rows of one question. They hold their share of the engine's memory for as long as they live.
pub(crate) struct CellStatistics {
    pub(crate) batches: Vec<RecordBatch>,
    _share: Box<dyn Any + Send + Sync>,
}

impl CellStatistics {
    fn new(batches: Vec<RecordBatch>, share: impl Any + Send + Sync) -> Self {
        Self { batches, _share: Box::new(share) }
    }

    pub(crate) fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// The reason why there are no statistics. The asker gets one static code, and the operator gets the cause.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The question may succeed when nothing else runs.
    #[error("the engine's memory is full: {0:#}")]
    Memory(anyhow::Error),
    #[error("the stage is larger than limits.stage_mb")]
    TooLarge,
    #[error("a snapshot cannot be read: {0:#}")]
    Lost(anyhow::Error),
    #[error("{0:#}")]
    Invalid(anyhow::Error),
}
