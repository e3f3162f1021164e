//! Released tables, kept while their data do not change. A question that a kept table answers reads no record, and its
//! cost does not depend on the records.
//!
//! Contracts, lists of classes and past questions decide how much is kept, and which table makes room for another. No
//! record does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use arrow::array::RecordBatch;
use loda_disclosure::table::part_of;
use loda_disclosure::{Method, Released};
use loda_question::table::{Table, TableColumn};
use ring::digest::{SHA256, digest};

use super::pinned::Pinned;

/// The approximate bytes of a column or figure of a cell, at most.
const BYTES: u64 = 24;

/// The tables that are kept.
pub(crate) struct Prepared {
    bytes: u64,
    kept: Mutex<PreparedTables>,
}

#[derive(Default)]
struct PreparedTables {
    tables: HashMap<Pins, Vec<PreparedTable>>,
    bytes: u64,
    /// Counts the questions, to tell which table was asked for last.
    asked: u64,
}

/// The state of all datasets of a table, as a hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pins([u8; 32]);

struct PreparedTable {
    table: Table,
    released: Arc<Released<RecordBatch>>,
    bytes: u64,
    asked: u64,
}

impl Pins {
    /// The state of a table's datasets: contracts, epochs, lists of classes, the files that are read, and the method
    /// with its parameters.
    pub(crate) fn of(table: &Table, snapshots: &Pinned<'_>, method: &dyn Method) -> anyhow::Result<Self> {
        let mut text = format!("{} {}", method.name(), method.parameters());
        for contract in table.datasets() {
            let snapshot = snapshots.of(&contract.dataset)?;
            text.push_str(&format!(
                "\n{} {} {:?} {:?} {:?} {:?}",
                contract.dataset, contract.sha256, snapshot.epoch, snapshot.files, snapshot.closed, snapshot.lists
            ));
        }
        let hash = digest(&SHA256, text.as_bytes());
        Ok(Self(hash.as_ref().try_into().context("a hash of another length")?))
    }
}

impl Prepared {
    pub(crate) fn new(megabytes: usize) -> Self {
        Self { bytes: (megabytes as u64).saturating_mul(1 << 20), kept: Mutex::default() }
    }

    /// The answer to a table, from the kept tables.
    pub(crate) fn find(&self, table: &Table, pins: &Pins) -> anyhow::Result<Option<Released<RecordBatch>>> {
        let found = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.asked = kept.asked.saturating_add(1);
            let asked = kept.asked;
            let entries = kept.tables.get_mut(pins).into_iter().flatten();
            let mut answering = entries.filter_map(|entry| {
                let (columns, figures) = entry.table.answers(table)?;
                Some((entry, columns, figures))
            });
            answering.next().map(|(entry, columns, figures)| {
                entry.asked = asked;
                (Arc::clone(&entry.released), entry.table.columns().len(), columns, figures)
            })
        };
        found.map(|(released, width, columns, figures)| Ok(part_of(&released, width, &columns, &figures)?)).transpose()
    }

    /// Whether a table is kept, or another one that answers it.
    pub(crate) fn has(&self, table: &Table, pins: &Pins) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.tables.get(pins).into_iter().flatten().any(|entry| entry.table.answers(table).is_some())
    }

    /// The bytes of a table, from contract and lists alone.
    pub(crate) fn bytes(table: &Table, snapshots: &Pinned<'_>) -> u64 {
        let open = |column: &TableColumn| {
            let Ok(snapshot) = snapshots.of(&column.reference.dataset) else { return 0 };
            let listed = column.reference.column.as_ref().and_then(|name| snapshot.lists.get(name));
            let classes = match &column.period {
                Some(_) => snapshot.closed.periods.len(),
                None => listed.map_or(0, Vec::len),
            };
            classes as u64
        };
        let width = table.columns().len().saturating_add(table.functionals().len()) as u64;
        table.cells(&open).saturating_mul(width).saturating_mul(BYTES)
    }

    /// Whether there is room for this many bytes without dropping a table.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes.saturating_add(bytes) <= self.bytes
    }

    /// Keeps a table, if all room together is enough for it. The tables that were asked for longest ago make room.
    pub(crate) fn keep(&self, table: Table, pins: Pins, released: Released<RecordBatch>, bytes: u64) {
        if bytes > self.bytes {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.bytes.saturating_add(bytes) > self.bytes {
            let oldest =
                kept.tables.iter().flat_map(|(pins, of)| of.iter().map(move |entry| (entry.asked, pins.clone())));
            let Some((asked, of)) = oldest.min_by_key(|(asked, _)| *asked) else { break };
            let mut freed = 0_u64;
            if let Some(entries) = kept.tables.get_mut(&of) {
                entries.retain(|entry| {
                    let goes = entry.asked == asked;
                    freed = freed.saturating_add(if goes { entry.bytes } else { 0 });
                    !goes
                });
                if entries.is_empty() {
                    kept.tables.remove(&of);
                }
            }
            kept.bytes = kept.bytes.saturating_sub(freed);
        }
        kept.bytes = kept.bytes.saturating_add(bytes);
        kept.asked = kept.asked.saturating_add(1);
        let asked = kept.asked;
        kept.tables.entry(pins).or_default().push(PreparedTable { table, released: Arc::new(released), bytes, asked });
    }

    /// The number of kept tables, and their bytes.
    pub(crate) fn size(&self) -> (usize, u64) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.tables.values().map(Vec::len).sum(), kept.bytes)
    }
}
