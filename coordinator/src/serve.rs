//! The coordinator's process: configuration, log and doors, from start to stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use loda_identity::{Identity, SigningKey};
use loda_ledger::payload::PayloadStore;
use loda_ledger::{COORDINATOR, Entry, Log, SignedLines, Spool};
use loda_proto::v1::query_server::QueryServer;
use loda_service::log_tree::LogTree;
use loda_service::read_log::PAYLOADS;
use loda_service::{Operations, Program, State, TaskGroup, log, retention, stop};
use loda_transport::{AuthoriseLayer, Dialled, Limits, incoming_with, server};
use tokio::net::TcpListener;

use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::doors::grpc::GrpcDoor;
use crate::doors::listener::WebDoors;
use crate::doors::service::DoorService;
use crate::doors::sign_in::tokens::Tokens;
use crate::nodes::channels::Connections;
use crate::plan::planner::Planner;
use crate::query::log_recovery::LogRecovery;
use crate::query::registry::Environment;
use crate::query::service::{QueryService, QueryServiceParts};

const QUERY_STACK: usize = 32 << 20;

/// How long running questions may take to end when the coordinator stops, and how long their answers can still be
/// fetched.
const DRAIN: Duration = Duration::from_secs(30);
const LAST_FETCH: Duration = Duration::from_millis(700);

/// How long calls on an expired connection may take to end.
const GRACE: Duration = Duration::from_secs(30);

/// A coordinator that is ready to serve.
#[derive(Clone)]
pub struct Coordinator {
    queries: Arc<QueryService>,
    doors: Arc<DoorService>,
    identity: Identity,
    config: Arc<Config>,
    dialled: Dialled,
    tree: LogTree,
}

/// Runs a coordinator until it is told to stop. `program`: the command that starts it again for [`crate::work()`].
///
/// # Errors
/// Any fault that keeps it from serving, with the file and the fix.
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
        let tree = coordinator.tree.clone();
        let listener = coordinator.bind().await?;
        let draining = async {
            let _told = stop::signal().await;
            tracing::info!("stopping: no more questions are taken, and those that run may end");
            coordinator.queries.registry.drain(DRAIN).await;
            coordinator.queries.note_refusals(true);
            // Leaves time to fetch the last answers.
            tokio::time::sleep(LAST_FETCH).await;
            tree.finish();
        };
        // Open connections do not keep a stopped coordinator alive.
        tokio::select! {
            served = coordinator.serve(listener) => served,
            () = draining => Ok(()),
            // The service manager restarts it.
            () = coordinator.queries.keep_log() => anyhow::bail!("the query log cannot be written any more"),
            () = tree.clone().keep() => anyhow::bail!("no checkpoint of the query log can be signed any more"),
        }
    })
}

impl Coordinator {
    /// Loads the manifest, contracts and keys. Call this inside a runtime, because the channels belong to it.
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
        let mut unended = LogRecovery::default();
        let log = SignedLines::open_telling(&config.state.join("log.jsonl"), key, &mut |entry| {
            unended.note(entry);
        })?;
        log.append(&Entry::admin(format!("started, software {}", env!("CARGO_PKG_VERSION"))))?;
        let tree = LogTree::open(&config.state, &identity, COORDINATOR)?;
        let dialled = Dialled::default();
        let queries = QueryService::of(QueryServiceParts {
            limits: config.limits,
            identity: identity.clone(),
            catalogue,
            planner: Arc::new(planner),
            lines: Box::new(Connections::new(identity.clone(), dialled.clone())),
            log: Arc::new(log),
            tree: Some(tree.clone()),
            payloads: Arc::new(PayloadStore::open(&config.state.join(PAYLOADS))?),
            unended,
            spool: Spool::open(&config.state.join("queries")).context("opening the folder of questions")?,
            environment: Environment::default(),
            tasks: TaskGroup::new(queries),
            program: config.program.clone(),
        });
        let tokens = Arc::new(Tokens::open(&config.state)?);
        let doors = Arc::new(DoorService::new(Arc::clone(&queries), tokens, &config.state));
        Ok(Self { queries, doors, identity, config: Arc::new(config), dialled, tree })
    }

    /// Binds the address that the configuration names.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(&self) -> anyhow::Result<TcpListener> {
        let listen = &self.config.listen;
        TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))
    }

    /// Serves until the listener fails.
    ///
    /// # Errors
    /// If certificates cannot be used, or the transport fails.
    pub async fn serve(&self, listener: TcpListener) -> anyhow::Result<()> {
        let (identity, queries) = (&self.identity, &self.queries);
        // Runs before anyone can ask, so that returning clients find their questions.
        Arc::clone(queries).restore().await?;
        let workers = Arc::clone(&queries.workers);
        tokio::spawn(async move { workers.warm().await });
        tokio::spawn(Arc::clone(queries).keep_nodes());
        tokio::spawn(Arc::clone(queries).keep_confirmed());
        tokio::spawn(retention::keep(queries.shared_log(), Arc::clone(&queries.payloads), self.config.retention));
        let age = Duration::from_secs(self.config.limits.connection_seconds);
        let limits = Limits { connection_life: age.saturating_add(GRACE), ..Limits::default() };
        let connections = incoming_with(listener, identity.clone(), limits, Some(self.dialled.clone()));
        let service = QueryServer::new(GrpcDoor::new(Arc::clone(&self.doors), identity.clone()))
            .max_decoding_message_size(256 << 10)
            .max_encoding_message_size(16 << 20);
        tokio::spawn(identity.clone().keep_current());
        if let Some(address) = self.config.operations.clone() {
            let asked = Arc::clone(queries);
            let log = self.config.state.join("log.jsonl");
            let state = move || State {
                active: asked.registry.active(),
                faults: asked.log_fault().into_iter().collect(),
                measures: asked.measures(&log),
            };
            Operations::new(identity.clone(), &queries.outcomes, &queries.times, state)
                .with("sign_ins_refused", "Calls whose credentials were not accepted", &queries.sign_ins)
                .start(address);
        }
        if let Some(doors) = &self.config.doors {
            let doors = WebDoors::open(doors, Arc::clone(&self.doors), identity, &self.config.state)?;
            doors.bind(limits).await?.start();
        }
        tracing::info!(datasets = queries.catalogue.contracts.len(), "serving");
        server(age)
            .layer(AuthoriseLayer::new(identity.clone()))
            .add_service(service)
            .serve_with_incoming(connections)
            .await?;
        Ok(())
    }
}
