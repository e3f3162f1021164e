//! A coordinator for simulations: the real service over a simulated network, clock and log. Only the tests' feature
//! compiles it.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use loda_identity::Identity;
use loda_ledger::payload::PayloadStore;
use loda_ledger::{Entry, Log, Spool};
use loda_proto::v1::query_server::QueryServer;
use loda_service::TaskGroup;
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::doors::grpc::GrpcDoor;
use crate::doors::service::DoorService;
use crate::doors::sign_in::tokens::Tokens;
use crate::nodes::channels::NodeConnector;
use crate::plan::planner::Planner;
use crate::query::log_recovery::LogRecovery;
use crate::query::registry::Environment;
use crate::query::service::{QueryService, QueryServiceParts};

/// The parts of a coordinator that survive a restart.
pub struct CoordinatorParts {
    config: Config,
    identity: Identity,
    catalogue: Arc<Catalogue>,
    planner: Arc<Planner>,
}

/// The surroundings of a coordinator between two restarts.
pub struct Surroundings {
    pub lines: Box<dyn NodeConnector>,
    pub log: Arc<dyn Log>,
    /// The entries of the log at the start.
    pub earlier: Vec<Entry>,
    /// The folder of queries.
    pub spool: PathBuf,
    pub tasks: TaskGroup,
    pub clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    pub ids: Arc<dyn Fn() -> Uuid + Send + Sync>,
}

impl CoordinatorParts {
    /// # Errors
    /// As [`Coordinator::open`](crate::Coordinator::open).
    pub fn load(config: Config) -> anyhow::Result<Self> {
        let identity = Identity::load(config.identity.clone())?;
        let catalogue = Arc::new(Catalogue::load(&config, &identity.manifest())?);
        let planner = Arc::new(Planner::new(&catalogue, &config.limits)?);
        Ok(Self { config, identity, catalogue, planner })
    }

    /// Starts the coordinator and resumes the queries that the last run left.
    ///
    /// # Errors
    /// If the log or the spool cannot be used.
    pub async fn begin(&self, surroundings: Surroundings) -> anyhow::Result<QueryServer<GrpcDoor>> {
        let Surroundings { lines, log, earlier, spool, tasks, clock, ids } = surroundings;
        let mut unended = LogRecovery::default();
        earlier.into_iter().for_each(|entry| unended.note(entry));
        let queries = QueryService::of(QueryServiceParts {
            limits: self.config.limits,
            identity: self.identity.clone(),
            catalogue: Arc::clone(&self.catalogue),
            planner: Arc::clone(&self.planner),
            lines,
            log,
            tree: None,
            payloads: Arc::new(PayloadStore::in_memory()?),
            unended,
            spool: Spool::open(&spool)?,
            environment: Environment { clock, ids },
            tasks,
            program: None,
        });
        Arc::clone(&queries).restore().await?;
        let tokens = Arc::new(Tokens::open(&self.config.state)?);
        let service = Arc::new(DoorService::new(queries, tokens, &self.config.state));
        Ok(QueryServer::new(GrpcDoor::new(service, self.identity.clone())))
    }
}
