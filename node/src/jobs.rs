//! Queries as jobs: idempotent by id, watched, fetched again, cancelled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use loda_proto::v1::State;
use loda_question::{Refusal, Rule};
use tokio::sync::watch;
use uuid::Uuid;

use crate::release::Release;

/// How long a finished job can still be fetched.
const KEPT: Duration = Duration::from_secs(600);

/// Jobs remembered at most, finished ones included.
const REMEMBERED: usize = 4096;

/// One query at this node.
pub(crate) struct Job {
    /// What this id stands for: asker, purpose, targets and question.
    request: String,
    state: watch::Sender<State>,
    release: OnceLock<Release>,
    deadline: Instant,
    /// Becomes true once; a running query waits on it.
    cancelled: watch::Sender<bool>,
}

impl Job {
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
            self.state.send_replace(State::Released);
        }
    }

    /// One code for every stop after reading began, sent at the deadline and not before.
    pub(crate) async fn not_answered(&self) {
        tokio::time::sleep_until(self.deadline.into()).await;
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

/// All jobs of a node.
pub(crate) struct Jobs {
    jobs: Mutex<HashMap<Uuid, Arc<Job>>>,
    accepted: usize,
}

/// What submitting an id led to.
pub(crate) enum Admission {
    New(Arc<Job>),
    /// The same query was submitted before.
    Known,
}

impl Jobs {
    pub(crate) fn new(accepted: usize) -> Self {
        Self { jobs: Mutex::new(HashMap::new()), accepted }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a job. An id never runs twice, and never stands for two questions.
    ///
    /// # Errors
    /// Rule `busy` or `fragment`.
    pub(crate) fn admit(&self, id: Uuid, request: String, time: Duration) -> Result<Admission, Refusal> {
        let mut jobs = self.lock();
        if let Some(job) = jobs.get(&id) {
            if job.request == request {
                return Ok(Admission::Known);
            }
            return Err(Refusal::new(Rule::Fragment, "the query id stands for another question", "Use a new id"));
        }
        let now = Instant::now();
        jobs.retain(|_, job| !job.is_over() || job.deadline + KEPT > now);
        let active = jobs.values().filter(|job| !job.is_over()).count();
        if active >= self.accepted || jobs.len() >= REMEMBERED {
            return Err(Refusal::new(Rule::Busy, "the node has as many queries as it takes", "Try again in a minute"));
        }
        let job = Arc::new(Job {
            request,
            state: watch::Sender::new(State::Queued),
            release: OnceLock::new(),
            deadline: now + time,
            cancelled: watch::Sender::new(false),
        });
        jobs.insert(id, Arc::clone(&job));
        Ok(Admission::New(job))
    }

    pub(crate) fn get(&self, id: &Uuid) -> Option<Arc<Job>> {
        self.lock().get(id).cloned()
    }
}
