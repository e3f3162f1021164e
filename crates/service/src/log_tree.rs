//! The tree of a party's log, kept current while its service runs.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use loda_identity::{Identity, SigningKey};
use loda_ledger::{LogError, PublishedTree, checkpoint_key};

/// How often the tree takes up new entries.
const EVERY: Duration = Duration::from_secs(10);

/// The folder of the tree, below the state folder.
pub const FOLDER: &str = "log";

/// The tree of a log, which several tasks share.
#[derive(Clone)]
pub struct LogTree(Arc<Mutex<PublishedTree>>);

impl LogTree {
    /// Makes the tree of the log in a state folder. `place`: `coordinator`, or the borough's GSS code.
    ///
    /// # Errors
    /// A file cannot be read or written, or the log is not the one of which a checkpoint was signed.
    pub fn open(state: &Path, identity: &Identity, place: &str) -> anyhow::Result<Self> {
        let key = SigningKey::load(&state.join("log.key"))?;
        let domain = identity.manifest().domain.clone();
        let verifier = checkpoint_key(&domain, place, &key.public_hex()).context("the log's key has no name")?;
        let tree = PublishedTree::open(&state.join("log.jsonl"), &state.join(FOLDER), key, verifier)?;
        Ok(Self(Arc::new(Mutex::new(tree))))
    }

    /// Takes up what was logged last. A service that stops calls this, so that its checkpoint holds all entries.
    pub fn finish(&self) {
        if let Err(fault) = self.publish() {
            tracing::error!("{fault}");
        }
    }

    /// Takes up new entries until the log turns out to be another one.
    pub async fn keep(self) {
        let mut failing = false;
        loop {
            tokio::time::sleep(EVERY).await;
            // Hashing and writing do not run where calls are served.
            let tree = self.clone();
            match tokio::task::spawn_blocking(move || tree.publish()).await {
                Ok(Ok(())) => failing = false,
                Ok(Err(fault @ LogError::Checkpoint { .. })) => {
                    tracing::error!("{fault}");
                    return;
                }
                Ok(Err(fault)) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!("{fault}");
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Works on the tree. This waits for the disk.
    pub fn with<T>(&self, work: impl FnOnce(&mut PublishedTree) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self) -> Result<(), LogError> {
        self.with(|tree| tree.publish().map(drop))
    }
}
