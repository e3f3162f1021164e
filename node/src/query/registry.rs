//! All queries of a node, by id. A query can be submitted again, watched, fetched again and cancelled, also after a
//! restart.
//!
//! After a restart, the log decides: an id with an ACCEPT entry never runs again. A released answer can still be
//! fetched. A query that was cut off has ended without an answer, and the log says so.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use loda_ledger::{Entry, Event, FailReason, OtherLogs, Spool};
use loda_proto::v1::State;
use loda_question::{Refusal, Rule};
use ring::digest::{SHA256, digest};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::query::release::Release;

/// How long after its deadline a finished query can be fetched.
pub(crate) const KEPT: Duration = Duration::from_secs(600);

/// The number of finished queries that can be fetched at most, and the bytes of their answers. The oldest are forgotten
/// first.
const FINISHED: usize = 4096;
const FINISHED_BYTES: usize = 256 << 20;

/// The request behind an id: SHA-256 over asker, purpose, targets and question.
type Request = [u8; 32];

/// One query at this node.
pub(crate) struct Job {
    request: Request,
    /// The asker, for fair shares.
    asker: String,
    state: watch::Sender<State>,
    release: OnceLock<Release>,
    deadline: Instant,
    /// Becomes true once. A running query waits for it.
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

    /// The bytes of its answer.
    fn bytes(&self) -> usize {
        self.release().map_or(0, |release| release.arrow_ipc.len())
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state.borrow().is_final()
    }

    /// Waits for the state that ends the query.
    pub(crate) async fn over(&self) {
        let _ended = self.watch().wait_for(|state| state.is_final()).await.is_ok();
    }

    pub(crate) fn running(&self) {
        self.state.send_replace(State::Running);
    }

    pub(crate) fn released(&self, release: Release) {
        if self.release.set(release).is_ok() {
            self.end(State::Released);
        }
    }

    /// Ends the query with the one code for every stop after reading began. It is sent at the deadline, and not before.
    pub(crate) async fn not_answered(&self) {
        tokio::time::sleep_until(self.deadline).await;
        self.end(State::NotAnswered);
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.send_replace(true);
        self.end(State::Cancelled);
    }

    pub(crate) async fn cancelled(&self) {
        // The sender lives as long as the job, so only the flag ends the wait.
        let mut flag = self.cancelled.subscribe();
        let _ended = flag.wait_for(|cancelled| *cancelled).await.is_ok();
    }

    fn end(&self, state: State) {
        self.state.send_if_modified(|now| {
            let running = !now.is_final();
            if running {
                *now = state;
            }
            running
        });
    }
}

/// The state that the log tells of earlier runs of this node.
#[derive(Default)]
pub(crate) struct LogRecovery {
    ids: HashSet<Uuid>,
    released: HashSet<Uuid>,
    unended: BTreeMap<Uuid, Entry>,
    /// The heads of other logs that this node has seen.
    pub(crate) others: OtherLogs,
}

impl LogRecovery {
    /// Takes in one entry. Entries come in the log's order.
    pub(crate) fn note(&mut self, entry: Entry) {
        self.others.note(&entry);
        let Ok(id) = Uuid::try_parse(&entry.query) else { return };
        match &entry.event {
            Event::Accept { .. } => {
                self.ids.insert(id);
                self.unended.insert(id, entry);
            }
            Event::Release { .. } => {
                self.unended.remove(&id);
                self.released.insert(id);
            }
            Event::Fail(_) => {
                self.unended.remove(&id);
            }
            Event::Intent { .. }
            | Event::Explain { .. }
            | Event::Outcome(_)
            | Event::Refuse(_)
            | Event::Admin(_)
            | Event::Erase(_) => {}
        }
    }

    /// Entries that end every query that was cut off.
    pub(crate) fn endings(&mut self) -> Vec<Entry> {
        let cut_off = std::mem::take(&mut self.unended).into_values();
        cut_off.map(|entry| Entry { event: Event::Fail(FailReason::Restarted), ..entry }).collect()
    }
}

/// All queries of a node.
pub(crate) struct QueryRegistry {
    known: Mutex<Known>,
    /// Every id that was ever accepted. It takes 16 bytes a query, for good.
    past: Mutex<HashSet<Uuid>>,
    accepted: usize,
    spool: Spool,
    draining: watch::Sender<bool>,
}

#[derive(Default)]
struct Known {
    all: HashMap<Uuid, Arc<Job>>,
    /// The jobs that run or wait, and some that have just ended.
    active: Vec<(Uuid, Arc<Job>)>,
    /// The other jobs, roughly in the order of their ends.
    finished: VecDeque<(Uuid, Arc<Job>)>,
    /// The bytes of the finished jobs' answers.
    bytes: usize,
}

impl Known {
    fn active(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.active.iter().map(|(_, job)| job).filter(|job| !job.is_over())
    }

    fn add(&mut self, id: Uuid, job: &Arc<Job>) {
        self.active.push((id, Arc::clone(job)));
        self.all.insert(id, Arc::clone(job));
    }

    /// Forgets jobs that ended long ago or exceed the limits. Returns their ids.
    fn sweep(&mut self, now: Instant) -> Vec<Uuid> {
        for (id, job) in self.active.extract_if(.., |(_, job)| job.is_over()) {
            self.bytes = self.bytes.saturating_add(job.bytes());
            self.finished.push_back((id, job));
        }
        let mut forgotten = Vec::new();
        while let Some((id, job)) = self.finished.front() {
            let many = self.finished.len() > FINISHED || self.bytes > FINISHED_BYTES;
            if !many && job.deadline + KEPT > now {
                break;
            }
            self.bytes = self.bytes.saturating_sub(job.bytes());
            self.all.remove(id);
            forgotten.push(*id);
            self.finished.pop_front();
        }
        forgotten
    }
}

/// The result of submitting an id.
pub(crate) enum Admission {
    New(Arc<Job>),
    /// The same query was submitted before.
    Known,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl QueryRegistry {
    /// A registry with the answers that were released shortly before a restart, as far as the log confirms them.
    pub(crate) fn new(accepted: usize, spool: Spool, history: LogRecovery) -> Self {
        let mut known = Known::default();
        for id in spool.younger_than(KEPT) {
            let kept = spool.get(&id).and_then(|bytes| {
                let (request, release) = bytes.split_first_chunk::<32>()?;
                Some((*request, Release::from_bytes(release)?))
            });
            match kept {
                Some((request, release)) if history.released.contains(&id) => {
                    let job = Job::new(request, String::new(), State::Released, Instant::now());
                    let _first = job.release.set(release);
                    known.add(id, &Arc::new(job));
                }
                // It was made and not logged, or was cut short, so it must not leave.
                _ => spool.remove(&id),
            }
        }
        let (known, past) = (Mutex::new(known), Mutex::new(history.ids));
        Self { known, past, accepted, spool, draining: watch::Sender::new(false) }
    }

    /// Admits a query. An id never runs twice, and never stands for two questions.
    ///
    /// # Errors
    /// Rule `busy` or `fragment`.
    pub(crate) fn admit(&self, id: Uuid, request: &str, asker: String, time: Duration) -> Result<Admission, Refusal> {
        let request = hash(request);
        let mut known = lock(&self.known);
        if let Some(job) = known.all.get(&id) {
            if job.request == request {
                return Ok(Admission::Known);
            }
            return Err(Refusal::new(Rule::Fragment, "the query id stands for another question", "Use a new id"));
        }
        if lock(&self.past).contains(&id) {
            return Ok(Admission::Known);
        }
        let now = Instant::now();
        known.sweep(now).iter().for_each(|id| self.spool.remove(id));
        if *self.draining.borrow() {
            return Err(Refusal::new(Rule::Busy, "the node is stopping", "Try again in a minute"));
        }
        if known.active().count() >= self.accepted {
            return Err(Refusal::new(Rule::Busy, "the node has as many queries as it takes", "Try again in a minute"));
        }
        // One asker may take half of the places. Other askers then still find a place.
        let own = known.active().filter(|job| job.asker == asker).count();
        if own >= self.accepted.div_ceil(2) {
            let advice = "Wait for one to end, or cancel it";
            return Err(Refusal::new(Rule::Busy, "the node has as many queries of this asker as it takes", advice));
        }
        let job = Arc::new(Job::new(request, asker, State::Queued, now + time));
        known.add(id, &job);
        lock(&self.past).insert(id);
        Ok(Admission::New(job))
    }

    /// The job of an id. If the job is not kept any more, a job that has ended.
    pub(crate) fn get(&self, id: &Uuid) -> Option<Arc<Job>> {
        if let Some(job) = lock(&self.known).all.get(id) {
            return Some(Arc::clone(job));
        }
        let ended = || Arc::new(Job::new([0; 32], String::new(), State::NotAnswered, Instant::now()));
        lock(&self.past).contains(id).then(ended)
    }

    /// Keeps a copy of an answer that is about to be released, so it can be fetched after a restart. If this fails,
    /// only the copy is lost: the log decides which answers were released.
    pub(crate) fn keep(&self, id: &Uuid, request: &str, release: &Release) {
        let bytes = [hash(request).as_slice(), &release.to_bytes()].concat();
        if let Err(fault) = self.spool.put(id, &bytes) {
            tracing::error!("an answer will not outlive a restart: {fault}");
        }
    }

    /// Admits no more queries, and waits until the running ones have ended, for `limit` at most.
    pub(crate) async fn drain(&self, limit: Duration) {
        self.draining.send_replace(true);
        let ended = async {
            while self.active() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let _all = tokio::time::timeout(limit, ended).await.is_ok();
    }

    /// The number of queries that run or wait.
    pub(crate) fn active(&self) -> usize {
        lock(&self.known).active().count()
    }
}

fn hash(request: &str) -> Request {
    let mut out = [0_u8; 32];
    out.iter_mut().zip(digest(&SHA256, request.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_that_have_ended_keep_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let jobs = QueryRegistry::new(2, Spool::open(dir.path()).unwrap(), LogRecovery::default());
        let id = |number: usize| Uuid::from_u128(number as u128);
        let admit = |number| jobs.admit(id(number), "question", "a".to_owned(), Duration::from_secs(60));
        for number in 0..=FINISHED {
            let Ok(Admission::New(job)) = admit(number) else { panic!("{number} was not admitted") };
            assert_eq!(jobs.active(), 1);
            job.cancel();
        }
        // The first query is forgotten, and still known to have run.
        let Ok(Admission::New(running)) = admit(FINISHED + 1) else { panic!("the last was not admitted") };
        assert_eq!(lock(&jobs.known).all.len(), FINISHED + 1);
        assert!(matches!(admit(0), Ok(Admission::Known)) && jobs.get(&id(0)).unwrap().is_over());
        assert!(admit(FINISHED + 2).is_err(), "half of the places are one asker's");
        tokio::time::advance(KEPT + Duration::from_secs(61)).await;
        assert!(admit(FINISHED + 3).is_err());
        assert_eq!(lock(&jobs.known).all.len(), 1);
        running.cancel();
        assert!(admit(FINISHED + 3).is_ok());
    }
}
