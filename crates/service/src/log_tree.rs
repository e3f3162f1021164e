//! The tree of a party's log, kept current while its service runs.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use loda_identity::{Identity, SigningKey};
use loda_ledger::{LogError, PublishedTree, checkpoint_key};

/// How often the tree takes up new entries.
const EVERY: Duration = Duration::from_secs(10);

/// The folder of the tree, below the state folder.
pub const FOLDER: &str = "log";

/// Makes the tree of the log in a state folder. `place`: `coordinator`, or the borough's GSS code.
///
/// # Errors
/// A file cannot be read or written, or the log is not the one of which a checkpoint was signed.
pub fn open(state: &Path, identity: &Identity, place: &str) -> anyhow::Result<PublishedTree> {
    let key = SigningKey::load(&state.join("log.key"))?;
    let domain = identity.manifest().domain.clone();
    let verifier = checkpoint_key(&domain, place, &key.public_hex()).context("the log's key has no name")?;
    Ok(PublishedTree::open(&state.join("log.jsonl"), &state.join(FOLDER), key, verifier)?)
}

/// Takes up new entries until the log turns out to be another one.
pub async fn keep(mut tree: PublishedTree) {
    let mut failing = false;
    loop {
        tokio::time::sleep(EVERY).await;
        // Hashing and writing do not run where calls are served.
        let published = tokio::task::spawn_blocking(move || {
            let fault = tree.publish().err();
            (tree, fault)
        });
        let Ok((back, fault)) = published.await else { return };
        tree = back;
        match fault {
            None => failing = false,
            Some(fault @ LogError::Checkpoint { .. }) => {
                tracing::error!("{fault}");
                return;
            }
            Some(fault) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!("{fault}");
                }
            }
        }
    }
}
