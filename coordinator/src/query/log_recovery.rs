//! The questions of earlier runs, as the log records them.

use std::collections::{BTreeMap, HashMap, HashSet};

use loda_ledger::{End, Entry, Event, OtherLogs};
use uuid::Uuid;

/// The questions that the log began and did not end, and the questions that it ended.
#[derive(Default)]
pub(crate) struct LogRecovery {
    pub(super) begun: BTreeMap<Uuid, Entry>,
    /// With the hash of the answer, if there is one.
    pub(super) ended: HashMap<Uuid, Option<String>>,
    /// The ids of all questions. Each takes 16 bytes.
    pub(super) ids: HashSet<Uuid>,
    /// The marks of other logs that were seen.
    pub(super) others: OtherLogs,
}

impl LogRecovery {
    /// Takes in one entry, in the log's order.
    pub(crate) fn note(&mut self, entry: Entry) {
        self.others.note(&entry);
        let Ok(id) = Uuid::try_parse(&entry.query) else { return };
        match &entry.event {
            Event::Intent { .. } => {
                self.ids.insert(id);
                self.begun.insert(id, entry);
            }
            Event::Outcome(end) => {
                self.begun.remove(&id);
                let hash = match end {
                    End::Answered { result_sha256, .. } => Some(result_sha256.clone()),
                    End::Cancelled | End::Abandoned | End::Error | End::Deadline | End::Restarted | End::Other(_) => {
                        None
                    }
                };
                self.ended.insert(id, hash);
            }
            Event::Accept { .. }
            | Event::Explain { .. }
            | Event::Refuse(_)
            | Event::Release { .. }
            | Event::Fail(_)
            | Event::Admin(_)
            | Event::Erase(_) => {}
        }
    }
}
