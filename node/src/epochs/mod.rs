//! Epochs: the data about people stand still between the days on which registers open.
//!
//! `epochs.json` in the state folder names, for each dataset about people, the epoch, the snapshot that is pinned for it and
//! the hash of its pieces. Keys of cells hold the epoch's name and that hash, so that no other data ever get the same noise.
//! What is read later is checked and waits: several snapshots in one epoch would give newcomers record by record. A dataset
//! whose pinned snapshot is lost, or whose contract, perturbation or secret changed, is not served until the next epoch.
//!
//! Rows that come by period are served as the periods close ([`periods`]); registers see those that were closed when the epoch
//! opened.
//!
//! The log holds what each epoch opened with. An `epochs.json` that is lost, or an old one that is put back, cannot give the
//! cells of one epoch another draw or other data: what the log does not know is not served under that epoch's name.

mod changed;
mod late;
mod opening;
mod periods;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use chrono::NaiveDate;
use loda_contract::{Contract, Period, Value};
use loda_ledger::{Entry, Log};
use serde::{Deserialize, Serialize};

use crate::snapshot::{self, Snapshot};
use crate::tables::words_of;
use changed::{changed, digest, hash};
pub(crate) use opening::Openings;
pub(crate) use opening::end;
use opening::{Opening, name};
use periods::Periods;
pub(crate) use periods::{Closed, Restated, iso, listed, next_closing};

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
    /// Of rows that come by period: the files of those that were closed.
    #[serde(default)]
    pub(crate) periods: Vec<String>,
    /// Of the perturbation that its cells are drawn by: two tables at the same keys would give the noise away.
    #[serde(default)]
    pub(crate) method: String,
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
        restated: &Restated,
        today: NaiveDate,
    ) -> anyhow::Result<Option<Snapshot>> {
        if !contract.protection.may_be_about_people() {
            return Ok(newest);
        }
        let newest = match (&contract.closure.period, newest) {
            (Some(period), Some(newest)) => self.by_period(contract, period, newest, restated, today)?,
            (_, newest) => newest,
        };
        if !self.on {
            let listed = |newest: Snapshot| Ok(Snapshot { lists: Arc::new(self.lists(contract)?), ..newest });
            return newest.map(listed).transpose();
        }
        let (now, ends) = (name(contract.closure.epoch, today), end(contract.closure.epoch, today).to_string());
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = pins.datasets.get(&contract.dataset).cloned();
        if let Some(pin) = pin.as_ref().filter(|pin| today.to_string() < pin.ends) {
            return self.standing(contract, pin, newest.as_ref()).map(Some);
        }
        let Some(newest) = newest else { return Ok(None) };
        // The day has come. Where next to nothing has changed, the data and their noise stand.
        let last = match &pin {
            Some(pin) if pin.contract == contract.sha256 && pin.method == self.method => {
                self.whole(contract, pin, Some(&newest))?
            }
            _ => None,
        };
        let stands = match &last {
            Some(last) if last.files == newest.files => true,
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
                    periods: names_of(&newest.closed.files),
                    method: self.method.clone(),
                };
                (pin.clone(), with_epoch(newest, &pin))
            }
        };
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        // A lost file and another perturbation or secret would draw the same data again.
        let sha256 = digest(&[&pin.sha256, &self.version(contract)]);
        let opening = Opening { drawn: pin.epoch.clone(), snapshot: pin.snapshot, sha256 };
        let pin = match opened.of(&contract.dataset, &pin.until) {
            Some(before) if before.drawn == opening.drawn && before.sha256 == opening.sha256 => pin,
            // The file was lost, or is an old one: other data, or another draw, under the epoch's name.
            Some(_) => Pin { snapshot: 0, ..pin },
            None => {
                self.note(contract, opening.words("epoch", &pin.until))?;
                opened.insert(&contract.dataset, &pin.until, opening);
                pin
            }
        };
        // Durable before it is served, or counts as pinned.
        let mut next = pins.clone();
        next.secret.clone_from(&self.secret);
        next.datasets.insert(contract.dataset.clone(), pin.clone());
        self.write(&next)?;
        *pins = next;
        if pin.snapshot == 0 { self.standing(contract, &pin, None).map(Some) } else { Ok(Some(served)) }
    }

    /// Of what a dataset's cells are drawn by, in sixteen digits: contract, perturbation and secret.
    fn version(&self, contract: &Contract) -> String {
        digest(&[&contract.sha256, &self.method, &self.secret]).chars().take(16).collect()
    }

    /// What is served of rows that come by period: all that are closed.
    fn by_period(
        &self,
        contract: &Arc<Contract>,
        period: &Period,
        newest: Snapshot,
        restated: &Restated,
        today: NaiveDate,
    ) -> anyhow::Result<Option<Snapshot>> {
        if !self.on {
            let values: BTreeSet<Value> = crate::tables::periods(&newest, period)?.into_iter().collect();
            let epochs = vec!["none".to_owned(); values.len()];
            let closed = Closed { periods: values.into_iter().collect(), epochs, files: newest.files.clone() };
            return Ok(Some(Snapshot { closed: Arc::new(closed), ..newest }));
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = periods::folder(&self.state, contract, &self.version(contract));
        let mut periods = Periods::open(folder, contract, period, &opened, restated)?;
        periods.close(&newest, restated, today, &mut opened, &|detail| self.note(contract, detail))?;
        Ok(periods.served(&newest))
    }

    /// Whether another epoch has begun for a dataset.
    pub(crate) fn is_over(&self, contract: &Contract, today: NaiveDate) -> bool {
        let pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = pins.datasets.get(&contract.dataset);
        let over = match (&contract.closure.period, pin) {
            // Nothing is closed: a reading closes it, and no day.
            (Some(_), None) => false,
            (_, pin) => pin.is_none_or(|pin| today.to_string() >= pin.ends),
        };
        self.on && contract.protection.may_be_about_people() && over
    }

    /// The pinned snapshot, whole and unchanged.
    fn standing(&self, contract: &Arc<Contract>, pin: &Pin, newest: Option<&Snapshot>) -> anyhow::Result<Snapshot> {
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
        self.whole(contract, pin, newest)?.with_context(|| {
            format!(
                "dataset '{dataset}': snapshot {}, pinned for epoch {}, is lost or not as it was; restore it from the backup, or \
                 wait for the next epoch",
                pin.snapshot, pin.until
            )
        })
    }

    /// The pinned snapshot; `None` where it is lost, or not as it was. Of rows that come by period: the newest, with the pinned
    /// periods for registers.
    fn whole(
        &self,
        contract: &Arc<Contract>,
        pin: &Pin,
        newest: Option<&Snapshot>,
    ) -> anyhow::Result<Option<Snapshot>> {
        let found = match (&contract.closure.period, newest) {
            (None, _) => snapshot::by_id(&self.state, contract, pin.snapshot).ok(),
            (Some(_), newest) => newest.map(|newest| {
                let folder = periods::folder(&self.state, contract, &self.version(contract));
                Snapshot { files: pin.periods.iter().map(|file| folder.join(file)).collect(), ..newest.clone() }
            }),
        };
        let Some(found) = found.filter(|found| found.files.iter().all(|file| file.is_file())) else { return Ok(None) };
        Ok((hash(&found.files)? == pin.sha256).then(|| with_epoch(found, pin)))
    }

    /// Tells the log.
    fn note(&self, contract: &Contract, detail: String) -> anyhow::Result<()> {
        Ok(self.log.append(&Entry::of_dataset(&contract.dataset, detail))?)
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

fn names_of(files: &[PathBuf]) -> Vec<String> {
    files.iter().filter_map(|file| Some(file.file_name()?.to_str()?.to_owned())).collect()
}

fn with_epoch(snapshot: Snapshot, pin: &Pin) -> Snapshot {
    let epoch = Some(format!("{} {}", pin.epoch, pin.sha256).into());
    Snapshot { epoch, lists: Arc::new(pin.lists.clone()), ..snapshot }
}
