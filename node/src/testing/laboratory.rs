//! The inner part of a node on records in memory, for property tests and benches. Unit ids, cell statistics and
//! disclosure control are the same as in a served node. There are no snapshots, agreement, log or sockets. It exists
//! only under the tests' feature.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::RecordBatch;
use loda_contract::Contract;
use loda_question::{LIMITS, Question, Refusal};

use crate::config::Limits;
use crate::ingest::pipeline::{Mode, Units};
use crate::ingest::unit_ids::RecordSecret;
use crate::query::disclose::{Methods, released};
use crate::query::engine::{DataFusionEngine, SnapshotTables};
use crate::snapshot::{FEWEST, snapshot_schema};

/// One borough's records in memory.
pub struct Laboratory {
    engine: DataFusionEngine,
    secret: RecordSecret,
    contracts: BTreeMap<String, Arc<Contract>>,
    tables: SnapshotTables,
}

impl Laboratory {
    /// A laboratory without records. `state` keeps the secret and the unit dictionaries, so two laboratories with the
    /// same state agree on them.
    ///
    /// # Errors
    /// The secret cannot be made.
    pub fn open(state: &Path) -> anyhow::Result<Self> {
        let limits = Limits { memory_mb: 4_096, stage_mb: 4_096, ..Limits::default() };
        Ok(Self {
            engine: DataFusionEngine::new(&limits)?,
            secret: RecordSecret::load_or_create(&state.join("record.key"))?,
            contracts: BTreeMap::new(),
            tables: SnapshotTables::default(),
        })
    }

    /// Adds records of a dataset, in the contract's columns and with the names of units.
    ///
    /// # Errors
    /// The records have other columns.
    pub fn hold(&mut self, state: &Path, contract: &Arc<Contract>, records: &RecordBatch) -> anyhow::Result<()> {
        let mut units = Units::open(state, &self.secret, contract, Mode::Write { keep: FEWEST }, None)?;
        let batch = units.identify(contract, records.columns().to_vec(), &snapshot_schema(contract))?;
        units.sync()?;
        self.tables.hold(contract, batch)?;
        self.contracts.insert(contract.dataset.clone(), Arc::clone(contract));
        Ok(())
    }

    /// Decodes the bytes of a question.
    ///
    /// # Errors
    /// As for [`Question::decode`].
    pub fn decode(&self, fragment: &[u8]) -> Result<Question, Refusal> {
        Question::decode(fragment, LIMITS, &|name| self.contracts.get(name).cloned())
    }

    /// The cells that the node would release.
    ///
    /// # Errors
    /// A fault that would end the query as `not answered`.
    pub async fn release(&self, question: &Question, methods: &Methods) -> anyhow::Result<RecordBatch> {
        let stage = self.engine.statistics_over(question, &self.tables).await.context("the stage")?;
        let method = methods.clone().with_noise(self.secret.noise_key()).of(question.scope().protection);
        Ok(released(question, &*method, &stage.batches)?.into_inner())
    }

    /// The cell statistics alone. Disclosure control works on these.
    ///
    /// # Errors
    /// As for [`Laboratory::release`].
    pub async fn stage(&self, question: &Question) -> anyhow::Result<Vec<RecordBatch>> {
        Ok(self.engine.statistics_over(question, &self.tables).await?.batches)
    }
}
