//! The things that one borough needs for the questions it gets: agreement, snapshots, engine, disclosure control.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use arrow::array::RecordBatch;
use chrono::NaiveDate;
use futures::future::BoxFuture;
use loda_contract::{Contract, Protection};
use loda_disclosure::{Method, Released};
use loda_proto::v1;
use loda_question::table::Table;
use loda_question::{Fragment, Refusal, Rule};
use loda_service::{AbortOnDropHandle, compute};

use crate::assess::Believed;
use crate::config::Config;
use crate::epochs::Epochs;
use crate::ingest::config::Covers;
use crate::ingest::served_dataset::{Fault, ServedDataset, ServedIndex};
use crate::ingest::unit_ids::RecordSecret;
use crate::query::agreement::Agreed;
use crate::query::disclose::{Methods, released};
use crate::query::engine::{Engine, EngineError};
use crate::query::request::{Accepted, Asked};
use crate::query::service::Work;
use crate::snapshot::Snapshot;
use crate::tables::{Pinned, Tables};

/// The rows of cell statistics that disclosure control finishes in about a millisecond.
const FEW: usize = 10_000;

/// If a snapshot has so many rows, tables are made ready before they are asked for. For fewer rows, a table is made in
/// a moment.
const MANY: u64 = 20_000;

/// How often the progress is logged.
const SAID: Duration = Duration::from_secs(10);

pub(crate) struct Borough {
    pub(crate) config: Config,
    pub(crate) agreement: Agreed,
    /// The snapshots that are served now. A question keeps the snapshots that it began with.
    pub(crate) snapshots: RwLock<Vec<Snapshot>>,
    pub(crate) held: Vec<ServedDataset>,
    pub(crate) index: Option<ServedIndex>,
    pub(crate) secret: RecordSecret,
    pub(crate) methods: Methods,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) tables: Arc<Tables>,
    /// Notified when another snapshot is served.
    pub(crate) replaced: tokio::sync::Notify,
    pub(crate) epochs: Epochs,
    /// The limits that the node takes from the assessment of each dataset.
    pub(crate) assessments: RwLock<BTreeMap<String, Believed>>,
    /// Questions share the memory pool. A question that did not fit beside others gets the whole pool.
    pub(crate) memory: tokio::sync::RwLock<()>,
}

impl Borough {
    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        self.snapshots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn snapshot(&self, dataset: &str) -> Option<Snapshot> {
        let snapshots = self.snapshots.read().unwrap_or_else(PoisonError::into_inner);
        snapshots.iter().find(|s| s.contract.dataset == dataset).cloned()
    }

    /// The reasons why datasets are older than their extracts or are not served, and the fault of the agreement.
    pub(crate) fn faults(&self) -> Vec<String> {
        let index = self.index.iter().map(|index| &index.fault);
        let of_data = index.chain(self.held.iter().map(|held| &held.fault)).filter_map(Fault::get);
        of_data.chain(self.agreement.fault()).collect()
    }

    /// Serves a snapshot from now on.
    pub(crate) fn replace(&self, snapshot: Snapshot) {
        let mut snapshots = self.snapshots.write().unwrap_or_else(PoisonError::into_inner);
        snapshots.retain(|s| s.contract.dataset != snapshot.contract.dataset);
        self.engine.forget(&snapshot.contract.dataset);
        self.tables.forget();
        snapshots.push(snapshot);
        self.replaced.notify_one();
    }

    /// Makes tables about people ready before they are asked for, again whenever another snapshot is served.
    pub(crate) async fn keep_ready(self: Arc<Self>) {
        loop {
            let wanted = StopWhenDropped::default();
            let (borough, stopped) = (Arc::clone(&self), Arc::clone(&wanted.0));
            let work = tokio::spawn(async move { compute(|| borough.make_ready(&|| stopped.load(Ordering::Relaxed))) });
            if let Ok(Err(fault)) = AbortOnDropHandle::new(work).await {
                tracing::warn!("tables are not ready before they are asked for: {fault:#}");
            }
            self.replaced.notified().await;
        }
    }

    /// Logs the number of tables about people, and the memory that they take at most.
    pub(crate) fn say_tables(&self) {
        let (tables, bytes) = Tables::largest(&self.snapshots(), &|table| self.within_own(table).is_ok());
        if !tables.is_empty() {
            tracing::info!(
                tables = tables.len(),
                mb = bytes.div_ceil(1 << 20),
                room_mb = self.config.limits.tables_mb,
                "tables about people of each dataset's own columns, and what they take at most when they are kept"
            );
        }
    }

    fn make_ready(&self, stopped: &dyn Fn() -> bool) -> anyhow::Result<()> {
        let snapshots = self.snapshots();
        let large = snapshots.iter().filter(|s| s.rows().is_ok_and(|rows| rows >= MANY));
        if large.count() == 0 {
            return Ok(());
        }
        let began = Instant::now();
        let said = Cell::new(began);
        let told = |all: usize, done: usize| {
            if said.get().elapsed() > SAID {
                said.set(Instant::now());
                tracing::info!("tables about people: {done} of {all} ready");
            }
        };
        let method = self.methods.of(Protection::CellKey);
        let ready =
            self.tables.prepare(&snapshots, &*method, &|table| self.within_own(table).is_ok(), stopped, &told)?;
        if ready.made > 0 {
            tracing::info!(
                tables = ready.tables,
                mb = ready.bytes >> 20,
                seconds = began.elapsed().as_secs(),
                "tables about people are ready; {} more are made when they are asked for: [limits] tables_mb makes room",
                ready.left
            );
        }
        Ok(())
    }

    /// The datasets as the catalogue describes them.
    pub(crate) fn held(&self) -> Vec<v1::HeldDataset> {
        let describe = |s: &Snapshot| {
            let method = self.methods.of(s.contract.protection);
            v1::HeldDataset {
                name: s.contract.dataset.clone(),
                contract_sha256: s.contract.sha256.clone(),
                snapshot: s.id,
                as_at: s.as_at.to_string(),
                method: method.name().to_owned(),
                parameters: method.parameters(),
                dimensions: match s.contract.protection.may_be_about_people() {
                    true => self.dimensions(&s.contract),
                    false => 0,
                },
                assessed: self.assessed(&s.contract),
                covers: self.covers(&s.contract.dataset),
            }
        };
        self.snapshots().iter().map(describe).collect()
    }

    /// The period that a dataset covers here, as its mapping declares it.
    fn covers(&self, dataset: &str) -> Option<v1::Coverage> {
        let held = self.held.iter().find(|held| held.contract.dataset == dataset)?;
        let Covers { column, from, until } = held.config.covers.as_ref()?;
        let day = |day: &Option<NaiveDate>| day.map(|day| day.to_string()).unwrap_or_default();
        Some(v1::Coverage { column: column.clone(), from: day(from), until: day(until) })
    }

    /// The largest weight of a dataset's tables here. It is at most the weight that an assessment found good or a
    /// steward decided on.
    fn dimensions(&self, contract: &Contract) -> u32 {
        let held = self.held.iter().find(|held| held.contract.dataset == contract.dataset);
        let own = held.and_then(|held| held.config.dimensions).unwrap_or(u32::MAX);
        let assessed = self.believed(&contract.dataset);
        let decided = held.and_then(|held| held.config.decision.as_ref()).map(|decision| decision.dimensions);
        let good = assessed.map_or(u32::MAX, |found| found.dimensions.max(decided.unwrap_or(0)));
        own.min(good).min(contract.closure.dimensions)
    }

    /// The assessment of a dataset, in the catalogue's words.
    fn assessed(&self, contract: &Contract) -> String {
        if !contract.protection.may_be_about_people() {
            return String::new();
        }
        self.believed(&contract.dataset).map_or_else(|| "not assessed".to_owned(), |found| found.words)
    }

    fn believed(&self, dataset: &str) -> Option<Believed> {
        self.assessments.read().unwrap_or_else(PoisonError::into_inner).get(dataset).cloned()
    }

    /// Refuses a table that weighs more than this borough allows, even if the contract allows it.
    fn within_own(&self, table: &Table) -> Result<(), Refusal> {
        for contract in table.datasets() {
            let most = self.dimensions(contract);
            if most < contract.closure.dimensions && table.weight() > most {
                return Err(Refusal::new(
                    Rule::Dimensions,
                    format!(
                        "the figure reads columns that weigh {} together, and this borough has tables of {} of {most} at most",
                        table.weight(),
                        contract.dataset
                    ),
                    "Read fewer columns, or leave the borough out",
                ));
            }
        }
        Ok(())
    }

    /// The cells of a table that is kept. A fault shows where the table is made.
    fn kept(&self, accepted: &Accepted) -> Option<Released<RecordBatch>> {
        let Fragment::Table(table) = &accepted.fragment else { return None };
        self.tables.kept(table, &Pinned(&accepted.snapshots), &*self.method(accepted)).ok().flatten()
    }

    async fn run(&self, accepted: &Accepted) -> anyhow::Result<Released<RecordBatch>> {
        let (engine, method, tables) = (Arc::clone(&self.engine), self.method(accepted), Arc::clone(&self.tables));
        let snapshots = accepted.snapshots.clone();
        let question = match &accepted.fragment {
            Fragment::Question(question) => question.clone(),
            Fragment::Table(table) => {
                // It may have been made while this question waited.
                if let Some(kept) = self.kept(accepted) {
                    return Ok(kept);
                }
                let (table, wanted) = (table.clone(), StopWhenDropped::default());
                let stopped = Arc::clone(&wanted.0);
                let work = tokio::spawn(async move {
                    let stopped = || stopped.load(Ordering::Relaxed);
                    compute(|| tables.released(&table, &Pinned(&snapshots), &*method, &stopped))
                });
                return AbortOnDropHandle::new(work).await.context("the work stopped")?;
            }
        };
        // A task of its own: a panic ends only this query, and a cancelled query stops the task.
        let work = tokio::spawn(async move {
            let statistics = engine.statistics(&question, &snapshots).await?;
            let disclose = || released(&question, &*method, &statistics.batches);
            // Long work lets others go on beside it. For short work, another thread costs more than it gives.
            if statistics.rows() < FEW { disclose() } else { compute(disclose) }
        });
        AbortOnDropHandle::new(work).await.context("the work stopped")?
    }
}

/// While this lives, somebody wants a table. The computation looks at the flag between its steps.
#[derive(Default)]
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Work for Borough {
    fn judge(&self, asked: &Asked) -> Result<Accepted, Refusal> {
        let agreement = self.agreement.now();
        let mut accepted = asked.judge(&self.config.borough, &agreement, &|dataset| self.snapshot(dataset))?;
        accepted.covers = accepted
            .snapshots
            .iter()
            .filter_map(|s| Some((s.contract.dataset.clone(), self.covers(&s.contract.dataset)?)))
            .collect();
        if let Fragment::Table(table) = &accepted.fragment {
            self.within_own(table)?;
            let words = table.datasets().iter().filter_map(|contract| {
                let found = self.believed(&contract.dataset)?;
                Some(format!("{} {}", contract.dataset, found.words))
            });
            accepted.assessed = words.collect::<Vec<_>>().join("; ");
        }
        Ok(accepted)
    }

    fn meant(&self, asked: &Asked) -> Option<Fragment> {
        Fragment::decode(&asked.fragment, &|dataset| self.snapshot(dataset).map(|s| s.contract)).ok()
    }

    fn agreed(&self, asked: &Asked, accepted: &Accepted) -> Result<(), Refusal> {
        let (agreement, today) = (self.agreement.now(), chrono::Utc::now().date_naive());
        let analyst = asked.analyst.to_string();
        accepted.snapshots.iter().try_for_each(|snapshot| {
            agreement.allows(&analyst, &asked.purpose, &snapshot.contract.dataset, today, asked.is_signed()).map(drop)
        })
    }

    fn at_hand(&self, _asked: &Asked, accepted: &Accepted) -> Option<Released<RecordBatch>> {
        self.kept(accepted)
    }

    fn method(&self, accepted: &Accepted) -> Arc<dyn Method> {
        self.methods.of(accepted.fragment.protection())
    }

    fn step(&self, accepted: &Accepted) -> Option<Duration> {
        match &accepted.fragment {
            Fragment::Question(_) => None,
            Fragment::Table(table) => Some(self.tables.step(table, &Pinned(&accepted.snapshots))),
        }
    }

    fn cells<'a>(
        &'a self,
        _asked: &'a Asked,
        accepted: &'a Accepted,
    ) -> BoxFuture<'a, anyhow::Result<Released<RecordBatch>>> {
        Box::pin(async move {
            let shared = self.memory.read().await;
            match self.run(accepted).await {
                // Together the questions wanted more memory than there is. This one waits until it has all of it.
                Err(fault) if matches!(fault.downcast_ref(), Some(EngineError::Memory(_))) => {
                    drop(shared);
                    let _alone = self.memory.write().await;
                    self.run(accepted).await
                }
                cells => cells,
            }
        })
    }
}
