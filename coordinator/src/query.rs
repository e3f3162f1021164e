//! One question from its plan to its end, and as it is kept beside the log.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use loda_identity::{Gss, PeerId};
use loda_proto::v1::{State, Statement};
use prost::Message;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::dispatch::Progress;
use crate::questions::sha256;
use crate::split::SplitPlan;

/// How long a question waits for its first watcher, and how long it goes on after the last one: a lost connection is
/// made again at once, and whoever does not come back is not waited for.
const FIRST_WATCHER: Duration = Duration::from_secs(10);
const NO_WATCHER: Duration = Duration::from_millis(500);

/// A question that was planned and may be run.
pub(crate) struct Prepared {
    pub(crate) owner: PeerId,
    pub(crate) purpose: String,
    pub(crate) sql: String,
    /// Whom it was planned for.
    pub(crate) boroughs: Vec<Gss>,
    pub(crate) split: SplitPlan,
    pub(crate) made: Instant,
}

impl Prepared {
    pub(crate) fn new(owner: PeerId, purpose: String, sql: String, boroughs: Vec<Gss>, split: SplitPlan) -> Arc<Self> {
        Arc::new(Self { owner, purpose, sql, boroughs, split, made: Instant::now() })
    }
}

/// A question that runs or has ended.
pub(crate) struct Query {
    pub(crate) id: Uuid,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) progress: Progress,
    pub(crate) result: OnceLock<QueryResult>,
    terms: Terms,
    state: watch::Sender<State>,
    /// Whether it is decided how it ends: answered, or cancelled.
    pub(crate) decided: Mutex<bool>,
    watchers: watch::Sender<usize>,
    pub(crate) started: Instant,
    pub(crate) ended: OnceLock<Instant>,
}

#[derive(Clone, Copy)]
pub(crate) struct Terms {
    /// When it ends at the latest, in Unix milliseconds.
    pub(crate) until: i64,
    /// Whether it goes on when nobody watches.
    pub(crate) detached: bool,
    /// Whether the log has its INTENT, from an earlier life of the coordinator.
    pub(crate) resumed: bool,
    /// Restarts that it was taken up after.
    pub(crate) lives: u32,
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
    pub(crate) detached: bool,
    #[serde(default)]
    pub(crate) lives: u32,
    #[serde(skip)]
    pub(crate) result: Option<QueryResult>,
}

impl Kept {
    pub(crate) fn owner(&self) -> Option<PeerId> {
        self.owner.parse().ok()
    }

    /// For the spool: one line of JSON, then the result where there is one.
    pub(crate) fn to_bytes(&self, result: Option<&QueryResult>) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        if let Some(QueryResult { statement, arrow_ipc }) = result {
            let statement = statement.encode_to_vec();
            bytes.extend(u32::try_from(statement.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend(statement);
            bytes.extend(arrow_ipc);
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
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

impl QueryResult {
    /// Of all that Fetch sends; the statement names the question's random id, so that nobody finds figures by trying.
    pub(crate) fn sha256(&self) -> String {
        let statement = self.statement.encode_to_vec();
        let length = (statement.len() as u64).to_be_bytes();
        sha256(&[&length, statement.as_slice(), &self.arrow_ipc].concat())
    }
}

impl Query {
    pub(crate) fn new(id: Uuid, prepared: Arc<Prepared>, terms: Terms) -> Arc<Self> {
        Arc::new(Self {
            id,
            prepared,
            progress: Progress::default(),
            result: OnceLock::new(),
            terms,
            state: watch::Sender::new(State::Queued),
            decided: Mutex::new(false),
            watchers: watch::Sender::new(0),
            started: Instant::now(),
            ended: OnceLock::new(),
        })
    }

    pub(crate) fn resumed(&self) -> bool {
        self.terms.resumed
    }

    pub(crate) fn watched(self: &Arc<Self>) -> Watcher {
        self.watchers.send_modify(|count| *count = count.saturating_add(1));
        Watcher(Arc::clone(self))
    }

    /// Completes when nobody waits for the answer any more; never for a detached question.
    pub(crate) async fn abandoned(&self) {
        if self.terms.detached {
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

    pub(crate) fn kept(&self) -> Kept {
        Kept {
            owner: self.prepared.owner.to_string(),
            purpose: self.prepared.purpose.clone(),
            sql: self.prepared.sql.clone(),
            until: self.terms.until,
            detached: self.terms.detached,
            lives: self.terms.lives,
            result: None,
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// What its answer takes.
    pub(crate) fn bytes(&self) -> usize {
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

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
