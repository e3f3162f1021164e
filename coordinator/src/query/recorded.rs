//! The proof that the log holds an answer's entry, for its asker.

use std::path::Path;

use loda_ledger::tree::proof;
use loda_ledger::{EventKind, Search, search};
use loda_proto::v1;

use crate::query::query::Query;
use crate::query::service::QueryService;

/// The most entries of one question that are looked through.
const ENTRIES: usize = 100;

impl QueryService {
    /// The entry of an answer, with its proof. `log`: the file of the log. `None`: it has none, such as an explanation.
    ///
    /// # Errors
    /// The log cannot be read, or does not continue what was signed of it.
    pub(crate) async fn recorded(&self, query: &Query, log: &Path) -> anyhow::Result<Option<v1::RecordedResponse>> {
        let Some(tree) = self.tree.clone().filter(|_| query.result.get().is_some()) else { return Ok(None) };
        let (id, log, known) = (query.id.to_string(), log.to_owned(), query.outcome.get().copied());
        let included = tokio::task::spawn_blocking(move || {
            let number = match known {
                Some(number) => Some(number),
                None => outcome(&log, id)?,
            };
            anyhow::Ok(match number {
                Some(number) => Some((number, tree.with(|tree| tree.included(number))?)),
                None => None,
            })
        });
        let Some((number, included)) = included.await?? else { return Ok(None) };
        // A coordinator that was started again looks for it once.
        let _first = query.outcome.set(number);
        let (confirmed, continues) =
            included.confirmed.map(|(note, proof)| (note.to_string(), proof)).unwrap_or_default();
        Ok(Some(v1::RecordedResponse {
            entry: included.entry,
            number,
            checkpoint: included.checkpoint.to_string().into_bytes(),
            inclusion: proof::to_bytes(&included.inclusion),
            confirmed: confirmed.into_bytes(),
            continues: proof::to_bytes(&continues),
        }))
    }
}

/// The number of a question's OUTCOME.
fn outcome(log: &Path, id: String) -> anyhow::Result<Option<u64>> {
    let (found, _) = search(log, &Search { query: Some(id), ..Search::default() }, 0, ENTRIES)?;
    let outcomes = found.iter().filter_map(|entry| entry.read());
    Ok(outcomes.filter(|entry| entry.what.event.kind() == EventKind::Outcome).map(|entry| entry.sequence).next_back())
}
