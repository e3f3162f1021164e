//! What auditors see: questions, the life of one, and what the parties' logs do not agree on.

use chrono::Datelike;
use loda_answer::cells::thousands;
use loda_answer::plain;
use loda_identity::Manifest;
use loda_ledger::audit::{Days, Logged, Question, Reconciled};
use loda_ledger::payload::record::{CellsReleased, of_text};
use loda_ledger::{End, Event, FailReason, Refused};
use serde_json::{Value, json};

use super::sql::laid_out;
use super::table::grid;
use super::wrap::wrapped;
use crate::audit::{BoroughEntries, Signature, Unread};

/// The most gaps that are listed one by one.
const LISTED: usize = 50;

/// One line for each question, the oldest first.
pub(crate) fn questions(found: &[Question], width: Option<u16>) -> String {
    if found.is_empty() {
        return "no question meets these conditions\n".to_owned();
    }
    // A year that all share stands over them once.
    let years: std::collections::BTreeSet<i32> = found.iter().map(|question| question.begun.time.year()).collect();
    let (asked, format) = match years.first() {
        Some(year) if years.len() == 1 => (format!("asked in {year} (UTC)"), "%-d %b %H:%M"),
        _ => ("asked (UTC)".to_owned(), "%Y-%m-%d %H:%M"),
    };
    let names = [asked.as_str(), "question", "asker", "purpose", "datasets", "outcome"].map(str::to_owned);
    let row = |question: &Question| {
        let begun = &question.begun;
        vec![
            begun.time.format(format).to_string(),
            short_id(question),
            asker(&begun.what.analyst),
            plain::line(&begun.what.purpose),
            plain::line(&each_once(&begun.what.dataset)),
            outcome(question),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    let unsent = found.iter().filter(|question| !question.was_sent()).count();
    let of = |number: usize, what: &str| format!("{} {what}", thousands(&number.to_string()));
    let ending = format!(
        "{}, {} never sent to a borough. `loda audit show QUESTION` shows one of them\n",
        of(found.len(), if found.len() == 1 { "question" } else { "questions" }),
        of(unsent, "of them")
    );
    format!("{}{}", grid(&names, &[], &rows, width), wrapped(&ending, width))
}

/// The questions with their words.
pub(crate) fn questions_json(found: &[Question], manifest: &Manifest) -> Value {
    Value::Array(found.iter().map(|question| question_json(question, manifest)).collect())
}

/// One question with its words.
pub(super) fn question_json(question: &Question, manifest: &Manifest) -> Value {
    let begun = &question.begun;
    let hash = match question.end() {
        Some(End::Answered { result_sha256, .. }) => Some(result_sha256),
        _ => None,
    };
    json!({
            "id": question.id(),
            "entry": begun.number,
            "ended_entry": question.ended.as_ref().map(|ended| ended.number),
            "asked": begun.time.to_rfc3339(),
            "analyst": begun.what.analyst,
            "purpose": begun.what.purpose,
            "signature": Signature::of(question, manifest).name(),
            "datasets": each_once(&begun.what.dataset).split(' ').filter(|name| !name.is_empty()).collect::<Vec<_>>(),
            "refused_by": question.rule(),
            "end": question.end().map(End::name),
            "result_sha256": hash,
            "asked_words": question.asked(),
            "released": question.released(),
    })
}

/// One question, from its first word to the last figure's hash.
pub(crate) fn question(
    question: &Question,
    boroughs: &[BoroughEntries],
    manifest: &Manifest,
    width: Option<u16>,
) -> String {
    let begun = &question.begun;
    let mut text = String::new();
    let mut say = |name: &str, words: &str| text.push_str(&wrapped(&format!("{name:<9} {words}\n"), width));
    say("question", &if question.id().is_empty() { short_id(question) } else { plain::line(question.id()) });
    say(
        "asked",
        &format!(
            "{} UTC by {}, for the purpose {}",
            begun.time.format("%-d %B %Y, %H:%M:%S"),
            asker(&begun.what.analyst),
            plain::line(&begun.what.purpose)
        ),
    );
    if question.was_sent() {
        say("signed", &signature(question, manifest));
    }
    say("outcome", &outcome(question));
    if let Some(End::Answered { result_sha256, .. }) = question.end() {
        say("result", &format!("SHA-256 {}", plain::line(result_sha256)));
    }
    let ended = question.ended.as_ref().map(|ended| format!(" and {}", ended.number)).unwrap_or_default();
    say("entries", &format!("{}{ended} of the coordinator's log, each signed", begun.number));
    let asked = question.asked();
    if asked.is_none() {
        say("words", "not kept any more, or never: the log holds only a commitment to them");
    }
    if let Some(refusal) = asked.as_ref().and_then(|asked| asked.refusal.as_ref()) {
        say("refused", &plain::line(&refusal.message));
    }
    if let Some(asked) = asked {
        text.push_str(&format!("\n{}\n", laid_out(&plain::block(&asked.sql), width)));
        for sent in &asked.fragments {
            let to = match (sent.boroughs.len(), question.was_sent()) {
                (1, true) => "1 borough was sent".to_owned(),
                (boroughs, true) => format!("{boroughs} boroughs were sent"),
                (1, false) => "1 borough would be sent".to_owned(),
                (boroughs, false) => format!("{boroughs} boroughs would be sent"),
            };
            text.push_str(&wrapped(&format!("\n{to}: {}\n", plain::line(&sent.words)), width));
        }
    }
    if boroughs.is_empty() {
        return text;
    }
    let names = ["borough", "asked", "released", "cells sent", "of them empty", "refused or failed"];
    let rows: Vec<_> = boroughs.iter().map(borough_row).collect();
    text.push('\n');
    text.push_str(&grid(&names.map(str::to_owned), &[false, true, true, true, true, false], &rows, width));
    text.push_str(&wrapped("asked, released: the numbers of the entries in the borough's log, each signed by the key that the manifest names for it. Cells sent: figures that left the borough; what it withholds is not sent, or is empty\n", width));
    text
}

/// Whether the asker signed, in a sentence.
fn signature(question: &Question, manifest: &Manifest) -> String {
    let asker = asker(&question.begun.what.analyst);
    match Signature::of(question, manifest) {
        Signature::None => {
            "no: the coordinator alone vouches for the asker (a token, or software that signs nothing)".to_owned()
        }
        Signature::Checked => format!("by {asker}, with the key of their certificate; the signature was checked here"),
        Signature::NotKept => {
            format!("by {asker}, says the entry; the words that would show it are not kept or not opened")
        }
        Signature::Stranger => format!(
            "NOT by {asker}: a certificate in their name signed it, and no authority of the manifest issued that. Keep the log \
             for an inquiry, unless the manifest has changed its authorities since"
        ),
        Signature::Wrong => {
            format!(
                "NOT by {asker}: what the coordinator keeps is no signature of this question. Keep the log for an inquiry"
            )
        }
    }
}

fn borough_row(borough: &BoroughEntries) -> Vec<String> {
    let entries = match &borough.entries {
        Ok(entries) => entries,
        Err(why) => {
            let empty = String::new;
            return vec![borough.name.clone(), empty(), empty(), empty(), empty(), plain::line(&why.to_string())];
        }
    };
    let numbers = |wanted: fn(&Event) -> bool| {
        let of = entries.iter().filter(|entry| wanted(&entry.what.event));
        of.map(|entry| entry.number.to_string()).collect::<Vec<_>>().join(", ")
    };
    let released: Vec<CellsReleased> = entries
        .iter()
        .filter(|entry| matches!(entry.what.event, Event::Release { .. }))
        .filter_map(|entry| of_text(entry.text.as_ref()?))
        .collect();
    let sum = |of: fn(&CellsReleased) -> u64| match released.is_empty() {
        true => String::new(),
        false => thousands(&released.iter().map(of).fold(0, u64::saturating_add).to_string()),
    };
    vec![
        borough.name.clone(),
        numbers(|event| matches!(event, Event::Accept { .. })),
        numbers(|event| matches!(event, Event::Release { .. })),
        sum(|released| released.cells),
        sum(|released| released.without_value),
        otherwise(entries),
    ]
}

/// How parts of a question ended at a borough, other than by a release.
fn otherwise(entries: &[Logged]) -> String {
    if entries.is_empty() {
        return "its log has no entry of it".to_owned();
    }
    let words = entries.iter().filter_map(|entry| match &entry.what.event {
        Event::Refuse(Refused::One { rule, .. }) => Some(format!("refused: {}", plain::line(rule))),
        Event::Fail(reason) => Some(format!("not answered: {}", FailReason::name(reason))),
        _ => None,
    });
    words.collect::<Vec<_>>().join(", ")
}

/// What the comparison of all logs found.
pub(crate) fn reconciled(
    found: &Reconciled,
    days: Days,
    boroughs: usize,
    unread: &[(String, Unread)],
    name: &dyn Fn(&str) -> String,
    width: Option<u16>,
) -> String {
    let number = |number: usize| thousands(&number.to_string());
    let span = match days.from == days.until {
        true => days.from.to_string(),
        false => format!("{} to {}", days.from, days.until),
    };
    let mut text = wrapped(
        &format!(
            "{span}: {} questions, {} parts of them at boroughs; {} entries of the logs of the coordinator and {boroughs} \
             boroughs, each signed and none missing\n",
            number(found.questions),
            number(found.legs),
            number(found.entries)
        ),
        width,
    );
    for (borough, why) in unread {
        text.push_str(&wrapped(&format!("  {borough}: {}\n", plain::line(&why.to_string())), width));
    }
    if found.gaps.is_empty() {
        let all = if unread.is_empty() { "All logs agree" } else { "The logs that were read agree" };
        let whole = format!(
            "{all}: every question stands in the coordinator's log, with its end, and in the logs of the boroughs that it went to, and they know of no other\n"
        );
        return text + &wrapped(&whole, width);
    }
    for gap in found.gaps.iter().take(LISTED) {
        let mut words = gap.to_string();
        if gap.party.starts_with('E') {
            words = words.replace(&gap.party, &name(&gap.party));
        }
        let of = if gap.question.is_empty() { String::new() } else { format!("question {}: ", gap.question) };
        text.push_str(&wrapped(&format!("  {}\n", plain::line(&format!("{of}{words}"))), width));
    }
    let more = found.gaps.len().saturating_sub(LISTED);
    let rest = if more > 0 { format!(", and {} more", number(more)) } else { String::new() };
    let ending =
        format!("{} disagreements{rest}: keep all logs as they are for an inquiry\n", number(found.gaps.len()));
    text + &wrapped(&ending, width)
}

/// The first part of the id, or the entry's number if it has none.
fn short_id(question: &Question) -> String {
    match question.id().get(..8) {
        Some(id) => plain::line(id),
        None => question.begun.number.to_string(),
    }
}

/// The name in a SPIFFE id, with its role.
pub(super) fn asker(id: &str) -> String {
    let mut parts = id.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some(name), Some("analyst")) => plain::line(name),
        (Some(name), Some(role)) => plain::line(&format!("{role} {name}")),
        _ => plain::line(id),
    }
}

pub(super) fn each_once(datasets: &str) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for name in datasets.split(' ').filter(|name| !name.is_empty()) {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen.join(" ")
}

pub(super) fn outcome(question: &Question) -> String {
    if let Some(rule) = question.rule() {
        return format!("refused: {}", plain::line(rule));
    }
    if !question.was_sent() {
        return "explained, not asked".to_owned();
    }
    match question.end() {
        None => "no end in the log".to_owned(),
        Some(End::Answered { boroughs, .. }) => {
            let parts = question.released().map(|released| released.parts).unwrap_or_default();
            let sum = |of: fn(&loda_ledger::payload::record::PartReleased) -> u64| {
                thousands(&parts.iter().map(of).fold(0, u64::saturating_add).to_string())
            };
            let values = match parts.is_empty() {
                true => String::new(),
                false => format!("; {} values, {} withheld", sum(|part| part.values), sum(|part| part.withheld)),
            };
            // Each part of a question is answered by itself.
            let distinct: std::collections::BTreeSet<&str> = parts
                .iter()
                .flat_map(|part| &part.boroughs)
                .filter(|said| said.answer == "answered")
                .map(|said| said.borough.as_str())
                .collect();
            let boroughs = if parts.is_empty() { *boroughs } else { distinct.len() as u64 };
            format!("answered by {boroughs}{values}")
        }
        Some(end) => end.name().to_owned(),
    }
}
