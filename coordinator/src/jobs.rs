//! Questions as jobs: prepared, run, watched, fetched, cancelled; each by its owner alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use loda_identity::PeerId;
use loda_proto::v1::{State, Statement};
use loda_question::{Refusal, Rule};
use tokio::sync::watch;
use uuid::Uuid;

use crate::config::Limits;
use crate::dispatch::Progress;
use crate::split::SplitPlan;

/// How long what was prepared, and what has ended, is kept.
const KEPT: Duration = Duration::from_secs(600);

/// Prepared questions of one analyst at most: the oldest goes first.
const PREPARED: usize = 64;

/// A question that was planned and may be run.
pub(crate) struct Prepared {
    pub(crate) owner: PeerId,
    pub(crate) purpose: String,
    pub(crate) sql: String,
    pub(crate) split: SplitPlan,
    made: Instant,
}

/// A question that runs or has ended.
pub(crate) struct Query {
    pub(crate) id: Uuid,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) progress: Progress,
    pub(crate) result: OnceLock<QueryResult>,
    state: watch::Sender<State>,
    started: Instant,
}

/// What Fetch sends.
pub(crate) struct QueryResult {
    pub(crate) statement: Statement,
    pub(crate) arrow_ipc: Vec<u8>,
}

impl Query {
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn is_over(&self) -> bool {
        is_final(*self.state.borrow())
    }

    /// Moves on, unless it has ended.
    pub(crate) fn set(&self, state: State) {
        self.state.send_if_modified(|now| {
            let moves = !is_final(*now);
            if moves {
                *now = state;
            }
            moves
        });
    }

    /// Wakes watchers without a change of state.
    pub(crate) fn touch(&self) {
        self.state.send_modify(|_| {});
    }
}

pub(crate) fn is_final(state: State) -> bool {
    matches!(state, State::Released | State::NotAnswered | State::Cancelled | State::Refused)
}

/// Everything that analysts have under way.
pub(crate) struct Jobs {
    prepared: Mutex<HashMap<Uuid, Arc<Prepared>>>,
    queries: Mutex<HashMap<Uuid, Arc<Query>>>,
    limits: Limits,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Jobs {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { prepared: Mutex::default(), queries: Mutex::default(), limits }
    }

    pub(crate) fn prepare(
        &self,
        owner: PeerId,
        purpose: String,
        sql: String,
        split: SplitPlan,
    ) -> (Uuid, Arc<Prepared>) {
        let prepared = Arc::new(Prepared { owner, purpose, sql, split, made: Instant::now() });
        let mut all = lock(&self.prepared);
        all.retain(|_, p| p.made.elapsed() < KEPT);
        let mine: Vec<(Instant, Uuid)> =
            all.iter().filter(|(_, p)| p.owner == prepared.owner).map(|(id, p)| (p.made, *id)).collect();
        if mine.len() >= PREPARED
            && let Some((_, oldest)) = mine.into_iter().min()
        {
            all.remove(&oldest);
        }
        let id = Uuid::new_v4();
        all.insert(id, Arc::clone(&prepared));
        (id, prepared)
    }

    /// A prepared question of this owner; another's does not exist for him.
    pub(crate) fn prepared(&self, id: &Uuid, owner: &PeerId) -> Option<Arc<Prepared>> {
        lock(&self.prepared).get(id).filter(|p| p.owner == *owner).cloned()
    }

    /// Admits a query.
    ///
    /// # Errors
    /// Rule `busy`.
    pub(crate) fn start(&self, prepared: Arc<Prepared>) -> Result<Arc<Query>, Refusal> {
        let mut all = lock(&self.queries);
        all.retain(|_, q| !q.is_over() || q.started.elapsed() < KEPT.saturating_add(self.limits.deadline()));
        let running = all.values().filter(|q| !q.is_over());
        let (total, mine) = running
            .fold((0, 0), |(total, mine), q| (total + 1, mine + usize::from(q.prepared.owner == prepared.owner)));
        if total >= self.limits.queries || mine >= self.limits.queries_per_analyst {
            let advice = "Wait for one to end, or cancel it";
            return Err(Refusal::new(Rule::Busy, "as many questions run as may run at once", advice));
        }
        let query = Arc::new(Query {
            id: Uuid::new_v4(),
            prepared,
            progress: Progress::default(),
            result: OnceLock::new(),
            state: watch::Sender::new(State::Queued),
            started: Instant::now(),
        });
        all.insert(query.id, Arc::clone(&query));
        Ok(query)
    }

    /// A query of this owner; another's does not exist for him.
    pub(crate) fn query(&self, id: &Uuid, owner: &PeerId) -> Option<Arc<Query>> {
        lock(&self.queries).get(id).filter(|q| q.prepared.owner == *owner).cloned()
    }
}
