//! What one borough brings to the questions it is asked: agreement, snapshots, engine, disclosure control.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use arrow::array::RecordBatch;
use futures::future::BoxFuture;
use loda_contract::{Contract, Protection};
use loda_disclosure::{Method, Released};
use loda_proto::v1;
use loda_question::table::Table;
use loda_question::{Refusal, Rule};
use loda_service::{AbortOnDrop, compute};

use crate::agreement::Agreed;
use crate::assess::Believed;
use crate::config::Config;
use crate::dictionary::RecordSecret;
use crate::disclose::{Methods, released};
use crate::epochs::Epochs;
use crate::execute::{Engine, lacked_memory};
use crate::inspect::{Accepted, Asked, Fragment};
use crate::queries::Work;
use crate::refresh::{Fault, Held, Index};
use crate::snapshot::Snapshot;
use crate::tables::{Pinned, Tables};

/// Rows of a stage that disclosure control is done with in a millisecond or so.
const FEW: usize = 10_000;

/// Of so many rows tables are made ready before they are asked for; of fewer they are made in a moment.
const MANY: u64 = 20_000;

/// How often it is said how far that has come.
const SAID: Duration = Duration::from_secs(10);

pub(crate) struct Borough {
    pub(crate) config: Config,
    pub(crate) agreement: Agreed,
    /// What is served now; a question keeps the one that it began with.
    pub(crate) snapshots: RwLock<Vec<Snapshot>>,
    pub(crate) held: Vec<Held>,
    pub(crate) index: Option<Index>,
    pub(crate) secret: RecordSecret,
    pub(crate) methods: Methods,
    pub(crate) engine: Arc<Engine>,
    pub(crate) tables: Arc<Tables>,
    /// Told when other snapshots are served.
    pub(crate) replaced: tokio::sync::Notify,
    pub(crate) epochs: Epochs,
    /// What is believed of each dataset that was assessed.
    pub(crate) assessments: RwLock<BTreeMap<String, Believed>>,
    /// Questions share the memory pool; one that did not fit beside others has it for itself.
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

    /// Why datasets are not as new as their extracts, or not served.
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

    /// Makes tables about people ready before they are asked for, whenever other data are served.
    pub(crate) async fn keep_ready(self: Arc<Self>) {
        loop {
            let wanted = Wanted::default();
            let (borough, stopped) = (Arc::clone(&self), Arc::clone(&wanted.0));
            let work = tokio::spawn(async move { compute(|| borough.make_ready(&|| stopped.load(Ordering::Relaxed))) });
            if let Ok(Err(fault)) = AbortOnDrop(work).await {
                tracing::warn!("tables are not ready before they are asked for: {fault:#}");
            }
            self.replaced.notified().await;
        }
    }

    /// Tells what tables about people come to.
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

    /// What the catalogue says of it.
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
            }
        };
        self.snapshots().iter().map(describe).collect()
    }

    /// What the weights of a dataset's tables may come to here: no more than an assessment found good, or a steward decided.
    fn dimensions(&self, contract: &Contract) -> u32 {
        let held = self.held.iter().find(|held| held.contract.dataset == contract.dataset);
        let own = held.and_then(|held| held.config.dimensions).unwrap_or(u32::MAX);
        let assessed = self.believed(&contract.dataset);
        let decided = held.and_then(|held| held.config.decision.as_ref()).map(|decision| decision.dimensions);
        let good = assessed.map_or(u32::MAX, |found| found.dimensions.max(decided.unwrap_or(0)));
        own.min(good).min(contract.closure.dimensions)
    }

    /// What was found of a dataset, in the catalogue's words.
    fn assessed(&self, contract: &Contract) -> String {
        if !contract.protection.may_be_about_people() {
            return String::new();
        }
        self.believed(&contract.dataset).map_or_else(|| "not assessed".to_owned(), |found| found.words)
    }

    fn believed(&self, dataset: &str) -> Option<Believed> {
        self.assessments.read().unwrap_or_else(PoisonError::into_inner).get(dataset).cloned()
    }

    /// Refuses a table that weighs more than this borough allows, though the contract does.
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

    async fn run(&self, accepted: &Accepted) -> anyhow::Result<Released<RecordBatch>> {
        let (engine, method, tables) = (Arc::clone(&self.engine), self.method(accepted), Arc::clone(&self.tables));
        let snapshots = accepted.snapshots.clone();
        let question = match &accepted.fragment {
            Fragment::Question(question) => question.clone(),
            Fragment::Table(table) => {
                // What is kept takes no time: another thread costs more than it gives.
                if let Some(kept) = tables.kept(table, &Pinned(&snapshots), &*method)? {
                    return Ok(kept);
                }
                let (table, wanted) = (table.clone(), Wanted::default());
                let stopped = Arc::clone(&wanted.0);
                let work = tokio::spawn(async move {
                    let stopped = || stopped.load(Ordering::Relaxed);
                    compute(|| tables.released(&table, &Pinned(&snapshots), &*method, &stopped))
                });
                return AbortOnDrop(work).await.context("the work stopped")?;
            }
        };
        // A task of its own: a panic in it ends this query and nothing else, and a cancelled query stops it.
        let work = tokio::spawn(async move {
            let stage = engine.stage(&question, &snapshots).await?;
            let disclose = || released(&question, &*method, &stage.batches);
            // Others go on beside what takes its time; for what does not, another thread costs more than it gives.
            if stage.rows() < FEW { disclose() } else { compute(disclose) }
        });
        AbortOnDrop(work).await.context("the work stopped")?
    }
}

/// For as long as this lives somebody wants a table: what computes it looks between steps.
#[derive(Default)]
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Work for Borough {
    fn judge(&self, asked: &Asked) -> Result<Accepted, Refusal> {
        let agreement = self.agreement.now();
        let mut accepted = asked.judge(&self.config.borough, &agreement, &|dataset| self.snapshot(dataset))?;
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

    fn agreed(&self, asked: &Asked, accepted: &Accepted) -> Result<(), Refusal> {
        let (agreement, today) = (self.agreement.now(), chrono::Utc::now().date_naive());
        let analyst = asked.analyst.to_string();
        accepted.snapshots.iter().try_for_each(|snapshot| {
            agreement.allows(&analyst, &asked.purpose, &snapshot.contract.dataset, today).map(drop)
        })
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
                // Side by side they wanted more than there is: this one waits until it has all of it.
                Err(fault) if fault.downcast_ref().is_some_and(lacked_memory) => {
                    drop(shared);
                    let _alone = self.memory.write().await;
                    self.run(accepted).await
                }
                cells => cells,
            }
        })
    }
}
