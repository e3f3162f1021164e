//! Reads a party's query log for an auditor: entries as they were signed, and the texts behind them.

use std::path::Path;

use anyhow::Context;
use chrono::NaiveDate;
use loda_ledger::payload::{Opening, PayloadReader};
use loda_ledger::tree::proof;
use loda_ledger::{Search, SignedEntry, search};
use loda_proto::v1::{self, ReadLogRequest, ReadLogResponse};

use crate::log_tree::LogTree;

/// The most entries of a page, and the bytes after which a page ends.
const ENTRIES: u32 = 1000;
/// The most entries of a page with proofs.
const PROVEN: u32 = 100;
const BYTES: usize = 2 << 20;

/// The most characters of a condition.
const WORDS: usize = 200;

/// The file of the log, in a state folder.
const LOG: &str = "log.jsonl";
/// The file of the texts behind a log's entries, in a state folder.
pub const PAYLOADS: &str = "payloads.db";

/// The conditions of a request. `None`: a condition is too long, or a day is none.
#[must_use]
pub fn wanted(request: &ReadLogRequest) -> Option<Search> {
    let text = |text: &str| (text.len() <= WORDS).then(|| (!text.is_empty()).then(|| text.to_owned()));
    let day = |text: &str| -> Option<Option<NaiveDate>> {
        if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
    };
    Some(Search {
        query: text(&request.query)?,
        analyst: text(&request.analyst)?,
        purpose: text(&request.purpose)?,
        dataset: text(&request.dataset)?,
        from: day(&request.from)?,
        to: day(&request.until)?,
    })
}

/// Reads a page of entries from the log in a state folder. `tree`: the tree of the log, for proofs.
///
/// # Errors
/// A file cannot be read.
pub fn read(
    state: &Path,
    wanted: &Search,
    request: &ReadLogRequest,
    tree: Option<&LogTree>,
) -> anyhow::Result<ReadLogResponse> {
    let tree = tree.filter(|_| request.proofs);
    let most = if tree.is_some() { PROVEN } else { ENTRIES };
    let limit = match request.limit {
        0 => most,
        limit => limit.min(most),
    };
    let (found, mut next) = search(&state.join(LOG), wanted, request.start, limit as usize)?;
    let payloads = state.join(PAYLOADS);
    // A log of earlier software has no texts beside it.
    let texts = if request.texts && payloads.exists() { Some(PayloadReader::open(&payloads)?) } else { None };
    let (mut entries, mut bytes) = (Vec::new(), 0_usize);
    for one in found {
        let opening = texts.as_ref().map(|texts| opening(texts, &one)).transpose()?.flatten();
        let size = one.entry.len().saturating_add(opening.as_ref().map_or(0, |opening| opening.text.len()));
        bytes = bytes.saturating_add(size);
        if bytes > BYTES && !entries.is_empty() {
            next = Some(one.read().context("an entry of the log cannot be read")?.sequence);
            break;
        }
        let SignedEntry { entry, signature } = one;
        entries.push(v1::LoggedEntry { entry, signature, opening, inclusion: Vec::new() });
    }
    let checkpoint = tree.map(|tree| prove(&mut entries, tree)).transpose()?.unwrap_or_default();
    Ok(ReadLogResponse { entries, next, refusal: None, checkpoint })
}

/// Adds the proofs to entries. Returns the checkpoint that they are of.
fn prove(entries: &mut [v1::LoggedEntry], tree: &LogTree) -> anyhow::Result<Vec<u8>> {
    let number = |entry: &v1::LoggedEntry| {
        let signed = SignedEntry { entry: entry.entry.clone(), signature: String::new() };
        signed.read().map(|read| read.sequence).context("an entry of the log cannot be read")
    };
    let numbers = entries.iter().map(number).collect::<anyhow::Result<Vec<u64>>>()?;
    let (note, proofs) = tree.with(|tree| tree.proofs(&numbers))?;
    entries.iter_mut().zip(proofs).for_each(|(entry, inclusion)| entry.inclusion = proof::to_bytes(&inclusion));
    Ok(note.to_string().into_bytes())
}

fn opening(texts: &PayloadReader, entry: &SignedEntry) -> anyhow::Result<Option<v1::Opening>> {
    let Some(commitment) = entry.read().and_then(|read| read.what.event.commitment()) else { return Ok(None) };
    let found = texts.get(&commitment)?;
    Ok(found.map(|Opening { key, text }| v1::Opening { key: key.to_vec(), text }))
}
