//! Questions as jobs: prepared, run, watched, fetched, cancelled; each by its owner alone.
//!
//! What runs is kept beside the log, so that a restart takes it up again: the nodes know a query by its id and run
//! nothing twice. Of what has ended the result is kept for as long as it can be fetched.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use loda_identity::PeerId;
use loda_ledger::Spool;
use loda_question::{Refusal, Rule};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::config::Limits;
use crate::query::{Kept, Prepared, Query, QueryResult, Terms, lock};

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

/// Restarts that a question is taken up after: it may itself be what ended the process.
const LIVES: u32 = 1;

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

/// Everything that analysts have under way.
pub(crate) struct Jobs {
    prepared: Mutex<HashMap<Uuid, Arc<Prepared>>>,
    queries: Mutex<HashMap<Uuid, Arc<Query>>>,
    limits: Limits,
    spool: Spool,
    world: World,
    draining: watch::Sender<bool>,
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
    pub(crate) fn kept(&self) -> Vec<(Uuid, Kept)> {
        let ids = self.spool.younger_than(KEPT.saturating_add(self.limits.deadline()));
        let read = |id: Uuid| Some((id, self.spool.get(&id).and_then(|bytes| Kept::from_bytes(&bytes))?));
        ids.into_iter().filter_map(read).collect()
    }

    /// Keeps a query, and its result where there is one, over a restart. Where that fails only this is lost.
    pub(crate) fn keep(&self, query: &Query, result: Option<&QueryResult>) {
        if let Err(fault) = self.spool.put(&query.id, &query.kept().to_bytes(result)) {
            tracing::error!("a question will not outlive a restart: {fault}");
        }
    }

    /// Whether to take up a query that an earlier life left without an end. That is noted before anything is done for it.
    pub(crate) fn takes_up(&self, id: &Uuid, kept: &mut Kept) -> bool {
        kept.lives = kept.lives.saturating_add(1);
        !self.left(kept).is_zero() && kept.lives <= LIVES && self.spool.put(id, &kept.to_bytes(None)).is_ok()
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

    /// Keeps what was planned until it is run, or for a while.
    pub(crate) fn prepare(&self, prepared: Arc<Prepared>) -> Uuid {
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
        all.insert(id, prepared);
        id
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
        let terms = Terms { until, detached, resumed: false, lives: 0 };
        Ok(Self::insert(&mut all, (self.world.ids)(), prepared, terms))
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
        let terms = Terms { until: kept.until, detached: kept.detached, resumed: begun, lives: kept.lives };
        Self::insert(&mut lock(&self.queries), id, prepared, terms)
    }

    fn insert(all: &mut HashMap<Uuid, Arc<Query>>, id: Uuid, prepared: Arc<Prepared>, terms: Terms) -> Arc<Query> {
        let query = Query::new(id, prepared, terms);
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
