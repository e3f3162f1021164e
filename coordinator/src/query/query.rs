//! One question from its plan to its end, and its file beside the log.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use loda_identity::{PeerId, SignedQuestion};
use loda_proto::v1::{State, Statement};
use loda_question::Refusal;
use prost::Message;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::nodes::dispatch::Progress;
use crate::plan::split::Prepared;
use crate::result::query_result::QueryResult;

/// How long a question waits for its first watcher, and how long it runs on after the last one leaves. A client that
/// lost its connection reconnects at once. Nothing waits longer for a client that does not return.
const FIRST_WATCHER: Duration = Duration::from_secs(10);
const NO_WATCHER: Duration = Duration::from_millis(500);

/// A running or ended question.
pub(crate) struct Query {
    pub(crate) id: Uuid,
    pub(crate) prepared: Arc<Prepared>,
    /// The question as its asker signed it.
    pub(crate) signed: Option<Arc<SignedQuestion>>,
    pub(crate) progress: Progress,
    pub(crate) result: OnceLock<QueryResult>,
    /// The number of the log's entry of the answer, if this process wrote it or has looked for it.
    pub(crate) outcome: OnceLock<u64>,
    /// Why a step after the merge failed, where the asker's own SQL is the cause.
    pub(crate) refusal: OnceLock<Refusal>,
    terms: Terms,
    state: watch::Sender<State>,
    /// Whether the end is decided: an answer or a cancellation.
    pub(crate) decided: Mutex<bool>,
    watchers: watch::Sender<usize>,
    pub(crate) started: Instant,
    pub(crate) ended: OnceLock<Instant>,
}

#[derive(Clone, Copy)]
pub(crate) struct Terms {
    /// The latest end, in Unix milliseconds.
    pub(crate) until: i64,
    /// Whether it continues without watchers.
    pub(crate) detached: bool,
    /// Whether an earlier run of the coordinator has logged its INTENT.
    pub(crate) resumed: bool,
    /// The number of restarts after which it was resumed.
    pub(crate) restarts: u32,
}

/// A watcher of a query, until it is dropped.
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

/// A query in its file beside the log.
#[derive(Serialize, Deserialize)]
pub(crate) struct PersistedQuery {
    owner: String,
    pub(crate) purpose: String,
    pub(crate) sql: String,
    pub(crate) until: i64,
    pub(crate) detached: bool,
    /// The number of restarts after which it was resumed. The files call it `lives`, as earlier software did.
    #[serde(default, rename = "lives")]
    pub(crate) restarts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signed: Option<SignedQuestion>,
    #[serde(skip)]
    pub(crate) result: Option<QueryResult>,
}

impl PersistedQuery {
    pub(crate) fn owner(&self) -> Option<PeerId> {
        self.owner.parse().ok()
    }

    /// The spool's format: one line of JSON, then the result if there is one.
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

impl Query {
    pub(crate) fn new(id: Uuid, prepared: Arc<Prepared>, signed: Option<SignedQuestion>, terms: Terms) -> Arc<Self> {
        Arc::new(Self {
            id,
            prepared,
            signed: signed.map(Arc::new),
            progress: Progress::default(),
            result: OnceLock::new(),
            outcome: OnceLock::new(),
            refusal: OnceLock::new(),
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

    /// Completes when no watcher waits for the answer any more. Never completes for a detached question.
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

    pub(crate) fn kept(&self) -> PersistedQuery {
        PersistedQuery {
            owner: self.prepared.owner.to_string(),
            purpose: self.prepared.purpose.clone(),
            sql: self.prepared.sql.clone(),
            until: self.terms.until,
            detached: self.terms.detached,
            restarts: self.terms.restarts,
            signed: self.signed.as_deref().cloned(),
            result: None,
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The bytes of its answer.
    pub(crate) fn bytes(&self) -> usize {
        self.result.get().map_or(0, |r| r.arrow_ipc.len().saturating_add(r.statement.encoded_len()))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state.borrow().is_final()
    }

    /// Decides the end. Called before the log records an answer: a cancellation after this is too late. Returns false
    /// if the end was already decided.
    pub(crate) fn close(&self) -> bool {
        !std::mem::replace(&mut *lock(&self.decided), true)
    }

    /// Changes the state, unless the query has ended.
    pub(crate) fn set(&self, state: State) {
        self.state.send_if_modified(|now| {
            let moves = !now.is_final();
            if moves {
                *now = state;
                if state.is_final() {
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

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
