//! The one serial, durable point through which figures leave.
//!
//! Nothing becomes fetchable before the log says RELEASE on disk, and what is fetchable is
//! [`Released`] bytes: only disclosure control makes those.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;
use loda_disclosure::{Method, Released};
use loda_ledger::{Kind, Log};
use loda_proto::v1::ReleasedHeader;

use crate::inspect::Asked;
use crate::snapshot::Snapshot;

/// What Fetch sends, the same bytes each time.
pub(crate) struct Release {
    pub(crate) header: ReleasedHeader,
    pub(crate) arrow_ipc: Vec<u8>,
}

/// One at a time through the log.
pub(crate) struct Gate {
    log: Arc<dyn Log>,
    turn: Mutex<()>,
}

impl Gate {
    pub(crate) fn new(log: Arc<dyn Log>) -> Self {
        Self { log, turn: Mutex::new(()) }
    }

    pub(crate) fn log(&self) -> &dyn Log {
        self.log.as_ref()
    }

    /// Encodes, logs, and only then gives what may leave.
    ///
    /// # Errors
    /// Where the bytes cannot be made or the log cannot be written: nothing leaves.
    pub(crate) fn release(
        &self,
        asked: &Asked,
        agreement: &str,
        snapshot: &Snapshot,
        method: &Method,
        cells: &Released<RecordBatch>,
    ) -> anyhow::Result<Release> {
        let batch = cells.get();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
        writer.write(batch)?;
        let arrow_ipc = writer.into_inner()?;
        let header = ReleasedHeader {
            snapshot: snapshot.id,
            as_at: snapshot.as_at.to_string(),
            method: method.name().to_owned(),
            parameters: method.parameters(),
            dense: method.dense(),
            receipt: Vec::new(),
        };
        let detail = format!("snapshot {} of {}, {}", snapshot.id, snapshot.as_at, method.name());
        let entry = asked.entry(Kind::Release, &snapshot.contract.dataset, agreement, &detail);
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.log.append(&entry)?;
        Ok(Release { header, arrow_ipc })
    }
}
