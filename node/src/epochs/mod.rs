//! Epochs: data about people do not change between the days on which registers open.
//!
//! For each dataset about people, `epochs.json` in the state folder names the epoch, the pinned snapshot and the hash
//! of its pieces. The keys of cells hold the epoch's name and that hash, so other data never get the same noise. Data
//! that are read later are checked, and wait: several snapshots in one epoch would show newcomers record by record. A
//! dataset waits for the next epoch if its pinned snapshot is lost, or if its contract, perturbation or secret changed.
//!
//! Rows that come by period are served as the periods close ([`periods`]). A register holds the periods that were
//! closed when its epoch opened.
//!
//! The log records the data with which each epoch opened. If `epochs.json` is lost, or an old one is put back, the
//! cells of an epoch still cannot get another draw or other data: data that the log does not know are not served under
//! that epoch's name.

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
use loda_ledger::{Change, Entry, Log, Opened, Span};
use serde::{Deserialize, Serialize};

use crate::snapshot::{self, Closed, CodeLists, Retention, Snapshot};
use crate::tables;
use changed::{FEWEST_CHANGED, changed, digest, hash};
pub(crate) use opening::Openings;
pub(crate) use opening::end;
use opening::name;
use periods::Periods;
pub(crate) use periods::{Restated, iso, listed, next_closing};

/// The most values of an open column. They travel with each answer, and a coordinator takes no more.
const MOST_WORDS: usize = 10_000;

/// The epochs of one node.
pub(crate) struct Epochs {
    state: PathBuf,
    /// Off in tests without protection, and in assessments.
    on: bool,
    /// The public datasets that this node holds. Open columns take their values from them.
    published: Vec<Arc<Contract>>,
    /// The openings of epochs that the log records.
    opened: Mutex<Openings>,
    log: Arc<dyn Log>,
    /// The fingerprints of the perturbation and of the node's secret.
    method: String,
    secret: String,
    pins: Mutex<Pins>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Pins {
    /// The fingerprint of the secret that all noise follows from.
    #[serde(default)]
    secret: String,
    datasets: BTreeMap<String, Pin>,
}

/// The data that a dataset serves in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// The epoch whose name keys of cells hold.
    pub(crate) epoch: String,
    /// The last epoch in which the pin was checked. While little changes, the data and their noise stay.
    pub(crate) until: String,
    /// The first day on which another snapshot may be pinned, regardless of the contract and the clock until then.
    pub(crate) ends: String,
    pub(crate) contract: String,
    /// 0 means that the snapshot is not known any more.
    pub(crate) snapshot: u64,
    pub(crate) sha256: String,
    #[serde(default)]
    pub(crate) lists: CodeLists,
    /// For rows that come by period: the files of the periods that were closed.
    #[serde(default)]
    pub(crate) periods: Vec<String>,
    /// The fingerprint of the perturbation that draws the cells. Two perturbations with the same keys would give the
    /// noise away.
    #[serde(default)]
    pub(crate) method: String,
}

fn file(state: &Path) -> PathBuf {
    state.join("epochs.json")
}

/// The pin of a dataset, as the file records it.
///
/// # Errors
/// The file exists and cannot be read. Nothing may be removed then.
pub(crate) fn pinned(state: &Path, dataset: &str) -> anyhow::Result<Option<Pin>> {
    Ok(load(state)?.datasets.remove(dataset))
}

/// The snapshots of a dataset that stay in addition to the newest `keep`.
///
/// While the pin of a dataset about people is unknown, none of its snapshots is removed: the `epochs.json` of a backup
/// may name any of them.
///
/// # Errors
/// As for [`pinned`].
pub(crate) fn retention(state: &Path, contract: &Contract, keep: usize) -> anyhow::Result<Retention> {
    let pin = pinned(state, &contract.dataset)?.filter(|pin| pin.contract == contract.sha256);
    let by_period = contract.closure.period.is_some();
    let spared = pin.map(|pin| pin.snapshot).filter(|snapshot| *snapshot > 0 && !by_period);
    let known = spared.is_some() || by_period || !contract.protection.may_be_about_people();
    Ok(if known { Retention::Newest { keep, spared } } else { Retention::All })
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

/// The things that a node's epochs depend on.
pub(crate) struct Surroundings {
    /// Off in tests without protection, and in assessments.
    pub(crate) on: bool,
    /// The public datasets that the node holds. Open columns take their values from them.
    pub(crate) published: Vec<Arc<Contract>>,
    pub(crate) opened: Openings,
    pub(crate) log: Arc<dyn Log>,
    /// The fingerprints of the perturbation and of the secret.
    pub(crate) method: String,
    pub(crate) secret: String,
}

impl Epochs {
    /// Opens a node's epochs.
    ///
    /// # Errors
    /// `epochs.json` cannot be read, or was written with another secret.
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

    /// The snapshot that a dataset serves on a day: the pinned one for data about people, and the newest for other
    /// data.
    ///
    /// # Errors
    /// The dataset is not served until the next epoch, or the pin cannot be written. The error says why.
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
        // The day has come. If almost nothing changed, the data and their noise stay.
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
        // After the loss of the file, another perturbation or secret would draw the same data again.
        let sha256 = digest(&[&pin.sha256, &self.version(contract)]);
        let (name, drawn) = (pin.until.clone(), pin.epoch.clone());
        let opening = Opened { span: Span::Epoch, name, snapshot: pin.snapshot, drawn, sha256 };
        let pin = match opened.of(&contract.dataset, &pin.until) {
            Some(before) if before.drawn == opening.drawn && before.sha256 == opening.sha256 => pin,
            // The file was lost, or is an old one. Other data, or another draw, would get the epoch's name.
            Some(_) => Pin { snapshot: 0, ..pin },
            None => {
                self.note(contract, Change::Opened(opening.clone()))?;
                opened.insert(&contract.dataset, opening);
                pin
            }
        };
        // The pin is durable before it counts and before its snapshot is served.
        let mut next = pins.clone();
        next.secret.clone_from(&self.secret);
        next.datasets.insert(contract.dataset.clone(), pin.clone());
        self.write(&next)?;
        *pins = next;
        if pin.snapshot == 0 { self.standing(contract, &pin, None).map(Some) } else { Ok(Some(served)) }
    }

    /// Sixteen digits of a hash over everything that draws a dataset's cells: contract, perturbation and secret.
    fn version(&self, contract: &Contract) -> String {
        digest(&[&contract.sha256, &self.method, &self.secret]).chars().take(16).collect()
    }

    /// The snapshot that is served of rows that come by period: all closed periods.
    fn by_period(
        &self,
        contract: &Arc<Contract>,
        period: &Period,
        newest: Snapshot,
        restated: &Restated,
        today: NaiveDate,
    ) -> anyhow::Result<Option<Snapshot>> {
        if !self.on {
            let values: BTreeSet<Value> = tables::periods(&newest, period)?.into_iter().collect();
            let epochs = vec!["none".to_owned(); values.len()];
            let closed = Closed { periods: values.into_iter().collect(), epochs, files: newest.files.clone() };
            return Ok(Some(Snapshot { closed: Arc::new(closed), ..newest }));
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = periods::folder(&self.state, contract, &self.version(contract));
        let mut periods = Periods::open(folder, contract, period, &opened, restated)?;
        periods.close(&newest, restated, today, &mut opened, &|change| self.note(contract, change))?;
        Ok(periods.served(&newest))
    }

    /// Whether the next epoch of a dataset has begun.
    pub(crate) fn is_over(&self, contract: &Contract, today: NaiveDate) -> bool {
        let pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = pins.datasets.get(&contract.dataset);
        let over = match (&contract.closure.period, pin) {
            // Nothing is closed yet. A new reading closes a period, and a date alone does not.
            (Some(_), None) => false,
            (_, pin) => pin.is_none_or(|pin| today.to_string() >= pin.ends),
        };
        self.on && contract.protection.may_be_about_people() && over
    }

    /// The pinned snapshot, whole and unchanged, or an error that says why it cannot be served.
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

    /// The pinned snapshot, or `None` if it is lost or changed. For rows that come by period, it is the newest
    /// snapshot, with the pinned periods for registers.
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

    /// Writes a change to the log.
    fn note(&self, contract: &Contract, change: Change) -> anyhow::Result<()> {
        self.log.append(&Entry::of_dataset(&contract.dataset, change))?;
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
            let words = tables::words_of(&newest, list)?;
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

    /// Writes the pins. They are durable before they are served.
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
