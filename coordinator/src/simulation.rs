//! A coordinator for simulations: the service as it is served, over another network, clock and log. It exists under the
//! feature of the tests alone.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use loda_identity::Identity;
use loda_ledger::{Entry, Log, Spool};
use loda_proto::v1::query_server::QueryServer;
use loda_service::Crew;
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::jobs::World;
use crate::lines::Lines;
use crate::plan::Planner;
use crate::questions::{Parts, Questions, Unended};
use crate::serve::Coordinator;

/// What stays of a coordinator when it is started again.
pub struct Plant {
    config: Config,
    identity: Identity,
    catalogue: Arc<Catalogue>,
    planner: Arc<Planner>,
}

/// What one life of a coordinator has around it.
pub struct Surroundings {
    pub lines: Box<dyn Lines>,
    pub log: Arc<dyn Log>,
    /// What the log held when this life began.
    pub earlier: Vec<Entry>,
    /// The folder of questions.
    pub spool: PathBuf,
    pub crew: Crew,
    pub clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    pub ids: Arc<dyn Fn() -> Uuid + Send + Sync>,
}

impl Plant {
    /// # Errors
    /// As [`Coordinator::open`].
    pub fn load(config: Config) -> anyhow::Result<Self> {
        let identity = Identity::load(config.identity.clone())?;
        let catalogue = Arc::new(Catalogue::load(&config, &identity.manifest())?);
        let planner = Arc::new(Planner::new(&catalogue, &config.limits)?);
        Ok(Self { config, identity, catalogue, planner })
    }

    /// One life, which takes up what the one before left.
    ///
    /// # Errors
    /// Where log or spool cannot be used.
    pub async fn begin(&self, surroundings: Surroundings) -> anyhow::Result<QueryServer<Coordinator>> {
        let Surroundings { lines, log, earlier, spool, crew, clock, ids } = surroundings;
        let mut unended = Unended::default();
        earlier.into_iter().for_each(|entry| unended.note(entry));
        let questions = Questions::of(Parts {
            limits: self.config.limits,
            identity: self.identity.clone(),
            catalogue: Arc::clone(&self.catalogue),
            planner: Arc::clone(&self.planner),
            lines,
            log,
            unended,
            spool: Spool::open(&spool)?,
            world: World { clock, ids },
            crew,
            program: None,
        });
        Arc::clone(&questions).restore().await?;
        Ok(QueryServer::new(Coordinator::over(questions, self.identity.clone(), self.config.clone())?))
    }
}
