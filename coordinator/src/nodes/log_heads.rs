//! The nodes' query logs as the coordinator has seen them, and the coordinator's own log as each node has seen it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use loda_identity::{Gss, Identity};
use loda_ledger::{Entry, Head, Log, Mark, OtherLogs, Seen, of_key};
use loda_proto::v1::LogHead;
use loda_service::heads;

/// The known state of the nodes' logs, and of our log at each node.
pub(crate) struct NodeLogs {
    own: Arc<dyn Log>,
    /// The name of our log, made from its key when it was opened.
    name: String,
    identity: Identity,
    others: OtherLogs,
    /// How many entries of our log each node has seen, by its last statement.
    ours: Mutex<BTreeMap<Gss, u64>>,
}

/// The log position that a node was sent with a request.
pub(crate) struct Sent {
    pub(crate) told: LogHead,
    /// The mark of the node's own log that the node is asked to continue.
    mark: Mark,
    log: String,
}

impl NodeLogs {
    /// `others`: the coordinator's record of the other logs from before.
    pub(crate) fn new(own: Arc<dyn Log>, identity: Identity, others: OtherLogs) -> Self {
        let name = of_key(&identity.manifest().coordinator.log_key);
        Self { own, name, identity, others, ours: Mutex::default() }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How far our log has come, as a continuation of the part that a node has seen.
    pub(crate) fn sent(&self, gss: &Gss) -> Sent {
        let manifest = self.identity.manifest();
        let log = manifest.member(gss).map(|member| of_key(&member.log_key)).unwrap_or_default();
        let mark = self.others.newest(&log);
        let at = self.ours.lock().unwrap_or_else(PoisonError::into_inner).get(gss).copied().unwrap_or_default();
        Sent { told: heads::told(&self.name, &self.own.head(at), mark.entries), mark, log }
    }

    /// Checks that a node's log continues from the mark in the request, and returns how far the log has come.
    ///
    /// # Errors
    /// The doubt about the log, for people.
    pub(crate) fn judge(&self, gss: &Gss, sent: &Sent, told: Option<&LogHead>) -> Result<Seen, String> {
        let head = told.and_then(|told| heads::heard(&sent.log, told));
        let head = match (told, head) {
            (Some(told), Some(head)) => {
                self.ours.lock().unwrap_or_else(PoisonError::into_inner).insert(gss.clone(), told.seen);
                head
            }
            _ if sent.mark.entries == 0 => {
                let what = "its query log does not say how far it has come, or is not the one that the manifest names";
                return Err(what.to_owned());
            }
            // The node's log was seen before, and now the node shows nothing.
            _ => Head { at: sent.mark.entries, ..Head::default() },
        };
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

    /// Logs how far the nodes' logs have come, if the log does not yet say so.
    pub(crate) fn note(&self) {
        let seen = self.others.unsaid();
        if !seen.is_empty()
            && let Err(fault) = self.own.append(&Entry { seen, ..Entry::admin("how far the logs of nodes have come") })
        {
            tracing::error!("{fault}");
        }
    }

    /// Records that the log now holds these marks.
    pub(crate) fn said(&self, entry: &Entry) {
        self.others.note(entry);
    }

    /// The boroughs with logs in doubt, and why.
    pub(crate) fn doubts(&self) -> Vec<(Gss, String)> {
        let manifest = self.identity.manifest();
        let of = |gss: &Gss, key: &str| Some((gss.clone(), self.others.doubt(&of_key(key))?.to_string()));
        manifest.members.iter().filter_map(|member| of(&member.gss, &member.log_key)).collect()
    }
}
