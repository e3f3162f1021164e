//! Comparisons of data: whether they are the same, and how many units differ.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use arrow::row::{RowConverter, SortField};
use loda_contract::Contract;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ring::digest::{Context as Digest, SHA256};

use crate::snapshot::{Snapshot, unit_column};

/// If fewer units than this changed, changes of figures would tell who they are. The data then stay for another epoch.
pub(super) const FEWEST_CHANGED: usize = 1_000;

/// The SHA-256 of pieces and their lengths, in order.
pub(super) fn hash(files: &[PathBuf]) -> anyhow::Result<String> {
    let mut digest = Digest::new(&SHA256);
    let mut buffer = vec![0; 1 << 16];
    for path in files {
        let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        digest.update(&file.metadata()?.len().to_be_bytes());
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            digest.update(buffer.get(..read).unwrap_or_default());
        }
    }
    Ok(hex::encode(digest.finish()))
}

/// The SHA-256 of words and their lengths, in order.
pub(super) fn digest(words: &[&str]) -> String {
    let mut digest = Digest::new(&SHA256);
    for word in words {
        digest.update(&(word.len() as u64).to_be_bytes());
        digest.update(word.as_bytes());
    }
    hex::encode(digest.finish())
}

/// The number of units whose records differ between two snapshots.
pub(super) fn changed(contract: &Contract, last: &Snapshot, next: &Snapshot) -> anyhow::Result<usize> {
    let Some(unit) = contract.main_unit() else { return Ok(usize::MAX) };
    let (before, mut after) = (records(&unit.domain, last)?, records(&unit.domain, next)?);
    let mut differ = 0_usize;
    for (id, records) in before {
        differ += usize::from(after.remove(&id) != Some(records));
    }
    Ok(differ.saturating_add(after.len()))
}

/// For each unit, the sum of the hashes of its records.
fn records(domain: &str, snapshot: &Snapshot) -> anyhow::Result<HashMap<u64, u64>> {
    let mut found: HashMap<u64, u64> = HashMap::new();
    for file in &snapshot.files {
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.build()? {
            let batch = batch?;
            let ids = batch.column_by_name(&unit_column(domain)).and_then(|ids| ids.as_primitive_opt::<UInt64Type>());
            let ids = ids.context("a piece has no ids")?;
            let fields = batch.columns().iter().map(|column| SortField::new(column.data_type().clone()));
            let rows = RowConverter::new(fields.collect())?.convert_columns(batch.columns())?;
            for (id, row) in ids.values().iter().zip(rows.iter()) {
                let mut hasher = DefaultHasher::new();
                hasher.write(row.as_ref());
                let slot = found.entry(*id).or_default();
                *slot = slot.wrapping_add(hasher.finish());
            }
        }
    }
    Ok(found)
}
