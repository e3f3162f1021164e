//! Nodes that die or hang, as real processes. The answer arrives in time and names them, and no London figure is
//! silently smaller.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use loda::Client;
use loda_demo::layout::{Layout, Options};
use loda_demo::processes::Processes;
use loda_proto::v1::told::Word;

use crate::pooled::text;
use crate::support;
use crate::support::signal;

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");

struct Running {
    processes: Processes,
    layout: Layout,
    client: Client,
    _dir: tempfile::TempDir,
}

async fn start(nodes: usize) -> Running {
    let dir = tempfile::tempdir().unwrap();
    // The last of the nodes dials out.
    let options = Options { dialling: 1, ..support::options(dir.path(), nodes, None) };
    let layout = support::laid_out(&options);
    let mut processes = Processes::start(Path::new(BINARY), &layout).unwrap();
    let client = processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
    Running { processes, layout, client, _dir: dir }
}

const LONDON: &str = "SELECT COUNT(*) AS people FROM residents";
const BY_BOROUGH: &str = "SELECT borough, COUNT(*) AS people FROM residents GROUP BY borough";

#[test]
fn an_asker_with_a_certificate_has_four_costly_calls_at_a_time() {
    support::run(async {
        let running = start(3).await;
        signal(running.processes.node_id("E09000003").unwrap(), "-STOP");
        // Each call asks all nodes, and waits for the one that hangs.
        let begun = Instant::now();
        let calls = (0..8).map(|_| {
            let client = running.client.clone();
            async move {
                client.nodes().await.unwrap();
                begun.elapsed()
            }
        });
        let mut took = futures::future::join_all(calls).await;
        took.sort_unstable();
        let (first, last) = (took[..4].last().unwrap().as_secs_f64(), took[4].as_secs_f64());
        assert!(last > 1.5 * first, "the fifth call did not wait for one of the first four: {took:?}");
    });
}

#[test]
fn a_killed_and_a_hanging_node_are_named_and_nothing_is_silently_smaller() {
    support::run(async {
        let mut running = start(5).await;
        let client = running.client.clone();
        let deadline = Some(Duration::from_secs(4));
        let whole = client.query(LONDON, "demo", deadline, |_| {}).await.unwrap();
        assert!(whole.statement.complete);
        running.processes.kill_node("E09000002").unwrap();
        let hanging = running.processes.node_id("E09000003").unwrap();
        signal(hanging, "-STOP");
        let started = Instant::now();
        let london = client.query(LONDON, "demo", deadline, |_| {}).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert!(!london.statement.complete);
        let part = &london.statement.parts[0];
        let missing: Vec<&str> =
            part.boroughs.iter().filter(|b| b.answer == "no answer").map(|b| b.borough.as_str()).collect();
        assert_eq!(missing, ["E09000002", "E09000003"]);
        assert_eq!((part.lacks[0].no_answer, part.lacking), (2, 1));
        let row = text(&london.batches, 99).remove(0);
        assert!(row[1].starts_with("lacks 2 of 5 boroughs: 2 no answer"), "{row:?}");
        assert_eq!(loda::exit::of_statement(&london.statement), loda::exit::PARTIAL);
        let each = client.query(BY_BOROUGH, "demo", deadline, |_| {}).await.unwrap();
        for row in text(&each.batches, 99) {
            let gone = ["E09000002", "E09000003"].contains(&row[0].as_str());
            assert_eq!(gone, row[1] == "NULL", "{row:?}");
            assert_eq!(gone, row[2] == "x: no answer", "{row:?}");
        }
        signal(hanging, "-CONT");
        running.processes.start_node("E09000002").unwrap();
        running.processes.ready(Duration::from_secs(60), &mut |_| {}).await.unwrap();
        let again = client.query(LONDON, "demo", deadline, |_| {}).await.unwrap();
        assert!(again.statement.complete);
        assert_eq!(text(&again.batches, 99), text(&whole.batches, 99), "a restart gives nobody fresh noise");
    });
}

#[test]
fn logs_verify_and_tell_every_query_before_its_release() {
    support::run(async {
        let running = start(2).await;
        running.client.query(BY_BOROUGH, "demo", None, |_| {}).await.unwrap();
        let not_agreed = running.client.query(BY_BOROUGH, "curiosity", None, |_| {}).await.unwrap();
        let refused = |b: &loda_proto::v1::BoroughAnswer| b.refusal.as_ref().is_some_and(|r| r.rule == "agreement");
        assert!(not_agreed.statement.parts[0].boroughs.iter().all(refused));
        let manifest = loda_identity::Manifest::load(running.layout.manifest()).unwrap();
        for member in &manifest.members {
            let log = running.layout.node(member.gss.as_str()).join("state/log.jsonl");
            let verified = loda_ledger::verify_lines(&log, &member.log_key).unwrap();
            let kinds: Vec<String> = std::fs::read_to_string(&log)
                .unwrap()
                .lines()
                .map(|line| {
                    let line: serde_json::Value = serde_json::from_str(line).unwrap();
                    line["entry"]["what"]["kind"].as_str().unwrap().to_owned()
                })
                .collect();
            assert_eq!(usize::try_from(verified).unwrap(), kinds.len());
            // First the entries at the start of the epoch, then the questions.
            let (opened, asked) = kinds.split_at(kinds.len() - 3);
            assert!(!opened.is_empty() && opened.iter().all(|kind| kind == "ADMIN"), "{opened:?}");
            assert_eq!(asked, ["ACCEPT", "RELEASE", "REFUSE"]);
        }
        let log = running.layout.coordinator().join("state/log.jsonl");
        // The entry of its start, and INTENT and OUTCOME for two questions.
        assert_eq!(loda_ledger::verify_lines(&log, &manifest.coordinator.log_key).unwrap(), 5);
    });
}

#[test]
fn bad_input_keeps_the_last_good_snapshot() {
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let layout = support::laid_out(&support::options(dir.path(), 1, None));
        let folder = layout.node("E09000001");
        let open = || async {
            let config = loda_node::Config::load(&folder.join("node.toml")).unwrap();
            let handle = support::RUNTIME.handle().clone();
            loda_node::Node::open(config, loda_node::Methods::standard().unwrap(), handle).await.unwrap()
        };
        let good = open().await.snapshot_files();
        let residents = folder.join("data/E09000001/residents.csv");
        let whole = std::fs::read_to_string(&residents).unwrap();
        let name_of = |files: &[(String, std::path::PathBuf)]| {
            files.iter().find(|(name, _)| name == "residents").map(|(_, path)| path.clone())
        };
        let header = whole.lines().next().unwrap();
        let shifted: String = whole.lines().skip(1).map(|l| format!("x,{l}\n")).collect();
        let shifted = format!("{header}\n{shifted}");
        for broken in [
            String::new(),
            format!("{header}\n"),
            "no,such,columns\n1,2,3\n".to_owned(),
            shifted,
            format!("{header}\n\"never ends"),
        ] {
            std::fs::write(&residents, broken).unwrap();
            assert_eq!(name_of(&open().await.snapshot_files()), name_of(&good));
        }
        std::fs::remove_file(&residents).unwrap();
        assert_eq!(name_of(&open().await.snapshot_files()), name_of(&good));
        // A repaired file about people waits for the next epoch, like all data about people.
        std::fs::write(&residents, whole).unwrap();
        assert_eq!(name_of(&open().await.snapshot_files()), name_of(&good));
        let kept = Command::new(env!("CARGO_BIN_EXE_loda-demo"))
            .args(["node", "snapshots", "--config"])
            .arg(folder.join("node.toml"))
            .output()
            .unwrap();
        let kept = String::from_utf8(kept.stdout).unwrap();
        let of_residents: Vec<&str> = kept.lines().filter(|line| line.starts_with("residents ")).collect();
        assert!(of_residents[0].contains("for epoch 20"), "{kept}");
        assert!(of_residents.last().unwrap().contains("waits for the next epoch"), "{kept}");
    });
}

/// An asker's view of a question that a node did not answer: all states, the headers and trailers around them, and the
/// times.
#[derive(Debug, PartialEq)]
struct Seen {
    states: Vec<i32>,
    headers: Vec<String>,
    trailers: usize,
}

#[test]
fn every_stop_inside_a_node_looks_the_same_and_is_told_at_the_deadline() {
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let layout = support::laid_out(&support::options(dir.path(), 3, None));
        let handle = support::RUNTIME.handle().clone();
        let mut nodes = Vec::new();
        for borough in &layout.boroughs {
            let config = loda_node::Config::load(&layout.node(borough.gss).join("node.toml")).unwrap();
            let methods = loda_node::Methods::standard().unwrap();
            let node = loda_node::Node::open(config, methods, handle.clone()).await.unwrap();
            let listener = node.bind().await.unwrap();
            let serving = node.clone();
            handle.spawn(async move { serving.serve(listener).await.unwrap() });
            nodes.push(node);
        }
        let snapshot =
            |node: &loda_node::Node| node.snapshot_files().into_iter().find(|(name, _)| name == "residents").unwrap().1;
        // Bytes that are not a table, no file at all, and people with two rows although the contract allows one.
        std::fs::write(snapshot(&nodes[0]), b"not a table").unwrap();
        std::fs::remove_file(snapshot(&nodes[1])).unwrap();
        twice(&snapshot(&nodes[2]));
        let table = loda_question::table::Table::new(
            loda_question::table::RowDomain::Units("person".to_owned()),
            loda_question::table::ColumnRef::parse("residents.sex"),
            [loda_question::table::Functional::Units("person".to_owned())],
            &|name| Some(crate::pooled::contract(name)),
        );
        let fragment = table.unwrap().encode();
        // The request below asks for less, but no deadline is shorter than this: it would reveal how long an answer
        // takes.
        let deadline = Duration::from_secs(5);
        let mut seen = Vec::new();
        for borough in &layout.boroughs {
            let mut node = support::node_client(&layout, borough.gss, &layout.coordinator());
            let request = loda_proto::v1::SubmitRequest {
                query_id: uuid::Uuid::new_v4().to_string(),
                analyst: "spiffe://demo.london/analyst/demo".to_owned(),
                purpose: "demo".to_owned(),
                fragment: fragment.clone(),
                targets: vec![borough.gss.to_owned()],
                deadline_ms: 1_500,
                dry_run: false,
                signed: None,
                would_sign: false,
                log: None,
                question_id: String::new(),
            };
            let request = support::logged(&mut node, &layout, request).await;
            let started = Instant::now();
            let answered = node.ask(request).await.unwrap();
            let headers =
                answered.metadata().keys().map(|k| format!("{k:?}")).filter(|k| !k.contains("date")).collect();
            let mut stream = answered.into_inner();
            let mut states = Vec::new();
            while let Some(told) = stream.message().await.unwrap() {
                let Some(Word::State(state)) = told.word else { panic!("{told:?}") };
                // Whether the stream shows a state that passes quickly is not fixed.
                if state != i32::from(loda_proto::v1::State::Queued) {
                    states.push(state);
                }
            }
            states.dedup();
            let took = started.elapsed();
            assert!(took >= deadline && took < deadline + Duration::from_millis(400), "{}: {took:?}", borough.gss);
            let trailers = stream.trailers().await.unwrap();
            let trailers = trailers.map_or(0, |trailers| trailers.keys().count());
            seen.push(Seen { states, headers, trailers });
        }
        assert_eq!(seen[0].states.last(), Some(&i32::from(loda_proto::v1::State::NotAnswered)));
        assert!(seen.iter().all(|s| *s == seen[0]), "{seen:#?}");
    });
}

/// Writes every record of a snapshot twice.
fn twice(file: &Path) {
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap()).unwrap();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(file).unwrap(), batches[0].schema(), None).unwrap();
    for batch in batches.iter().chain(&batches) {
        writer.write(batch).unwrap();
    }
    writer.close().unwrap();
}

/// A small disk for a node's state alone.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(folder: &Path) -> Option<Self> {
        let made = Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(folder).output();
        match made {
            Ok(made) if made.status.success() => Some(Self(folder.to_owned())),
            Ok(made) => {
                support::skip::host(format!(
                    "no disk can be mounted here: {}",
                    String::from_utf8_lossy(&made.stderr).trim()
                ));
                None
            }
            Err(error) => {
                support::skip::host(format!("no disk can be mounted here: {error}"));
                None
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn on_a_full_disk_nothing_runs_unlogged_and_after_it_all_is_well() {
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let layout = support::laid_out(&support::options(dir.path(), 2, None));
        let full = layout.boroughs[1].gss;
        let state = layout.node(full).join("state");
        let key = std::fs::read(state.join("log.key")).unwrap();
        let Some(_disk) = Disk::mount(&state) else { return };
        std::fs::write(state.join("log.key"), key).unwrap();
        let mut processes = Processes::start(Path::new(BINARY), &layout).unwrap();
        let client = processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
        let deadline = Some(Duration::from_secs(4));
        let whole = client.query(BY_BOROUGH, "demo", deadline, |_| {}).await.unwrap();
        assert!(whole.statement.complete);
        let lines = || std::fs::read_to_string(state.join("log.jsonl")).unwrap().lines().count();
        let before = lines();
        // Fill the disk to the last byte.
        let mut filler = std::fs::File::create(state.join("filler")).unwrap();
        for size in [1 << 20, 4 << 10, 1] {
            while std::io::Write::write_all(&mut filler, &vec![0; size]).is_ok() {}
        }
        // The rest of the log's last block holds a few more entries. Each of them is there.
        let mut logged = before;
        let lacking = loop {
            let answer = client.query(BY_BOROUGH, "demo", deadline, |_| {}).await.unwrap();
            if !answer.statement.complete {
                break answer;
            }
            logged += 2;
            assert_eq!(lines(), logged, "answered and not logged");
            assert!(logged < before + 60, "the disk is not full");
        };
        let rows = text(&lacking.batches, 99);
        assert!(rows.iter().all(|row| (row[0] == full) == (row[1] == "NULL")), "{rows:?}");
        let told = std::fs::read_to_string(layout.node(full).join("process.log")).unwrap();
        assert!(told.contains("query log") && told.contains("nothing runs until it can be written"), "{told}");
        assert!(lines() <= logged + 2, "at most ACCEPT and a line that was cut short");
        std::fs::remove_file(state.join("filler")).unwrap();
        drop(filler);
        // The node continues without help once there is space again.
        let again = client.query(BY_BOROUGH, "demo", deadline, |_| {}).await.unwrap();
        assert_eq!(text(&again.batches, 99), text(&whole.batches, 99));
        let manifest = loda_identity::Manifest::load(layout.manifest()).unwrap();
        let log_key = &manifest.member(&full.parse().unwrap()).unwrap().log_key;
        loda_ledger::verify_lines(&state.join("log.jsonl"), log_key).unwrap();
        drop(processes);
    });
}
