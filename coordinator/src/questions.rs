//! A question's life: planned, logged, sent to boroughs, merged, finished, logged again, released.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use futures::future::join_all;
use loda_identity::{Gss, Identity, Manifest, Member, PeerId};
use loda_ledger::{Entry, Kind, Log, LogError, OtherLogs, RefusalQuota, Seen, Spool};
use loda_proto::v1;
use loda_question::{Refusal, Rule};
use loda_service::{AbortOnDrop, Crew, Measure, Outcomes, Program, Times, compute, measures, successors};
use ring::digest::{SHA256, digest};
use tokio::time::Instant;
use uuid::Uuid;

use crate::allowance::Allowance;
use crate::catalogue::Catalogue;
use crate::config::Limits;
use crate::dispatch::{Answer, Errand, Nodes, Tables, share_periods};
use crate::federated::Federated;
use crate::jobs::{Jobs, World};
use crate::lines::Lines;
use crate::merge::{MergedPart, merge};
use crate::node_logs::NodeLogs;
use crate::plan::{Open, Planner, unplanned};
use crate::query::{Prepared, Query, QueryResult};
use crate::split::{Split, SplitPlan, bundles};
use crate::statement::statement;
use crate::work::Workers;

/// Time kept back from the deadline for merging and finishing.
const FINISHING: Duration = Duration::from_secs(1);

/// Everything that analysts ask, from one start of a coordinator to its end.
pub(crate) struct Questions {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) jobs: Jobs,
    pub(crate) outcomes: Outcomes,
    /// Sign-ins that were refused, by code.
    pub(crate) sign_ins: Outcomes,
    pub(crate) times: Times,
    /// Which nodes could be reached when they were asked last.
    reached: Mutex<BTreeMap<String, bool>>,
    limits: Limits,
    identity: Identity,
    pub(crate) planner: Arc<Planner>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) nodes: Nodes,
    log: Arc<dyn Log>,
    /// What the log began and did not end before the last restart.
    unended: Mutex<Unended>,
    refusals: RefusalQuota,
    allowance: Allowance,
    pub(crate) crew: Crew,
}

/// What a log began and did not end; and what it ended.
#[derive(Default)]
pub(crate) struct Unended {
    begun: BTreeMap<Uuid, Entry>,
    /// With the hash of its answer, where it has one.
    ended: HashMap<Uuid, Option<String>>,
    /// What was seen of other logs.
    others: OtherLogs,
}

/// How often the nodes are asked how they are.
const NODES: Duration = Duration::from_secs(10);

/// How long handing on may take, with one node.
const HANDING: Duration = Duration::from_secs(10);

/// Messages with versions of the manifest that a node missed, at once.
const MISSED: usize = 20;

/// Characters of a purpose at most, as nodes take it.
const MAX_PURPOSE: usize = 128;

/// How the log ends a question that was answered, after the hash of what is released.
const ANSWERS: &str = " answers";

impl Unended {
    /// Takes in one entry, in the log's order.
    pub(crate) fn note(&mut self, entry: Entry) {
        self.others.note(&entry);
        match (entry.kind, Uuid::try_parse(&entry.query)) {
            (Kind::Intent, Ok(id)) => {
                self.begun.insert(id, entry);
            }
            (Kind::Outcome, Ok(id)) => {
                self.begun.remove(&id);
                let released = entry.detail.ends_with(ANSWERS).then(|| entry.detail.strip_prefix("result ")).flatten();
                let hash = released.and_then(|rest| rest.split(',').next()).map(str::to_owned);
                self.ended.insert(id, hash);
            }
            _ => {}
        }
    }
}

/// What a coordinator is made of, its log and its lines among it.
pub(crate) struct Parts {
    pub(crate) limits: Limits,
    pub(crate) identity: Identity,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) planner: Arc<Planner>,
    pub(crate) lines: Box<dyn Lines>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) unended: Unended,
    pub(crate) spool: Spool,
    pub(crate) world: World,
    pub(crate) crew: Crew,
    pub(crate) program: Option<Program>,
}

impl Questions {
    pub(crate) fn of(parts: Parts) -> Arc<Self> {
        let Parts { limits, identity, catalogue, planner, lines, log, mut unended, spool, world, crew, program } =
            parts;
        let workers = Arc::new(Workers::new(&catalogue, &planner, &limits, program));
        let logs = NodeLogs::new(Arc::clone(&log), identity.clone(), std::mem::take(&mut unended.others));
        Arc::new(Self {
            jobs: Jobs::new(limits, spool, world),
            outcomes: Outcomes::default(),
            sign_ins: Outcomes::default(),
            times: Times::default(),
            reached: Mutex::default(),
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
            crew,
        })
    }

    pub(crate) fn manifest(&self) -> Arc<Manifest> {
        self.identity.manifest()
    }

    fn boroughs(&self) -> Vec<Gss> {
        self.manifest().members.iter().map(|m| m.gss.clone()).collect()
    }

    fn entry(&self, kind: Kind, query: &Query, detail: String) -> Entry {
        let prepared = &query.prepared;
        let datasets: Vec<String> = prepared.split.parts.iter().map(|p| p.scope.title()).collect();
        let fragments = bundles(&prepared.split).iter().map(|b| sha256(&b.fragment.encode())).collect::<Vec<_>>();
        Entry {
            kind,
            query: query.id.to_string(),
            analyst: prepared.owner.to_string(),
            purpose: prepared.purpose.clone(),
            dataset: datasets.join(" "),
            agreement: String::new(),
            fragment: fragments.join(" "),
            detail,
            seen: Vec::new(),
        }
    }

    /// Logs what somebody has changed at the coordinator.
    ///
    /// # Errors
    /// Where that cannot be written: then it must not be changed.
    pub(crate) fn admin(&self, who: &PeerId, detail: String) -> Result<(), LogError> {
        self.log.append(&Entry { analyst: who.to_string(), ..Entry::admin(detail) })
    }

    /// Why nothing can be logged, and so nothing is answered.
    pub(crate) fn log_fault(&self) -> Option<String> {
        self.log.fault()
    }

    /// What the operator's monitoring is told beside counts of questions.
    pub(crate) fn measures(&self, log: &Path) -> Vec<Measure> {
        let mut all = measures::of_log(log, self.log.head(0).now.entries);
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "Whether a borough's node could be reached";
        let of = |(borough, reached): (&String, &bool)| {
            Measure::new("node_reached", help, i64::from(*reached)).of("borough", borough)
        };
        all.extend(reached.iter().map(of));
        let doubts = self.nodes.logs.doubts();
        let help = "Whether a node's log does not continue, and its answers are not used";
        let doubted = |member: &Member| {
            let doubted = doubts.iter().any(|(gss, _)| *gss == member.gss);
            Measure::new("node_log_doubted", help, i64::from(doubted)).of("borough", member.gss.as_str())
        };
        all.extend(self.manifest().members.iter().map(doubted));
        all
    }

    /// Looks after the log, and completes when this process will never log again.
    pub(crate) async fn keep_log(&self) {
        // Looking may read the whole log: not where calls are served.
        for second in 0_u64.. {
            let log = Arc::clone(&self.log);
            if tokio::task::spawn_blocking(move || log.is_stopped()).await.unwrap_or(true) {
                return;
            }
            self.note_refusals(false);
            if second % 60 == 59 {
                self.nodes.logs.note();
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Logs how many refusals do not stand in the log one by one; when their hour is over, or at the `end`.
    pub(crate) fn note_refusals(&self, end: bool) {
        if let Some(Err(fault)) = self.refusals.due(end).map(|entry| self.log.append(&entry)) {
            tracing::error!("{fault}");
        }
        if end {
            self.nodes.logs.note();
        }
    }

    /// Logs that a question was refused before it was one.
    fn refused(&self, owner: &PeerId, purpose: &str, sql: &str, refusal: &Refusal) -> Result<(), LogError> {
        let entry = Entry {
            kind: Kind::Refuse,
            analyst: owner.to_string(),
            purpose: purpose.chars().take(MAX_PURPOSE).collect(),
            ..Entry::admin(refusal.rule.name())
        };
        if !self.refusals.takes(&entry) {
            return Ok(());
        }
        let detail = format!("{}, sql {}", refusal.rule.name(), sha256(sql.as_bytes()));
        self.log.append(&Entry { detail, ..entry })
    }

    /// log INTENT → dispatch → merge → finish → log OUTCOME → released.
    async fn answer(&self, query: &Query, deadline: Instant) -> anyhow::Result<QueryResult> {
        let prepared = &query.prepared;
        if prepared.split.explain {
            query.set(v1::State::Running);
            return self.explain(query).await;
        }
        if !query.resumed() {
            let sql_hash = format!("sql {}", sha256(prepared.sql.as_bytes()));
            self.log.append(&self.entry(Kind::Intent, query, sql_hash))?;
        }
        query.set(v1::State::Running);
        let (mut answers, seen) = self.dispatch(query, deadline).await;
        let leaves = leaves(&prepared.split)?;
        let merged = prepared.split.parts.iter().zip(&leaves).zip(&mut answers);
        let merged = merged.map(|((part, leaf), answers)| merge(part, leaf, answers));
        // Laying cells on a large grid is computing: other queries move to other threads meanwhile.
        let merged = compute(|| merged.collect::<anyhow::Result<Vec<MergedPart>>>())?;
        let statement = statement(&query.id.to_string(), &prepared.purpose, &prepared.split, &answers, &merged);
        let cells = merged.into_iter().enumerate().map(|(i, m)| (i, m.batch)).collect();
        // A task of its own, so that the deadline and a cancellation reach it.
        let (workers, of) = (Arc::clone(&self.workers), Arc::clone(prepared));
        // The caller ends it at the question's own deadline.
        let until = deadline + FINISHING;
        let finishing_at = Instant::now();
        let finishing = tokio::spawn(async move { workers.finish(&of, cells, until).await });
        let arrow_ipc = AbortOnDrop(finishing).await.context("finishing stopped")??;
        self.times.took("finish", finishing_at.elapsed());
        let mut asked = statement.parts.iter().flat_map(|p| &p.boroughs).filter(|b| b.answer != "not asked").peekable();
        let agreement = |b: &v1::BoroughAnswer| b.refusal.as_ref().is_some_and(|r| r.rule == Rule::Agreement.name());
        if asked.peek().is_some() && asked.all(agreement) {
            self.allowance.unwelcome(&prepared.owner, &prepared.purpose);
        }
        let answered = statement.parts.iter().flat_map(|p| &p.boroughs).filter(|b| b.answer == "answered").count();
        let result = QueryResult { statement, arrow_ipc };
        anyhow::ensure!(query.close(), "it was cancelled");
        self.jobs.keep(query, Some(&result));
        let outcome = self.entry(Kind::Outcome, query, format!("result {}, {answered}{ANSWERS}", result.sha256()));
        let outcome = Entry { seen, ..outcome };
        self.log.append(&outcome)?;
        self.nodes.logs.said(&outcome);
        Ok(result)
    }

    /// What each borough answered to each part; and how far their logs had come then, the furthest of each.
    async fn dispatch(&self, query: &Query, deadline: Instant) -> (Vec<BTreeMap<Gss, Answer>>, Vec<Seen>) {
        let prepared = &query.prepared;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let bundles = bundles(&prepared.split);
        let errands = bundles.iter().enumerate().flat_map(|(number, bundle)| {
            let targets: Vec<String> = bundle.boroughs.iter().map(Gss::to_string).collect();
            let seen = Arc::clone(&seen);
            bundle.boroughs.iter().map(move |gss| {
                let errand = Errand {
                    query: fragment_id(query.id, number).to_string(),
                    analyst: prepared.owner.to_string(),
                    purpose: prepared.purpose.clone(),
                    targets: targets.clone(),
                    fragment: bundle.fragment.clone(),
                    seen: Arc::clone(&seen),
                };
                (bundle.part, bundle.table, gss, errand)
            })
        });
        let runs = errands.map(|(part, table, gss, errand)| async move {
            let told = |state| {
                query.progress.set(gss, part, state);
                query.touch();
            };
            told(v1::State::Queued);
            let asked_at = Instant::now();
            let answer = self.nodes.run(gss, &errand, deadline, &told).await;
            self.times.borough_took(gss.as_str(), asked_at.elapsed());
            (part, table, gss.clone(), answer)
        });
        let mut answers: Vec<BTreeMap<Gss, Answer>> = prepared
            .split
            .parts
            .iter()
            .map(|part| part.questions.keys().map(|gss| (gss.clone(), Answer::NotAsked)).collect())
            .collect();
        let mut tables = Tables::new();
        for (part, table, gss, answer) in join_all(runs).await {
            tables.entry((part, gss)).or_default().push((table, answer));
        }
        share_periods(&mut tables, |part, gss| prepared.split.parts.get(part)?.lowered.get(gss).map(AsRef::as_ref));
        for ((part, gss), mut of_borough) in tables {
            of_borough.sort_by_key(|(table, _)| *table);
            let mut of_borough: Vec<Answer> = of_borough.into_iter().map(|(_, answer)| answer).collect();
            let of = prepared.split.parts.get(part);
            let answer = match of.and_then(|part| Some((part, part.lowered.get(&gss)?))) {
                // Evaluating conditions over cells is computing.
                Some((part, lowered)) => compute(|| Answer::of_tables(part, lowered, of_borough)),
                None => of_borough.pop().unwrap_or(Answer::None),
            };
            if let Some(of_part) = answers.get_mut(part) {
                of_part.insert(gss, answer);
            }
            // What computes for long can be ended between two boroughs.
            tokio::task::yield_now().await;
        }
        let mut furthest: BTreeMap<String, Seen> = BTreeMap::new();
        for one in std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner)) {
            let of = furthest.entry(one.log.clone()).or_insert_with(|| one.clone());
            if of.mark.entries < one.mark.entries {
                *of = one;
            }
        }
        (answers, furthest.into_values().collect())
    }

    async fn cancel_at_nodes(&self, query: &Query) {
        let bundles = bundles(&query.prepared.split);
        let cancels = bundles.iter().enumerate().flat_map(|(number, bundle)| {
            let id = fragment_id(query.id, number).to_string();
            bundle.boroughs.iter().map(move |gss| {
                let id = id.clone();
                async move { self.nodes.cancel(gss, &id).await }
            })
        });
        join_all(cancels).await;
    }

    async fn run(self: Arc<Self>, query: Arc<Query>, time: Duration) {
        let deadline = Instant::now() + time;
        let answering = self.answer(&query, deadline - FINISHING.min(time / 4));
        let answered = tokio::select! {
            biased;
            () = cancelled(&query) => return self.cancel_at_nodes(&query).await,
            () = query.abandoned() => {
                self.cancel(&query, "abandoned");
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
            // What could not be logged was closed for its answer, which is not released.
            Ok(Err(fault)) if query.close() || fault.is::<LogError>() => {
                tracing::warn!(query = %query.id, "not answered: {fault:#}");
                self.ended(&query, "error");
                query.set(v1::State::NotAnswered);
            }
            Err(_elapsed) if query.close() => {
                self.ended(&query, "deadline");
                query.set(v1::State::NotAnswered);
            }
            // It was cancelled in the same moment, and the log has its end.
            Ok(Err(_)) | Err(_) => self.cancel_at_nodes(&query).await,
        }
    }

    /// Ends a question, unless its answer is there. The log says so before anybody is told: it stays so over a restart.
    pub(crate) fn cancel(&self, query: &Query, why: &'static str) {
        if query.close() {
            self.ended(query, why);
            query.set(v1::State::Cancelled);
        }
    }

    /// Every question that was begun has an end in the log.
    fn ended(&self, query: &Query, why: &'static str) {
        self.outcomes.count(why);
        self.jobs.forget(&query.id);
        if query.prepared.split.explain {
            return;
        }
        // It ends without an answer whether or not this can be logged: nothing is released.
        if let Err(fault) = self.log.append(&self.entry(Kind::Outcome, query, why.to_owned())) {
            tracing::error!("{fault}");
        }
    }

    /// Takes up what a restart cut off, for as long as its deadline allows, and ends the rest.
    pub(crate) async fn restore(self: Arc<Self>) -> anyhow::Result<()> {
        let of_log = std::mem::take(&mut *self.unended.lock().unwrap_or_else(PoisonError::into_inner));
        let Unended { begun: mut unended, ended, .. } = of_log;
        for (id, mut kept) in self.jobs.kept() {
            let begun = unended.contains_key(&id);
            // The log decides: what it has ended never runs again, and a result counts with its end alone.
            let ended = ended.get(&id);
            // The very one: a power cut may bring back what was kept before.
            let result = kept.result.take().filter(|result| ended == Some(&Some(result.sha256())));
            if result.is_none() && (ended.is_some() || !self.jobs.takes_up(&id, &mut kept)) {
                self.jobs.forget(&id);
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
            let query = self.jobs.restore(id, prepared, &kept, begun);
            if let Some(result) = result {
                // A cancellation of it comes too late, as before the restart.
                if query.close() && query.result.set(result).is_ok() {
                    query.set(v1::State::Released);
                }
            } else {
                unended.remove(&id);
                tracing::info!(query = %id, "taken up again after a restart");
                self.begin(query, self.jobs.left(&kept));
            }
        }
        for entry in unended.into_values() {
            self.log.append(&Entry { kind: Kind::Outcome, detail: "restarted".to_owned(), ..entry })?;
        }
        Ok(())
    }

    /// Starts what was prepared.
    ///
    /// A deadline of 0 is the longest.
    ///
    /// # Errors
    /// Rule `busy`.
    pub(crate) fn start(
        self: &Arc<Self>,
        prepared: Arc<Prepared>,
        deadline_ms: u32,
        detached: bool,
    ) -> Result<Arc<Query>, Refusal> {
        let longest = self.limits.deadline();
        let time = match deadline_ms {
            0 => longest,
            ms => Duration::from_millis(ms.into()).min(longest),
        };
        let asks = !prepared.split.explain;
        if asks {
            self.allowance.permits(&prepared.owner, &prepared.purpose)?;
        }
        let query = self.jobs.start(prepared, time, detached)?;
        if asks {
            self.allowance.asked(&query.prepared.owner);
            self.jobs.keep(&query, None);
        }
        self.begin(Arc::clone(&query), time);
        Ok(query)
    }

    /// Runs a query; whatever happens to it, it ends.
    fn begin(self: &Arc<Self>, query: Arc<Query>, time: Duration) {
        let (inner, crew) = (Arc::clone(self), self.crew.clone());
        self.crew.spawn(async move {
            if crew.run(Arc::clone(&inner).run(Arc::clone(&query), time)).await.is_err() {
                inner.ended(&query, "error");
                query.set(v1::State::NotAnswered);
            }
        });
    }

    /// Plans a question where it can be ended, and then on the runtime of queries, with its deep stacks. A panic there ends
    /// this request alone.
    ///
    /// # Errors
    /// The rule that refuses it.
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
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_. /".contains(c);
        if purpose.len() > MAX_PURPOSE || !purpose.chars().all(plain) {
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
        let planned = self.crew.run(async move {
            let _until_planned = turn;
            let split = planner.plan_guarded(&sql, split).await?;
            Ok(Prepared::new(owner, purpose, sql, boroughs, split))
        });
        planned.await.unwrap_or_else(|_| Err(unplanned()))
    }

    /// What is known of SQL whose parameters are open.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) async fn columns(&self, asker: &PeerId, sql: String) -> Result<Open, Refusal> {
        let turn = self.workers.try_columns(asker, &sql).await?;
        let planner = Arc::clone(&self.planner);
        let planned = self.crew.run(async move {
            let _until_planned = turn;
            planner.columns(&sql).await
        });
        let planned = planned.await;
        planned.unwrap_or_else(|_| Err(unplanned()))
    }

    /// Asks the nodes now and then: what they have missed of the manifest they are told, and we by them; and each side sees that
    /// the other's log goes on.
    pub(crate) async fn keep_nodes(self: Arc<Self>) {
        loop {
            let handing = self.boroughs().into_iter().map(|gss| {
                let inner = Arc::clone(&self);
                async move { tokio::time::timeout(HANDING, inner.hand_on(&gss)).await }
            });
            let _handed = join_all(handing).await;
            let known = self.describe_all().await.into_iter().map(|node| (node.borough, node.reachable)).collect();
            *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = known;
            tokio::time::sleep(NODES).await;
        }
    }

    /// Hands a node the versions of the manifest that it missed, and takes from it what we missed.
    async fn hand_on(&self, gss: &Gss) -> Result<(), &'static str> {
        let mut known = self.nodes.describe(gss, &[]).await?;
        // A message takes a few versions.
        for _ in 0..MISSED {
            let theirs = std::mem::take(&mut known.0.successors);
            let identity = self.identity.clone();
            let heard = tokio::task::spawn_blocking(move || successors::heard(&identity, &theirs)).await;
            let missed = successors::told(&self.identity, known.0.manifest_version);
            let ours = heard.unwrap_or_default();
            if missed.is_empty() && known.0.manifest_version <= ours {
                break;
            }
            let before = (known.0.manifest_version, ours);
            known = self.nodes.describe(gss, &missed).await?;
            if (known.0.manifest_version, self.manifest().version) == before {
                break;
            }
        }
        Ok(())
    }

    pub(crate) async fn describe_all(&self) -> Vec<v1::NodeEntry> {
        let manifest = self.manifest();
        let described = manifest.members.iter().map(|member| async move {
            let mut entry =
                v1::NodeEntry { borough: member.gss.to_string(), name: member.name.clone(), ..Default::default() };
            match self.nodes.describe(&member.gss, &[]).await {
                Ok((description, doubt)) => {
                    entry.reachable = true;
                    entry.fault = doubt.unwrap_or_default();
                    entry.software = description.software;
                    entry.datasets = description.datasets;
                }
                Err(fault) => entry.fault = fault.to_owned(),
            }
            entry
        });
        join_all(described).await
    }
}

async fn cancelled(query: &Query) {
    let mut watch = query.watch();
    // The sender lives as long as the query: waiting ends by the state alone.
    let _seen = watch.wait_for(|state| *state == v1::State::Cancelled).await.is_ok();
}

/// Each fragment of a query has an id of its own at the nodes, the same whenever it is sent.
#[must_use]
pub fn fragment_id(query: Uuid, number: usize) -> Uuid {
    let mut named = query.as_bytes().to_vec();
    named.extend_from_slice(&(number as u64).to_be_bytes());
    let hash = digest(&SHA256, &named);
    let mut bytes = [0_u8; 16];
    bytes.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn leaves(split: &SplitPlan) -> anyhow::Result<Vec<Federated>> {
    use datafusion::common::tree_node::TreeNodeRecursion;
    let mut leaves = BTreeMap::new();
    split.plan.apply_with_subqueries(|node| {
        if let datafusion::logical_expr::LogicalPlan::Extension(extension) = node
            && let Some(leaf) = extension.node.as_any().downcast_ref::<Federated>()
        {
            leaves.insert(leaf.part, leaf.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let leaves: Vec<Federated> = leaves.into_values().collect();
    anyhow::ensure!(leaves.len() == split.parts.len(), "a part of the question has no leaf");
    Ok(leaves)
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}
