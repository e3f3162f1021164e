//! The service for questions: plan, log, ask the boroughs, merge, finish, log again, release.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use loda_identity::{Gss, Identity, Manifest, PeerId};
use loda_ledger::payload::{PayloadStore, RecordClass};
use loda_ledger::{Asked, End, Entry, Event, Log, LogError, RefusalQuota, Refused, Spool, sha256_hex};
use loda_proto::v1;
use loda_question::{Refusal, Rule};
use loda_service::log_tree::LogTree;
use loda_service::{Outcomes, Program, TaskGroup, Times};
use tokio::time::Instant;

use crate::catalogue::Catalogue;
use crate::config::Limits;
use crate::nodes::channels::NodeConnector;
use crate::nodes::dispatch::Nodes;
use crate::nodes::log_heads::NodeLogs;
use crate::nodes::witnesses::Witnesses;
use crate::plan::advice::engine_errors::{refusal_inside, unplanned};
use crate::plan::planner::{OpenColumns, Planner};
use crate::plan::split::Prepared;
use crate::plan::split::{Split, bundles};
use crate::query::allowance::Allowance;
use crate::query::log_recovery::LogRecovery;
use crate::query::purposes::Purposes;
use crate::query::query::Query;
use crate::query::record;
use crate::query::registry::{Environment, QueryRegistry};
use crate::work::Workers;

/// The part of the time limit that is reserved for merging and finishing.
pub(super) const FINISHING: Duration = Duration::from_secs(1);

/// The queries of one run of a coordinator, and the parts that they need.
pub(crate) struct QueryService {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) registry: QueryRegistry,
    pub(crate) outcomes: Outcomes,
    /// Refused sign-ins, by code.
    pub(crate) sign_ins: Outcomes,
    pub(crate) times: Times,
    /// Whether each node could be reached the last time.
    pub(super) reached: Mutex<BTreeMap<String, bool>>,
    pub(crate) purposes: Purposes,
    pub(super) limits: Limits,
    pub(super) identity: Identity,
    pub(crate) planner: Arc<Planner>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) nodes: Nodes,
    pub(super) log: Arc<dyn Log>,
    /// The tree of the log, from which others check it.
    pub(crate) tree: Option<LogTree>,
    pub(super) witnesses: Witnesses,
    /// The words behind the log's entries.
    pub(crate) payloads: Arc<PayloadStore>,
    /// The questions that the log began and did not end before the last restart.
    pub(super) unended: Mutex<LogRecovery>,
    pub(super) refusals: RefusalQuota,
    pub(super) allowance: Allowance,
    pub(crate) tasks: TaskGroup,
}

/// The most characters of a purpose, as nodes accept it.
const MAX_PURPOSE: usize = 128;

/// The parts of a coordinator, including its log and its connector to nodes.
pub(crate) struct QueryServiceParts {
    pub(crate) limits: Limits,
    pub(crate) identity: Identity,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) planner: Arc<Planner>,
    pub(crate) lines: Box<dyn NodeConnector>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) tree: Option<LogTree>,
    pub(crate) payloads: Arc<PayloadStore>,
    pub(crate) unended: LogRecovery,
    pub(crate) spool: Spool,
    pub(crate) environment: Environment,
    pub(crate) tasks: TaskGroup,
    pub(crate) program: Option<Program>,
}

impl QueryService {
    pub(crate) fn of(parts: QueryServiceParts) -> Arc<Self> {
        let QueryServiceParts {
            limits,
            identity,
            catalogue,
            planner,
            lines,
            log,
            tree,
            payloads,
            mut unended,
            spool,
            environment,
            tasks,
            program,
        } = parts;
        let workers = Arc::new(Workers::new(&catalogue, &planner, &limits, program));
        let logs = NodeLogs::new(Arc::clone(&log), identity.clone(), std::mem::take(&mut unended.others));
        Arc::new(Self {
            registry: QueryRegistry::new(limits, spool, environment, std::mem::take(&mut unended.ids)),
            outcomes: Outcomes::default(),
            sign_ins: Outcomes::default(),
            times: Times::default(),
            reached: Mutex::default(),
            purposes: Purposes::default(),
            nodes: Nodes::over(lines, logs, limits.memory_mb.saturating_mul((1 << 20) / 2)),
            unended: Mutex::new(unended),
            refusals: RefusalQuota::default(),
            allowance: Allowance::new(limits.questions_per_hour),
            limits,
            identity,
            catalogue,
            planner,
            workers,
            log,
            tree,
            witnesses: Witnesses::default(),
            payloads,
            tasks,
        })
    }

    pub(crate) fn manifest(&self) -> Arc<Manifest> {
        self.identity.manifest()
    }

    pub(super) fn boroughs(&self) -> Vec<Gss> {
        self.manifest().members.iter().map(|m| m.gss.clone()).collect()
    }

    pub(super) fn entry(&self, event: Event, query: &Query) -> Entry {
        let prepared = &query.prepared;
        Entry {
            event,
            query: query.id.to_string(),
            question: String::new(),
            analyst: prepared.owner.to_string(),
            purpose: prepared.purpose.clone(),
            dataset: datasets(prepared),
            agreement: String::new(),
            fragment: fragments(prepared),
            signed: query.signed.as_deref().map(|signed| sha256_hex(signed.text.as_bytes())).unwrap_or_default(),
            seen: Vec::new(),
        }
    }

    /// Logs a change at the coordinator, and who made it.
    ///
    /// # Errors
    /// If the entry cannot be written. The change must then not happen.
    pub(crate) fn admin(&self, who: &PeerId, detail: String) -> Result<(), LogError> {
        self.log.append(&Entry { analyst: who.to_string(), ..Entry::admin(detail) }).map(drop)
    }

    /// The reason why nothing can be logged, and so nothing is answered.
    pub(crate) fn log_fault(&self) -> Option<String> {
        self.log.fault()
    }

    pub(crate) fn shared_log(&self) -> Arc<dyn Log> {
        Arc::clone(&self.log)
    }

    /// Looks after the log. Completes when this process can never log again.
    pub(crate) async fn keep_log(&self) {
        // The check may read the whole log, so it does not run where calls are served.
        for second in 0_u64.. {
            let log = Arc::clone(&self.log);
            if tokio::task::spawn_blocking(move || log.is_stopped()).await.unwrap_or(true) {
                return;
            }
            self.note_refusals(false);
            if second % 60 == 59 {
                self.nodes.logs.note();
                self.note_sign_ins();
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Logs how many sign-ins were refused since the last time. Who asked for them is not known.
    fn note_sign_ins(&self) {
        let refused: Vec<String> =
            self.sign_ins.take().into_iter().map(|(code, count)| format!("{count} {code}")).collect();
        if !refused.is_empty()
            && let Err(fault) = self.log.append(&Entry::admin(format!("sign-ins refused: {}", refused.join(", "))))
        {
            tracing::error!("{fault}");
        }
    }

    /// Logs the number of refusals without an entry of their own, once their hour is over or at the `end`.
    pub(crate) fn note_refusals(&self, end: bool) {
        if let Some(Err(fault)) = self.refusals.due(end).map(|entry| self.log.append(&entry)) {
            tracing::error!("{fault}");
        }
        if end {
            self.nodes.logs.note();
            self.note_sign_ins();
        }
    }

    /// Logs a question that was refused at planning.
    fn refused(&self, owner: &PeerId, purpose: &str, sql: &str, refusal: &Refusal) -> anyhow::Result<()> {
        let refused = |asked| {
            let rule = refusal.rule.name().to_owned();
            Entry {
                analyst: owner.to_string(),
                purpose: purpose.chars().take(MAX_PURPOSE).collect(),
                ..Entry::of(Event::Refuse(Refused::One { rule, asked }))
            }
        };
        if !self.refusals.takes(&refused(None)) {
            return Ok(());
        }
        let words = record::refused(sql, refusal);
        let asked = self.payloads.keep(RecordClass::Question, &words, || words.clone())?;
        self.log.append(&refused(Some(Asked::Committed(asked))))?;
        Ok(())
    }

    async fn run(self: Arc<Self>, query: Arc<Query>, time: Duration) {
        let deadline = Instant::now() + time;
        let answering = self.answer(&query, deadline - FINISHING.min(time / 4));
        let answered = tokio::select! {
            biased;
            () = cancelled(&query) => return self.cancel_at_nodes(&query).await,
            () = query.abandoned() => {
                self.cancel(&query, End::Abandoned);
                return self.cancel_at_nodes(&query).await;
            }
            answered = tokio::time::timeout_at(deadline, answering) => answered,
        };
        match answered {
            Ok(Ok(result)) => {
                self.outcomes.count("answered");
                self.times.took("answered", query.started.elapsed());
                if query.result.set(result).is_ok() {
                    query.set(v1::State::Released);
                }
            }
            // An answer that could not be logged had already decided the end, and is not released.
            Ok(Err(fault)) if query.close() || fault.is::<LogError>() => {
                tracing::warn!(query = %query.id, "not answered: {fault:#}");
                if let Some(refusal) = refusal_inside(fault.as_ref()) {
                    // It is set once: the query ends here.
                    let _first = query.refusal.set(refusal.clone());
                }
                self.ended(&query, End::Error);
                query.set(v1::State::NotAnswered);
            }
            Err(_elapsed) if query.close() => {
                self.ended(&query, End::Deadline);
                query.set(v1::State::NotAnswered);
            }
            // It was cancelled at the same moment, and the log has its end.
            Ok(Err(_)) | Err(_) => self.cancel_at_nodes(&query).await,
        }
    }

    /// Ends a question, unless its answer is there. The log records the end before anyone is told, so the end survives
    /// a restart.
    pub(crate) fn cancel(&self, query: &Query, end: End) {
        if query.close() {
            self.ended(query, end);
            query.set(v1::State::Cancelled);
        }
    }

    /// Every question that began has an end in the log.
    fn ended(&self, query: &Query, end: End) {
        self.outcomes.count(end.name());
        self.registry.forget(&query.id);
        if query.prepared.split.explain {
            return;
        }
        // The question ends without an answer even if this cannot be logged: nothing is released.
        if let Err(fault) = self.log.append(&self.entry(Event::Outcome(end), query)) {
            tracing::error!("{fault}");
        }
    }

    /// Resumes the questions that a restart interrupted, while their deadlines allow, and ends the others.
    pub(crate) async fn restore(self: Arc<Self>) -> anyhow::Result<()> {
        let of_log = std::mem::take(&mut *self.unended.lock().unwrap_or_else(PoisonError::into_inner));
        let LogRecovery { begun: mut unended, ended, .. } = of_log;
        for (id, mut kept) in self.registry.kept() {
            let begun = unended.contains_key(&id);
            // The log decides. A query with an end in the log never runs again. A result is served only with that end.
            let ended = ended.get(&id);
            // The end must record this very result: a power failure can bring back an older file.
            let result = kept.result.take().filter(|result| ended == Some(&Some(result.sha256())));
            if result.is_none() && (ended.is_some() || !self.registry.takes_up(&id, &mut kept)) {
                self.registry.forget(&id);
                continue;
            }
            let Some(owner) = kept.owner() else { continue };
            let prepared = match self.plan(owner, kept.purpose.clone(), kept.sql.clone()).await {
                Ok(prepared) => prepared,
                Err(refusal) => {
                    tracing::error!(query = %id, rule = refusal.rule.name(), "not taken up again: it cannot be planned");
                    continue;
                }
            };
            // What is sent now may differ from what the log says, after a change of software or members.
            let differs = |logged: &Entry| logged.fragment != fragments(&prepared);
            if result.is_none() && unended.get(&id).is_some_and(differs) {
                self.registry.forget(&id);
                tracing::error!(query = %id, "not taken up again: it would send something else than the log says");
                continue;
            }
            let query = self.registry.restore(id, prepared, &kept, begun);
            if let Some(result) = result {
                // A cancellation comes too late, as before the restart.
                if query.close() && query.result.set(result).is_ok() {
                    query.set(v1::State::Released);
                }
            } else {
                unended.remove(&id);
                tracing::info!(query = %id, "taken up again after a restart");
                self.begin(query, self.registry.left(&kept));
            }
        }
        for entry in unended.into_values() {
            self.log.append(&Entry { event: Event::Outcome(End::Restarted), ..entry })?;
        }
        Ok(())
    }

    /// Starts a prepared question.
    ///
    /// A deadline of 0 stands for the longest time.
    ///
    /// # Errors
    /// Rule `busy`; rule `agreement` if no purpose is stated; rule `signature` for one that is not of this question.
    pub(crate) fn start(
        self: &Arc<Self>,
        prepared: Arc<Prepared>,
        deadline_ms: u32,
        detached: bool,
        signed: Option<&v1::SignedQuestion>,
    ) -> Result<Arc<Query>, Refusal> {
        let longest = self.limits.deadline();
        let time = match deadline_ms {
            0 => longest,
            ms => Duration::from_millis(ms.into()).min(longest),
        };
        let asks = !prepared.split.explain;
        if asks {
            self.has_purpose(&prepared)?;
            self.allowance.permits(&prepared.owner, &prepared.purpose)?;
        }
        let signed = signed.map(|signed| self.signature(&prepared, signed)).transpose()?;
        let query = self.registry.start(prepared, signed, time, detached)?;
        if asks {
            self.allowance.asked(&query.prepared.owner);
            self.registry.keep(&query, None);
        }
        self.begin(Arc::clone(&query), time);
        Ok(query)
    }

    /// Refuses a question without a purpose, before a node is asked.
    pub(super) fn has_purpose(&self, prepared: &Prepared) -> Result<(), Refusal> {
        if !prepared.purpose.is_empty() || prepared.split.parts.is_empty() {
            return Ok(());
        }
        let Some(refusal) = self.purposes.missing(&prepared.owner, &today()) else { return Ok(()) };
        if let Err(fault) = self.refused(&prepared.owner, &prepared.purpose, &prepared.sql, &refusal) {
            tracing::error!("{fault}");
        }
        Err(refusal)
    }

    /// Runs a query. The query ends even if the run panics.
    fn begin(self: &Arc<Self>, query: Arc<Query>, time: Duration) {
        let (inner, tasks) = (Arc::clone(self), self.tasks.clone());
        self.tasks.spawn(async move {
            if tasks.run(Arc::clone(&inner).run(Arc::clone(&query), time)).await.is_err() {
                inner.ended(&query, End::Error);
                query.set(v1::State::NotAnswered);
            }
        });
    }

    /// Tries the plan in a process that can be ended, then plans here on the query runtime with its deep stacks. A
    /// panic there ends only this request.
    ///
    /// # Errors
    /// The rule that refuses the question.
    pub(crate) async fn plan(&self, owner: PeerId, purpose: String, sql: String) -> Result<Arc<Prepared>, Refusal> {
        let began = Instant::now();
        let planned = self.planned(owner.clone(), purpose.clone(), sql.clone()).await;
        self.times.took("plan", began.elapsed());
        if let Err(refusal) = &planned
            && let Err(fault) = self.refused(&owner, &purpose, &sql, refusal)
        {
            tracing::error!("{fault}");
        }
        planned
    }

    async fn planned(&self, owner: PeerId, purpose: String, sql: String) -> Result<Arc<Prepared>, Refusal> {
        if purpose.len() > MAX_PURPOSE || !is_plain(&purpose) {
            return Err(Refusal::new(
                Rule::Statement,
                format!("a purpose has at most {MAX_PURPOSE} letters, digits, spaces and any of -_./"),
                "State it as your agreement names it",
            ));
        }
        let boroughs = self.boroughs();
        let turn = self.workers.try_planning(&owner, &sql, &boroughs).await?;
        let split = Split::new(Arc::clone(&self.catalogue), boroughs.clone());
        let planner = Arc::clone(&self.planner);
        let planned = self.tasks.run(async move {
            let _until_planned = turn;
            let split = planner.plan_guarded(&sql, split).await?;
            Ok(Prepared::new(owner, purpose, sql, boroughs, split))
        });
        planned.await.unwrap_or_else(|_| Err(unplanned()))
    }

    /// The columns and parameters of SQL with open parameters.
    ///
    /// # Errors
    /// The fault in the SQL.
    pub(crate) async fn columns(&self, asker: &PeerId, sql: String) -> Result<OpenColumns, Refusal> {
        let turn = self.workers.try_columns(asker, &sql).await?;
        let planner = Arc::clone(&self.planner);
        let planned = self.tasks.run(async move {
            let _until_planned = turn;
            planner.columns(&sql).await
        });
        let planned = planned.await;
        planned.unwrap_or_else(|_| Err(unplanned()))
    }
}

/// The names of a question's datasets, as entries hold them.
pub(super) fn datasets(prepared: &Prepared) -> String {
    prepared.split.parts.iter().map(|part| part.scope.title()).collect::<Vec<_>>().join(" ")
}

/// The hashes of a question's fragments, as entries hold them.
fn fragments(prepared: &Prepared) -> String {
    bundles(&prepared.split).iter().map(|b| sha256_hex(&b.fragment.encode())).collect::<Vec<_>>().join(" ")
}

/// Whether a purpose has only the signs that a question may state.
pub(crate) fn is_plain(purpose: &str) -> bool {
    purpose.chars().all(|c| c.is_ascii_alphanumeric() || "-_. /".contains(c))
}

/// The day, as agreements write it (ISO 8601).
pub(crate) fn today() -> String {
    chrono::Utc::now().date_naive().to_string()
}

async fn cancelled(query: &Query) {
    let mut watch = query.watch();
    // The sender lives as long as the query, so only the state ends this wait.
    let _seen = watch.wait_for(|state| *state == v1::State::Cancelled).await.is_ok();
}
