//! A node's inside on records in memory, for property tests and benches: the same unit ids, stage and disclosure
//! control as a served node, without files, agreement, log and sockets. It exists under the feature of the tests alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::RecordBatch;
use loda_contract::Contract;
use loda_question::{LIMITS, Question, Refusal};

use crate::config::Limits;
use crate::dictionary::RecordSecret;
use crate::disclose::{Methods, released};
use crate::execute::{Engine, SnapshotTables};
use crate::ingest::{Mode, Units, snapshot_schema};
use crate::snapshot::FEWEST;

/// One borough's records in memory.
pub struct Laboratory {
    engine: Engine,
    secret: RecordSecret,
    contracts: BTreeMap<String, Arc<Contract>>,
    tables: SnapshotTables,
}

impl Laboratory {
    /// An empty one. `state` keeps the secret and the unit dictionaries, so that two with the same state agree on them.
    ///
    /// # Errors
    /// Where the secret cannot be made.
    pub fn open(state: &Path) -> anyhow::Result<Self> {
        let limits = Limits { memory_mb: 4_096, stage_mb: 4_096, ..Limits::default() };
        Ok(Self {
            engine: Engine::new(&limits)?,
            secret: RecordSecret::load_or_create(&state.join("record.key"))?,
            contracts: BTreeMap::new(),
            tables: SnapshotTables::default(),
        })
    }

    /// Holds records of a dataset, in the contract's columns and with units by name.
    ///
    /// # Errors
    /// Where they have other columns.
    pub fn hold(&mut self, state: &Path, contract: &Arc<Contract>, records: &RecordBatch) -> anyhow::Result<()> {
        let mut units = Units::open(state, &self.secret, contract, Mode::Write { keep: FEWEST }, None)?;
        let batch = units.identify(contract, records.columns().to_vec(), &snapshot_schema(contract))?;
        units.sync()?;
        self.tables.hold(contract, batch)?;
        self.contracts.insert(contract.dataset.clone(), Arc::clone(contract));
        Ok(())
    }

    /// The question that bytes are here.
    ///
    /// # Errors
    /// As [`Question::decode`].
    pub fn decode(&self, fragment: &[u8]) -> Result<Question, Refusal> {
        Question::decode(fragment, LIMITS, &|name| self.contracts.get(name).cloned())
    }

    /// What the node would release.
    ///
    /// # Errors
    /// What would end as `not answered`.
    pub async fn release(&self, question: &Question, methods: &Methods) -> anyhow::Result<RecordBatch> {
        let stage = self.engine.stage_over(question, &self.tables).await.context("the stage")?;
        let method = methods.clone().with_noise(self.secret.noise_key()).of(question.scope().protection);
        Ok(released(question, &*method, &stage.batches)?.into_inner())
    }

    /// The stage alone: what disclosure control works on.
    ///
    /// # Errors
    /// As [`Laboratory::release`].
    pub async fn stage(&self, question: &Question) -> anyhow::Result<Vec<RecordBatch>> {
        Ok(self.engine.stage_over(question, &self.tables).await?.batches)
    }
}
