//! New extracts become new snapshots while the node serves: when files have changed, or by schedule.
//!
//! A snapshot takes the place of the last in one moment, after the log says so. Questions that run keep theirs: its file
//! stays until none that began on it can still run.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use loda_contract::Contract;
use loda_ledger::Entry;
use tokio::time::{Instant, sleep};

use crate::appending::{Stamp, stamps};
use crate::borough::Borough;
use crate::config::DatasetConfig;
use crate::epochs::Epochs;
use crate::queries::Queries;
use crate::reading::{self, Outcome, Part};
use crate::residents::ResidentsConfig;
use crate::snapshot::{self, Snapshot};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How long after a reading that failed the next is tried, at first and at most.
const PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Beyond the longest question: for its last reads.
const MARGIN: Duration = Duration::from_secs(5);

/// When a dataset is read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// When the node starts.
    #[default]
    Start,
    /// When its files have changed, and are not being written any more.
    Change,
    Every(Duration),
}

impl Refresh {
    /// What an entry of the configuration says; without one, [`Refresh::Start`].
    pub(crate) fn of_entry(entry: Option<&str>) -> Result<Self, String> {
        let refresh = entry.map_or(Some(Self::Start), Self::parse);
        refresh.ok_or_else(|| "refresh: write start, change, or a time such as 6h".to_owned())
    }

    /// From `start`, `change`, or a time such as `30m`, `6h` or `1d`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "start" => return Some(Self::Start),
            "change" => return Some(Self::Change),
            _ => {}
        }
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        let number: u64 = number.parse().ok().filter(|n| *n > 0)?;
        Some(Self::Every(Duration::from_secs(number.checked_mul(seconds)?)))
    }
}

/// A dataset that this node serves.
pub(crate) struct Held {
    pub(crate) contract: Arc<Contract>,
    pub(crate) config: DatasetConfig,
    pub(crate) fault: Fault,
    /// Of its files before they were first read: what changes meanwhile is read again.
    stamps: Vec<Stamp>,
}

impl Held {
    pub(crate) fn new(contract: Arc<Contract>, config: DatasetConfig) -> Self {
        let stamps = stamps(config.mapping.files());
        Self { contract, config, fault: Fault::default(), stamps }
    }

    /// What is served after a reading; where it gave nothing new, the fault is told, and the last good snapshot is given.
    pub(crate) fn settle(&self, state: &Path, epochs: &Epochs, outcome: Outcome) -> anyhow::Result<Option<Snapshot>> {
        let newest = snapshot::newest(state, &self.contract)?;
        match (&outcome.fault, &newest) {
            (None, _) => {}
            (Some(fault), Some(last)) => {
                tracing::error!("{fault}; snapshot {} of {} stays in use", last.id, last.as_at);
            }
            (Some(fault), None) => tracing::error!("{fault}; there is no earlier snapshot: the dataset is not served"),
        }
        self.fault.set(outcome.fault);
        self.open(epochs, newest)
    }

    /// What is served from now on: of data about people what the epoch has.
    fn open(&self, epochs: &Epochs, newest: Option<Snapshot>) -> anyhow::Result<Option<Snapshot>> {
        let id = newest.as_ref().map(|newest| newest.id);
        match epochs.served(&self.contract, newest, &self.config.restated, chrono::Utc::now().date_naive()) {
            Ok(served) => {
                let waits = |id: &u64| served.as_ref().is_some_and(|s| s.id < *id);
                let id = id.filter(|id| waits(id) && self.contract.closure.period.is_none());
                if let (Some(served), Some(id)) = (&served, id) {
                    tracing::info!(
                        dataset = self.contract.dataset,
                        "snapshot {id} waits: snapshot {} is served until the next epoch begins",
                        served.id
                    );
                }
                Ok(served)
            }
            Err(fault) => {
                let fault = format!("{fault:#}");
                tracing::error!("{fault}");
                self.fault.set(Some(fault));
                Ok(None)
            }
        }
    }
}

/// Why the last reading gave nothing new; none where it did.
#[derive(Debug, Default)]
pub(crate) struct Fault(Mutex<Option<String>>);

impl Fault {
    /// For the operator.
    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, fault: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

/// The residents index of this node.
pub(crate) struct Index {
    config: ResidentsConfig,
    pub(crate) fault: Fault,
    /// As of [`Held`].
    stamps: Vec<Stamp>,
}

impl Index {
    pub(crate) fn new(config: ResidentsConfig) -> Self {
        let stamps = stamps(config.files());
        Self { config, fault: Fault::default(), stamps }
    }

    /// Whether a reading has made it anew.
    pub(crate) fn settle(&self, outcome: Outcome) -> bool {
        if let Some(fault) = &outcome.fault {
            tracing::error!("{fault}; the last index stays in use");
        }
        let renewed = outcome.fault.is_none();
        self.fault.set(outcome.fault);
        renewed
    }
}

/// What is known of one dataset, or of the residents index, between looks.
struct Watched {
    refresh: Refresh,
    read: Instant,
    /// Of the files as they were read, and as they were at the last look.
    of_read: Vec<Stamp>,
    last: Vec<Stamp>,
    /// Something that it is made from has changed.
    wanted: bool,
    /// After readings that failed: when it is tried again, and how long the next pause is.
    again: Option<Instant>,
    pause: Duration,
}

impl Watched {
    fn new(refresh: Refresh, stamp: &[Stamp], fault: &Fault) -> Self {
        let (read, of_read, last) = (Instant::now(), stamp.to_vec(), stamp.to_vec());
        let mut watched = Self { refresh, read, of_read, last, wanted: false, again: None, pause: PAUSE };
        watched.ended(fault);
        watched
    }

    /// After a reading. One that failed is tried again, for the cause may have passed: a full disk, a mount that was away.
    fn ended(&mut self, fault: &Fault) {
        (self.again, self.pause) = match fault.get() {
            None => (None, PAUSE),
            Some(_) => (Some(Instant::now() + self.pause), (self.pause * 2).min(LONGEST_PAUSE)),
        };
    }

    /// Whether it is to be read again now.
    fn is_due(&mut self, rest: Duration, stamp: impl Fn() -> Vec<Stamp>) -> bool {
        // The snapshot before the last goes with the next one: nobody may still read it.
        if self.read.elapsed() < rest {
            return false;
        }
        let again = self.again.is_some_and(|at| at <= Instant::now());
        let due = self.wanted
            || again
            || match self.refresh {
                Refresh::Start => false,
                Refresh::Every(time) => self.read.elapsed() >= time,
                Refresh::Change => {
                    let now = stamp();
                    let settled = now == self.last;
                    self.last = now;
                    settled && self.last != self.of_read
                }
            };
        if due {
            (self.read, self.of_read, self.wanted) = (Instant::now(), stamp(), false);
        }
        due
    }
}

/// Watches over the index and all datasets for as long as the node serves.
pub(crate) async fn keep(borough: Arc<Borough>, queries: Arc<Queries>) {
    let rest = borough.config.limits.query_time().saturating_add(MARGIN);
    let mut index = borough.index.as_ref().map(|index| {
        let watched = Watched::new(index.config.refresh, &index.stamps, &index.fault);
        (index, watched)
    });
    let watched = |held: &Held| Watched::new(held.config.refresh, &held.stamps, &held.fault);
    let mut watched: Vec<Watched> = borough.held.iter().map(watched).collect();
    if watched.iter().chain(index.iter().map(|(_, watched)| watched)).all(|w| w.refresh == Refresh::Start) {
        return;
    }
    loop {
        sleep(LOOK).await;
        if let Some((index, of_index)) = &mut index
            && of_index.is_due(rest, || stamps(index.config.files()))
        {
            let renewed = read(&borough, &None).await.is_some_and(|outcome| index.settle(outcome));
            of_index.ended(&index.fault);
            // Who is who has changed for everything that asks.
            for (held, watched) in borough.held.iter().zip(&mut watched).filter(|_| renewed) {
                watched.wanted |= held.config.mapping.asks_for_residents();
            }
        }
        for (held, watched) in borough.held.iter().zip(&mut watched) {
            if watched.is_due(rest, || stamps(held.config.mapping.files())) {
                renew(held, &borough, &queries).await;
                watched.ended(&held.fault);
                // From now on questions may begin on it.
                watched.read = Instant::now();
            }
        }
    }
}

async fn read(borough: &Borough, part: &Part) -> Option<Outcome> {
    reading::read(&borough.config, &borough.secret, std::slice::from_ref(part)).await.pop()
}

/// How often it is looked whether another epoch has begun.
const DAY_LOOK: Duration = Duration::from_secs(30);

/// Opens the registers together when an epoch begins.
pub(crate) async fn open_epochs(borough: Arc<Borough>, queries: Arc<Queries>) {
    loop {
        sleep(DAY_LOOK).await;
        let today = chrono::Utc::now().date_naive();
        for held in borough.held.iter().filter(|held| borough.epochs.is_over(&held.contract, today)) {
            let newest = snapshot::newest(&borough.config.state, &held.contract);
            serve(held, &borough, &queries, newest.and_then(|newest| held.open(&borough.epochs, newest)));
        }
    }
}

async fn renew(held: &Held, borough: &Borough, queries: &Queries) {
    let Some(outcome) = read(borough, &Some(held.contract.dataset.clone())).await else { return };
    serve(held, borough, queries, held.settle(&borough.config.state, &borough.epochs, outcome));
}

/// Serves what is served from now on, after the log says so.
fn serve(held: &Held, borough: &Borough, queries: &Queries, served: anyhow::Result<Option<Snapshot>>) {
    match served {
        Ok(Some(snapshot))
            if borough.snapshot(&held.contract.dataset).is_none_or(|last| {
                last.id != snapshot.id || last.epoch != snapshot.epoch || last.closed != snapshot.closed
            }) =>
        {
            let detail = format!("snapshot {} of {}", snapshot.id, snapshot.as_at);
            let entry = Entry::of_dataset(&held.contract.dataset, detail);
            match queries.note(&entry) {
                Ok(()) => borough.replace(snapshot),
                Err(fault) => tracing::error!("{fault}; the last snapshot stays in use"),
            }
        }
        Ok(_) => {}
        Err(fault) => tracing::error!("dataset '{}': {fault:#}", held.contract.dataset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(Refresh::parse("6h"), Some(Refresh::Every(Duration::from_secs(21_600))));
        assert_eq!(Refresh::parse("change"), Some(Refresh::Change));
        for no in ["", "h", "0h", "6", "6w", "-1h", "é"] {
            assert_eq!(Refresh::parse(no), None, "{no}");
        }
    }
}
