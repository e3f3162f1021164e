//! New extracts become new snapshots while the node serves, when files have changed or by schedule.
//!
//! A snapshot replaces the last one in one moment, after the log says so. Running questions keep the snapshot that they
//! began with. Its file stays until none of them can still run.

pub(crate) mod subprocess;

use std::sync::Arc;
use std::time::Duration;

use loda_ledger::{Change, Entry};
use tokio::time::{Instant, sleep};

use crate::ingest::config::Refresh;
use crate::ingest::served_dataset::{Fault, Part, ReadOutcome, ServedDataset};
use crate::query::borough::Borough;
use crate::query::service::QueryService;
use crate::snapshot::provenance::{Stamp, stamps};
use crate::snapshot::{self, Snapshot};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// The pause after a reading that failed, at first and at most.
const PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// The time beyond the longest question, for its last reads.
const MARGIN: Duration = Duration::from_secs(5);

/// The state of one dataset, or of the residents index, between looks.
struct Watched {
    refresh: Refresh,
    read: Instant,
    /// The stamps of the files when they were read, and at the last look.
    of_read: Vec<Stamp>,
    last: Vec<Stamp>,
    /// Whether something that it is made from has changed.
    wanted: bool,
    /// After readings that failed: the time of the next try, and the pause after that one.
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

    /// Notes the end of a reading. A reading that failed is tried again, because the cause may pass: a full disk, or a
    /// mount that was away.
    fn ended(&mut self, fault: &Fault) {
        (self.again, self.pause) = match fault.get() {
            None => (None, PAUSE),
            Some(_) => (Some(Instant::now() + self.pause), (self.pause * 2).min(LONGEST_PAUSE)),
        };
    }

    /// Whether it must be read again now.
    fn is_due(&mut self, rest: Duration, stamp: impl Fn() -> Vec<Stamp>) -> bool {
        // The next snapshot removes the one before the last. Nobody may still read that one.
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

/// Watches the index and all datasets for as long as the node serves. Returns at once if all of them are read only at
/// the start.
pub(crate) async fn keep(borough: Arc<Borough>, queries: Arc<QueryService>) {
    let rest = borough.config.limits.query_time().saturating_add(MARGIN);
    let mut index = borough.index.as_ref().map(|index| {
        let watched = Watched::new(index.config.refresh, &index.stamps, &index.fault);
        (index, watched)
    });
    let watched = |held: &ServedDataset| Watched::new(held.config.refresh, &held.stamps, &held.fault);
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
            // The residents have changed for every mapping that asks for them.
            for (held, watched) in borough.held.iter().zip(&mut watched).filter(|_| renewed) {
                watched.wanted |= held.config.mapping.asks_for_residents();
            }
        }
        for (held, watched) in borough.held.iter().zip(&mut watched) {
            if watched.is_due(rest, || stamps(held.config.mapping.files())) {
                renew(held, &borough, &queries).await;
                watched.ended(&held.fault);
                // From now on, questions may begin on it.
                watched.read = Instant::now();
            }
        }
    }
}

async fn read(borough: &Borough, part: &Part) -> Option<ReadOutcome> {
    subprocess::read(&borough.config, &borough.secret, std::slice::from_ref(part)).await.pop()
}

/// How often the node looks whether another epoch has begun.
const DAY_LOOK: Duration = Duration::from_secs(30);

/// Opens the registers together when an epoch begins.
pub(crate) async fn open_epochs(borough: Arc<Borough>, queries: Arc<QueryService>) {
    loop {
        sleep(DAY_LOOK).await;
        let today = chrono::Utc::now().date_naive();
        for held in borough.held.iter().filter(|held| borough.epochs.is_over(&held.contract, today)) {
            let newest = snapshot::newest(&borough.config.state, &held.contract);
            serve(held, &borough, &queries, newest.and_then(|newest| held.open(&borough.epochs, newest)));
        }
    }
}

async fn renew(held: &ServedDataset, borough: &Borough, queries: &QueryService) {
    let Some(outcome) = read(borough, &Some(held.contract.dataset.clone())).await else { return };
    serve(held, borough, queries, held.settle(&borough.config.state, &borough.epochs, outcome));
}

/// Serves a snapshot from now on, after the log says so.
fn serve(held: &ServedDataset, borough: &Borough, queries: &QueryService, served: anyhow::Result<Option<Snapshot>>) {
    match served {
        Ok(Some(snapshot))
            if borough.snapshot(&held.contract.dataset).is_none_or(|last| {
                last.id != snapshot.id || last.epoch != snapshot.epoch || last.closed != snapshot.closed
            }) =>
        {
            let detail = format!("snapshot {} of {}", snapshot.id, snapshot.as_at);
            let entry = Entry::of_dataset(&held.contract.dataset, Change::Note(detail));
            match queries.note(&entry) {
                Ok(()) => borough.replace(snapshot),
                Err(fault) => tracing::error!("{fault}; the last snapshot stays in use"),
            }
        }
        Ok(_) => {}
        Err(fault) => tracing::error!("dataset '{}': {fault:#}", held.contract.dataset),
    }
}
