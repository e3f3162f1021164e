//! Processes killed at random moments. No question runs twice, every question has an end, and the logs stay whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use loda::ClientError;
use loda_demo::layout::Options;
use loda_demo::london::SMALL;
use loda_demo::processes::Processes;

use crate::pooled::text;
use crate::support::{self, Dice};

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");
const SQL: &str = "SELECT borough, COUNT(*) AS people FROM residents GROUP BY borough ORDER BY borough";

/// The entries of each query in a log: their kinds and details, in order.
fn story(log: &Path) -> BTreeMap<String, Vec<(String, String)>> {
    let mut story: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in std::fs::read_to_string(log).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let what = &line["entry"]["what"];
        let field = |name: &str| what[name].as_str().unwrap().to_owned();
        // The entries at the start of an epoch belong to no query.
        if field("kind") == "ADMIN" {
            continue;
        }
        story.entry(field("query")).or_default().push((field("kind"), field("detail")));
    }
    story
}

#[test]
fn killed_at_any_moment_nothing_runs_twice_and_everything_ends() {
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        // The last of the three nodes dials out.
        let options = Options { dialling: 1, ..support::options(dir.path(), 3, None) };
        let layout = support::laid_out(&options);
        let mut processes = Processes::start(Path::new(BINARY), &layout).unwrap();
        let client = processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
        let whole = text(&client.query(SQL, "demo", None, |_| {}).await.unwrap().batches, 99);
        let mut dice = Dice::new(support::seed());
        let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
        let runs = support::rounds("LODA_CRASH_RUNS", 100);
        for run in 0..runs {
            // The coordinator is ready when it plans a question. Both parties may still be starting.
            let prepared = loop {
                match client.prepare(SQL, "demo", false).await {
                    Ok(prepared) => break prepared,
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            };
            let time = Some(Duration::from_secs(6));
            let Ok(id) = client.start_detached(&prepared, time).await else { continue };
            tokio::time::sleep(Duration::from_micros(dice.below(25_000))).await;
            let which = dice.below(4);
            if which != 0 {
                let gss = layout.boroughs[dice.index(3)].gss;
                processes.kill_node(gss).unwrap();
                processes.start_node(gss).unwrap();
            }
            if which <= 1 {
                processes.kill_coordinator().unwrap();
                processes.start_coordinator().unwrap();
            }
            let began = Instant::now();
            let end = match client.await_answer(&id, |_| {}).await {
                Ok(answer) => {
                    let rows = text(&answer.batches, 99);
                    let mut lacking = 0;
                    for (row, good) in rows.iter().zip(&whole) {
                        let gone = row[1] == "NULL";
                        assert!(gone || row[1] == good[1], "run {run}: {row:?} {good:?}");
                        lacking += usize::from(gone);
                    }
                    assert_eq!(answer.statement.complete, lacking == 0, "run {run}");
                    if lacking == 0 { "complete" } else { "partial, and said so" }
                }
                Err(ClientError::NoAnswer) => "no answer, and said so",
                Err(error) => panic!("run {run}: query {id} has no stated end: {error}"),
            };
            assert!(began.elapsed() < Duration::from_secs(20), "run {run}: {:?}", began.elapsed());
            *ends.entry(end).or_default() += 1;
        }
        println!("{runs} kills: {ends:?}");
        processes.ready(Duration::from_secs(60), &mut |_| {}).await.unwrap();
        // A question after all this gets a complete answer, with the same noise.
        let after = client.query(SQL, "demo", None, |_| {}).await.unwrap();
        assert_eq!(text(&after.batches, 99), whole);

        let manifest = loda_identity::Manifest::load(layout.manifest()).unwrap();
        let centre = layout.coordinator().join("state/log.jsonl");
        loda_ledger::verify_lines(&centre, &manifest.coordinator.log_key).unwrap();
        for (query, kinds) in story(&centre) {
            let kinds: Vec<&str> = kinds.iter().map(|(kind, _)| kind.as_str()).collect();
            assert_eq!(kinds, ["INTENT", "OUTCOME"], "{query}");
        }
        for member in &manifest.members {
            let log = layout.node(member.gss.as_str()).join("state/log.jsonl");
            loda_ledger::verify_lines(&log, &member.log_key).unwrap();
            for (query, kinds) in story(&log) {
                let names: Vec<&str> = kinds.iter().map(|(kind, _)| kind.as_str()).collect();
                assert!(matches!(names.as_slice(), ["ACCEPT", "RELEASE" | "FAIL"]), "{query}: {kinds:?}");
            }
        }
    });
}

/// Waits until a log records this end of a query: little more than a second.
async fn ends_soon(log: &Path, how: &str, before: usize) {
    let began = Instant::now();
    loop {
        let last = story(log).into_values().flatten().filter(|(_, detail)| detail == how).count();
        if last > before {
            return;
        }
        assert!(began.elapsed() < Duration::from_millis(1200), "not {how} in time: {:?}", story(log));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn work_stops_within_a_second_of_a_cancel_and_of_a_lost_asker() {
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let of_test = support::options(dir.path(), 2, None);
        let options = Options { scale: 1_400.0 * SMALL, tables: vec!["residents"], ..of_test };
        let layout = support::laid_out(&options);
        for borough in &layout.boroughs {
            // Tables are not cached, so each question reads records.
            let config = layout.node(borough.gss).join("node.toml");
            let text = std::fs::read_to_string(&config).unwrap();
            std::fs::write(&config, text.replace("[tls]", "[limits]\ntables_mb = 0\n\n[tls]")).unwrap();
        }
        let mut processes = Processes::start(Path::new(BINARY), &layout).unwrap();
        let client = processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
        // Enough questions to interrupt: the node answers two at a time.
        let bands = ["0-4", "5-15", "16-17", "18-24", "25-34", "35-44", "45-54", "55-64"];
        let parts = bands.map(|band| {
            format!(
                "SELECT CASE WHEN tenure = 'Social rented' THEN 'social' ELSE 'other' END AS tenure, COUNT(*) AS n \
                 FROM residents WHERE age_band <> '{band}' GROUP BY 1"
            )
        });
        let heavy = parts.join(" UNION ALL ");
        let heavy = heavy.as_str();
        // The first query reads files, which the later queries find in memory.
        client.query(heavy, "demo", None, |_| {}).await.unwrap();
        let began = Instant::now();
        let whole = client.query(heavy, "demo", None, |_| {}).await.unwrap();
        let took = began.elapsed();
        println!("the question takes {took:?} when nobody stops it");
        assert!(whole.statement.complete);
        let begin = || async {
            let prepared = client.prepare(heavy, "demo", false).await.unwrap();
            client.start(&prepared, None).await.unwrap()
        };
        let node = layout.node(layout.boroughs[1].gss).join("state/log.jsonl");
        let centre = layout.coordinator().join("state/log.jsonl");

        for (leaves, how) in [(false, "cancelled"), (true, "abandoned")] {
            let before = story(&node).into_values().flatten().filter(|(_, detail)| detail == "cancelled").count();
            let id = begin().await;
            let watching = tokio::spawn({
                let (client, id) = (client.clone(), id.clone());
                async move { client.await_answer(&id, |_| {}).await }
            });
            tokio::time::sleep(took / 8).await;
            if leaves {
                watching.abort();
            } else {
                client.cancel(&id).await.unwrap();
            }
            ends_soon(&centre, how, 0).await;
            ends_soon(&node, "cancelled", before).await;
        }
        // The node is free at once: the next question takes no longer than the first.
        let began = Instant::now();
        client.query(heavy, "demo", None, |_| {}).await.unwrap();
        println!("and {:?} right after one that was stopped", began.elapsed());
    });
}
