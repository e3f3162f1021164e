//! The index that a node has in use.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::{Residents, ResidentsConfig, build, path};
use crate::dictionary::RecordSecret;
use crate::mapping::MappingFault;

/// The index in use, and why it is not as new as the extracts.
pub(crate) struct HeldResidents {
    pub(crate) config: ResidentsConfig,
    current: RwLock<Arc<Residents>>,
    fault: Mutex<Option<String>>,
}

impl HeldResidents {
    /// The index made anew, or the last good one with the fault told.
    ///
    /// # Errors
    /// Where there is a last one, and it cannot be read.
    pub(crate) async fn open(config: ResidentsConfig, state: &Path, secret: &RecordSecret) -> anyhow::Result<Self> {
        let last = Residents::open(&path(state), secret, config.names())?;
        let held = Self { config, current: RwLock::new(Arc::new(last)), fault: Mutex::default() };
        held.read(state, secret).await;
        Ok(held)
    }

    pub(crate) fn current(&self) -> Arc<Residents> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// For the operator: why the index is not as new as the extracts.
    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the index anew; whether there is one.
    pub(crate) async fn read(&self, state: &Path, secret: &RecordSecret) -> bool {
        let fault = match build(state, &self.config, secret).await {
            Ok((residents, report)) => {
                tracing::info!("{}", report.summary());
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = residents;
                None
            }
            Err(fault) if fault.is::<MappingFault>() => {
                Some("residents index: a mapping failed on a value; `loda-node residents` says on which".to_owned())
            }
            Err(fault) => Some(format!("residents index: {fault:#}")),
        };
        if let Some(fault) = &fault {
            tracing::error!("{fault}; the last index stays in use");
        }
        let renewed = fault.is_none();
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        renewed
    }
}
