//! Queries as jobs: idempotent by id, watched, fetched again, cancelled; and over a restart too.
//!
//! The log is what a restart goes by: an id that stands there with ACCEPT never runs again. What was released stays
//! fetchable; what was cut off has ended without an answer, and the log says so.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use loda_ledger::{Entry, Kind, Spool};
use loda_proto::v1::State;
use loda_question::{Refusal, Rule};
use ring::digest::{SHA256, digest};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::release::Release;

/// How long a finished job can still be fetched.
pub(crate) const KEPT: Duration = Duration::from_secs(600);

/// Jobs remembered at most, finished ones included.
const REMEMBERED: usize = 4096;

/// What an id stands for: SHA-256 over asker, purpose, targets and question.
type Request = [u8; 32];

/// One query at this node.
pub(crate) struct Job {
    request: Request,
    /// Whose it is, for fair turns.
    asker: String,
    state: watch::Sender<State>,
    release: OnceLock<Release>,
    deadline: Instant,
    /// Becomes true once; a running query waits on it.
    cancelled: watch::Sender<bool>,
}

impl Job {
    fn new(request: Request, asker: String, state: State, deadline: Instant) -> Self {
        let (state, cancelled) = (watch::Sender::new(state), watch::Sender::new(false));
        Self { request, asker, state, release: OnceLock::new(), deadline, cancelled }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn release(&self) -> Option<&Release> {
        self.release.get()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn is_over(&self) -> bool {
        is_final(*self.state.borrow())
    }

    pub(crate) fn running(&self) {
        self.state.send_replace(State::Running);
    }

    pub(crate) fn released(&self, release: Release) {
        if self.release.set(release).is_ok() {
            self.end(State::Released);
        }
    }

    /// One code for every stop after reading began, sent at the deadline and not before.
    pub(crate) async fn not_answered(&self) {
        tokio::time::sleep_until(self.deadline).await;
        self.end(State::NotAnswered);
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.send_replace(true);
        self.end(State::Cancelled);
    }

    pub(crate) async fn cancelled(&self) {
        // The sender lives as long as the job: waiting ends by the flag alone.
        let mut flag = self.cancelled.subscribe();
        let _ended = flag.wait_for(|cancelled| *cancelled).await.is_ok();
    }

    fn end(&self, state: State) {
        self.state.send_if_modified(|now| {
            let running = !is_final(*now);
            if running {
                *now = state;
            }
            running
        });
    }
}

/// Whether nothing follows a state.
pub(crate) fn is_final(state: State) -> bool {
    !matches!(state, State::Queued | State::Running | State::Held)
}

/// What the log says of earlier lives of this node.
#[derive(Default)]
pub(crate) struct History {
    ids: HashSet<Uuid>,
    released: HashSet<Uuid>,
    unended: BTreeMap<Uuid, Entry>,
}

impl History {
    /// Takes in one entry, in the log's order.
    pub(crate) fn note(&mut self, entry: Entry) {
        let Ok(id) = Uuid::try_parse(&entry.query) else { return };
        match entry.kind {
            Kind::Accept => {
                self.ids.insert(id);
                self.unended.insert(id, entry);
            }
            Kind::Release => {
                self.unended.remove(&id);
                self.released.insert(id);
            }
            Kind::Fail => {
                self.unended.remove(&id);
            }
            _ => {}
        }
    }

    /// Entries that say of every query that was cut off that it has ended.
    pub(crate) fn endings(&mut self) -> Vec<Entry> {
        let cut_off = std::mem::take(&mut self.unended).into_values();
        cut_off.map(|entry| Entry { kind: Kind::Fail, detail: "restarted".to_owned(), ..entry }).collect()
    }
}

/// All jobs of a node.
pub(crate) struct Jobs {
    jobs: Mutex<HashMap<Uuid, Arc<Job>>>,
    /// Every id that was ever accepted: 16 bytes a query, for good.
    past: Mutex<HashSet<Uuid>>,
    accepted: usize,
    spool: Spool,
    draining: watch::Sender<bool>,
}

/// What submitting an id led to.
pub(crate) enum Admission {
    New(Arc<Job>),
    /// The same query was submitted before.
    Known,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Jobs {
    /// With what was released shortly before a restart, as the log confirms it.
    ///
    /// # Errors
    /// Where the spool cannot be read.
    pub(crate) fn new(accepted: usize, spool: Spool, history: History) -> std::io::Result<Self> {
        let mut jobs = HashMap::new();
        for id in spool.younger_than(KEPT)? {
            let kept = spool.get(&id).and_then(|bytes| {
                let (request, release) = bytes.split_first_chunk::<32>()?;
                Some((*request, Release::from_bytes(release)?))
            });
            match kept {
                Some((request, release)) if history.released.contains(&id) => {
                    let job = Job::new(request, String::new(), State::Released, Instant::now());
                    let _first = job.release.set(release);
                    jobs.insert(id, Arc::new(job));
                }
                // Made and not logged, or cut short: it may not leave.
                _ => spool.remove(&id),
            }
        }
        let past = Mutex::new(history.ids);
        Ok(Self { jobs: Mutex::new(jobs), past, accepted, spool, draining: watch::Sender::new(false) })
    }

    /// Admits a job. An id never runs twice, and never stands for two questions.
    ///
    /// # Errors
    /// Rule `busy` or `fragment`.
    pub(crate) fn admit(&self, id: Uuid, request: &str, asker: String, time: Duration) -> Result<Admission, Refusal> {
        let request = hash(request);
        let mut jobs = lock(&self.jobs);
        if let Some(job) = jobs.get(&id) {
            if job.request == request {
                return Ok(Admission::Known);
            }
            return Err(Refusal::new(Rule::Fragment, "the query id stands for another question", "Use a new id"));
        }
        if lock(&self.past).contains(&id) {
            return Ok(Admission::Known);
        }
        let now = Instant::now();
        jobs.retain(|id, job| {
            let kept = !job.is_over() || job.deadline + KEPT > now;
            if !kept {
                self.spool.remove(id);
            }
            kept
        });
        if *self.draining.borrow() {
            return Err(Refusal::new(Rule::Busy, "the node is stopping", "Try again in a minute"));
        }
        let active = jobs.values().filter(|job| !job.is_over()).count();
        if active >= self.accepted || jobs.len() >= REMEMBERED {
            return Err(Refusal::new(Rule::Busy, "the node has as many queries as it takes", "Try again in a minute"));
        }
        // One asker may take half of the places: the others find a place behind him.
        let own = jobs.values().filter(|job| !job.is_over() && job.asker == asker).count();
        if own >= self.accepted.div_ceil(2) {
            let advice = "Wait for one to end, or cancel it";
            return Err(Refusal::new(Rule::Busy, "the node has as many queries of this asker as it takes", advice));
        }
        let job = Arc::new(Job::new(request, asker, State::Queued, now + time));
        jobs.insert(id, Arc::clone(&job));
        lock(&self.past).insert(id);
        Ok(Admission::New(job))
    }

    /// A job; for an id of the past that is kept no longer, one that has ended.
    pub(crate) fn get(&self, id: &Uuid) -> Option<Arc<Job>> {
        if let Some(job) = lock(&self.jobs).get(id) {
            return Some(Arc::clone(job));
        }
        let ended = || Arc::new(Job::new([0; 32], String::new(), State::NotAnswered, Instant::now()));
        lock(&self.past).contains(id).then(ended)
    }

    /// Keeps what is about to be released, so that it can be fetched after a restart. Where that fails only this is
    /// lost: the log decides what was released.
    pub(crate) fn keep(&self, id: &Uuid, request: &str, release: &Release) {
        let bytes = [hash(request).as_slice(), &release.to_bytes()].concat();
        if let Err(fault) = self.spool.put(id, &bytes) {
            tracing::error!("an answer will not outlive a restart: {fault}");
        }
    }

    /// Takes no more, and waits until what runs has ended, `limit` at most.
    pub(crate) async fn drain(&self, limit: Duration) {
        self.draining.send_replace(true);
        let ended = async {
            while lock(&self.jobs).values().any(|job| !job.is_over()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let _all = tokio::time::timeout(limit, ended).await.is_ok();
    }

    /// Queries that run or wait.
    pub(crate) fn active(&self) -> usize {
        lock(&self.jobs).values().filter(|job| !job.is_over()).count()
    }
}

fn hash(request: &str) -> Request {
    let mut out = [0_u8; 32];
    out.iter_mut().zip(digest(&SHA256, request.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
    out
}
