//! Questions of the log for other people's tools: lines of JSON, CSV, and events of OCSF.

use std::io::{self, Write};

use loda_answer::csv::field;
use loda_answer::json;
use loda_identity::Manifest;
use loda_ledger::End;
use loda_ledger::audit::Question;
use loda_ledger::payload::record::{PartReleased, QuestionAsked};
use serde_json::{Value, json};

use super::audit::{asker, each_once, outcome, question_json};
use crate::audit::Signature;

/// One JSON object a line, as `loda audit search --format json` has them.
pub(crate) fn ndjson(found: &[Question], manifest: &Manifest, out: &mut dyn Write) -> io::Result<()> {
    found.iter().try_for_each(|question| writeln!(out, "{}", json::escaped(&question_json(question, manifest))))
}

/// One line for each question. Texts that a spreadsheet would take for a formula begin with a quote.
pub(crate) fn csv(found: &[Question], manifest: &Manifest, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "asked,question,entry,ended_entry,analyst,purpose,datasets,outcome,values,withheld,signature,result_sha256,sql"
    )?;
    for question in found {
        let begun = &question.begun;
        let released = question.released().map(|released| released.parts).unwrap_or_default();
        let sum = |of: fn(&PartReleased) -> u64| match released.is_empty() {
            true => String::new(),
            false => released.iter().map(of).fold(0, u64::saturating_add).to_string(),
        };
        let text = |text: &str| if text.is_empty() { String::new() } else { field(text) };
        let row = [
            begun.time.to_rfc3339(),
            text(question.id()),
            begun.number.to_string(),
            question.ended.as_ref().map(|ended| ended.number.to_string()).unwrap_or_default(),
            text(&begun.what.analyst),
            text(&begun.what.purpose),
            text(&each_once(&begun.what.dataset)),
            text(&outcome(question)),
            sum(|part| part.values),
            sum(|part| part.withheld),
            Signature::of(question, manifest).name().to_owned(),
            result(question).map(text).unwrap_or_default(),
            text(&question.asked().map(|asked| asked.sql).unwrap_or_default()),
        ];
        writeln!(out, "{}", row.join(","))?;
    }
    Ok(())
}

/// One event a line, of the class Datastore Activity (6005) of the Open Cybersecurity Schema Framework, version 1.3: for a
/// SIEM. What its schema has no place for stands under `unmapped`.
pub(crate) fn ocsf(found: &[Question], manifest: &Manifest, out: &mut dyn Write) -> io::Result<()> {
    found.iter().try_for_each(|question| writeln!(out, "{}", json::escaped(&event(question, manifest))))
}

fn event(question: &Question, manifest: &Manifest) -> Value {
    let federation = &manifest.federation;
    let begun = &question.begun;
    let datasets = each_once(&begun.what.dataset);
    let datasets: Vec<&str> = datasets.split(' ').filter(|name| !name.is_empty()).collect();
    let answered = matches!(question.end(), Some(End::Answered { .. }));
    let (status_id, status) = match () {
        () if answered || (question.rule().is_none() && !question.was_sent()) => (1, "Success"),
        () if question.rule().is_none() && question.ended.is_none() => (0, "Unknown"),
        () => (2, "Failure"),
    };
    let asked: Option<QuestionAsked> = question.asked();
    let mut event = json!({
        "class_uid": 6005, "class_name": "Datastore Activity",
        "category_uid": 6, "category_name": "Application Activity",
        "activity_id": 4, "activity_name": "Query",
        "type_uid": 600_504, "type_name": "Datastore Activity: Query",
        "severity_id": 1, "severity": "Informational",
        "time": begun.time.timestamp_millis(),
        "status_id": status_id, "status": status, "status_detail": outcome(question),
        "metadata": {
            "version": "1.3.0",
            "uid": if question.id().is_empty() { begun.number.to_string() } else { question.id().to_owned() },
            "sequence": begun.number,
            "log_name": "coordinator",
            "product": { "name": "London data federation", "vendor_name": federation, "version": env!("CARGO_PKG_VERSION") },
        },
        "actor": { "user": { "uid": begun.what.analyst, "name": asker(&begun.what.analyst), "type_id": 1 } },
        // The log holds who asked, and not from where.
        "src_endpoint": { "uid": begun.what.analyst, "name": asker(&begun.what.analyst) },
        "database": { "name": federation, "type_id": 99, "type": "Federation" },
        "query_info": { "uid": question.id(), "query_string": asked.map(|asked| asked.sql).unwrap_or_default() },
        "unmapped": {
            "purpose": begun.what.purpose,
            "datasets": datasets,
            "signature": Signature::of(question, manifest).name(),
            "result_sha256": result(question),
            "released": question.released(),
        },
    });
    if let ([table], Some(event)) = (datasets.as_slice(), event.as_object_mut()) {
        event.insert("type_id".to_owned(), json!(3));
        event.insert("table".to_owned(), json!({ "name": table }));
    }
    if let (Some(ended), Some(event)) = (&question.ended, event.as_object_mut()) {
        event.insert("end_time".to_owned(), json!(ended.time.timestamp_millis()));
    }
    event
}

fn result(question: &Question) -> Option<&str> {
    match question.end() {
        Some(End::Answered { result_sha256, .. }) => Some(result_sha256),
        _ => None,
    }
}
