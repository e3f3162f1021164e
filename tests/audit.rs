//! An auditor finds what was asked and released, and is told of logs and words that were changed.

use std::path::Path;
use std::process::{Command, Output};

use loda_identity::SigningKey;
use loda_ledger::payload::PayloadReader;
use loda_ledger::{Entry, Log, Search, SignedLines, search};
use serde_json::Value;

use crate::support::{self, Federation};

const COUNT: &str = "SELECT tenure, COUNT(*) AS n FROM residents GROUP BY tenure";
const OTHER: &str = "SELECT borough, COUNT(*) AS repairs FROM repairs GROUP BY borough";

/// Runs `loda audit …` as this role.
fn audit(config: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loda-demo"));
    command.arg("loda").arg("--config").arg(config).arg("audit").args(words);
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The questions that a search finds.
fn found(config: &Path, words: &[&str]) -> Vec<Value> {
    let output = audit(config, &[&["search", "--format", "json"], words].concat());
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice::<Value>(&output.stdout).unwrap().as_array().unwrap().clone()
}

/// Writes a party's log anew with its own key, without the entries that `keeps` leaves out.
fn rewrite(state: &Path, keeps: impl Fn(&Entry) -> bool) {
    let path = state.join("log.jsonl");
    let (all, _) = search(&path, &Search::default(), 0, usize::MAX).unwrap();
    let entries: Vec<Entry> = all.iter().map(|one| one.read().unwrap().what).filter(keeps).collect();
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(path.with_extension("head")).unwrap();
    let log = SignedLines::open(&path, SigningKey::load(&state.join("log.key")).unwrap()).unwrap();
    log.append_all(&entries).unwrap();
}

#[test]
fn an_auditor_finds_what_was_asked_and_is_told_of_what_was_changed() {
    let federation = support::run(async {
        let closed = |layout: &loda_demo::layout::Layout| {
            let config = layout.node(layout.boroughs[2].gss).join("node.toml");
            let text = std::fs::read_to_string(&config).unwrap();
            std::fs::write(&config, format!("{text}\n[audit]\nopen = false\n")).unwrap();
        };
        let methods = loda_node::Methods::standard().unwrap();
        let federation = Federation::changed(4, support::Of::Small, methods, &closed).await;
        for sql in [COUNT, COUNT, OTHER] {
            federation.client.query(sql, "demo", None, |_| ()).await.unwrap();
        }
        let refused = "SELECT tenure, COUNT(*) AS n FROM residents WHERE tenure = 'Council' GROUP BY tenure";
        federation.client.query(refused, "demo", None, |_| ()).await.unwrap_err();
        federation
    });
    let layout = &federation.layout;
    let auditor = layout.auditor();

    // Every question, with its words and what was released; the refused one too.
    let all = found(&auditor, &[]);
    let sql = |question: &Value| question["asked_words"]["sql"].as_str().unwrap().to_owned();
    assert_eq!(all.iter().map(&sql).filter(|sql| sql == COUNT).count(), 2, "{all:#?}");
    assert_eq!(found(&auditor, &["--dataset", "repairs"]).iter().map(&sql).collect::<Vec<_>>(), [OTHER]);
    let refused = found(&auditor, &["--rule", "no-such-value"]);
    assert!(refused.len() == 1 && sql(&refused[0]).contains("'Council'"), "{refused:#?}");
    assert_eq!(found(&auditor, &["--analyst", "demo"]).len(), 4);
    assert_eq!(found(&auditor, &["--analyst", "somebody"]).len(), 0);
    assert_eq!(found(&auditor, &["--purpose", "housing-safety"]).len(), 0);
    assert_eq!(found(&auditor, &["--from", "2001-01-01", "--until", "2001-12-31"]).len(), 0);
    assert_eq!(found(&auditor, &["--borough", layout.boroughs[3].gss]).len(), 3);
    let first = &found(&auditor, &["--dataset", "residents"])[0];
    let boroughs = first["released"]["parts"][0]["boroughs"].as_array().unwrap();
    assert!(boroughs.len() == 4 && boroughs.iter().all(|said| said["answer"] == "answered"), "{first:#}");

    // The same for other tools.
    let exported = |form: &str| text(&audit(&auditor, &["export", "--as", form, "--from", "2026-01-01"]));
    let (lines, table, events) = (exported("ndjson"), exported("csv"), exported("ocsf"));
    assert_eq!((lines.lines().count(), events.lines().count()), (all.len(), all.len()));
    assert_eq!(serde_json::from_str::<Value>(lines.lines().next().unwrap()).unwrap(), all[0]);
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows.len() == all.len() + 1 && rows[0].starts_with("asked,question,entry,") && rows[1].contains(COUNT));
    for (event, question) in events.lines().zip(&all) {
        let event: Value = serde_json::from_str(event).unwrap();
        // What the class demands of each event.
        for wanted in ["activity_id", "category_uid", "class_uid", "severity_id", "time", "type_uid"] {
            assert!(event[wanted].is_u64(), "{wanted}: {event:#}");
        }
        for wanted in ["actor", "database", "metadata", "src_endpoint"] {
            assert!(event[wanted].is_object(), "{wanted}: {event:#}");
        }
        assert!(event["class_uid"] == 6005 && event["type_uid"] == 600_504, "{event:#}");
        assert_eq!(event["query_info"]["query_string"], question["asked_words"]["sql"]);
        let refused = question["refused_by"].is_string();
        assert_eq!(event["status_id"], if refused { 2 } else { 1 }, "{event:#}");
    }
    let file = layout.dir.join("questions.csv");
    audit(&auditor, &["export", "--as", "csv", "--from", "2026-01-01", "--out", file.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), table);

    // One question, down to each borough's entries.
    let id = first["id"].as_str().unwrap().to_owned();
    let shown = text(&audit(&auditor, &["show", &id[..8]]));
    for part in [id.as_str(), "FROM residents", "4 boroughs were sent", "answered by 4", layout.boroughs[0].name] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("does not open its query log"), "{shown}");
    let number = refused[0]["entry"].to_string();
    assert!(text(&audit(&auditor, &["show", &number])).contains("'Council'"));

    // A borough reads its own log, without the coordinator.
    let mut own = Command::new(env!("CARGO_BIN_EXE_loda-demo"));
    own.args(["node", "audit", "--config"]).arg(layout.node(layout.boroughs[0].gss).join("node.toml"));
    let own = text(&own.output().unwrap());
    for part in ["demo, residents", "demo, purpose demo: answered; cells: ", "values withheld: ", "tenure"] {
        assert!(own.contains(part), "{part}: {own}");
    }

    // An explanation that asks the boroughs for their verdict is told as one.
    support::run({
        let client = federation.client.clone();
        async move { client.prepare(OTHER, "demo", true).await.map(drop).unwrap() }
    });
    let explained = text(&audit(&auditor, &["search", "--dataset", "repairs"]));
    assert!(explained.contains("explained, not asked") && explained.contains("answered by 4"), "{explained}");
    let explained = found(&auditor, &["--dataset", "repairs"]);
    let number = explained.iter().find(|question| question["end"].is_null()).unwrap()["entry"].to_string();
    let shown = audit(&auditor, &["show", &number]);
    let of_boroughs = text(&shown).contains(layout.boroughs[0].name);
    assert!(
        shown.status.success() && text(&shown).contains("4 boroughs would be sent") && !of_boroughs,
        "{}",
        text(&shown)
    );

    // An analyst reads no log.
    let denied = audit(&layout.client(), &["search"]);
    assert!(!denied.status.success() && text(&denied).contains("call_not_permitted"), "{}", text(&denied));

    // The words are in no line of any log, and in the store beside it.
    for state in [layout.coordinator().join("state"), layout.node(layout.boroughs[0].gss).join("state")] {
        let lines = std::fs::read_to_string(state.join("log.jsonl")).unwrap();
        assert!(!lines.contains("SELECT"), "{lines}");
        let (all, _) = search(&state.join("log.jsonl"), &Search::default(), 0, usize::MAX).unwrap();
        let texts = PayloadReader::open(&state.join("payloads.db")).unwrap();
        let commitments = all.iter().filter_map(|one| one.read().unwrap().what.event.commitment());
        let texts: Vec<String> =
            commitments.map(|of| String::from_utf8(texts.get(&of).unwrap().unwrap().text).unwrap()).collect();
        assert!(texts.iter().any(|text| text.contains("tenure")), "{texts:?}");
    }

    // One borough opens nothing: the others agree, and it is named.
    let whole = audit(&auditor, &["reconcile"]);
    assert_eq!(whole.status.code(), Some(4), "{}", text(&whole));
    assert!(text(&whole).contains("The logs that were read agree") && text(&whole).contains("does not open"));

    // Reading words is an entry of the log that is read, so a log that is changed while its node runs shows nothing any
    // more, and the borough is named. What a party leaves out that is started again on such a log is named by the
    // comparison, whose own tests do that (`loda_ledger::audit`).
    rewrite(&layout.node(layout.boroughs[0].gss).join("state"), |entry| entry.question() != id);
    let stopped = audit(&auditor, &["reconcile"]);
    let named = format!("{}: ", layout.boroughs[0].name);
    assert!(stopped.status.code() == Some(4) && text(&stopped).contains(&named), "{}", text(&stopped));

    // Words that somebody deletes from the disk.
    let words = layout.node(layout.boroughs[1].gss).join("state/payloads.db");
    rusqlite::Connection::open(&words).unwrap().execute("DELETE FROM payload WHERE class = 'question'", []).unwrap();
    let gap = audit(&auditor, &["reconcile"]);
    assert!(gap.status.code() == Some(7) && text(&gap).contains("has no words any more"), "{}", text(&gap));

    // A coordinator whose log is changed shows nothing either.
    rewrite(&layout.coordinator().join("state"), |entry| entry.question() != id);
    let stopped = audit(&auditor, &["reconcile"]);
    assert_eq!(stopped.status.code(), Some(1), "{}", text(&stopped));
}
