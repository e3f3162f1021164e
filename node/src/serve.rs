//! The node's gRPC service, and the program around it.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arrow::array::RecordBatch;
use futures::stream::select;
use futures::{Stream, StreamExt};
use loda_contract::Contract;
use loda_disclosure::{Method, Released};
use loda_identity::{AuthoriseLayer, Gss, Identity, Limits, SigningKey, dial_out, incoming_with, server};
use loda_ledger::{Kind, Log, SignedLines, Spool};
use loda_proto::v1::node_server::{Node as NodeService, NodeServer};
use loda_proto::{CHUNK, VERSIONS, v1};
use loda_question::{Refusal, Rule};
use loda_service::{AbortOnDrop, Operations, Outcomes, log, stop};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::agreement::Agreement;
use crate::config::Config;
use crate::dictionary::RecordSecret;
use crate::disclose::{Methods, released};
use crate::execute::{Engine, lacked_memory};
use crate::ingest::{IngestReport, ingest};
use crate::inspect::{Accepted, Asked};
use crate::jobs::{Admission, History, Job, Jobs, is_final};
use crate::release::{Gate, Release};
use crate::snapshot::{self, Snapshot};
use crate::turns::Turns;

/// Threads that run queries have room for DataFusion's deep frames.
const QUERY_STACK: usize = 32 << 20;

const JUDGING: usize = 4;

/// How long running queries may take to end when the node is stopped, and their answers to be fetched.
const DRAIN: Duration = Duration::from_secs(30);
const LAST_FETCH: Duration = Duration::from_millis(700);

/// How long calls on an aged connection may take to end.
const GRACE: Duration = Duration::from_secs(30);

/// A node that has ingested its data and can serve.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    config: Config,
    identity: Identity,
    agreement: Agreement,
    snapshots: Vec<Snapshot>,
    methods: Methods,
    gate: Gate,
    jobs: Jobs,
    outcomes: Outcomes,
    engine: Arc<Engine>,
    turns: Turns,
    /// Questions share the memory pool; one that did not fit beside others has it for itself.
    memory: tokio::sync::RwLock<()>,
    /// Requests that are judged at once.
    judging: Arc<Semaphore>,
    /// Queries run here, so that gRPC and health answer while they do.
    queries: tokio::runtime::Handle,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// Whatever keeps it from serving, with the file and the fix.
pub fn run(config: &Path, ingest_only: bool) -> anyhow::Result<()> {
    log::begin();
    let queries = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("queries")
        .thread_stack_size(QUERY_STACK)
        .enable_time()
        .enable_io()
        .build()?;
    let serving = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let config = Config::load(config)?;
    let methods = Methods::with(&config.perturbation)?;
    let node = queries.block_on(Node::open(config, methods, queries.handle().clone()))?;
    if ingest_only {
        return Ok(());
    }
    serving.block_on(async {
        let listener = node.bind().await?;
        let draining = async {
            let _told = stop::signal().await;
            tracing::info!("stopping: no more queries are taken, and those that run may end");
            node.0.jobs.drain(DRAIN).await;
            // What was released last is fetched now.
            tokio::time::sleep(LAST_FETCH).await;
        };
        // Connections that stay open do not keep a stopped node.
        tokio::select! {
            served = node.serve(listener) => served,
            () = draining => Ok(()),
        }
    })
}

impl Node {
    /// Reads what the configuration names, ingests, and opens the log.
    ///
    /// # Errors
    /// A fault in configuration, agreement, manifest, keys or log. A dataset that cannot be ingested keeps its last
    /// good snapshot, or is left out, and the fault is reported.
    pub async fn open(config: Config, methods: Methods, queries: tokio::runtime::Handle) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&config.state).with_context(|| format!("making {}", config.state.display()))?;
        let identity = Identity::load(config.identity.clone())?;
        let manifest = identity.manifest();
        let agreement = Agreement::load(&config.agreement)?;
        let log_key = config.state.join("log.key");
        if !log_key.exists() {
            SigningKey::generate()?.0.save(&log_key)?;
        }
        let mut history = History::default();
        let log =
            SignedLines::open_telling(&config.state.join("log.jsonl"), SigningKey::load(&log_key)?, &mut |entry| {
                history.note(entry);
            })?;
        for ending in history.endings() {
            log.append(&ending)?;
        }
        let log: Arc<dyn Log> = Arc::new(log);
        let secret = RecordSecret::load_or_create(&config.state.join("record.key"))?;
        let mut snapshots = Vec::new();
        for dataset in &config.datasets {
            let text = std::fs::read_to_string(&dataset.contract)
                .with_context(|| format!("reading {}", dataset.contract.display()))?;
            let contract = Arc::new(Contract::parse(&text, &dataset.contract.display().to_string())?);
            let pinned = manifest.datasets.iter().find(|d| d.name == contract.dataset);
            if pinned.is_none_or(|d| d.contract_sha256 != contract.sha256) {
                tracing::error!(
                    dataset = contract.dataset,
                    "the contract is not the one in the manifest: fetch the agreed version; the dataset is not served"
                );
                continue;
            }
            match ingest(&config.state, &secret, &contract, dataset).await {
                Ok((snapshot, report)) => {
                    tell(&report);
                    snapshots.push(snapshot);
                }
                Err(fault) => match snapshot::newest(&config.state, &contract)? {
                    Some(last) => {
                        tracing::error!("{fault:#}; snapshot {} of {} stays in use", last.id, last.as_at);
                        snapshots.push(last);
                    }
                    None => tracing::error!("{fault:#}; there is no earlier snapshot: the dataset is not served"),
                },
            }
        }
        let turns = Turns::new(config.limits.running);
        let judging = Arc::new(Semaphore::new(JUDGING));
        let spool = Spool::open(&config.state.join("released")).context("opening the folder of released answers")?;
        let jobs = Jobs::new(config.limits.accepted, spool, history)?;
        let outcomes = Outcomes::default();
        let engine = Arc::new(Engine::new(&config.limits)?);
        let gate = Gate::new(log);
        let methods = methods.with_noise(secret.noise_key());
        let inner = Inner {
            config,
            identity,
            agreement,
            snapshots,
            methods,
            gate,
            jobs,
            outcomes,
            engine,
            turns,
            memory: tokio::sync::RwLock::default(),
            judging,
            queries,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Binds the address that the configuration names, if it names one.
    ///
    /// # Errors
    /// Where it cannot be bound.
    pub async fn bind(&self) -> anyhow::Result<Option<TcpListener>> {
        let Some(listen) = &self.0.config.listen else { return Ok(None) };
        Ok(Some(TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?))
    }

    /// Serves over a listener, over connections that it dials itself, or both, until the transport fails.
    ///
    /// # Errors
    /// Where the transport fails.
    pub async fn serve(&self, listener: Option<TcpListener>) -> anyhow::Result<()> {
        let inner = &self.0;
        let age = Duration::from_secs(inner.config.limits.connection_seconds);
        let limits = Limits { connection_life: age.saturating_add(GRACE), ..Limits::default() };
        let accepted = listener.map(|listener| incoming_with(listener, inner.identity.clone(), limits, None));
        let dialled = inner.config.dial_out.then(|| dial_out(inner.identity.clone(), age));
        let connections = select(optional(accepted), optional(dialled));
        let service =
            NodeServer::new(self.clone()).max_decoding_message_size(256 << 10).max_encoding_message_size(4 << 20);
        tokio::spawn(inner.identity.clone().keep_current());
        if let Some(address) = inner.config.operations.clone() {
            let active = {
                let inner = Arc::clone(inner);
                move || inner.jobs.active()
            };
            Operations::new(inner.identity.clone(), &inner.outcomes, active).start(address);
        }
        tracing::info!(borough = %inner.config.borough, datasets = inner.snapshots.len(), "serving");
        server(age)
            .layer(AuthoriseLayer::new(inner.identity.clone()))
            .add_service(service)
            .serve_with_incoming(connections)
            .await?;
        Ok(())
    }

    /// Where each dataset's snapshot lies: for tests that pool them.
    #[must_use]
    pub fn snapshot_files(&self) -> Vec<(String, std::path::PathBuf)> {
        self.0.snapshots.iter().map(|s| (s.contract.dataset.clone(), s.file.clone())).collect()
    }
}

/// What is not there yields nothing, and does not end the server.
fn optional<S: Stream>(stream: Option<S>) -> impl Stream<Item = S::Item> {
    match stream {
        Some(stream) => stream.left_stream(),
        None => futures::stream::pending().right_stream(),
    }
}

fn tell(report: &IngestReport) {
    if report.rejected.is_empty() {
        tracing::info!("{report}");
    } else {
        tracing::warn!("{report}");
    }
}

impl Inner {
    fn borough(&self) -> &Gss {
        &self.config.borough
    }

    fn snapshot(&self, dataset: &str) -> Option<Snapshot> {
        self.snapshots.iter().find(|s| s.contract.dataset == dataset).cloned()
    }

    fn log(&self, asked: &Asked, kind: Kind, dataset: &str, agreement: &str, detail: &str) -> Result<(), Status> {
        self.gate.log().append(&asked.entry(kind, dataset, agreement, detail)).map_err(|fault| {
            tracing::error!("{fault}");
            Status::unavailable("log_unavailable")
        })
    }

    /// Judges, logs, and starts a query: in that order.
    fn submit(self: &Arc<Self>, request: v1::SubmitRequest) -> Result<Option<Refusal>, Status> {
        let (dry_run, deadline) = (request.dry_run, Duration::from_millis(request.deadline_ms.into()));
        let asked = match Asked::parse(request) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(Some(refusal)),
        };
        let judged = asked.judge(self.borough(), &self.agreement, &|dataset| self.snapshot(dataset));
        if dry_run {
            return Ok(judged.err());
        }
        let accepted = match judged {
            Ok(accepted) => accepted,
            Err(refusal) => {
                self.log(&asked, Kind::Refuse, "", "", refusal.rule.name())?;
                self.outcomes.count("refused");
                return Ok(Some(refusal));
            }
        };
        let time = deadline.min(self.config.limits.query_time());
        let job = match self.jobs.admit(asked.query, &asked.identity(), asked.analyst.to_string(), time) {
            Ok(Admission::New(job)) => job,
            Ok(Admission::Known) => return Ok(None),
            Err(refusal) => {
                self.outcomes.count("busy");
                return Ok(Some(refusal));
            }
        };
        let dataset = &accepted.question.scope().title();
        if let Err(status) = self.log(&asked, Kind::Accept, dataset, &accepted.agreement, "") {
            job.cancel();
            return Err(status);
        }
        let node = Arc::clone(self);
        self.queries.spawn(async move {
            tokio::select! {
                () = node.run(&asked, &accepted, &job) => {}
                () = job.cancelled() => {
                    node.outcomes.count("cancelled");
                    let dataset = &accepted.question.scope().title();
                    let _logged = node.log(&asked, Kind::Fail, dataset, &accepted.agreement, "cancelled");
                }
            }
        });
        Ok(None)
    }

    async fn run(self: &Arc<Self>, asked: &Asked, accepted: &Accepted, job: &Job) {
        let answered = tokio::time::timeout_at(job.deadline().into(), self.answer(asked, accepted, job)).await;
        let detail = match answered {
            Ok(Ok(release)) => {
                self.outcomes.count("released");
                return job.released(release);
            }
            Ok(Err(fault)) => {
                tracing::warn!(query = %asked.query, "not answered: {fault:#}");
                "error"
            }
            Err(_elapsed) => "deadline",
        };
        let dataset = &accepted.question.scope().title();
        self.outcomes.count("not_answered");
        // The job ends as not answered whether or not this can be logged: nothing leaves.
        let _logged = self.log(asked, Kind::Fail, dataset, &accepted.agreement, detail);
        job.not_answered().await;
    }

    /// execute → disclose → release.
    async fn answer(self: &Arc<Self>, asked: &Asked, accepted: &Accepted, job: &Job) -> anyhow::Result<Release> {
        let _turn = self.turns.take(&asked.analyst.to_string()).await;
        job.running();
        let method = self.methods.of(accepted.question.scope().protection);
        let shared = self.memory.read().await;
        let cells = match self.cells(accepted, &method).await {
            // Side by side they wanted more than there is: this one waits until it has all of it.
            Err(fault) if fault.downcast_ref().is_some_and(lacked_memory) => {
                drop(shared);
                let _alone = self.memory.write().await;
                self.cells(accepted, &method).await?
            }
            cells => cells?,
        };
        let keep = |release: &Release| self.jobs.keep(&asked.query, &asked.identity(), release);
        self.gate.release(asked, &accepted.agreement, &accepted.snapshots, &method, &cells, &keep)
    }

    /// execute → disclose.
    async fn cells(&self, accepted: &Accepted, method: &Method) -> anyhow::Result<Released<RecordBatch>> {
        let (engine, question, snapshots) =
            (Arc::clone(&self.engine), accepted.question.clone(), accepted.snapshots.clone());
        // A task of its own: a panic in the engine ends this query and nothing else, and a cancelled query stops it.
        let stage = tokio::spawn(async move { engine.stage(&question, &snapshots).await });
        let stage = AbortOnDrop(stage).await.context("the engine stopped")??;
        let (question, method) = (accepted.question.clone(), method.clone());
        let disclosing = tokio::task::spawn_blocking(move || released(&question, &method, &stage.batches));
        disclosing.await.context("disclosure control stopped")?
    }
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl NodeService for Node {
    type WatchStream = Replies<v1::NodeState>;
    type FetchStream = Replies<v1::ReleasedChunk>;

    async fn describe(&self, request: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeResponse>, Status> {
        let spoken = request.into_inner().versions;
        let borough = self.0.borough().to_string();
        let Some(version) = VERSIONS.into_iter().find(|v| spoken.contains(v)) else {
            let refusal = Refusal::new(
                Rule::Version,
                format!("this node speaks protocol versions {VERSIONS:?}"),
                "Upgrade the older side: neighbouring versions understand each other",
            );
            return Ok(Response::new(v1::DescribeResponse {
                borough,
                refusal: Some(wire_refusal(&refusal)),
                ..Default::default()
            }));
        };
        let datasets = self.0.snapshots.iter().map(|s| {
            let method = self.0.methods.of(s.contract.protection);
            v1::HeldDataset {
                name: s.contract.dataset.clone(),
                contract_sha256: s.contract.sha256.clone(),
                snapshot: s.id,
                as_at: s.as_at.to_string(),
                method: method.name().to_owned(),
                parameters: method.parameters(),
            }
        });
        Ok(Response::new(v1::DescribeResponse {
            version,
            borough,
            software: env!("CARGO_PKG_VERSION").to_owned(),
            datasets: datasets.collect(),
            refusal: None,
        }))
    }

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let (inner, request) = (Arc::clone(&self.0), request.into_inner());
        // Judging enumerates grids, and the log waits for the disk: neither belongs on the serving thread.
        // Few at a time: a caller that has gone away still costs what it began.
        let permit = Arc::clone(&self.0.judging).acquire_owned().await.map_err(|_| Status::unavailable("stopping"))?;
        let judged = self.0.queries.spawn_blocking(move || {
            let judged = inner.submit(request);
            drop(permit);
            judged
        });
        let judged = judged.await;
        let refusal = judged.map_err(|_| Status::internal("internal"))??;
        Ok(Response::new(v1::SubmitResponse { refusal: refusal.as_ref().map(wire_refusal) }))
    }

    async fn watch(&self, request: Request<v1::WatchNodeRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let job = self.job(&request.into_inner().query_id)?;
        // The stream holds the job, so that its sender outlives the watcher, and ends with the final state.
        let watching = Some((WatchStream::new(job.watch()), job));
        let states = futures::stream::unfold(watching, |watching| async {
            let (mut states, job) = watching?;
            let state = states.next().await?;
            let next = (!is_final(state)).then_some((states, job));
            Some((Ok(v1::NodeState { state: state.into() }), next))
        });
        Ok(Response::new(Box::pin(states)))
    }

    async fn fetch(&self, request: Request<v1::FetchReleasedRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let job = self.job(&request.into_inner().query_id)?;
        if job.release().is_none() {
            return Err(Status::failed_precondition("not_released"));
        }
        let mut offset = 0_usize;
        let mut header = true;
        let chunks = futures::stream::iter(std::iter::from_fn(move || {
            let release = job.release()?;
            let rest = release.arrow_ipc.get(offset..).filter(|rest| header || !rest.is_empty())?;
            let chunk = rest.get(..CHUNK - 1024).unwrap_or(rest);
            offset = offset.saturating_add(chunk.len());
            let first = std::mem::take(&mut header).then(|| release.header.clone());
            Some(Ok(v1::ReleasedChunk { header: first, arrow_ipc: chunk.to_vec() }))
        }));
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelNodeRequest>,
    ) -> Result<Response<v1::CancelNodeResponse>, Status> {
        self.job(&request.into_inner().query_id)?.cancel();
        Ok(Response::new(v1::CancelNodeResponse {}))
    }
}

impl Node {
    fn job(&self, id: &str) -> Result<Arc<Job>, Status> {
        let id = Uuid::try_parse(id).map_err(|_| Status::invalid_argument("query_id"))?;
        self.0.jobs.get(&id).ok_or_else(|| Status::not_found("unknown_query"))
    }
}

fn wire_refusal(refusal: &Refusal) -> v1::Refusal {
    v1::Refusal {
        rule: refusal.rule.name().to_owned(),
        message: refusal.message.clone(),
        advice: refusal.advice.clone(),
    }
}
