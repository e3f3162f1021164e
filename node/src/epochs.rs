//! Epochs: the data about people stand still between the days on which registers open.
//!
//! `epochs.json` in the state folder names, for each dataset about people, the epoch, the snapshot that is pinned for it and
//! the hash of its pieces. Keys of cells hold the epoch's name and that hash, so that no other data ever get the same noise.
//! What is read later is checked and waits: several snapshots in one epoch would give newcomers record by record. A dataset
//! whose pinned snapshot is lost, or whose contract, perturbation or secret changed, is not served until the next epoch.
//!
//! The log holds what each epoch opened with. An `epochs.json` that is lost, or an old one that is put back, cannot give the
//! cells of one epoch another draw or other data: what the log does not know is not served under that epoch's name.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use arrow::row::{RowConverter, SortField};
use chrono::{Datelike, NaiveDate};
use loda_contract::{Contract, Epoch};
use loda_ledger::{Entry, Kind, Log};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ring::digest::{Context as Digest, SHA256};
use serde::{Deserialize, Serialize};

use crate::snapshot::{self, Snapshot, unit_column};
use crate::tables::words_of;

/// Fewer changed units than this would be known by how figures change: the data stand for another epoch.
const FEWEST_CHANGED: usize = 1_000;

/// Values of an open column at most: what goes along with each answer, and what a coordinator takes.
const MOST_WORDS: usize = 10_000;

/// The epochs of one node.
pub(crate) struct Epochs {
    state: PathBuf,
    /// Off where nothing is protected: in tests alone.
    on: bool,
    /// The public datasets that this node holds: what open columns take their values from.
    published: Vec<Arc<Contract>>,
    /// What the log says that epochs opened with.
    opened: Mutex<Openings>,
    log: Arc<dyn Log>,
    /// Of the perturbation and of the node's secret.
    method: String,
    secret: String,
    pins: Mutex<Pins>,
}

/// For each open column the values that it can have, in order.
pub(crate) type CodeLists = BTreeMap<String, Vec<String>>;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Pins {
    /// Of the secret that all noise follows from.
    #[serde(default)]
    secret: String,
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
    /// 0: nobody knows any more what it was.
    pub(crate) snapshot: u64,
    pub(crate) sha256: String,
    #[serde(default)]
    pub(crate) lists: CodeLists,
    /// Of the perturbation that its cells are drawn by: two tables at the same keys would give the noise away.
    #[serde(default)]
    pub(crate) method: String,
}

/// What a dataset opened with, by the epoch in which it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Opening {
    /// The epoch whose name keys of cells hold.
    drawn: String,
    snapshot: u64,
    sha256: String,
}

/// By dataset and epoch.
#[derive(Debug, Default)]
pub(crate) struct Openings(BTreeMap<(String, String), Opening>);

impl Openings {
    /// Takes up what an entry of the log says of an epoch.
    pub(crate) fn note(&mut self, entry: &Entry) {
        if entry.kind == Kind::Admin
            && let Some((epoch, opening)) = Opening::parse(&entry.detail)
        {
            self.0.insert((entry.dataset.clone(), epoch), opening);
        }
    }

    fn of(&self, dataset: &str, epoch: &str) -> Option<&Opening> {
        self.0.get(&(dataset.to_owned(), epoch.to_owned()))
    }
}

impl Opening {
    /// In the log.
    fn words(&self, epoch: &str) -> String {
        format!(
            "epoch {epoch} is served from snapshot {} drawn as {} sha256 {}",
            self.snapshot, self.drawn, self.sha256
        )
    }

    /// Reads what [`Opening::words`] writes: the epoch, and what it opened with.
    fn parse(detail: &str) -> Option<(String, Self)> {
        let words: Vec<&str> = detail.split(' ').collect();
        let ["epoch", epoch, "is", "served", "from", "snapshot", snapshot, "drawn", "as", drawn, "sha256", sha256] =
            words.as_slice()
        else {
            return None;
        };
        let opening =
            Self { drawn: (*drawn).to_owned(), snapshot: snapshot.parse().ok()?, sha256: (*sha256).to_owned() };
        Some(((*epoch).to_owned(), opening))
    }
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

/// What a node's epochs rest on.
pub(crate) struct Surroundings {
    /// Off where nothing is protected: in tests alone.
    pub(crate) on: bool,
    /// The public datasets that the node holds: what open columns take their values from.
    pub(crate) published: Vec<Arc<Contract>>,
    pub(crate) opened: Openings,
    pub(crate) log: Arc<dyn Log>,
    /// Fingerprints of the perturbation and of the secret.
    pub(crate) method: String,
    pub(crate) secret: String,
}

impl Epochs {
    /// # Errors
    /// Where `epochs.json` cannot be read, or is another secret's.
    pub(crate) fn open(state: &Path, surroundings: Surroundings) -> anyhow::Result<Self> {
        let Surroundings { on, published, opened, log, method, secret } = surroundings;
        let pins = if on { load(state)? } else { Pins::default() };
        ensure!(
            pins.secret.is_empty() || pins.secret == secret,
            "{}: record.key is not the one that {} was written with: restore both from one backup, for another secret would draw \
             all figures about people anew. If there is none, remove epochs.json: data about people are served again when \
             the next epoch begins",
            state.display(),
            file(state).display()
        );
        Ok(Self {
            state: state.to_owned(),
            on,
            published,
            opened: Mutex::new(opened),
            log,
            method,
            secret,
            pins: Mutex::new(pins),
        })
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
        if !contract.protection.may_be_about_people() {
            return Ok(newest);
        }
        if !self.on {
            let listed = |newest: Snapshot| Ok(Snapshot { lists: Arc::new(self.lists(contract)?), ..newest });
            return newest.map(listed).transpose();
        }
        let (now, ends) = (name(contract.closure.epoch, today), end(contract.closure.epoch, today).to_string());
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = pins.datasets.get(&contract.dataset).cloned();
        if let Some(pin) = pin.as_ref().filter(|pin| today.to_string() < pin.ends) {
            return self.standing(contract, pin).map(Some);
        }
        let Some(newest) = newest else { return Ok(None) };
        // The day has come. Where next to nothing has changed, the data and their noise stand.
        let last = match &pin {
            Some(pin) if pin.contract == contract.sha256 && pin.method == self.method => self.whole(contract, pin)?,
            _ => None,
        };
        let stands = match &last {
            Some(last) if last.id == newest.id => true,
            Some(last) => changed(contract, last, &newest)? < FEWEST_CHANGED,
            None => false,
        };
        let (pin, served) = match (pin, last) {
            (Some(pin), Some(last)) if stands => (Pin { until: now, ends, ..pin }, last),
            _ => {
                let pin = Pin {
                    epoch: now.clone(),
                    until: now,
                    ends,
                    contract: contract.sha256.clone(),
                    snapshot: newest.id,
                    sha256: hash(&newest.files)?,
                    lists: self.lists(contract)?,
                    method: self.method.clone(),
                };
                (pin.clone(), with_epoch(newest, &pin))
            }
        };
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let opening = Opening { drawn: pin.epoch.clone(), snapshot: pin.snapshot, sha256: pin.sha256.clone() };
        let pin = match opened.of(&contract.dataset, &pin.until) {
            Some(before) if before.drawn == opening.drawn && before.sha256 == opening.sha256 => pin,
            // The file was lost, or is an old one: other data, or another draw, under the epoch's name.
            Some(_) => Pin { snapshot: 0, ..pin },
            None => {
                self.note(contract, opening.words(&pin.until))?;
                opened.0.insert((contract.dataset.clone(), pin.until.clone()), opening);
                pin
            }
        };
        // Durable before it is served, or counts as pinned.
        let mut next = pins.clone();
        next.secret.clone_from(&self.secret);
        next.datasets.insert(contract.dataset.clone(), pin.clone());
        self.write(&next)?;
        *pins = next;
        if pin.snapshot == 0 { self.standing(contract, &pin).map(Some) } else { Ok(Some(served)) }
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
        ensure!(
            pin.method == self.method,
            "dataset '{dataset}': [perturbation] changed within epoch {}: put the former values back, or wait for the next; two \
             perturbations of one epoch would give the noise away",
            pin.until
        );
        ensure!(
            pin.snapshot > 0,
            "dataset '{dataset}': epochs.json is not the one that the log tells of: epoch {} opened with other data; restore \
             epochs.json from the backup, or wait for the next epoch",
            pin.until
        );
        self.whole(contract, pin)?.with_context(|| {
            format!(
                "dataset '{dataset}': snapshot {}, pinned for epoch {}, is lost or not as it was; restore it from the backup, or \
                 wait for the next epoch",
                pin.snapshot, pin.until
            )
        })
    }

    /// The pinned snapshot; `None` where it is lost, or not as it was.
    fn whole(&self, contract: &Arc<Contract>, pin: &Pin) -> anyhow::Result<Option<Snapshot>> {
        let Ok(found) = snapshot::by_id(&self.state, contract, pin.snapshot) else { return Ok(None) };
        Ok((hash(&found.files)? == pin.sha256).then(|| with_epoch(found, pin)))
    }

    /// Tells the log.
    fn note(&self, contract: &Contract, detail: String) -> anyhow::Result<()> {
        self.log.append(&Entry {
            kind: Kind::Admin,
            query: String::new(),
            analyst: String::new(),
            purpose: String::new(),
            dataset: contract.dataset.clone(),
            agreement: String::new(),
            fragment: String::new(),
            detail,
        })?;
        Ok(())
    }

    /// The values of a dataset's open columns, from the public datasets that this node holds.
    fn lists(&self, contract: &Contract) -> anyhow::Result<CodeLists> {
        let mut lists = CodeLists::new();
        for column in &contract.columns {
            let Some((dataset, list)) = &column.attribute.codes_from else { continue };
            let Some(public) = self.published.iter().find(|c| c.dataset == *dataset) else { continue };
            let newest = snapshot::newest(&self.state, public)?.with_context(|| {
                format!(
                    "dataset '{}' waits for '{dataset}', which lists the values of {}: nothing has been read of it yet",
                    contract.dataset, column.name
                )
            })?;
            let words = words_of(&newest, list)?;
            ensure!(
                words.len() <= MOST_WORDS && !words.iter().any(|word| word.contains(char::is_control)),
                "dataset '{}' waits for '{dataset}': {list} lists {} values of {}, more than {MOST_WORDS} or some that are no \
                 plain words; mend its extract",
                contract.dataset,
                words.len(),
                column.name
            );
            lists.insert(column.name.clone(), words);
        }
        Ok(lists)
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
    let epoch = Some(format!("{} {}", pin.epoch, pin.sha256).into());
    Snapshot { epoch, lists: Arc::new(pin.lists.clone()), ..snapshot }
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
    fn what_an_epoch_opened_with_is_read_from_the_log() {
        let opening = Opening { drawn: "2026Q3".to_owned(), snapshot: 7, sha256: "ab12".to_owned() };
        assert_eq!(Opening::parse(&opening.words("2026Q4")), Some(("2026Q4".to_owned(), opening)));
        assert_eq!(Opening::parse("snapshot 7 of 2026-11-28"), None);
    }

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
