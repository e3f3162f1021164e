//! The one serial, durable gate through which figures leave.
//!
//! Nothing can be fetched before the log has its RELEASE on disk. Only [`Released`] bytes can be fetched, and only
//! disclosure control makes those.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;
use loda_disclosure::{Method, Released};
use loda_ledger::payload::record::{self, CellsReleased};
use loda_ledger::payload::{PayloadStore, RecordClass};
use loda_ledger::{Event, Log, sha256_hex};
use loda_proto::v1::{ReleasedHeader, SnapshotUsed};
use loda_question::Refusal;
use prost::Message;

use crate::query::request::{Accepted, Asked};

/// An answer as Fetch sends it, with the same bytes each time.
pub(crate) struct Release {
    pub(crate) header: ReleasedHeader,
    pub(crate) arrow_ipc: Vec<u8>,
}

impl Release {
    /// The bytes for the spool: the header's length in four bytes, the header, the cells.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let header = self.header.encode_to_vec();
        let length = u32::try_from(header.len()).unwrap_or(u32::MAX).to_be_bytes();
        [length.as_slice(), &header, &self.arrow_ipc].concat()
    }

    /// Reads the bytes of [`Release::to_bytes`].
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (header, cells) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        Some(Self { header: ReleasedHeader::decode(header).ok()?, arrow_ipc: cells.to_vec() })
    }
}

/// Lets one release at a time through the log.
pub(crate) struct Gate {
    log: Arc<dyn Log>,
    /// The words behind the log's entries.
    pub(crate) payloads: Arc<PayloadStore>,
    turn: Mutex<()>,
}

impl Gate {
    pub(crate) fn new(log: Arc<dyn Log>, payloads: Arc<PayloadStore>) -> Self {
        Self { log, payloads, turn: Mutex::new(()) }
    }

    pub(crate) fn shared(&self) -> Arc<dyn Log> {
        Arc::clone(&self.log)
    }

    pub(crate) fn log(&self) -> &dyn Log {
        self.log.as_ref()
    }

    /// Encodes an answer, gives `keep` a copy for a restart, and logs the release. Only then it returns the answer.
    ///
    /// # Errors
    /// The bytes cannot be made, `agreed` refuses, or the log cannot be written. Nothing leaves then.
    pub(crate) fn release(
        &self,
        asked: &Asked,
        accepted: &Accepted,
        method: &dyn Method,
        cells: &Released<RecordBatch>,
        keep: &dyn Fn(&Release),
        agreed: &dyn Fn() -> Result<(), Refusal>,
    ) -> anyhow::Result<Release> {
        let Accepted { agreement, snapshots, assessed, .. } = accepted;
        let batch = cells.get();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
        writer.write(batch)?;
        let arrow_ipc = writer.into_inner()?;
        let newest = snapshots.first().context("no snapshot was read")?;
        let header = ReleasedHeader {
            snapshot: newest.id,
            // Joined data are as old as the oldest part.
            as_at: snapshots.iter().map(|s| s.as_at).min().unwrap_or(newest.as_at).to_string(),
            method: method.name().to_owned(),
            parameters: method.parameters(),
            dense: method.absent_is_withheld(),
            receipt: Vec::new(),
            count_error: method.expected_error(),
            count_variance: method.variance(),
            assessed: assessed.clone(),
            snapshots: snapshots
                .iter()
                .map(|s| SnapshotUsed {
                    dataset: s.contract.dataset.clone(),
                    snapshot: s.id,
                    as_at: s.as_at.to_string(),
                    covers: accepted.covers.get(&s.contract.dataset).cloned(),
                })
                .collect(),
        };
        let used = snapshots.iter().map(|s| format!("{} snapshot {} of {}", s.contract.dataset, s.id, s.as_at));
        let used = format!("{}, {}", used.collect::<Vec<_>>().join(", "), method.name());
        let datasets: Vec<&str> = snapshots.iter().map(|s| s.contract.dataset.as_str()).collect();
        let release = Release { header, arrow_ipc };
        let result = sha256_hex(&release.arrow_ipc);
        let released = self.payloads.keep(RecordClass::Result, result.as_bytes(), || what_left(&result, batch))?;
        let event = Event::Release { used, released: Some(released) };
        let entry = asked.entry(event, &datasets.join(" "), agreement);
        keep(&release);
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // This is the last moment. The agreement may have ended while the query ran and waited.
        agreed()?;
        self.log.append_all(&accepted.ended(entry))?;
        Ok(release)
    }
}

/// The words of what was released, for readers of the log.
fn what_left(sha256: &str, batch: &RecordBatch) -> Vec<u8> {
    let without: usize = batch.columns().iter().map(|column| column.null_count()).sum();
    let (cells, without_value) = (batch.num_rows() as u64, without as u64);
    record::to_text(&CellsReleased { sha256: sha256.to_owned(), cells, without_value })
}
