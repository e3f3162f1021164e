//! Questions as jobs: prepared, run, watched, fetched, cancelled; each by its owner alone.
//!
//! What runs is kept beside the log, so that a restart takes it up again: the nodes know a query by its id and run
//! nothing twice. Of what has ended the result is kept for as long as it can be fetched.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use loda_identity::PeerId;
use loda_ledger::Spool;
use loda_proto::v1::{State, Statement};
use loda_question::{Refusal, Rule};
use prost::Message;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::config::Limits;
use crate::dispatch::Progress;
use crate::split::SplitPlan;

/// How long what was prepared, and what has ended, is kept.
const KEPT: Duration = Duration::from_secs(600);

/// Prepared questions of one analyst at most: the oldest goes first.
const PREPARED: usize = 64;

/// Bytes of one analyst's answers at most, and so of one answer.
pub(crate) const KEPT_BYTES: usize = 64 << 20;

/// Ended questions that are kept when another is asked, of one analyst and of all.
const OF_ONE: Room = Room { questions: 128, bytes: KEPT_BYTES };
const OF_ALL: Room = Room { questions: 2048, bytes: 256 << 20 };

/// Room for ended questions and for the bytes of their answers: the oldest go first.
#[derive(Clone, Copy)]
struct Room {
    questions: usize,
    bytes: usize,
}

/// What a coordinator takes from the world outside it; a simulation has another.
#[derive(Clone)]
pub(crate) struct World {
    /// The wall clock: for deadlines that outlive a restart.
    pub(crate) clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    pub(crate) ids: Arc<dyn Fn() -> Uuid + Send + Sync>,
}

impl Default for World {
    fn default() -> Self {
        Self { clock: Arc::new(Utc::now), ids: Arc::new(Uuid::new_v4) }
    }
}

/// A question that was planned and may be run.
pub(crate) struct Prepared {
    pub(crate) owner: PeerId,
    pub(crate) purpose: String,
    pub(crate) sql: String,
    pub(crate) split: SplitPlan,
    made: Instant,
}

impl Prepared {
    pub(crate) fn new(owner: PeerId, purpose: String, sql: String, split: SplitPlan) -> Arc<Self> {
        Arc::new(Self { owner, purpose, sql, split, made: Instant::now() })
    }
}

/// A question that runs or has ended.
pub(crate) struct Query {
    pub(crate) id: Uuid,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) progress: Progress,
    pub(crate) result: OnceLock<QueryResult>,
    /// When it ends at the latest, in Unix milliseconds.
    pub(crate) until: i64,
    /// Whether it goes on when nobody watches.
    detached: bool,
    /// Whether an earlier life of the coordinator began it.
    pub(crate) resumed: bool,
    state: watch::Sender<State>,
    /// Whether it is decided how it ends: answered, or cancelled.
    decided: Mutex<bool>,
    watchers: watch::Sender<usize>,
    started: Instant,
    ended: OnceLock<Instant>,
}

/// Somebody who watches a query, for as long as this lives.
pub(crate) struct Watcher(Arc<Query>);

impl Watcher {
    pub(crate) fn query(&self) -> &Query {
        &self.0
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.watchers.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// A query as it is kept beside the log.
#[derive(Serialize, Deserialize)]
pub(crate) struct Kept {
    owner: String,
    pub(crate) purpose: String,
    pub(crate) sql: String,
    pub(crate) until: i64,
    detached: bool,
    #[serde(skip)]
    pub(crate) result: Option<QueryResult>,
}

impl Kept {
    pub(crate) fn owner(&self) -> Option<PeerId> {
        self.owner.parse().ok()
    }

    /// One line of JSON, then the result where there is one.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = bytes.split_at_checked(end)?;
        let mut kept: Self = serde_json::from_slice(line).ok()?;
        if let Some((length, rest)) = rest.get(1..).and_then(<[u8]>::split_first_chunk::<4>) {
            let (statement, cells) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
            let statement = Statement::decode(statement).ok()?;
            kept.result = Some(QueryResult { statement, arrow_ipc: cells.to_vec() });
        }
        Some(kept)
    }
}

/// What Fetch sends.
pub(crate) struct QueryResult {
    pub(crate) statement: Statement,
    pub(crate) arrow_ipc: Vec<u8>,
}

/// How long a question waits for its first watcher, and how long it goes on after the last one: a lost connection is
/// made again at once, and whoever does not come back is not waited for.
const FIRST_WATCHER: Duration = Duration::from_secs(10);
const NO_WATCHER: Duration = Duration::from_millis(500);

impl Query {
    pub(crate) fn watched(self: &Arc<Self>) -> Watcher {
        self.watchers.send_modify(|count| *count = count.saturating_add(1));
        Watcher(Arc::clone(self))
    }

    /// Completes when nobody waits for the answer any more; never for a detached question.
    pub(crate) async fn abandoned(&self) {
        if self.detached {
            return std::future::pending().await;
        }
        let mut watchers = self.watchers.subscribe();
        let mut patience = FIRST_WATCHER;
        loop {
            // The sender lives as long as the query.
            if tokio::time::timeout(patience, watchers.wait_for(|count| *count > 0)).await.is_err() {
                return;
            }
            let _left = watchers.wait_for(|count| *count == 0).await.is_ok();
            patience = NO_WATCHER;
        }
    }

    /// For the spool.
    fn to_bytes(&self, result: Option<&QueryResult>) -> Vec<u8> {
        let kept = Kept {
            owner: self.prepared.owner.to_string(),
            purpose: self.prepared.purpose.clone(),
            sql: self.prepared.sql.clone(),
            until: self.until,
            detached: self.detached,
            result: None,
        };
        let mut bytes = serde_json::to_vec(&kept).unwrap_or_default();
        bytes.push(b'\n');
        if let Some(QueryResult { statement, arrow_ipc }) = result {
            let statement = statement.encode_to_vec();
            bytes.extend(u32::try_from(statement.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend(statement);
            bytes.extend(arrow_ipc);
        }
        bytes
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// What its answer takes.
    fn bytes(&self) -> usize {
        self.result.get().map_or(0, |r| r.arrow_ipc.len().saturating_add(r.statement.encoded_len()))
    }

    pub(crate) fn is_over(&self) -> bool {
        is_final(*self.state.borrow())
    }

    /// Before the log says that it is answered: a cancellation comes too late from now on. False where one came before.
    pub(crate) fn close(&self) -> bool {
        !std::mem::replace(&mut *lock(&self.decided), true)
    }

    /// Moves on, unless it has ended.
    pub(crate) fn set(&self, state: State) {
        self.state.send_if_modified(|now| {
            let moves = !is_final(*now);
            if moves {
                *now = state;
                if is_final(state) {
                    self.ended.get_or_init(Instant::now);
                }
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
    spool: Spool,
    world: World,
    draining: watch::Sender<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Jobs {
    pub(crate) fn new(limits: Limits, spool: Spool, world: World) -> Self {
        let draining = watch::Sender::new(false);
        Self { prepared: Mutex::default(), queries: Mutex::default(), limits, spool, world, draining }
    }

    /// In Unix milliseconds.
    fn now(&self) -> i64 {
        (self.world.clock)().timestamp_millis()
    }

    /// How long a query of an earlier life may still take. A clock that was set back gives it no more than it had.
    pub(crate) fn left(&self, kept: &Kept) -> Duration {
        let left = u64::try_from(kept.until.saturating_sub(self.now())).unwrap_or(0);
        Duration::from_millis(left).min(self.limits.deadline())
    }

    /// What an earlier life of the coordinator kept.
    ///
    /// # Errors
    /// Where the spool cannot be read.
    pub(crate) fn kept(&self) -> std::io::Result<Vec<(Uuid, Kept)>> {
        let ids = self.spool.younger_than(KEPT.saturating_add(self.limits.deadline()))?;
        let read = |id: Uuid| Some((id, self.spool.get(&id).and_then(|bytes| Kept::from_bytes(&bytes))?));
        Ok(ids.into_iter().filter_map(read).collect())
    }

    /// Keeps a query, and its result where there is one, over a restart. Where that fails only this is lost.
    pub(crate) fn keep(&self, query: &Query, result: Option<&QueryResult>) {
        if let Err(fault) = self.spool.put(&query.id, &query.to_bytes(result)) {
            tracing::error!("a question will not outlive a restart: {fault}");
        }
    }

    /// Cancels a query, unless its answer is there; one that was cancelled stays so over a restart.
    pub(crate) fn cancel(&self, query: &Query) {
        let mut decided = lock(&query.decided);
        if !std::mem::replace(&mut *decided, true) {
            self.spool.remove(&query.id);
            query.set(State::Cancelled);
        }
    }

    pub(crate) fn forget(&self, id: &Uuid) {
        self.spool.remove(id);
    }

    /// Takes no more, and waits until what runs has ended, `limit` at most.
    pub(crate) async fn drain(&self, limit: Duration) {
        self.draining.send_replace(true);
        let ended = async {
            while self.active() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let _all = tokio::time::timeout(limit, ended).await.is_ok();
    }

    /// Questions that run.
    pub(crate) fn active(&self) -> usize {
        lock(&self.queries).values().filter(|q| !q.is_over()).count()
    }

    pub(crate) fn prepare(
        &self,
        owner: PeerId,
        purpose: String,
        sql: String,
        split: SplitPlan,
    ) -> (Uuid, Arc<Prepared>) {
        let prepared = Prepared::new(owner, purpose, sql, split);
        let mut all = lock(&self.prepared);
        all.retain(|_, p| p.made.elapsed() < KEPT);
        let mine: Vec<(Instant, Uuid)> =
            all.iter().filter(|(_, p)| p.owner == prepared.owner).map(|(id, p)| (p.made, *id)).collect();
        if mine.len() >= PREPARED
            && let Some((_, oldest)) = mine.into_iter().min()
        {
            all.remove(&oldest);
        }
        let id = (self.world.ids)();
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
    pub(crate) fn start(&self, prepared: Arc<Prepared>, time: Duration, detached: bool) -> Result<Arc<Query>, Refusal> {
        if *self.draining.borrow() {
            return Err(Refusal::new(Rule::Busy, "the coordinator is stopping", "Try again in a minute"));
        }
        let mut all = lock(&self.queries);
        all.retain(|id, q| {
            let stays = !q.is_over() || q.started.elapsed() < KEPT.saturating_add(self.limits.deadline());
            if !stays {
                self.spool.remove(id);
            }
            stays
        });
        self.forget_oldest(&mut all, OF_ONE, &|q| q.prepared.owner == prepared.owner);
        self.forget_oldest(&mut all, OF_ALL, &|_| true);
        let running = all.values().filter(|q| !q.is_over());
        let (total, mine) = running
            .fold((0, 0), |(total, mine), q| (total + 1, mine + usize::from(q.prepared.owner == prepared.owner)));
        if total >= self.limits.queries || mine >= self.limits.queries_per_analyst {
            let advice = "Wait for one to end, or cancel it";
            return Err(Refusal::new(Rule::Busy, "as many questions run as may run at once", advice));
        }
        let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let until = self.now().saturating_add(time);
        Ok(Self::insert(&mut all, (self.world.ids)(), prepared, until, detached, false))
    }

    /// Makes room for one more among the ended questions of a kind. The last to end stays, however large its answer.
    fn forget_oldest(&self, all: &mut HashMap<Uuid, Arc<Query>>, room: Room, of: &dyn Fn(&Query) -> bool) {
        let ended = all.values().filter(|q| of(q)).filter_map(|q| Some((*q.ended.get()?, q.id, q.bytes())));
        let mut ended: Vec<(Instant, Uuid, usize)> = ended.collect();
        ended.sort_unstable_by(|a, b| b.cmp(a));
        let mut bytes = 0_usize;
        for (number, (_, id, more)) in (1_usize..).zip(ended) {
            bytes = bytes.saturating_add(more);
            if number >= room.questions || (number > 1 && bytes > room.bytes) {
                all.remove(&id);
                self.spool.remove(&id);
            }
        }
    }

    /// Takes up a query of an earlier life; `begun`: the log has its INTENT.
    pub(crate) fn restore(&self, id: Uuid, prepared: Arc<Prepared>, kept: &Kept, begun: bool) -> Arc<Query> {
        Self::insert(&mut lock(&self.queries), id, prepared, kept.until, kept.detached, begun)
    }

    fn insert(
        all: &mut HashMap<Uuid, Arc<Query>>,
        id: Uuid,
        prepared: Arc<Prepared>,
        until: i64,
        detached: bool,
        resumed: bool,
    ) -> Arc<Query> {
        let query = Arc::new(Query {
            id,
            prepared,
            progress: Progress::default(),
            result: OnceLock::new(),
            until,
            detached,
            resumed,
            state: watch::Sender::new(State::Queued),
            decided: Mutex::new(false),
            watchers: watch::Sender::new(0),
            started: Instant::now(),
            ended: OnceLock::new(),
        });
        all.insert(id, Arc::clone(&query));
        query
    }

    /// All of this owner's, the newest first.
    pub(crate) fn of(&self, owner: &PeerId) -> Vec<Arc<Query>> {
        let all = lock(&self.queries);
        let mut own: Vec<Arc<Query>> = all.values().filter(|q| q.prepared.owner == *owner).cloned().collect();
        own.sort_by_key(|query| (std::cmp::Reverse(query.started), query.id));
        own
    }

    /// A query of this owner; another's does not exist for him.
    pub(crate) fn query(&self, id: &Uuid, owner: &PeerId) -> Option<Arc<Query>> {
        lock(&self.queries).get(id).filter(|q| q.prepared.owner == *owner).cloned()
    }
}
