//! The registry of queries: prepare, run, watch, fetch and cancel. Each query is visible only to its owner.
//!
//! A running query is stored beside the log, so that a restart can resume it. The nodes know a query by its id and run
//! nothing twice. The result of an ended query is stored for as long as it can be fetched.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use loda_identity::{PeerId, SignedQuestion};
use loda_ledger::Spool;
use loda_question::{Refusal, Rule};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::config::Limits;
use crate::plan::split::Prepared;
use crate::query::query::{PersistedQuery, Query, Terms, lock};
use crate::result::post_process::MAX_BYTES;
use crate::result::query_result::QueryResult;

/// How long prepared and ended questions are kept.
const KEPT: Duration = Duration::from_secs(600);

/// The most prepared questions of one analyst. The oldest goes first.
const PREPARED: usize = 64;

/// The ended questions that stay when another one is asked: of one analyst, and of all.
const OF_ONE: EndedLimit = EndedLimit { questions: 128, bytes: MAX_BYTES };
const OF_ALL: EndedLimit = EndedLimit { questions: 2048, bytes: 256 << 20 };

/// Room for ended questions and the bytes of their answers. The oldest go first.
#[derive(Clone, Copy)]
struct EndedLimit {
    questions: usize,
    bytes: usize,
}

/// The most restarts after which a question is resumed. The question itself may have ended the process.
const MAX_RESTARTS: u32 = 1;

/// The coordinator's clock and source of ids. A simulation replaces them.
#[derive(Clone)]
pub(crate) struct Environment {
    /// The wall clock, for deadlines that continue after a restart.
    pub(crate) clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    pub(crate) ids: Arc<dyn Fn() -> Uuid + Send + Sync>,
}

impl Default for Environment {
    fn default() -> Self {
        Self { clock: Arc::new(Utc::now), ids: Arc::new(Uuid::new_v4) }
    }
}

/// All prepared, running and ended questions.
pub(crate) struct QueryRegistry {
    prepared: Mutex<HashMap<Uuid, Arc<Prepared>>>,
    queries: Mutex<HashMap<Uuid, Arc<Query>>>,
    /// The id of every question that the log begins: an asker who signs chooses the id, and chooses it once.
    ids: Mutex<HashSet<Uuid>>,
    limits: Limits,
    spool: Spool,
    environment: Environment,
    draining: watch::Sender<bool>,
}

impl QueryRegistry {
    pub(crate) fn new(limits: Limits, spool: Spool, environment: Environment, ids: HashSet<Uuid>) -> Self {
        let draining = watch::Sender::new(false);
        Self {
            prepared: Mutex::default(),
            queries: Mutex::default(),
            ids: Mutex::new(ids),
            limits,
            spool,
            environment,
            draining,
        }
    }

    /// In Unix milliseconds.
    pub(super) fn now(&self) -> i64 {
        (self.environment.clock)().timestamp_millis()
    }

    /// The time left for a query of an earlier run. A clock that was set back gives it no more than its original time.
    pub(crate) fn left(&self, kept: &PersistedQuery) -> Duration {
        let left = u64::try_from(kept.until.saturating_sub(self.now())).unwrap_or(0);
        Duration::from_millis(left).min(self.limits.deadline())
    }

    /// The queries that an earlier run stored.
    pub(crate) fn kept(&self) -> Vec<(Uuid, PersistedQuery)> {
        let ids = self.spool.younger_than(KEPT.saturating_add(self.limits.deadline()));
        let read = |id: Uuid| Some((id, self.spool.get(&id).and_then(|bytes| PersistedQuery::from_bytes(&bytes))?));
        ids.into_iter().filter_map(read).collect()
    }

    /// Stores a query for a restart, with its result if there is one. If that fails, only the recovery after a restart
    /// is lost.
    pub(crate) fn keep(&self, query: &Query, result: Option<&QueryResult>) {
        if let Err(fault) = self.spool.put(&query.id, &query.kept().to_bytes(result)) {
            tracing::error!("a question will not outlive a restart: {fault}");
        }
    }

    /// Whether to resume a query that an earlier run left without an end. The attempt is stored before anything is done
    /// for the query.
    pub(crate) fn takes_up(&self, id: &Uuid, kept: &mut PersistedQuery) -> bool {
        kept.restarts = kept.restarts.saturating_add(1);
        !self.left(kept).is_zero() && kept.restarts <= MAX_RESTARTS && self.spool.put(id, &kept.to_bytes(None)).is_ok()
    }

    pub(crate) fn forget(&self, id: &Uuid) {
        self.spool.remove(id);
    }

    /// Accepts no more questions, and waits until the running ones have ended, at most for `limit`.
    pub(crate) async fn drain(&self, limit: Duration) {
        self.draining.send_replace(true);
        let ended = async {
            while self.active() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let _all = tokio::time::timeout(limit, ended).await.is_ok();
    }

    /// The number of running questions.
    pub(crate) fn active(&self) -> usize {
        lock(&self.queries).values().filter(|q| !q.is_over()).count()
    }

    /// Keeps a planned question until it is run, or for a while.
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
        let id = (self.environment.ids)();
        all.insert(id, prepared);
        id
    }

    /// A prepared question of this owner. Questions of other owners are not found.
    pub(crate) fn prepared(&self, id: &Uuid, owner: &PeerId) -> Option<Arc<Prepared>> {
        lock(&self.prepared).get(id).filter(|p| p.owner == *owner).cloned()
    }

    /// Admits a query. A signed one has the id that its asker signed.
    ///
    /// # Errors
    /// Rule `busy`, or `signature` for an id that is in use.
    pub(crate) fn start(
        &self,
        prepared: Arc<Prepared>,
        signed: Option<(Uuid, SignedQuestion)>,
        time: Duration,
        detached: bool,
    ) -> Result<Arc<Query>, Refusal> {
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
        let terms = Terms { until, detached, resumed: false, restarts: 0 };
        let mut ids = lock(&self.ids);
        let (id, signed) = match signed {
            Some((id, _)) if ids.contains(&id) => {
                return Err(Refusal::new(
                    Rule::Signature,
                    "this question was asked before",
                    "Ask anew: the client signs it anew",
                ));
            }
            Some((id, signed)) => (id, Some(signed)),
            None => ((self.environment.ids)(), None),
        };
        ids.insert(id);
        Ok(Self::insert(&mut all, id, Query::new(id, prepared, signed, terms)))
    }

    /// Makes room for one more ended question. The last one to end stays, however large its answer is.
    fn forget_oldest(&self, all: &mut HashMap<Uuid, Arc<Query>>, room: EndedLimit, of: &dyn Fn(&Query) -> bool) {
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

    /// Resumes a query of an earlier run. `begun`: the log has its INTENT.
    pub(crate) fn restore(&self, id: Uuid, prepared: Arc<Prepared>, kept: &PersistedQuery, begun: bool) -> Arc<Query> {
        let terms = Terms { until: kept.until, detached: kept.detached, resumed: begun, restarts: kept.restarts };
        let query = Query::new(id, prepared, kept.signed.clone(), terms);
        Self::insert(&mut lock(&self.queries), id, query)
    }

    fn insert(all: &mut HashMap<Uuid, Arc<Query>>, id: Uuid, query: Arc<Query>) -> Arc<Query> {
        all.insert(id, Arc::clone(&query));
        query
    }

    /// All queries of this owner, newest first.
    pub(crate) fn of(&self, owner: &PeerId) -> Vec<Arc<Query>> {
        let all = lock(&self.queries);
        let mut own: Vec<Arc<Query>> = all.values().filter(|q| q.prepared.owner == *owner).cloned().collect();
        own.sort_by_key(|query| (std::cmp::Reverse(query.started), query.id));
        own
    }

    /// A query of this owner. Queries of other owners are not found.
    pub(crate) fn query(&self, id: &Uuid, owner: &PeerId) -> Option<Arc<Query>> {
        lock(&self.queries).get(id).filter(|q| q.prepared.owner == *owner).cloned()
    }
}
