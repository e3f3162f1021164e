//! Snapshots: one Parquet file a dataset and ingest, numbered, swapped atomically, kept two deep.
//!
//! Texts are coded and rows sorted by them, so that a question reads little (ARCHITECTURE.md).
//!
//! A snapshot holds no identifier and no unit's name: dimensions, measures, and for each unit domain
//! the dense id and the record key. Of free text it holds whether it is there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{SortColumn, cast, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use chrono::NaiveDate;
use loda_contract::{Contract, Role};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::WriterProperties;

/// How many snapshots of a dataset stay on disk.
const KEPT: usize = 2;

/// So that a group of rows is worth passing over, and its columns worth reading at once.
const ROWS_OF_A_GROUP: usize = 1 << 17;

/// A column of more words than this is no order to put rows in.
const FEW_WORDS: usize = 1_000;

/// What a query reads.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) contract: Arc<Contract>,
    /// A counter a dataset.
    pub(crate) id: u64,
    pub(crate) as_at: NaiveDate,
    pub(crate) file: PathBuf,
}

/// The column that holds a unit's dense id.
pub(crate) fn unit_column(domain: &str) -> String {
    format!("__unit_{domain}")
}

/// The column that holds a unit's record key.
pub(crate) fn key_column(domain: &str) -> String {
    format!("__key_{domain}")
}

/// Whether a contract column is kept in snapshots.
pub(crate) fn is_kept(role: &Role) -> bool {
    !matches!(role, Role::Unit(_) | Role::Identifier)
}

/// Writes a snapshot beside the earlier ones, and makes it the newest by renaming it into place.
pub(crate) fn write(
    state: &Path,
    contract: &Arc<Contract>,
    as_at: NaiveDate,
    batches: &[RecordBatch],
    schema: &SchemaRef,
) -> anyhow::Result<Snapshot> {
    let folder = folder(state, contract);
    std::fs::create_dir_all(&folder)?;
    let id = list(&folder)?.last().map_or(1, |(id, _, _)| id.saturating_add(1));
    let file = folder.join(name(id, as_at));
    let partial = folder.join("partial");
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROWS_OF_A_GROUP));
    for unit in &contract.units {
        // Ids rise: their differences say them shortest. Nothing makes keys shorter than their twelve bits.
        let (id, key) = (unit_column(&unit.domain), key_column(&unit.domain));
        properties = properties
            .set_column_dictionary_enabled(id.clone().into(), false)
            .set_column_encoding(id.clone().into(), Encoding::DELTA_BINARY_PACKED)
            .set_column_compression(id.into(), Compression::UNCOMPRESSED)
            .set_column_compression(key.into(), Compression::UNCOMPRESSED);
    }
    let mut writer = ArrowWriter::try_new(File::create(&partial)?, Arc::clone(schema), Some(properties.build()))?;
    writer.write(&sorted(contract, schema, batches)?)?;
    writer.into_inner()?.sync_all()?;
    std::fs::rename(&partial, &file).with_context(|| format!("renaming into {}", file.display()))?;
    File::open(&folder)?.sync_all()?;
    let mut old = list(&folder)?;
    old.truncate(old.len().saturating_sub(KEPT));
    for (_, _, path) in old {
        std::fs::remove_file(path)?;
    }
    Ok(Snapshot { contract: Arc::clone(contract), id, as_at, file })
}

/// Rows with the same words beside each other, the words with the fewest others first: they take next to no room, and whole
/// groups of rows are passed over where a question asks for other words. Within that by unit.
fn sorted(contract: &Contract, schema: &SchemaRef, batches: &[RecordBatch]) -> anyhow::Result<RecordBatch> {
    let whole = concat_batches(schema, batches)?;
    let mut coded: Vec<(usize, &ArrayRef)> = Vec::new();
    for column in whole.columns().iter().filter(|column| column.as_any_dictionary_opt().is_some()) {
        // Each batch brought words of its own.
        let plain = cast(column, &DataType::Utf8)?;
        let words = cast(&plain, column.data_type())?.as_any_dictionary_opt().map_or(0, |coded| coded.values().len());
        if words <= FEW_WORDS {
            coded.push((words, column));
        }
    }
    coded.sort_by_key(|(words, _)| *words);
    let units = contract.units.iter().filter_map(|unit| whole.column_by_name(&unit_column(&unit.domain)));
    let columns = coded.into_iter().map(|(_, column)| column).chain(units.take(1));
    let columns = columns.map(|column| SortColumn { values: Arc::clone(column), options: None }).collect::<Vec<_>>();
    Ok(take_record_batch(&whole, &lexsort_to_indices(&columns, None)?)?)
}

/// The newest snapshot of exactly this contract on disk.
pub(crate) fn newest(state: &Path, contract: &Arc<Contract>) -> anyhow::Result<Option<Snapshot>> {
    let newest = list(&folder(state, contract))?.pop();
    Ok(newest.map(|(id, as_at, file)| Snapshot { contract: Arc::clone(contract), id, as_at, file }))
}

/// What `loda-node snapshots` prints: every snapshot of the configured datasets.
///
/// # Errors
/// Where a contract or a folder cannot be read.
pub(crate) fn snapshots(config: &crate::config::Config) -> anyhow::Result<String> {
    let mut out = format!("{:<28} {:>8}  {:<10} {:>12}\n", "dataset", "snapshot", "as at", "bytes");
    for dataset in &config.datasets {
        let contract = Contract::load(&dataset.contract)?;
        let kept = list(&folder(&config.state, &contract))?;
        if kept.is_empty() {
            out.push_str(&format!("{:<28} none yet\n", contract.dataset));
        }
        for (id, as_at, file) in kept {
            let bytes = std::fs::metadata(&file)?.len();
            out.push_str(&format!("{:<28} {id:>8}  {as_at}  {bytes:>12}\n", contract.dataset));
        }
    }
    Ok(out)
}

/// Snapshots of another version of the contract live elsewhere: their columns may mean something else.
fn folder(state: &Path, contract: &Contract) -> PathBuf {
    let version: String = contract.sha256.chars().take(16).collect();
    state.join("snapshots").join(&contract.dataset).join(version)
}

fn name(id: u64, as_at: NaiveDate) -> String {
    format!("{id:08}_{as_at}.parquet")
}

fn list(folder: &Path) -> anyhow::Result<Vec<(u64, NaiveDate, PathBuf)>> {
    let mut found = Vec::new();
    if !folder.exists() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let parsed = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".parquet"));
        if let Some((id, as_at)) = parsed.and_then(|n| n.split_once('_'))
            && let (Ok(id), Ok(as_at)) = (id.parse(), as_at.parse())
        {
            found.push((id, as_at, path));
        }
    }
    found.sort();
    Ok(found)
}
