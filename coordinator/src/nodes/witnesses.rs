//! The boroughs as witnesses of the coordinator's log: each confirms that the log continues what it confirmed before.
//!
//! A coordinator that shows two logs to two askers has to get both confirmed. It cannot: a borough confirms one.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context;
use futures::future::join_all;
use loda_identity::manifest::Quorum;
use loda_identity::{Gss, Manifest};
use loda_ledger::tree::checkpoint::{Checkpoint, witnessed_at};
use loda_ledger::tree::note::{Note, Verifier};
use loda_ledger::tree::proof;
use loda_ledger::witness_keys;
use loda_proto::v1;
use loda_service::log_tree::LogTree;

use crate::nodes::dispatch::Nodes;

/// What is known of the witnesses.
#[derive(Default)]
pub(crate) struct Witnesses {
    /// The number of entries that each borough confirmed last, as far as it said so.
    sizes: Mutex<BTreeMap<Gss, u64>>,
    /// The boroughs that do not confirm, and why.
    refusing: Mutex<BTreeMap<Gss, String>>,
    renewal: Mutex<Renewal>,
}

/// Whether confirmations have to be made again, though the log has no new entry: they count for a time only.
#[derive(Clone, Copy, Default)]
enum Renewal {
    /// They are to be made now.
    #[default]
    Due,
    /// They were made, and the boroughs do not have them yet.
    Made,
    /// The boroughs have had them since this time.
    Told(Instant),
}

impl Witnesses {
    /// Has the newest checkpoint confirmed by all boroughs that have not confirmed it yet, and publishes it with their
    /// signatures. Returns the boroughs whose refusals are new.
    ///
    /// # Errors
    /// The log or its tree cannot be read or written.
    pub(crate) async fn round(
        &self,
        nodes: &Nodes,
        manifest: &Manifest,
        tree: &LogTree,
    ) -> anyhow::Result<Vec<(Gss, String)>> {
        let of_tree = tree.clone();
        let newest = tokio::task::spawn_blocking(move || {
            of_tree.with(|tree| tree.publish().map(drop).map(|()| (tree.newest().cloned(), tree.confirmed())))
        });
        let (Some((checkpoint, mut note)), confirmed) = newest.await?? else { return Ok(Vec::new()) };
        let renewal = self.renewal(manifest);
        let shown = confirmed.as_ref().map(Note::to_string).unwrap_or_default().into_bytes();
        if let Some(confirmed) = confirmed.filter(|confirmed| confirmed.text() == note.text()) {
            note = confirmed;
        }
        let all = witness_keys(manifest);
        let renews = !matches!(renewal, Some(Renewal::Told(_)) | None);
        let lacks = |(_, key): &&(Gss, Verifier)| renews || key.verify(&note).is_none();
        let wanted: Vec<(Gss, Verifier)> = all.iter().filter(lacks).cloned().collect();
        let (at, before) = (&checkpoint, note.clone());
        let asked = wanted.iter().map(|(gss, _)| self.one(nodes, gss, tree, at, &before, &shown));
        let (mut more, mut new) = (false, Vec::new());
        for ((gss, key), signed) in wanted.iter().zip(join_all(asked).await) {
            match signed {
                Ok(signed) if note.take(key, &signed) => {
                    lock(&self.refusing).remove(gss);
                    more = true;
                }
                Ok(_) => tracing::warn!(borough = %gss, "it confirms the log by another key, or another text"),
                Err(fault) => {
                    tracing::debug!(borough = %gss, "the log is not confirmed: {fault:#}");
                    // A borough that cannot be reached keeps the refusal that it last gave.
                    if let Some(Refused(why)) = fault.downcast_ref()
                        && lock(&self.refusing).insert(gss.clone(), why.clone()).is_none()
                    {
                        new.push((gss.clone(), why.clone()));
                    }
                }
            }
        }
        if more {
            let tree = tree.clone();
            let keys: Vec<Verifier> = all.into_iter().map(|(_, key)| key).collect();
            let now = u64::try_from(chrono::Utc::now().timestamp()).unwrap_or(0);
            let enough = manifest.witnessing().is_some_and(|Quorum { members, within }| {
                let at = witnessed_at(&note, &keys, members, now);
                at.is_some_and(|at| now.saturating_sub(at) < within.as_secs() / 4)
            });
            tokio::task::spawn_blocking(move || tree.with(|tree| tree.keep_confirmed(note))).await??;
            match renewal {
                Some(Renewal::Due) if enough => *lock(&self.renewal) = Renewal::Made,
                Some(Renewal::Made) if enough => *lock(&self.renewal) = Renewal::Told(Instant::now()),
                _ => {}
            }
        }
        Ok(new)
    }

    /// Whether confirmations have to be made again. `None`: the manifest demands none.
    fn renewal(&self, manifest: &Manifest) -> Option<Renewal> {
        let within = manifest.witnessing()?.within;
        let mut renewal = lock(&self.renewal);
        if matches!(*renewal, Renewal::Told(at) if at.elapsed() > within / 4) {
            *renewal = Renewal::Due;
        }
        Some(*renewal)
    }

    /// One borough's signature.
    async fn one(
        &self,
        nodes: &Nodes,
        gss: &Gss,
        tree: &LogTree,
        checkpoint: &Checkpoint,
        note: &Note,
        confirmed: &[u8],
    ) -> anyhow::Result<Note> {
        let mut old = lock(&self.sizes).get(gss).copied().unwrap_or_default();
        // A borough that was asked from another size says from which.
        for _ in 0..2 {
            let (of_tree, size) = (tree.clone(), checkpoint.size);
            let proof = tokio::task::spawn_blocking(move || of_tree.with(|tree| tree.continuing(old, size)));
            let request = v1::CosignRequest {
                checkpoint: note.to_string().into_bytes(),
                old,
                proof: proof::to_bytes(&proof.await??),
                confirmed: confirmed.to_vec(),
            };
            let said = nodes.cosign(gss, request).await?;
            if !said.fault.is_empty() {
                // A node's words go into our log and to people.
                let words = said.fault.chars().filter(|sign| !sign.is_control());
                return Err(Refused(words.take(WORDS).collect()).into());
            }
            match said.proof_from {
                None => {
                    let signed = Note::parse(&said.note).map_err(anyhow::Error::msg)?;
                    lock(&self.sizes).insert(gss.clone(), size);
                    return Ok(signed);
                }
                Some(from) if from > size => {
                    return Err(Refused(format!("it has confirmed {from} entries, and there are {size}")).into());
                }
                Some(from) => old = from,
            }
        }
        Err(anyhow::anyhow!("it asks for proofs from ever other sizes")).context(gss.to_string())
    }

    /// The boroughs that do not confirm our log, and why.
    pub(crate) fn refusing(&self) -> BTreeMap<Gss, String> {
        lock(&self.refusing).clone()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most characters of a borough's sentence.
const WORDS: usize = 200;

/// A borough does not confirm the log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);
