//! The query logs of the nodes, as the coordinator has seen them; and its own, as each node has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use loda_identity::{Gss, Identity};
use loda_ledger::{Entry, Log, Mark, OtherLogs, Seen, of_key};
use loda_proto::v1::LogHead;
use loda_service::heads;

/// What is known of the nodes' logs.
pub(crate) struct NodeLogs {
    own: Arc<dyn Log>,
    identity: Identity,
    others: OtherLogs,
    /// How many entries of our log each node has seen, as it said last.
    ours: Mutex<BTreeMap<Gss, u64>>,
}

/// What a node was told with a request.
pub(crate) struct Sent {
    pub(crate) told: LogHead,
    /// What it is asked to continue.
    mark: Mark,
    log: String,
}

impl NodeLogs {
    /// With what the coordinator's log says was seen before.
    pub(crate) fn new(own: Arc<dyn Log>, identity: Identity, others: OtherLogs) -> Self {
        Self { own, identity, others, ours: Mutex::default() }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How far our log has come, shown to a node as a continuation of what it has seen.
    pub(crate) fn sent(&self, gss: &Gss) -> Sent {
        let manifest = self.identity.manifest();
        let log = manifest.member(gss).map(|member| of_key(&member.log_key)).unwrap_or_default();
        let mark = self.others.newest(&log);
        let at = self.ours.lock().unwrap_or_else(PoisonError::into_inner).get(gss).copied().unwrap_or_default();
        Sent { told: heads::told(&self.own.head(at), mark.entries), mark, log }
    }

    /// Whether a node's log continues what was seen of it when it was asked; how far it has come then.
    ///
    /// # Errors
    /// What is held against it, for people.
    pub(crate) fn judge(&self, gss: &Gss, sent: &Sent, told: Option<&LogHead>) -> Result<Seen, String> {
        let Some((told, head)) = told.and_then(|told| Some((told, heads::heard(told)?))) else {
            return Err("its query log does not say how far it has come: upgrade the node".to_owned());
        };
        self.ours.lock().unwrap_or_else(PoisonError::into_inner).insert(gss.clone(), told.seen);
        let judged = self.others.judge(&sent.log, &head, Some(sent.mark));
        let doubt = judged.doubt.map(|doubt| format!("its query log {doubt}"));
        if judged.changed {
            let what = doubt.as_deref().unwrap_or("its query log continues again");
            tracing::error!(borough = %gss, "{what}");
            if let Err(fault) = self.own.append(&Entry::admin(format!("{gss}: {what}"))) {
                tracing::error!("{fault}");
            }
        }
        doubt.map_or(Ok(Seen { log: sent.log.clone(), mark: head.now }), Err)
    }

    /// The boroughs whose logs are in doubt, with why.
    pub(crate) fn doubts(&self) -> Vec<(Gss, String)> {
        let manifest = self.identity.manifest();
        let of = |gss: &Gss, key: &str| Some((gss.clone(), self.others.doubt(&of_key(key))?.to_string()));
        manifest.members.iter().filter_map(|member| of(&member.gss, &member.log_key)).collect()
    }
}
