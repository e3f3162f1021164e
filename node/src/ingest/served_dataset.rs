//! A dataset, or the residents index, that this node serves, and the outcome of reading it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use loda_contract::Contract;
use serde::{Deserialize, Serialize};

use crate::epochs::Epochs;
use crate::ingest::config::DatasetConfig;
use crate::ingest::residents::ResidentsConfig;
use crate::snapshot::provenance::{Stamp, stamps};
use crate::snapshot::{self, Snapshot};

/// A dataset by name. `None`: the residents index.
pub(crate) type Part = Option<String>;

/// The outcome of reading one part.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReadOutcome {
    pub(crate) part: Part,
    /// The reason why the earlier data stay in use. `None` if they were replaced. It holds no value of the data.
    pub(crate) fault: Option<String>,
}

/// A dataset that this node serves.
pub(crate) struct ServedDataset {
    pub(crate) contract: Arc<Contract>,
    pub(crate) config: DatasetConfig,
    pub(crate) fault: Fault,
    /// The stamps of its files before the first reading. A file that changes during that reading is read again.
    pub(crate) stamps: Vec<Stamp>,
}

impl ServedDataset {
    pub(crate) fn new(contract: Arc<Contract>, config: DatasetConfig) -> Self {
        let stamps = stamps(config.mapping.files());
        Self { contract, config, fault: Fault::default(), stamps }
    }

    /// The snapshot that is served after a reading. If the reading gave nothing new, the fault is logged, and the last
    /// good snapshot is served.
    pub(crate) fn settle(
        &self,
        state: &Path,
        epochs: &Epochs,
        outcome: ReadOutcome,
    ) -> anyhow::Result<Option<Snapshot>> {
        let newest = snapshot::newest(state, &self.contract)?;
        match (&outcome.fault, &newest) {
            (None, _) => {}
            (Some(fault), Some(last)) => {
                tracing::error!("{fault}; snapshot {} of {} stays in use", last.id, last.as_at);
            }
            (Some(fault), None) => tracing::error!("{fault}; there is no earlier snapshot: the dataset is not served"),
        }
        self.fault.set(outcome.fault);
        self.open(epochs, newest)
    }

    /// The snapshot that is served from now on. For data about people, the epoch decides.
    pub(crate) fn open(&self, epochs: &Epochs, newest: Option<Snapshot>) -> anyhow::Result<Option<Snapshot>> {
        let id = newest.as_ref().map(|newest| newest.id);
        match epochs.served(&self.contract, newest, &self.config.restated, chrono::Utc::now().date_naive()) {
            Ok(served) => {
                let waits = |id: &u64| served.as_ref().is_some_and(|s| s.id < *id);
                let id = id.filter(|id| waits(id) && self.contract.closure.period.is_none());
                if let (Some(served), Some(id)) = (&served, id) {
                    tracing::info!(
                        dataset = self.contract.dataset,
                        "snapshot {id} waits: snapshot {} is served until the next epoch begins",
                        served.id
                    );
                }
                Ok(served)
            }
            Err(fault) => {
                let fault = format!("{fault:#}");
                tracing::error!("{fault}");
                self.fault.set(Some(fault));
                Ok(None)
            }
        }
    }
}

/// The reason why the last reading gave nothing new. `None` if it gave new data.
#[derive(Debug, Default)]
pub(crate) struct Fault(Mutex<Option<String>>);

impl Fault {
    /// The reason, for the operator.
    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, fault: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

/// The residents index of this node.
pub(crate) struct ServedIndex {
    pub(crate) config: ResidentsConfig,
    pub(crate) fault: Fault,
    /// As in [`ServedDataset`].
    pub(crate) stamps: Vec<Stamp>,
}

impl ServedIndex {
    pub(crate) fn new(config: ResidentsConfig) -> Self {
        let stamps = stamps(config.files());
        Self { config, fault: Fault::default(), stamps }
    }

    /// Whether the reading made a new index.
    pub(crate) fn settle(&self, outcome: ReadOutcome) -> bool {
        if let Some(fault) = &outcome.fault {
            tracing::error!("{fault}; the last index stays in use");
        }
        let renewed = outcome.fault.is_none();
        self.fault.set(outcome.fault);
        renewed
    }
}
