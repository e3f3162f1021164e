//! `loda-node audit`: what this node was asked, by whom, and what left it, out of its own log.

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use loda_ledger::payload::record::{CellsReleased, FragmentAsked, of_text};
use loda_ledger::payload::{Commitment, PayloadReader};
use loda_ledger::{Event, ReadEntry, Refused, Search, search};
use loda_service::read_log::PAYLOADS;

use crate::config::Config;

/// What is wanted of the log.
pub(crate) struct Wanted {
    pub(crate) dataset: Option<String>,
    /// The first and the last day (UTC).
    pub(crate) from: Option<NaiveDate>,
    pub(crate) until: Option<NaiveDate>,
    /// The most questions that are listed one by one; the newest.
    pub(crate) most: usize,
}

/// A question, and what became of it.
struct Line {
    begun: ReadEntry,
    end: String,
}

/// The text that `loda-node audit` prints: numbers by asker, purpose and dataset, then the newest questions in words.
///
/// # Errors
/// The log or the store of its words cannot be read.
pub(crate) fn audit(config: &Config, wanted: &Wanted) -> anyhow::Result<String> {
    let Wanted { dataset, from, until, most } = wanted;
    let conditions = Search { dataset: dataset.clone(), from: *from, to: *until, ..Search::default() };
    let (found, _) = search(&config.state.join("log.jsonl"), &conditions, 0, usize::MAX)?;
    let payloads = config.state.join(PAYLOADS);
    // A log of earlier software has no words beside it.
    let words = if payloads.exists() { Some(PayloadReader::open(&payloads)?) } else { None };
    let text = |of: Option<Commitment>| -> anyhow::Result<Option<Vec<u8>>> {
        let (Some(words), Some(of)) = (&words, of) else { return Ok(None) };
        Ok(words.get(&of)?.map(|opening| opening.text))
    };
    let mut lines: Vec<Line> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut others = Vec::new();
    for entry in found.iter().filter_map(loda_ledger::SignedEntry::read) {
        let end = match &entry.what.event {
            Event::Accept { .. } => {
                places.insert(entry.what.query.clone(), lines.len());
                lines.push(Line { begun: entry, end: "no end in the log".to_owned() });
                continue;
            }
            Event::Refuse(Refused::One { rule, .. }) => {
                let end = format!("refused: {rule}");
                lines.push(Line { begun: entry, end });
                continue;
            }
            Event::Refuse(Refused::Rest(told)) => {
                others.push(format!("{}  {told}", day(&entry)));
                continue;
            }
            Event::Release { released, .. } => match text(*released)?.as_deref().and_then(of_text::<CellsReleased>) {
                Some(CellsReleased { cells, without_value, .. }) => {
                    format!("answered; cells: {cells}, values withheld: {without_value}")
                }
                None => "answered".to_owned(),
            },
            Event::Fail(reason) => format!("not answered: {}", reason.name()),
            Event::Intent { .. } | Event::Explain { .. } | Event::Outcome(_) | Event::Admin(_) | Event::Erase(_) => {
                continue;
            }
        };
        if let Some(line) = places.get(&entry.what.query).and_then(|place| lines.get_mut(*place)) {
            line.end = end;
        }
    }
    if lines.is_empty() && others.is_empty() {
        return Ok("nothing was asked that meets these conditions\n".to_owned());
    }
    let mut out = summary(&lines);
    let first = lines.len().saturating_sub(*most);
    if first > 0 {
        out.push_str(&format!("\nThe newest {most} of {}:\n", lines.len()));
    }
    for line in lines.iter().skip(first) {
        let what = &line.begun.what;
        let name = what.analyst.rsplit('/').next().unwrap_or_default();
        out.push_str(&format!("\n{}  {name}, purpose {}: {}\n", day(&line.begun), what.purpose, line.end));
        match text(what.event.commitment())?.as_deref().and_then(of_text::<FragmentAsked>) {
            Some(asked) => out.push_str(&format!("  {}\n", asked.words)),
            None => out.push_str(&format!("  {} (its words are not kept)\n", what.dataset)),
        }
    }
    for other in others {
        out.push_str(&format!("\n{other}\n"));
    }
    Ok(out)
}

/// How often each asker asked, by purpose and dataset.
fn summary(lines: &[Line]) -> String {
    let mut counts: BTreeMap<[&str; 3], [u64; 3]> = BTreeMap::new();
    for line in lines {
        let what = &line.begun.what;
        let dataset = if what.dataset.is_empty() { "not known" } else { &what.dataset };
        let [asked, answered, refused] = counts.entry([&what.analyst, &what.purpose, dataset]).or_default();
        *asked = asked.saturating_add(1);
        let counter = if line.end.starts_with("answered") { answered } else { refused };
        *counter = counter.saturating_add(1);
    }
    let mut out = format!("{:>6} {:>8} {:>8}  asker, purpose, datasets\n", "asked", "answered", "not");
    for ([analyst, purpose, dataset], [asked, answered, refused]) in counts {
        out.push_str(&format!("{asked:>6} {answered:>8} {refused:>8}  {analyst}, {purpose}, {dataset}\n"));
    }
    out
}

/// The time of an entry, to the minute.
fn day(entry: &ReadEntry) -> String {
    entry.time.get(..16).unwrap_or(&entry.time).replace('T', " ")
}
