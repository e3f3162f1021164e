//! Snapshots: numbered and swapped atomically. The configuration says how many are kept.
//!
//! ```text
//! 00000007_2026-11-01.json   snapshot 7: its pieces, and the files that they were read from
//! 00000003.parquet           a piece, by the snapshot that wrote it first
//! ```
//!
//! A snapshot is one piece, unless its source appends: then new rows become a piece of their own. In a piece, texts are
//! coded and rows are sorted by them, so a question reads little (docs/performance.md).
//!
//! A snapshot holds no identifier and no unit's name. It holds dimensions, measures, and the dense id for each unit
//! domain. Of free text, it holds only whether there is any.

pub(crate) mod provenance;
pub(crate) mod table_provider;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{SortColumn, cast, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use chrono::NaiveDate;
use loda_contract::{ColumnType, Contract, Role, Value};
use loda_question::plan::arrow_type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use crate::snapshot::provenance::ReadFrom;

/// With fewer, a snapshot could go while questions that began on it still run.
pub(crate) const FEWEST: usize = 2;

/// A group of so many rows is worth skipping, and its columns are worth reading at once.
const ROWS_OF_A_GROUP: usize = 1 << 17;

/// Rows are not sorted by a column with more words than this.
const FEW_WORDS: usize = 1_000;

/// For each open column, the values that it can have, in order.
pub(crate) type CodeLists = BTreeMap<String, Vec<String>>;

/// The closed periods of a dataset, as tables read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Closed {
    /// The first day of each period, in order.
    pub(crate) periods: Vec<Value>,
    /// For each period, the words in the keys of its cells: the period, the hash of its rows, the version of their
    /// draw, and whether they are restated.
    pub(crate) epochs: Vec<String>,
    pub(crate) files: Vec<PathBuf>,
}

/// The snapshots that stay on disk.
pub(crate) enum Retention {
    All,
    /// The newest `keep` snapshots, and one that is still needed.
    Newest {
        keep: usize,
        spared: Option<u64>,
    },
}

/// The data that a query reads.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) contract: Arc<Contract>,
    /// A counter for each dataset.
    pub(crate) id: u64,
    pub(crate) as_at: NaiveDate,
    pub(crate) files: Vec<PathBuf>,
    /// For a dataset that appends: the files that its rows were read from.
    pub(crate) read_from: Option<ReadFrom>,
    /// For data about people: the epoch that the snapshot is pinned for, and the hash of its pieces.
    pub(crate) epoch: Option<Arc<str>>,
    /// For data about people: the values that open columns can have.
    pub(crate) lists: Arc<CodeLists>,
    /// For rows that come by period: the closed periods. `files` are then the ones that registers see.
    pub(crate) closed: Arc<Closed>,
}

/// The form on disk.
#[derive(Serialize, Deserialize)]
pub(crate) struct Listing {
    pub(crate) pieces: Vec<String>,
    read_from: Option<ReadFrom>,
}

/// The column that holds a unit's dense id.
pub(crate) fn unit_column(domain: &str) -> String {
    format!("__unit_{domain}")
}

/// Whether a contract column is kept in snapshots.
pub(crate) fn is_kept(role: &Role) -> bool {
    !matches!(role, Role::Unit(_) | Role::Identifier)
}

/// The type in snapshots. Texts are coded, so a question looks at each word once.
pub(crate) fn kept_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Text => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        other => arrow_type(other),
    }
}

/// The columns of a snapshot: dimensions, measures, and the dense id of each unit.
pub(crate) fn snapshot_schema(contract: &Contract) -> SchemaRef {
    let columns = contract.columns.iter().filter(|c| is_kept(&c.role));
    let mut fields: Vec<Field> = columns.map(|c| Field::new(&c.name, kept_type(c.kind), c.nullable)).collect();
    for unit in &contract.units {
        fields.push(Field::new(unit_column(&unit.domain), DataType::UInt64, false));
    }
    Arc::new(Schema::new(fields))
}

/// The rows for the next snapshot of a dataset.
pub(crate) struct SnapshotRows<'a> {
    pub(crate) schema: &'a SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    /// The snapshot that the rows are added to, if there is one.
    pub(crate) onto: Option<&'a Snapshot>,
    pub(crate) read_from: Option<ReadFrom>,
}

/// Writes a snapshot beside the earlier ones. Renaming it into place makes it the newest. `retention` is called after
/// that.
pub(crate) fn write(
    state: &Path,
    contract: &Arc<Contract>,
    as_at: NaiveDate,
    rows: SnapshotRows<'_>,
    retention: impl FnOnce() -> anyhow::Result<Retention>,
) -> anyhow::Result<Snapshot> {
    let folder = folder(state, contract);
    std::fs::create_dir_all(&folder)?;
    let id = list(&folder)?.last().map_or(1, |(id, _, _)| id.saturating_add(1));
    let SnapshotRows { schema, batches, onto, read_from } = rows;
    let piece = folder.join(piece_name(id));
    let mut files = onto.map_or_else(Vec::new, |last| last.files.clone());
    if onto.is_none() || batches.iter().any(|batch| batch.num_rows() > 0) {
        write_piece(&piece, contract, schema, &batches)?;
        join_small(&piece, contract, schema, &mut files)?;
        files.push(piece);
    }
    let pieces = files.iter().filter_map(|file| Some(file.file_name()?.to_str()?.to_owned())).collect();
    let listing = folder.join(format!("{id:08}_{as_at}.json"));
    let partial = folder.join("partial");
    let text = serde_json::to_vec_pretty(&Listing { pieces, read_from: read_from.clone() })?;
    std::fs::write(&partial, text)?;
    File::open(&partial)?.sync_all()?;
    std::fs::rename(&partial, &listing).with_context(|| format!("renaming into {}", listing.display()))?;
    File::open(&folder)?.sync_all()?;
    if let Retention::Newest { keep, spared } = retention()? {
        prune(&folder, keep, spared)?;
    }
    Ok(unserved(contract, id, as_at, files, read_from))
}

/// A snapshot for which epoch, lists and closed periods are not decided yet.
fn unserved(
    contract: &Arc<Contract>,
    id: u64,
    as_at: NaiveDate,
    files: Vec<PathBuf>,
    read_from: Option<ReadFrom>,
) -> Snapshot {
    let contract = Arc::clone(contract);
    Snapshot { contract, id, as_at, files, read_from, epoch: None, lists: Arc::default(), closed: Arc::default() }
}

/// Writes rows as a piece. The file is synced and renamed into place. The caller syncs the folder.
pub(crate) fn write_piece(
    file: &Path,
    contract: &Contract,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> anyhow::Result<()> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROWS_OF_A_GROUP));
    for unit in &contract.units {
        // Ids rise, so their differences are the shortest form.
        let id = unit_column(&unit.domain);
        properties = properties
            .set_column_dictionary_enabled(id.clone().into(), false)
            .set_column_encoding(id.clone().into(), Encoding::DELTA_BINARY_PACKED)
            .set_column_compression(id.into(), Compression::UNCOMPRESSED);
    }
    let partial = file.with_extension("partial");
    let mut writer = ArrowWriter::try_new(File::create(&partial)?, Arc::clone(schema), Some(properties.build()))?;
    writer.write(&sorted(contract, schema, batches)?)?;
    writer.into_inner()?.sync_all()?;
    Ok(std::fs::rename(&partial, file)?)
}

impl Snapshot {
    /// The number of its rows, from its pieces.
    pub(crate) fn rows(&self) -> anyhow::Result<u64> {
        let rows = self.files.iter().map(|file| Ok(u64::try_from(count(file)?).unwrap_or(0)));
        rows.sum()
    }

    /// For each id of a unit domain, whether the snapshot holds it.
    pub(crate) fn ids(&self, domain: &str) -> anyhow::Result<Vec<bool>> {
        let mut there = Vec::new();
        for file in &self.files {
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
            let only = ProjectionMask::columns(reader.parquet_schema(), [unit_column(domain).as_str()]);
            for batch in reader.with_projection(only).build()? {
                let batch = batch?;
                let ids = batch.columns().first().and_then(|ids| ids.as_primitive_opt::<UInt64Type>());
                for id in ids.context("a piece has no ids")?.values() {
                    let id = usize::try_from(*id)?;
                    if id >= there.len() {
                        there.resize(id.saturating_add(1), false);
                    }
                    there.get_mut(id).into_iter().for_each(|there| *there = true);
                }
            }
        }
        Ok(there)
    }
}

fn count(file: &Path) -> anyhow::Result<i64> {
    Ok(ParquetMetaDataReader::new().parse_and_finish(&File::open(file)?)?.file_metadata().num_rows())
}

/// Joins a piece with the pieces before it that are not much larger. So there are few pieces, and each row is rewritten
/// only a logarithmic number of times.
fn join_small(piece: &Path, contract: &Contract, schema: &SchemaRef, earlier: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let (mut rows, mut small) = (count(piece)?, Vec::new());
    while let Some(last) = earlier.last() {
        let of_last = count(last)?;
        if of_last / 2 >= rows {
            break;
        }
        rows = rows.saturating_add(of_last);
        small.extend(earlier.pop());
    }
    if small.is_empty() {
        return Ok(());
    }
    small.reverse();
    small.push(piece.to_owned());
    let mut batches = Vec::new();
    for file in &small {
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.build()? {
            batches.push(batch?);
        }
    }
    write_piece(piece, contract, schema, &batches)
}

/// Removes all snapshots except the newest and the pinned one, and the pieces that none of these has.
fn prune(folder: &Path, keep: usize, pinned: Option<u64>) -> anyhow::Result<()> {
    let mut kept = list(folder)?;
    let newest = kept.split_off(kept.len().saturating_sub(keep));
    let (spared, old): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(id, _, _)| Some(*id) == pinned);
    for (_, _, listing) in old {
        std::fs::remove_file(listing)?;
    }
    let kept: Vec<_> = spared.into_iter().chain(newest).collect();
    let used = kept.iter().filter_map(|(_, _, listing)| read(listing).ok()).flat_map(|listing| listing.pieces);
    let used: BTreeSet<String> = used.collect();
    for entry in std::fs::read_dir(folder)? {
        let file = entry?;
        let name = file.file_name();
        let name = name.to_string_lossy();
        if !name.ends_with(".json") && !used.contains(name.as_ref()) {
            std::fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// Puts rows with the same words next to one another. Columns with the fewest words sort first, and the first unit
/// sorts last. The columns then take almost no room. A question for other words skips whole groups of rows.
fn sorted(contract: &Contract, schema: &SchemaRef, batches: &[RecordBatch]) -> anyhow::Result<RecordBatch> {
    let whole = concat_batches(schema, batches)?;
    let mut coded: Vec<(usize, &ArrayRef)> = Vec::new();
    for column in whole.columns().iter().filter(|column| column.as_any_dictionary_opt().is_some()) {
        // Each batch has words of its own.
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

/// The newest whole snapshot on disk of exactly this contract.
pub(crate) fn newest(state: &Path, contract: &Arc<Contract>) -> anyhow::Result<Option<Snapshot>> {
    let folder = folder(state, contract);
    for (id, as_at, listing) in list(&folder)?.into_iter().rev() {
        match whole(contract, &folder, id, as_at, &listing) {
            Ok(snapshot) => return Ok(Some(snapshot)),
            Err(fault) => tracing::error!("snapshot {} cannot be used: {fault:#}", listing.display()),
        }
    }
    Ok(None)
}

/// A snapshot by its number.
///
/// # Errors
/// The snapshot is not there, or is not whole.
pub(crate) fn by_id(state: &Path, contract: &Arc<Contract>, wanted: u64) -> anyhow::Result<Snapshot> {
    let folder = folder(state, contract);
    let found = list(&folder)?.into_iter().find(|(id, _, _)| *id == wanted);
    let (id, as_at, listing) = found.with_context(|| format!("snapshot {wanted} is not in {}", folder.display()))?;
    whole(contract, &folder, id, as_at, &listing)
}

fn whole(
    contract: &Arc<Contract>,
    folder: &Path,
    id: u64,
    as_at: NaiveDate,
    listing: &Path,
) -> anyhow::Result<Snapshot> {
    let Listing { pieces, read_from } = read(listing)?;
    let files: Vec<PathBuf> = pieces.iter().map(|piece| folder.join(piece)).collect();
    for file in &files {
        anyhow::ensure!(file.is_file(), "its piece {} is not there", file.display());
    }
    Ok(unserved(contract, id, as_at, files, read_from))
}

/// The folder of a contract's snapshots. Another version of the contract has another folder, because its columns may
/// mean something else.
pub(crate) fn folder(state: &Path, contract: &Contract) -> PathBuf {
    let version: String = contract.sha256.chars().take(16).collect();
    state.join("snapshots").join(&contract.dataset).join(version)
}

fn piece_name(id: u64) -> String {
    format!("{id:08}.parquet")
}

pub(crate) fn read(listing: &Path) -> anyhow::Result<Listing> {
    let listing: Listing = serde_json::from_slice(&std::fs::read(listing)?)?;
    // Names only, and no paths to other places.
    let plain = |piece: &String| !piece.contains(['/', '\\']);
    anyhow::ensure!(listing.pieces.iter().all(plain), "a piece has no plain name");
    Ok(listing)
}

/// The snapshots of a folder, by their numbers.
pub(crate) fn list(folder: &Path) -> anyhow::Result<Vec<(u64, NaiveDate, PathBuf)>> {
    let mut found = Vec::new();
    if !folder.exists() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let parsed = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".json"));
        if let Some((id, as_at)) = parsed.and_then(|n| n.split_once('_'))
            && let (Ok(id), Ok(as_at)) = (id.parse(), as_at.parse())
        {
            found.push((id, as_at, path));
        }
    }
    found.sort();
    Ok(found)
}
