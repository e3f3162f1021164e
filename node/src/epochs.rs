//! Epochs: the data about people stand still between the days on which registers open.
//!
//! `epochs.json` in the state folder names, for each dataset about people, the epoch, the snapshot that is pinned for it and
//! the hash of its pieces. Keys of cells hold the epoch's name and that hash, so that no other data ever get the same noise.
//! What is read later is checked and waits: several snapshots in one epoch would give newcomers record by record. A dataset
//! whose pinned snapshot is lost, or whose contract changed, is not served until the next epoch.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail, ensure};
use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use arrow::row::{RowConverter, SortField};
use chrono::{Datelike, NaiveDate};
use loda_contract::{Contract, Epoch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ring::digest::{Context as Digest, SHA256};
use serde::{Deserialize, Serialize};

use crate::snapshot::{self, Snapshot, unit_column};

/// Fewer changed units than this would be known by how figures change: the data stand for another epoch.
const FEWEST_CHANGED: usize = 1_000;

/// The epochs of one node.
pub(crate) struct Epochs {
    state: PathBuf,
    /// Off where nothing is protected: in tests alone.
    on: bool,
    pins: Mutex<Pins>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Pins {
    datasets: BTreeMap<String, Pin>,
}

/// What a dataset serves in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// The epoch whose name keys of cells hold.
    pub(crate) epoch: String,
    /// The last epoch in which it was looked at: as long as little changes, the data and their noise stay.
    pub(crate) until: String,
    /// The first day on which it may be another's, whatever contract or clock say meanwhile.
    pub(crate) ends: String,
    pub(crate) contract: String,
    pub(crate) snapshot: u64,
    pub(crate) sha256: String,
}

/// The name of the epoch that a day is in: `2026Q4`, `2026-11`, `2026`.
pub(crate) fn name(epoch: Epoch, day: NaiveDate) -> String {
    match epoch {
        Epoch::Month => format!("{}-{:02}", day.year(), day.month()),
        Epoch::Quarter => format!("{}Q{}", day.year(), day.month0() / 3 + 1),
        Epoch::Year => day.year().to_string(),
    }
}

/// The first day after the epoch that a day is in.
fn end(epoch: Epoch, day: NaiveDate) -> NaiveDate {
    let (year, month) = match epoch {
        Epoch::Month => (day.year(), day.month() + 1),
        Epoch::Quarter => (day.year(), day.month0() / 3 * 3 + 4),
        Epoch::Year => (day.year() + 1, 1),
    };
    let (year, month) = if month > 12 { (year + 1, month - 12) } else { (year, month) };
    NaiveDate::from_ymd_opt(year, month, 1).unwrap_or(NaiveDate::MAX)
}

fn file(state: &Path) -> PathBuf {
    state.join("epochs.json")
}

/// What is pinned of a dataset, as the file says.
///
/// # Errors
/// Where there is a file that cannot be read: nothing may be removed then.
pub(crate) fn pinned(state: &Path, dataset: &str) -> anyhow::Result<Option<Pin>> {
    Ok(load(state)?.datasets.remove(dataset))
}

fn load(state: &Path) -> anyhow::Result<Pins> {
    let path = file(state);
    if !path.exists() {
        return Ok(Pins::default());
    }
    let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| {
        format!(
            "{}: not as this node writes it. Restore it from the backup: without it nobody knows what is pinned",
            path.display()
        )
    })
}

impl Epochs {
    pub(crate) fn open(state: &Path, on: bool) -> anyhow::Result<Self> {
        let pins = if on { load(state)? } else { Pins::default() };
        Ok(Self { state: state.to_owned(), on, pins: Mutex::new(pins) })
    }

    /// What is served of a dataset on a day: of data about people what is pinned, else the newest.
    ///
    /// # Errors
    /// Why it is not served until the next epoch, or where the pin cannot be written.
    pub(crate) fn served(
        &self,
        contract: &Arc<Contract>,
        newest: Option<Snapshot>,
        today: NaiveDate,
    ) -> anyhow::Result<Option<Snapshot>> {
        if !self.on || !contract.protection.may_be_about_people() {
            return Ok(newest);
        }
        let (now, ends) = (name(contract.closure.epoch, today), end(contract.closure.epoch, today).to_string());
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = pins.datasets.get(&contract.dataset).cloned();
        if let Some(pin) = pin.as_ref().filter(|pin| today.to_string() < pin.ends) {
            return self.standing(contract, pin).map(Some);
        }
        let Some(newest) = newest else { return Ok(None) };
        // The day has come. Where next to nothing has changed, the data and their noise stand.
        let standing = match &pin {
            Some(pin) if pin.contract == contract.sha256 => self.standing(contract, pin).ok(),
            _ => None,
        };
        let stands = match &standing {
            Some(last) if last.id == newest.id => true,
            Some(last) => changed(contract, last, &newest)? < FEWEST_CHANGED,
            None => false,
        };
        let (pin, served) = match (pin, standing) {
            (Some(pin), Some(last)) if stands => (Pin { until: now, ends, ..pin }, last),
            _ => {
                let sha256 = hash(&newest.files)?;
                let pin = Pin {
                    epoch: now.clone(),
                    until: now,
                    ends,
                    contract: contract.sha256.clone(),
                    snapshot: newest.id,
                    sha256,
                };
                (pin.clone(), with_epoch(newest, &pin))
            }
        };
        pins.datasets.insert(contract.dataset.clone(), pin);
        self.write(&pins)?;
        Ok(Some(served))
    }

    /// Whether another epoch has begun for a dataset.
    pub(crate) fn is_over(&self, contract: &Contract, today: NaiveDate) -> bool {
        let pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = pins.datasets.get(&contract.dataset);
        self.on && contract.protection.may_be_about_people() && pin.is_none_or(|pin| today.to_string() >= pin.ends)
    }

    /// The pinned snapshot, whole and unchanged.
    fn standing(&self, contract: &Arc<Contract>, pin: &Pin) -> anyhow::Result<Snapshot> {
        let dataset = &contract.dataset;
        ensure!(
            pin.contract == contract.sha256,
            "dataset '{dataset}': its contract changed within epoch {}; the dataset is served again when the next begins",
            pin.until
        );
        let found = snapshot::by_id(&self.state, contract, pin.snapshot);
        let found = found.with_context(|| {
            format!(
                "dataset '{dataset}': snapshot {}, pinned for epoch {}, is lost; restore it from the backup, or wait for the next",
                pin.snapshot, pin.until
            )
        })?;
        if hash(&found.files)? != pin.sha256 {
            bail!(
                "dataset '{dataset}': snapshot {}, pinned for epoch {}, is not as it was; restore it from the backup, or wait",
                pin.snapshot,
                pin.until
            );
        }
        Ok(with_epoch(found, pin))
    }

    /// Durable before it is served.
    fn write(&self, pins: &Pins) -> anyhow::Result<()> {
        let (path, partial) = (file(&self.state), self.state.join("epochs.partial"));
        std::fs::write(&partial, serde_json::to_vec_pretty(pins)?)?;
        File::open(&partial)?.sync_all()?;
        std::fs::rename(&partial, &path).with_context(|| format!("renaming into {}", path.display()))?;
        File::open(&self.state)?.sync_all()?;
        Ok(())
    }
}

fn with_epoch(snapshot: Snapshot, pin: &Pin) -> Snapshot {
    Snapshot { epoch: Some(format!("{} {}", pin.epoch, pin.sha256).into()), ..snapshot }
}

/// SHA-256 over pieces, in their order.
fn hash(files: &[PathBuf]) -> anyhow::Result<String> {
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

/// How many units have other records in one snapshot than in another.
fn changed(contract: &Contract, last: &Snapshot, next: &Snapshot) -> anyhow::Result<usize> {
    let Some(unit) = contract.main_unit() else { return Ok(usize::MAX) };
    let (before, mut after) = (records(&unit.domain, last)?, records(&unit.domain, next)?);
    let mut differ = 0_usize;
    for (id, records) in before {
        differ += usize::from(after.remove(&id) != Some(records));
    }
    Ok(differ.saturating_add(after.len()))
}

/// For each unit a sum of hashes of its records.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn epochs_have_the_names_of_their_days() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(name(Epoch::Quarter, day("2026-11-28")), "2026Q4");
        assert_eq!(name(Epoch::Quarter, day("2027-01-01")), "2027Q1");
        assert_eq!(name(Epoch::Month, day("2026-03-31")), "2026-03");
        assert_eq!(name(Epoch::Year, day("2026-01-01")), "2026");
        assert_eq!(end(Epoch::Quarter, day("2026-11-28")), day("2027-01-01"));
        assert_eq!(end(Epoch::Quarter, day("2026-03-31")), day("2026-04-01"));
        assert_eq!(end(Epoch::Month, day("2026-12-31")), day("2027-01-01"));
        assert_eq!(end(Epoch::Year, day("2026-02-28")), day("2027-01-01"));
    }
}
