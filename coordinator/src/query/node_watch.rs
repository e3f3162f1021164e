//! Watches the boroughs' nodes: asks each regularly, sends it the manifest versions that it missed, and measures.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use loda_identity::{Gss, Member};
use loda_ledger::Entry;
use loda_proto::v1;
use loda_service::{Measure, measures, successors};

use crate::query::service::{QueryService, is_plain};

/// How often the nodes are asked.
const NODES: Duration = Duration::from_secs(10);

/// The number of first rounds of confirmations that follow each other at once.
const SOON: u64 = 20;

/// The longest time to exchange manifest versions with one node.
const HANDING: Duration = Duration::from_secs(10);

/// The most messages with missed manifest versions in one exchange.
const MISSED: usize = 20;

impl QueryService {
    /// The operator's measures, beside the counts of questions.
    pub(crate) fn measures(&self, log: &Path) -> Vec<Measure> {
        let mut all = measures::of_log(log, self.log.head(0).now.entries);
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "Whether a borough's node could be reached";
        let of = |(borough, reached): (&String, &bool)| {
            Measure::new("node_reached", help, i64::from(*reached)).of("borough", borough)
        };
        all.extend(reached.iter().map(of));
        let doubts = self.nodes.logs.doubts();
        let help = "Whether a node's log does not continue, and its answers are not used";
        let doubted = |member: &Member| {
            let doubted = doubts.iter().any(|(gss, _)| *gss == member.gss);
            Measure::new("node_log_doubted", help, i64::from(doubted)).of("borough", member.gss.as_str())
        };
        all.extend(self.manifest().members.iter().map(doubted));
        let refusing = self.witnesses.refusing();
        let help = "Whether a borough says that this log does not continue what it confirmed";
        let refuses = |member: &Member| {
            let refuses = refusing.contains_key(&member.gss);
            Measure::new("log_refused_by", help, i64::from(refuses)).of("borough", member.gss.as_str())
        };
        all.extend(self.manifest().members.iter().map(refuses));
        all
    }

    /// Asks the nodes regularly. Node and coordinator give each other the manifest versions that the other missed, and
    /// check that the other's log continues.
    pub(crate) async fn keep_nodes(self: Arc<Self>) {
        loop {
            let handing = self.boroughs().into_iter().map(|gss| {
                let inner = Arc::clone(&self);
                async move { tokio::time::timeout(HANDING, inner.hand_on(&gss)).await }
            });
            let _handed = join_all(handing).await;
            let known = self.describe_all().await.into_iter().map(|node| (node.borough, node.reachable)).collect();
            *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = known;
            tokio::time::sleep(NODES).await;
        }
    }

    /// Has the boroughs confirm the log, as far as it has come.
    pub(crate) async fn keep_confirmed(self: Arc<Self>) {
        let Some(tree) = self.tree.clone() else { return };
        for round in 0_u64.. {
            match self.witnesses.round(&self.nodes, &self.manifest(), &tree).await {
                Ok(refused) => {
                    for (gss, why) in refused {
                        let what = format!("{gss} does not confirm the query log: {why}");
                        tracing::error!("{what}");
                        if let Err(fault) = self.log.append(&Entry::admin(what)) {
                            tracing::error!("{fault}");
                        }
                    }
                }
                Err(fault) => tracing::error!("the query log cannot be shown to the boroughs: {fault:#}"),
            }
            // Nodes that start with the coordinator are there a moment later.
            let pause = if round < SOON { Duration::from_secs(1) } else { NODES };
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends a node the manifest versions that it missed, and takes from it the versions that we missed.
    async fn hand_on(&self, gss: &Gss) -> Result<(), &'static str> {
        let mut known = self.nodes.describe(gss, &[]).await?;
        // One message holds a few versions.
        for _ in 0..MISSED {
            let theirs = std::mem::take(&mut known.0.successors);
            let identity = self.identity.clone();
            let heard = tokio::task::spawn_blocking(move || successors::heard(&identity, &theirs)).await;
            let missed = successors::told(&self.identity, known.0.manifest_version);
            let ours = heard.unwrap_or_default();
            if missed.is_empty() && known.0.manifest_version <= ours {
                break;
            }
            let before = (known.0.manifest_version, ours);
            known = self.nodes.describe(gss, &missed).await?;
            if (known.0.manifest_version, self.manifest().version) == before {
                break;
            }
        }
        Ok(())
    }

    pub(crate) async fn describe_all(&self) -> Vec<v1::NodeEntry> {
        let manifest = self.manifest();
        let described = manifest.members.iter().map(|member| async move {
            let mut entry =
                v1::NodeEntry { borough: member.gss.to_string(), name: member.name.clone(), ..Default::default() };
            match self.nodes.describe(&member.gss, &[]).await {
                Ok((description, doubt)) => {
                    self.purposes.note(&member.gss, description.grants, &is_plain);
                    entry.reachable = true;
                    entry.fault = doubt.unwrap_or_default();
                    entry.software = description.software;
                    entry.datasets = description.datasets;
                }
                Err(fault) => entry.fault = fault.to_owned(),
            }
            entry
        });
        join_all(described).await
    }
}
