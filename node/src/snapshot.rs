//! Snapshots: numbered, swapped atomically, kept as many deep as the configuration says.
//!
//! ```text
//! 00000007_2026-11-01.json   what snapshot 7 is: its pieces, and the files that they were read from
//! 00000003.parquet           a piece, by the snapshot that wrote it first
//! ```
//!
//! A snapshot is one piece, unless its source appends: then new rows become a piece beside the earlier ones. In a piece texts
//! are coded and rows sorted by them, so that a question reads little (ARCHITECTURE.md).
//!
//! A snapshot holds no identifier and no unit's name: dimensions, measures, and for each unit domain
//! the dense id. Of free text it holds whether it is there.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{SortColumn, cast, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef, UInt64Type};
use chrono::NaiveDate;
use loda_contract::{Contract, Role};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use crate::appending::ReadFrom;
use crate::epochs;

/// Fewer would take a snapshot from under the questions that began on it.
pub(crate) const FEWEST: usize = 2;

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
    pub(crate) files: Vec<PathBuf>,
    /// Of a dataset that appends.
    pub(crate) read_from: Option<ReadFrom>,
    /// Of data about people: the epoch that it is pinned for, and the hash of its pieces.
    pub(crate) epoch: Option<Arc<str>>,
    /// Of data about people: the values that open columns can have.
    pub(crate) lists: Arc<epochs::CodeLists>,
    /// Of rows that come by period: those that are closed. `files` are what registers see of them.
    pub(crate) closed: Arc<epochs::Closed>,
}

/// As it stands on disk.
#[derive(Serialize, Deserialize)]
struct Listing {
    pieces: Vec<String>,
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

/// What the next snapshot of a dataset is made of.
pub(crate) struct Rows<'a> {
    pub(crate) schema: &'a SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    /// Rows that come beside those of a snapshot.
    pub(crate) onto: Option<&'a Snapshot>,
    pub(crate) read_from: Option<ReadFrom>,
}

/// Writes a snapshot beside the earlier ones, and makes it the newest by renaming it into place. Of snapshots `keep` stay.
pub(crate) fn write(
    state: &Path,
    contract: &Arc<Contract>,
    as_at: NaiveDate,
    rows: Rows<'_>,
    keep: usize,
) -> anyhow::Result<Snapshot> {
    let folder = folder(state, contract);
    std::fs::create_dir_all(&folder)?;
    let id = list(&folder)?.last().map_or(1, |(id, _, _)| id.saturating_add(1));
    let Rows { schema, batches, onto, read_from } = rows;
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
    let pin = epochs::pinned(state, &contract.dataset)?.filter(|pin| pin.contract == contract.sha256);
    // Of data about people nothing goes while nobody knows what is pinned: it may be what a backup's epochs.json names.
    let by_period = contract.closure.period.is_some();
    let pinned = pin.map(|pin| pin.snapshot).filter(|snapshot| *snapshot > 0 && !by_period);
    if pinned.is_some() || by_period || !contract.protection.may_be_about_people() {
        prune(&folder, keep, pinned)?;
    }
    Ok(unserved(contract, id, as_at, files, read_from))
}

/// A snapshot of which nobody has said yet what is served.
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

/// Rows as a piece, durable under its name.
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
        // Ids rise: their differences say them shortest.
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
    /// As its pieces say.
    pub(crate) fn rows(&self) -> anyhow::Result<u64> {
        let rows = self.files.iter().map(|file| Ok(u64::try_from(count(file)?).unwrap_or(0)));
        rows.sum()
    }

    /// Which ids of a unit domain are in it, by id.
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

/// A piece takes in those before it that are not much larger: so that there are few, and each row is written again seldom
/// (logarithmically often in how many there are).
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

/// Removes all but the newest snapshots and the one that is pinned, and the pieces that none of those has.
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

/// The newest whole snapshot of exactly this contract on disk.
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
/// Where it is not there, or not whole.
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

/// What `loda-node snapshots` prints: every snapshot of the configured datasets.
///
/// # Errors
/// Where a contract or a folder cannot be read.
pub(crate) fn snapshots(config: &crate::config::Config) -> anyhow::Result<String> {
    let mut out =
        format!("{:<28} {:>8}  {:<10} {:>6} {:>12}  {}\n", "dataset", "snapshot", "as at", "pieces", "bytes", "served");
    for dataset in &config.datasets {
        let contract = Contract::load(&dataset.contract)?;
        let folder = folder(&config.state, &contract);
        let kept = list(&folder)?;
        if kept.is_empty() {
            out.push_str(&format!("{:<28} none yet\n", contract.dataset));
        }
        let pin = epochs::pinned(&config.state, &contract.dataset)?.filter(|pin| pin.contract == contract.sha256);
        let last = kept.last().map(|(id, _, _)| *id);
        let periods = match &contract.closure.period {
            None => None,
            Some(_) => Some(epochs::listed(&config.state, &contract)?),
        };
        for (id, as_at, listing) in kept {
            let served = match (&pin, &periods) {
                (_, Some(periods)) if last == Some(id) => match periods.last() {
                    None => "no period is closed yet".to_owned(),
                    Some(last) => format!("{} periods are closed, the last {}", periods.len(), last.period),
                },
                (_, Some(_)) => String::new(),
                (Some(pin), None) if pin.snapshot == id => format!("for epoch {}", pin.until),
                (Some(pin), None) if pin.snapshot < id => "waits for the next epoch".to_owned(),
                (None, None) if last == Some(id) => "yes".to_owned(),
                _ => String::new(),
            };
            let pieces = read(&listing)?.pieces;
            let sizes = pieces.iter().map(|piece| Ok(std::fs::metadata(folder.join(piece))?.len()));
            let bytes = sizes.sum::<std::io::Result<u64>>()?;
            let line = format!("{:<28} {id:>8}  {as_at} {:>7} {bytes:>12}  {served}", contract.dataset, pieces.len());
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    Ok(out)
}

/// Snapshots of another version of the contract live elsewhere: their columns may mean something else.
fn folder(state: &Path, contract: &Contract) -> PathBuf {
    let version: String = contract.sha256.chars().take(16).collect();
    state.join("snapshots").join(&contract.dataset).join(version)
}

fn piece_name(id: u64) -> String {
    format!("{id:08}.parquet")
}

fn read(listing: &Path) -> anyhow::Result<Listing> {
    let listing: Listing = serde_json::from_slice(&std::fs::read(listing)?)?;
    // Names, and no ways to elsewhere.
    let plain = |piece: &String| !piece.contains(['/', '\\']);
    anyhow::ensure!(listing.pieces.iter().all(plain), "a piece has no plain name");
    Ok(listing)
}

/// The snapshots of a folder by their numbers.
fn list(folder: &Path) -> anyhow::Result<Vec<(u64, NaiveDate, PathBuf)>> {
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
