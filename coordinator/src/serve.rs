//! The coordinator's gRPC service, and the program around it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use arrow::ipc::writer::StreamWriter;
use futures::future::join_all;
use futures::{Stream, StreamExt};
use loda_identity::{
    AuthoriseLayer, Gss, Identity, Limits, Manifest, PeerId, PeerInfo, SigningKey, incoming_with, server,
};
use loda_ledger::{Entry, Kind, Log, SignedLines, Spool};
use loda_proto::v1::query_server::{Query as QueryService, QueryServer};
use loda_proto::{CHUNK, v1};
use loda_question::Refusal;
use loda_service::{AbortOnDrop, Operations, Outcomes, log, stop};
use ring::digest::{SHA256, digest};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::dispatch::{Answer, Errand, Nodes};
use crate::explain::{explanation, without_notes};
use crate::federated::Federated;
use crate::finish::finish;
use crate::jobs::{Jobs, Prepared, Query, QueryResult, is_final};
use crate::merge::{MergedPart, merge};
use crate::plan::Planner;
use crate::split::{Split, SplitPlan, bundles};
use crate::statement::statement;

const QUERY_STACK: usize = 32 << 20;

/// How long running questions may take to end when the coordinator is stopped, and their answers to be fetched.
const DRAIN: Duration = Duration::from_secs(30);
const LAST_FETCH: Duration = Duration::from_millis(700);

/// How long calls on an aged connection may take to end.
const GRACE: Duration = Duration::from_secs(30);

/// Time kept back from the deadline for merging and finishing.
const FINISHING: Duration = Duration::from_millis(500);

/// A coordinator that can serve.
#[derive(Clone)]
pub struct Coordinator(Arc<Inner>);

struct Inner {
    config: Config,
    identity: Identity,
    catalogue: Arc<Catalogue>,
    planner: Planner,
    nodes: Nodes,
    log: Arc<dyn Log>,
    jobs: Jobs,
    outcomes: Outcomes,
    /// What the log began and did not end before the last restart.
    unended: Mutex<HashMap<Uuid, Entry>>,
    queries: tokio::runtime::Handle,
}

/// Runs a coordinator until it is told to stop.
///
/// # Errors
/// Whatever keeps it from serving, with the file and the fix.
pub fn run(config: &Path) -> anyhow::Result<()> {
    log::begin();
    let queries = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("queries")
        .thread_stack_size(QUERY_STACK)
        .enable_all()
        .build()?;
    let serving = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    serving.block_on(async {
        let coordinator = Coordinator::open(Config::load(config)?, queries.handle().clone())?;
        let listener = coordinator.bind().await?;
        let draining = async {
            let _told = stop::signal().await;
            tracing::info!("stopping: no more questions are taken, and those that run may end");
            coordinator.0.jobs.drain(DRAIN).await;
            // What was answered last is fetched now.
            tokio::time::sleep(LAST_FETCH).await;
        };
        // Connections that stay open do not keep a stopped coordinator.
        tokio::select! {
            served = coordinator.serve(listener) => served,
            () = draining => Ok(()),
        }
    })
}

impl Coordinator {
    /// Loads manifest, contracts and keys. To be called inside a runtime: channels belong to it.
    ///
    /// # Errors
    /// A fault in any of them.
    pub fn open(config: Config, queries: tokio::runtime::Handle) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&config.state).with_context(|| format!("making {}", config.state.display()))?;
        let identity = Identity::load(config.identity.clone())?;
        let catalogue = Arc::new(Catalogue::load(&config, &identity.manifest())?);
        let planner = Planner::new(&catalogue, &config.limits)?;
        let nodes = Nodes::new(identity.clone());
        let log_key = config.state.join("log.key");
        if !log_key.exists() {
            SigningKey::generate()?.0.save(&log_key)?;
        }
        let mut unended = HashMap::new();
        let log = SignedLines::open_telling(
            &config.state.join("log.jsonl"),
            SigningKey::load(&log_key)?,
            &mut |entry| match (entry.kind, Uuid::try_parse(&entry.query)) {
                (Kind::Intent, Ok(id)) => {
                    unended.insert(id, entry);
                }
                (Kind::Outcome, Ok(id)) => {
                    unended.remove(&id);
                }
                _ => {}
            },
        )?;
        let unended = Mutex::new(unended);
        let spool = Spool::open(&config.state.join("queries")).context("opening the folder of questions")?;
        let jobs = Jobs::new(config.limits, spool);
        let log: Arc<dyn Log> = Arc::new(log);
        Ok(Self(Arc::new(Inner {
            config,
            identity,
            catalogue,
            planner,
            nodes,
            log,
            jobs,
            outcomes: Outcomes::default(),
            unended,
            queries,
        })))
    }

    /// Binds the address that the configuration names.
    ///
    /// # Errors
    /// Where it cannot be bound.
    pub async fn bind(&self) -> anyhow::Result<TcpListener> {
        let listen = &self.0.config.listen;
        TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))
    }

    /// Serves until the listener fails.
    ///
    /// # Errors
    /// Where certificates cannot be used or the transport fails.
    pub async fn serve(&self, listener: TcpListener) -> anyhow::Result<()> {
        let inner = &self.0;
        // Before anybody can ask: whoever comes back finds his question.
        Arc::clone(inner).restore().await?;
        let age = Duration::from_secs(inner.config.limits.connection_seconds);
        let limits = Limits { connection_life: age.saturating_add(GRACE), ..Limits::default() };
        let dialled = Some(inner.nodes.dialled().clone());
        let connections = incoming_with(listener, inner.identity.clone(), limits, dialled);
        let service =
            QueryServer::new(self.clone()).max_decoding_message_size(256 << 10).max_encoding_message_size(16 << 20);
        tokio::spawn(inner.identity.clone().keep_current());
        if let Some(address) = inner.config.operations.clone() {
            let active = {
                let inner = Arc::clone(inner);
                move || inner.jobs.active()
            };
            Operations::new(inner.identity.clone(), &inner.outcomes, active).start(address);
        }
        tracing::info!(datasets = inner.catalogue.contracts.len(), "serving");
        server(age)
            .layer(AuthoriseLayer::new(inner.identity.clone()))
            .add_service(service)
            .serve_with_incoming(connections)
            .await?;
        Ok(())
    }
}

impl Inner {
    fn manifest(&self) -> Arc<Manifest> {
        self.identity.manifest()
    }

    fn boroughs(&self) -> Vec<Gss> {
        self.manifest().members.iter().map(|m| m.gss.clone()).collect()
    }

    fn entry(&self, kind: Kind, query: &Query, detail: String) -> Entry {
        let prepared = &query.prepared;
        let datasets: Vec<String> = prepared.split.parts.iter().map(|p| p.scope.title()).collect();
        let fragments = bundles(&prepared.split).iter().map(|b| sha256(&b.question.encode())).collect::<Vec<_>>();
        Entry {
            kind,
            query: query.id.to_string(),
            analyst: prepared.owner.to_string(),
            purpose: prepared.purpose.clone(),
            dataset: datasets.join(" "),
            agreement: String::new(),
            fragment: fragments.join(" "),
            detail,
        }
    }

    /// log INTENT → dispatch → merge → finish → log OUTCOME → released.
    async fn answer(&self, query: &Query, deadline: Instant) -> anyhow::Result<QueryResult> {
        let prepared = &query.prepared;
        if prepared.split.explain {
            query.set(v1::State::Running);
            return self.explain(query).await;
        }
        if !query.resumed {
            let sql_hash = format!("sql {}", sha256(prepared.sql.as_bytes()));
            self.log.append(&self.entry(Kind::Intent, query, sql_hash))?;
        }
        query.set(v1::State::Running);
        let answers = self.dispatch(query, deadline).await;
        let leaves = leaves(&prepared.split)?;
        let merged = prepared.split.parts.iter().zip(&leaves).zip(&answers);
        let merged = merged.map(|((part, leaf), answers)| merge(part, leaf, answers));
        // Laying cells on a large grid is computing: other queries move to other threads meanwhile.
        let merged = tokio::task::block_in_place(|| merged.collect::<anyhow::Result<Vec<MergedPart>>>())?;
        let statement = statement(&query.id.to_string(), &prepared.purpose, &prepared.split, &answers, &merged);
        let cells = merged.into_iter().enumerate().map(|(i, m)| (i, m.batch)).collect();
        // A task of its own, so that the deadline and a cancellation reach it.
        let (state, of) = (self.planner.state(), Arc::clone(prepared));
        let finishing = tokio::spawn(async move { finish(state, &of.split, cells).await });
        let (schema, batches) = AbortOnDrop(finishing).await.context("finishing stopped")??;
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        for batch in &batches {
            writer.write(batch)?;
        }
        let arrow_ipc = writer.into_inner()?;
        let answered = statement.parts.iter().flat_map(|p| &p.boroughs).filter(|b| b.answer == "answered").count();
        let result = QueryResult { statement, arrow_ipc };
        self.jobs.keep(query, Some(&result));
        self.log.append(&self.entry(Kind::Outcome, query, format!("{answered} answers")))?;
        Ok(result)
    }

    /// EXPLAIN: what each borough would be sent and whether it would answer, as a table. Nothing runs, and nothing is
    /// logged, as with an explanation from the client.
    async fn explain(&self, query: &Query) -> anyhow::Result<QueryResult> {
        let prepared = &query.prepared;
        let verdicts = self.verdicts(prepared).await;
        let (schema, batch) = explanation(&prepared.split, &verdicts)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        writer.write(&batch)?;
        let arrow_ipc = writer.into_inner()?;
        let statement = v1::Statement {
            query_id: query.id.to_string(),
            purpose: prepared.purpose.clone(),
            complete: true,
            notes: vec!["An explanation: nothing was asked of the boroughs but their yes or no".to_owned()],
            ..Default::default()
        };
        Ok(QueryResult { statement, arrow_ipc })
    }

    async fn dispatch(&self, query: &Query, deadline: Instant) -> Vec<BTreeMap<Gss, Answer>> {
        let prepared = &query.prepared;
        let bundles = bundles(&prepared.split);
        let errands = bundles.iter().enumerate().flat_map(|(number, bundle)| {
            let targets: Vec<String> = bundle.boroughs.iter().map(Gss::to_string).collect();
            bundle.boroughs.iter().map(move |gss| {
                let errand = Errand {
                    query: fragment_id(query.id, number).to_string(),
                    analyst: prepared.owner.to_string(),
                    purpose: prepared.purpose.clone(),
                    targets: targets.clone(),
                    question: Arc::clone(&bundle.question),
                };
                (bundle.part, gss, errand)
            })
        });
        let runs = errands.map(|(part, gss, errand)| async move {
            let told = |state| {
                query.progress.set(gss, part, state);
                query.touch();
            };
            told(v1::State::Queued);
            (part, gss.clone(), self.nodes.run(gss, &errand, deadline, &told).await)
        });
        let mut answers: Vec<BTreeMap<Gss, Answer>> = prepared
            .split
            .parts
            .iter()
            .map(|part| part.questions.keys().map(|gss| (gss.clone(), Answer::NotAsked)).collect())
            .collect();
        for (part, gss, answer) in join_all(runs).await {
            if let Some(of_part) = answers.get_mut(part) {
                of_part.insert(gss, answer);
            }
        }
        answers
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
        let answered = tokio::select! {
            answered = tokio::time::timeout_at(deadline, self.answer(&query, deadline - FINISHING.min(time / 4))) => answered,
            () = cancelled(&query) => return self.stopped(&query, "cancelled").await,
            () = query.abandoned() => return self.stopped(&query, "abandoned").await,
        };
        match answered {
            Ok(Ok(result)) => {
                self.outcomes.count("answered");
                if query.result.set(result).is_ok() {
                    query.set(v1::State::Released);
                }
            }
            Ok(Err(fault)) => {
                tracing::warn!(query = %query.id, "not answered: {fault:#}");
                self.ended(&query, "error");
                query.set(v1::State::NotAnswered);
            }
            Err(_elapsed) => {
                self.ended(&query, "deadline");
                query.set(v1::State::NotAnswered);
            }
        }
    }

    /// Nobody wants the answer: the nodes are told at once.
    async fn stopped(&self, query: &Query, why: &'static str) {
        query.set(v1::State::Cancelled);
        self.cancel_at_nodes(query).await;
        self.ended(query, why);
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
    async fn restore(self: Arc<Self>) -> anyhow::Result<()> {
        let mut unended = std::mem::take(&mut *self.unended.lock().unwrap_or_else(PoisonError::into_inner));
        for (id, mut kept) in self.jobs.kept()? {
            let begun = unended.contains_key(&id);
            let left = u64::try_from(kept.until.saturating_sub(chrono::Utc::now().timestamp_millis())).unwrap_or(0);
            let result = kept.result.take().filter(|_| !begun);
            if result.is_none() && left == 0 {
                self.jobs.forget(&id);
                continue;
            }
            let Some(owner) = kept.owner() else { continue };
            let split = Split::new(Arc::clone(&self.catalogue), self.boroughs());
            let Ok(split) = self.planner.plan_guarded(&kept.sql, split).await else { continue };
            let prepared = Prepared::new(owner, kept.purpose.clone(), kept.sql.clone(), split);
            let query = self.jobs.restore(id, prepared, &kept, begun);
            if let Some(result) = result {
                if query.result.set(result).is_ok() {
                    query.set(v1::State::Released);
                }
            } else {
                unended.remove(&id);
                tracing::info!(query = %id, "taken up again after a restart");
                self.begin(query, Duration::from_millis(left));
            }
        }
        for entry in unended.into_values() {
            self.log.append(&Entry { kind: Kind::Outcome, detail: "restarted".to_owned(), ..entry })?;
        }
        Ok(())
    }

    /// Runs a query; whatever happens to it, it ends.
    fn begin(self: &Arc<Self>, query: Arc<Query>, time: Duration) {
        let task = self.queries.spawn(Arc::clone(self).run(Arc::clone(&query), time));
        let inner = Arc::clone(self);
        self.queries.spawn(async move {
            if task.await.is_err() {
                inner.ended(&query, "error");
                query.set(v1::State::NotAnswered);
            }
        });
    }

    async fn prepare(&self, owner: PeerId, request: v1::PrepareRequest) -> v1::PrepareResponse {
        let split = Split::new(Arc::clone(&self.catalogue), self.boroughs());
        let split = match self.planner.plan_guarded(&request.sql, split).await {
            Ok(split) => split,
            Err(refusal) => {
                return v1::PrepareResponse { refusal: Some(wire_refusal(&refusal)), ..Default::default() };
            }
        };
        let after_merge = without_notes(&split.plan.display_indent().to_string());
        let (id, prepared) = self.jobs.prepare(owner, request.purpose, request.sql, split);
        let verdicts = if request.ask_nodes { self.verdicts(&prepared).await } else { Vec::new() };
        let mut verdicts = verdicts.into_iter();
        let fragments = bundles(&prepared.split).into_iter().zip(0_u32..).map(|(bundle, number)| {
            let bytes = bundle.question.encode();
            v1::Fragment {
                number,
                sha256: sha256(&bytes),
                bytes,
                words: bundle.question.words(),
                sql: bundle.question.sql(),
                boroughs: bundle.boroughs.iter().map(Gss::to_string).collect(),
                grid: bundle.question.grid().unwrap_or(0),
                verdicts: verdicts.next().unwrap_or_default(),
            }
        });
        v1::PrepareResponse { refusal: None, prepared_id: id.to_string(), fragments: fragments.collect(), after_merge }
    }

    async fn verdicts(&self, prepared: &Prepared) -> Vec<Vec<v1::Verdict>> {
        let bundles = bundles(&prepared.split);
        let asked = bundles.iter().map(|bundle| {
            let targets: Vec<String> = bundle.boroughs.iter().map(Gss::to_string).collect();
            let verdicts = bundle.boroughs.iter().map(move |gss| {
                let errand = Errand {
                    query: Uuid::new_v4().to_string(),
                    analyst: prepared.owner.to_string(),
                    purpose: prepared.purpose.clone(),
                    targets: targets.clone(),
                    question: Arc::clone(&bundle.question),
                };
                async move {
                    let (answer, refusal) = match self.nodes.judge(gss, &errand).await {
                        Some(None) => ("yes", None),
                        Some(Some(refusal)) => ("no", Some(refusal)),
                        None => ("unreachable", None),
                    };
                    v1::Verdict { borough: gss.to_string(), answer: answer.to_owned(), refusal }
                }
            });
            join_all(verdicts)
        });
        join_all(asked).await
    }

    async fn describe_all(&self) -> Vec<v1::NodeEntry> {
        let manifest = self.manifest();
        let described = manifest.members.iter().map(|member| async move {
            let mut entry =
                v1::NodeEntry { borough: member.gss.to_string(), name: member.name.clone(), ..Default::default() };
            match self.nodes.describe(&member.gss).await {
                Ok(description) => {
                    entry.reachable = true;
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
fn fragment_id(query: Uuid, number: usize) -> Uuid {
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

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

fn wire_refusal(refusal: &Refusal) -> v1::Refusal {
    v1::Refusal {
        rule: refusal.rule.name().to_owned(),
        message: refusal.message.clone(),
        advice: refusal.advice.clone(),
    }
}

fn caller<T>(request: &Request<T>) -> Result<PeerId, Status> {
    let info = request.extensions().get::<PeerInfo>();
    info.map(|i| i.peer.id.clone()).ok_or_else(|| Status::unauthenticated("caller_unauthenticated"))
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl QueryService for Coordinator {
    type WatchStream = Replies<v1::Progress>;
    type FetchStream = Replies<v1::ResultChunk>;

    async fn catalogue(&self, _: Request<v1::CatalogueRequest>) -> Result<Response<v1::CatalogueResponse>, Status> {
        let nodes = self.0.describe_all().await;
        let holders = |dataset: &str| {
            let holds = |n: &&v1::NodeEntry| n.datasets.iter().any(|d| d.name == dataset);
            nodes.iter().filter(holds).map(|n| n.borough.clone()).collect()
        };
        Ok(Response::new(self.0.catalogue.wire(&holders)))
    }

    async fn nodes(&self, _: Request<v1::NodesRequest>) -> Result<Response<v1::NodesResponse>, Status> {
        Ok(Response::new(v1::NodesResponse {
            federation: self.0.manifest().federation.clone(),
            manifest_version: self.0.manifest().version,
            nodes: self.0.describe_all().await,
        }))
    }

    async fn prepare(&self, request: Request<v1::PrepareRequest>) -> Result<Response<v1::PrepareResponse>, Status> {
        let owner = caller(&request)?;
        let (inner, request) = (Arc::clone(&self.0), request.into_inner());
        // Planning is computing, on deep stacks: a panic there ends this request alone.
        let prepared = self.0.queries.spawn(async move { inner.prepare(owner, request).await });
        Ok(Response::new(prepared.await.map_err(|_| Status::internal("internal"))?))
    }

    async fn run(&self, request: Request<v1::RunRequest>) -> Result<Response<v1::RunResponse>, Status> {
        let owner = caller(&request)?;
        let request = request.into_inner();
        let prepared = parse_id(&request.prepared_id)
            .and_then(|id| self.0.jobs.prepared(&id, &owner).ok_or_else(|| Status::not_found("unknown_prepared")))?;
        let longest = self.0.config.limits.deadline();
        let time = match request.deadline_ms {
            0 => longest,
            ms => Duration::from_millis(ms.into()).min(longest),
        };
        let started = self.0.jobs.start(prepared, time, request.detached);
        let query = started.map_err(|r| Status::resource_exhausted(r.rule.name()))?;
        if !query.prepared.split.explain {
            self.0.jobs.keep(&query, None);
        }
        let id = query.id.to_string();
        self.0.begin(query, time);
        Ok(Response::new(v1::RunResponse { query_id: id }))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let owner = caller(&request)?;
        let query = self.query(&request.into_inner().query_id, &owner)?;
        let watching = Some((WatchStream::new(query.watch()), query.watched()));
        let told = futures::stream::unfold(watching, |watching| async {
            let (mut states, watcher) = watching?;
            let state = states.next().await?;
            let progress = v1::Progress { state: state.into(), boroughs: watcher.query().progress.boroughs() };
            let next = (!is_final(state)).then_some((states, watcher));
            Some((Ok(progress), next))
        });
        Ok(Response::new(Box::pin(told)))
    }

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let owner = caller(&request)?;
        let query = self.query(&request.into_inner().query_id, &owner)?;
        if query.result.get().is_none() {
            return Err(Status::failed_precondition("not_ready"));
        }
        let mut offset = 0_usize;
        let mut first = true;
        let chunks = futures::stream::iter(std::iter::from_fn(move || {
            let result = query.result.get()?;
            let rest = result.arrow_ipc.get(offset..).filter(|rest| first || !rest.is_empty())?;
            let chunk = rest.get(..CHUNK / 2).unwrap_or(rest);
            offset = offset.saturating_add(chunk.len());
            let statement = std::mem::take(&mut first).then(|| result.statement.clone());
            Some(Ok(v1::ResultChunk { statement, arrow_ipc: chunk.to_vec() }))
        }));
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Result<Response<v1::CancelResponse>, Status> {
        let owner = caller(&request)?;
        self.query(&request.into_inner().query_id, &owner)?.set(v1::State::Cancelled);
        Ok(Response::new(v1::CancelResponse {}))
    }
}

impl Coordinator {
    fn query(&self, id: &str, owner: &PeerId) -> Result<Arc<Query>, Status> {
        self.0.jobs.query(&parse_id(id)?, owner).ok_or_else(|| Status::not_found("unknown_query"))
    }
}

fn parse_id(id: &str) -> Result<Uuid, Status> {
    Uuid::try_parse(id).map_err(|_| Status::invalid_argument("id"))
}
