//! The coordinator's gRPC service, and the program around it.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::{Stream, StreamExt};
use loda_identity::{AuthoriseLayer, Dialled, Identity, Limits, PeerId, PeerInfo, SigningKey, incoming_with, server};
use loda_ledger::{Entry, Log, SignedLines, Spool};
use loda_proto::v1::query_server::{Query as QueryService, QueryServer};
use loda_proto::{CHUNK, v1};
use loda_service::{Crew, Operations, Program, State, log, stop, successors};
use tokio::net::TcpListener;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::doors::{self, Doors, Scope, TokenFault, TokenInfo, Tokens, Wanted};
use crate::explain::wire_refusal;
use crate::jobs::World;
use crate::lines::Connections;
use crate::plan::Planner;
use crate::query::{Query, is_final};
use crate::questions::{Parts, Questions, Unended};

const QUERY_STACK: usize = 32 << 20;

/// How long running questions may take to end when the coordinator is stopped, and their answers to be fetched.
const DRAIN: Duration = Duration::from_secs(30);
const LAST_FETCH: Duration = Duration::from_millis(700);

/// How long calls on an aged connection may take to end.
const GRACE: Duration = Duration::from_secs(30);

/// A coordinator that can serve.
#[derive(Clone)]
pub struct Coordinator {
    pub(crate) questions: Arc<Questions>,
    identity: Identity,
    config: Arc<Config>,
    dialled: Dialled,
    tokens: Arc<Tokens>,
}

/// Runs a coordinator until it is told to stop. `program`: how it is started once more, to [`crate::work()`].
///
/// # Errors
/// Whatever keeps it from serving, with the file and the fix.
pub fn run(config: &Path, program: Program) -> anyhow::Result<()> {
    log::begin();
    let queries = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("queries")
        .thread_stack_size(QUERY_STACK)
        .enable_all()
        .build()?;
    let serving = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    serving.block_on(async {
        let config = Config { program: Some(program), ..Config::load(config)? };
        let _alone = loda_service::alone(&config.state, "coordinator")?;
        let coordinator = Coordinator::open(config, queries.handle().clone())?;
        let listener = coordinator.bind().await?;
        let draining = async {
            let _told = stop::signal().await;
            tracing::info!("stopping: no more questions are taken, and those that run may end");
            coordinator.questions.jobs.drain(DRAIN).await;
            coordinator.questions.note_refusals(true);
            // What was answered last is fetched now.
            tokio::time::sleep(LAST_FETCH).await;
        };
        // Connections that stay open do not keep a stopped coordinator.
        tokio::select! {
            served = coordinator.serve(listener) => served,
            () = draining => Ok(()),
            // The service manager starts it again.
            () = coordinator.questions.keep_log() => anyhow::bail!("the query log cannot be written any more"),
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
        let log_key = config.state.join("log.key");
        if !log_key.exists() {
            SigningKey::generate()?.0.save(&log_key)?;
        }
        let key = SigningKey::load(&log_key)?;
        anyhow::ensure!(
            identity.manifest().coordinator.log_key == key.public_hex(),
            "{}: not the key that the manifest names for the coordinator's log: restore it from the backup; where it is lost, the \
             federation has to agree on a manifest with another",
            log_key.display()
        );
        let mut unended = Unended::default();
        let log = SignedLines::open_telling(&config.state.join("log.jsonl"), key, &mut |entry| {
            unended.note(entry);
        })?;
        log.append(&Entry::admin(format!("started, software {}", env!("CARGO_PKG_VERSION"))))?;
        let dialled = Dialled::default();
        let questions = Questions::of(Parts {
            limits: config.limits,
            identity: identity.clone(),
            catalogue,
            planner: Arc::new(planner),
            lines: Box::new(Connections::new(identity.clone(), dialled.clone())),
            log: Arc::new(log),
            unended,
            spool: Spool::open(&config.state.join("queries")).context("opening the folder of questions")?,
            world: World::default(),
            crew: Crew::new(queries),
            program: config.program.clone(),
        });
        let tokens = Arc::new(Tokens::open(&config.state)?);
        Ok(Self { questions, identity, config: Arc::new(config), dialled, tokens })
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn over(questions: Arc<Questions>, identity: Identity, config: Config) -> anyhow::Result<Self> {
        let tokens = Arc::new(Tokens::open(&config.state)?);
        Ok(Self { questions, identity, config: Arc::new(config), dialled: Dialled::default(), tokens })
    }

    /// Binds the address that the configuration names.
    ///
    /// # Errors
    /// Where it cannot be bound.
    pub async fn bind(&self) -> anyhow::Result<TcpListener> {
        let listen = &self.config.listen;
        TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))
    }

    /// Serves until the listener fails.
    ///
    /// # Errors
    /// Where certificates cannot be used or the transport fails.
    pub async fn serve(&self, listener: TcpListener) -> anyhow::Result<()> {
        let (identity, questions) = (&self.identity, &self.questions);
        // Before anybody can ask: whoever comes back finds his question.
        Arc::clone(questions).restore().await?;
        let workers = Arc::clone(&questions.workers);
        tokio::spawn(async move { workers.warm().await });
        tokio::spawn(Arc::clone(questions).keep_nodes());
        let age = Duration::from_secs(self.config.limits.connection_seconds);
        let limits = Limits { connection_life: age.saturating_add(GRACE), ..Limits::default() };
        let connections = incoming_with(listener, identity.clone(), limits, Some(self.dialled.clone()));
        let service =
            QueryServer::new(self.clone()).max_decoding_message_size(256 << 10).max_encoding_message_size(16 << 20);
        tokio::spawn(identity.clone().keep_current());
        if let Some(address) = self.config.operations.clone() {
            let asked = Arc::clone(questions);
            let log = self.config.state.join("log.jsonl");
            let state = move || State {
                active: asked.jobs.active(),
                faults: asked.log_fault().into_iter().collect(),
                measures: asked.measures(&log),
            };
            Operations::new(identity.clone(), &questions.outcomes, &questions.times, state)
                .with("sign_ins_refused", "Calls whose credentials were not accepted", &questions.sign_ins)
                .start(address);
        }
        if let Some(doors) = &self.config.doors {
            let doors =
                Doors::open(doors, Arc::clone(questions), identity, Arc::clone(&self.tokens), &self.config.state);
            doors?.bind(limits).await?.start();
        }
        tracing::info!(datasets = questions.catalogue.contracts.len(), "serving");
        server(age)
            .layer(AuthoriseLayer::new(identity.clone()))
            .add_service(service)
            .serve_with_incoming(connections)
            .await?;
        Ok(())
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
        let nodes = self.questions.describe_all().await;
        let holders = |dataset: &str| {
            let holds = |n: &&v1::NodeEntry| n.datasets.iter().any(|d| d.name == dataset);
            nodes.iter().filter(holds).map(|n| n.borough.clone()).collect()
        };
        Ok(Response::new(self.questions.catalogue.wire(&holders)))
    }

    async fn nodes(&self, _: Request<v1::NodesRequest>) -> Result<Response<v1::NodesResponse>, Status> {
        Ok(Response::new(v1::NodesResponse {
            federation: self.questions.manifest().federation.clone(),
            manifest_version: self.questions.manifest().version,
            nodes: self.questions.describe_all().await,
        }))
    }

    async fn successors(
        &self,
        request: Request<v1::SuccessorsRequest>,
    ) -> Result<Response<v1::SuccessorsResponse>, Status> {
        let versions = successors::told(&self.identity, request.into_inner().version);
        Ok(Response::new(v1::SuccessorsResponse { versions }))
    }

    async fn prepare(&self, request: Request<v1::PrepareRequest>) -> Result<Response<v1::PrepareResponse>, Status> {
        let owner = caller(&request)?;
        let v1::PrepareRequest { sql, purpose, ask_nodes } = request.into_inner();
        let prepared = match self.questions.plan(owner, purpose, sql).await {
            Ok(prepared) => prepared,
            Err(refusal) => {
                let refusal = Some(wire_refusal(&refusal));
                return Ok(Response::new(v1::PrepareResponse { refusal, ..Default::default() }));
            }
        };
        let prepared_id = self.questions.jobs.prepare(Arc::clone(&prepared)).to_string();
        let explained =
            self.questions.explained(prepared, ask_nodes).await.map_err(|_| Status::internal("internal"))?;
        Ok(Response::new(v1::PrepareResponse { prepared_id, ..explained }))
    }

    async fn run(&self, request: Request<v1::RunRequest>) -> Result<Response<v1::RunResponse>, Status> {
        let owner = caller(&request)?;
        let request = request.into_inner();
        let prepared = self.questions.jobs.prepared(&parse_id(&request.prepared_id)?, &owner);
        let prepared = prepared.ok_or_else(|| Status::not_found("unknown_prepared"))?;
        let started = self.questions.start(prepared, request.deadline_ms, request.detached);
        Ok(Response::new(match started {
            Ok(query) => v1::RunResponse { query_id: query.id.to_string(), refusal: None },
            Err(refusal) => v1::RunResponse { refusal: Some(wire_refusal(&refusal)), ..Default::default() },
        }))
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
        let query = self.query(&request.into_inner().query_id, &owner)?;
        self.questions.cancel(&query, "cancelled");
        Ok(Response::new(v1::CancelResponse {}))
    }

    async fn new_token(&self, request: Request<v1::NewTokenRequest>) -> Result<Response<v1::NewTokenResponse>, Status> {
        let info = request.extensions().get::<PeerInfo>().cloned();
        let owner = info.ok_or_else(|| Status::unauthenticated("caller_unauthenticated"))?.peer;
        let v1::NewTokenRequest { name, scopes, purposes, days } = request.into_inner();
        let scopes = scopes.iter().map(|scope| Scope::named(scope)).collect::<Option<Vec<_>>>();
        let scopes = scopes.ok_or_else(|| Status::invalid_argument("a scope is read, ask or audit"))?;
        let wanted = Wanted { name, scopes, purposes, days };
        let made = doors::make_token(&self.questions, &self.tokens, &owner, wanted).map_err(token_status)?;
        Ok(Response::new(v1::NewTokenResponse { token: made.secret, info: Some(wire_token(made.info)) }))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let tokens = self.tokens.of(&caller(&request)?).into_iter().map(wire_token);
        Ok(Response::new(v1::ListTokensResponse { tokens: tokens.collect() }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let owner = caller(&request)?;
        let id = request.into_inner().id;
        doors::revoke_token(&self.questions, &self.tokens, &owner, &id).map_err(token_status)?;
        Ok(Response::new(v1::RevokeTokenResponse {}))
    }
}

/// What is told of a token.
fn wire_token(info: TokenInfo) -> v1::TokenInfo {
    v1::TokenInfo {
        id: info.id,
        name: info.name,
        scopes: info.scopes.into_iter().map(|scope| scope.name().to_owned()).collect(),
        purposes: info.purposes,
        made: info.made,
        until: info.until,
        used: info.used.unwrap_or_default(),
    }
}

fn token_status(fault: TokenFault) -> Status {
    match fault {
        TokenFault::Wanted(_) => Status::invalid_argument(fault.to_string()),
        TokenFault::Full => Status::resource_exhausted("tokens_full"),
        TokenFault::None => Status::not_found("unknown_token"),
        TokenFault::Disk(cause) => {
            tracing::error!("tokens cannot be written: {cause:#}");
            Status::internal("internal")
        }
    }
}

impl Coordinator {
    fn query(&self, id: &str, owner: &PeerId) -> Result<Arc<Query>, Status> {
        self.questions.jobs.query(&parse_id(id)?, owner).ok_or_else(|| Status::not_found("unknown_query"))
    }
}

fn parse_id(id: &str) -> Result<Uuid, Status> {
    Uuid::try_parse(id).map_err(|_| Status::invalid_argument("id"))
}
