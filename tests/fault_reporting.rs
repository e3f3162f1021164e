//! No log, agreement or certificate fails, goes back or ends without a report.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use loda_demo::layout::Layout;
use loda_demo::processes::Processes;
use loda_identity::SigningKey;
use serde_json::Value;

use crate::support;

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");
const BY_BOROUGH: &str = "SELECT borough, COUNT(*) AS people FROM residents GROUP BY borough";

/// The entries of a log: kind, detail, time.
fn entries(log: &Path) -> Vec<(String, String, DateTime<Utc>)> {
    let text = std::fs::read_to_string(log).unwrap();
    let of = |line: &str| {
        let entry = serde_json::from_str::<Value>(line).unwrap()["entry"].take();
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        (word(&entry["what"]["kind"]), word(&entry["what"]["detail"]), word(&entry["time"]).parse().unwrap())
    };
    text.lines().map(of).collect()
}

#[test]
fn an_agreement_that_ends_ends_at_once_and_a_bad_one_changes_nothing() {
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let layout = support::laid_out(&support::options(dir.path(), 2, None));
        let mut processes = Processes::start(Path::new(BINARY), &layout).unwrap();
        let client = processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
        let folder = layout.node(layout.boroughs[1].gss);
        let path = folder.join("agreement.toml");
        let good = std::fs::read_to_string(&path).unwrap();
        let write = |text: &str| {
            std::fs::write(folder.join("next"), text).unwrap();
            std::fs::rename(folder.join("next"), &path).unwrap();
        };
        // An unreadable agreement has no effect.
        write("id = ");
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let answer = client.query(BY_BOROUGH, "demo", None, |_| {}).await.unwrap();
        assert!(answer.statement.complete);
        let told = std::fs::read_to_string(folder.join("process.log")).unwrap();
        assert!(told.contains("the agreement of before stays in force"), "{told}");
        // Fifty analysts ask during the whole test.
        let stop = Instant::now() + Duration::from_secs(7);
        let asking = (0..50).map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut asked = 0_u32;
                while Instant::now() < stop {
                    // A different table each time, because cached tables are answered at once.
                    let key = ["sex", "age_band", "tenure"][(number + asked as usize) % 3];
                    let sql = format!("SELECT borough, {key}, COUNT(*) FROM residents GROUP BY borough, {key}");
                    let _answer = client.query(&sql, "demo", None, |_| {}).await;
                    asked += 1;
                }
            })
        });
        let asking: Vec<_> = asking.collect();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let until = good.lines().find(|line| line.starts_with("until")).unwrap();
        write(
            &good
                .replace(until, "until = \"2026-01-02\"")
                .replace(good.lines().find(|line| line.starts_with("from")).unwrap(), "from = \"2026-01-01\""),
        );
        let changed: DateTime<Utc> = SystemTime::now().into();
        for task in asking {
            task.await.unwrap();
        }
        let said = entries(&folder.join("state/log.jsonl"));
        let released = said.iter().filter(|(kind, ..)| kind == "RELEASE");
        let (before, after): (Vec<_>, Vec<_>) =
            released.partition(|(.., time)| *time <= changed + chrono::Duration::seconds(2));
        println!("{} released before the agreement ended, {} two seconds after", before.len(), after.len());
        assert!(before.len() > 20 && after.is_empty(), "{after:?}");
        let agreements: Vec<&String> =
            said.iter().filter(|(kind, ..)| kind == "ADMIN").map(|(_, detail, _)| detail).collect();
        let agreements: Vec<&&String> =
            agreements.iter().filter(|detail| detail.starts_with("agreement in force")).collect();
        let hash = |text: &str| hex::encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()));
        assert!(agreements.len() == 2 && agreements[0].contains(&hash(&good)), "{agreements:?}");
        assert!(agreements[1].contains(&hash(&std::fs::read_to_string(&path).unwrap())), "{agreements:?}");
        // A renewed agreement is answered again.
        write(&good);
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert!(client.query(BY_BOROUGH, "demo", None, |_| {}).await.unwrap().statement.complete);
    });
}

/// Starts one party alone.
fn started(role: &str, folder: &Path, errors: Stdio) -> Child {
    let config = folder.join(format!("{role}.toml"));
    let mut command = Command::new(BINARY);
    command.args([role, "--config"]).arg(config).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors);
    command.spawn().unwrap()
}

/// Starts a federation of processes, asks it this many questions, and ends it. Returns the last statement.
fn life(layout: &Layout, questions: usize) -> loda_proto::v1::Statement {
    let layout = layout.clone();
    support::run(async move {
        let mut processes = Processes::start(Path::new(BINARY), &layout).unwrap();
        let client = processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
        let mut last = None;
        for _ in 0..questions {
            last = Some(client.query(BY_BOROUGH, "demo", None, |_| {}).await.unwrap().statement);
        }
        last.unwrap()
    })
}

/// The number of entries of which a party's checkpoint is signed.
fn signed(state: &Path) -> usize {
    let checkpoint = std::fs::read_to_string(state.join("log/checkpoint")).unwrap();
    checkpoint.lines().nth(1).unwrap().parse().unwrap()
}

/// Starts a party, and returns its output if it ends. `None`: it serves.
fn refused(role: &str, folder: &Path) -> Option<String> {
    let mut child = started(role, folder, Stdio::piped());
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        if child.try_wait().unwrap().is_some() {
            let output = child.wait_with_output().unwrap();
            return Some(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[test]
fn a_log_that_was_changed_while_nobody_looked_is_not_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let layout = support::laid_out(&support::options(dir.path(), 2, None));
    support::run({
        let layout = layout.clone();
        async move {
            let mut processes = Processes::start(Path::new(BINARY), &layout).unwrap();
            let client = processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
            for _ in 0..3 {
                client.query(BY_BOROUGH, "demo", None, |_| {}).await.unwrap();
            }
            // A checkpoint is signed every ten seconds. It may be behind the log.
            for folder in [layout.node(layout.boroughs[1].gss), layout.coordinator()] {
                let began = Instant::now();
                while signed(&folder.join("state")) < 4 {
                    assert!(began.elapsed() < Duration::from_secs(30), "no checkpoint is signed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            // A second process over the same state.
            for (role, folder) in [("node", layout.node(layout.boroughs[1].gss)), ("coordinator", layout.coordinator())]
            {
                let said = refused(role, &folder).expect("a second one began");
                assert!(said.contains(&format!("a {role} runs on")), "{said}");
            }
        }
    });
    for (role, folder) in [("node", layout.node(layout.boroughs[1].gss)), ("coordinator", layout.coordinator())] {
        let state = folder.join("state");
        let names = ["log.jsonl", "log.head", "log.key"];
        let kept: Vec<(PathBuf, Vec<u8>)> = names
            .iter()
            .chain(&["log/checkpoint"])
            .map(|name| state.join(name))
            .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
            .collect();
        let whole = String::from_utf8(kept[0].1.clone()).unwrap();
        let lines: Vec<&str> = whole.lines().collect();
        let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let write = |name: &str, text: &str| std::fs::write(state.join(name), text).unwrap();
        let remove = |name: &str| std::fs::remove_file(state.join(name)).unwrap();
        let mut swapped = lines.clone();
        swapped.swap(0, 1);
        let last = lines.len() - 1;
        let older = signed(&state) - 1;
        type Change<'a> = Box<dyn Fn() + 'a>;
        let changes: Vec<(&str, Change<'_>)> = vec![
            ("its end was cut", Box::new(|| write("log.jsonl", &joined(&lines[..last])))),
            ("half of it was cut", Box::new(|| write("log.jsonl", &joined(&lines[..lines.len() / 2])))),
            ("it was emptied", Box::new(|| write("log.jsonl", ""))),
            ("it was removed", Box::new(|| remove("log.jsonl"))),
            ("its beginning was cut", Box::new(|| write("log.jsonl", &joined(&lines[1..])))),
            (
                "a line in its middle was left out",
                Box::new(|| write("log.jsonl", &joined(&[&lines[..1], &lines[2..]].concat()))),
            ),
            ("two lines were swapped", Box::new(|| write("log.jsonl", &joined(&swapped)))),
            (
                "a word was changed",
                Box::new(|| write("log.jsonl", &whole.replacen("ADMIN", "FAIL", 1).replacen("INTENT", "REFUSE", 1))),
            ),
            ("the number was removed", Box::new(|| remove("log.head"))),
            ("the number was changed", Box::new(|| write("log.head", "1"))),
            ("the key was removed", Box::new(|| remove("log.key"))),
            (
                "the key was replaced",
                Box::new(|| {
                    SigningKey::generate().unwrap().0.save(&state.join("log.key")).unwrap();
                }),
            ),
            ("log, number and key were removed", Box::new(|| names.iter().for_each(|name| remove(name)))),
            (
                // They go together, so that the checkpoint alone knows of more.
                "an older log and its number were put back",
                Box::new(|| {
                    write("log.jsonl", &joined(&lines[..older]));
                    let hash = loda_ledger::sha256_hex(lines[older - 1].as_bytes());
                    write("log.head", &format!("{older:020} {hash}\n"));
                }),
            ),
            ("the checkpoint was changed", Box::new(|| write("log/checkpoint", "1"))),
        ];
        for (what, change) in changes {
            change();
            let said = refused(role, &folder).unwrap_or_else(|| panic!("{role}: {what}, and it began"));
            assert!(said.contains("log"), "{role}: {what}: {said}");
            println!(
                "{role}: {what}: {}",
                said.lines().last().unwrap_or_default().chars().take(160).collect::<String>()
            );
            for (path, bytes) in &kept {
                std::fs::write(path, bytes).unwrap();
            }
        }
        assert!(refused(role, &folder).is_none(), "the {role} does not begin on its own log");
    }
}

#[test]
fn nobody_else_on_the_host_reads_what_a_service_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let layout = support::laid_out(&support::options(dir.path(), 1, None));
    let folder = layout.node(layout.boroughs[0].gss);
    let run = format!("umask 000; exec {BINARY} node --ingest-only --config {}", folder.join("node.toml").display());
    assert!(Command::new("sh").args(["-c", &run]).stdin(Stdio::null()).status().unwrap().success());
    let mut folders = vec![folder.join("state")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            // The demo's layout made the key's folder before.
            let wanted = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode & !wanted, 0, "{}: {mode:o}", path.display());
            seen += 1;
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(seen > 5, "{seen}");
}

/// The details in a party's log that contain this text, in order.
fn said(state: &Path, beginning: &str) -> Vec<String> {
    let details = entries(&state.join("log.jsonl")).into_iter().map(|(_, detail, _)| detail);
    details.filter(|detail| detail.contains(beginning)).collect()
}

/// Copies a party's log, its head and its checkpoint, to restore them later.
fn copied(state: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = ["log.jsonl", "log.head", "log/checkpoint"].map(|name| state.join(name));
    paths.into_iter().map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

/// Starts a party that writes to its own log, and ends it. Its log gets one more entry each time.
fn lived(role: &str, folder: &Path) {
    let mut child = started(role, folder, Stdio::null());
    let log = folder.join("state/log.jsonl");
    let before = std::fs::metadata(&log).unwrap().len();
    let began = Instant::now();
    while std::fs::metadata(&log).unwrap().len() == before && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A log that is older than the other side has seen, or another log. Its own files fit together, and the party starts.
#[test]
fn a_log_that_went_back_with_all_that_is_beside_it_is_named_by_the_other_side() {
    let dir = tempfile::tempdir().unwrap();
    let layout = support::laid_out(&support::options(dir.path(), 2, None));
    let gss = layout.boroughs[1].gss;
    let (node, coordinator) = (layout.node(gss), layout.coordinator());
    let life = |questions| life(&layout, questions);
    let refused = |statement: &loda_proto::v1::Statement| -> Vec<(String, String)> {
        let of_parts = statement.parts.iter().flat_map(|part| &part.boroughs);
        let refusal = |of: &loda_proto::v1::BoroughAnswer| {
            let refusal = of.refusal.clone()?;
            assert_eq!(refusal.rule, "query-log");
            Some((of.borough.clone(), refusal.message))
        };
        of_parts.filter_map(refusal).collect()
    };
    assert!(life(2).complete);
    let old = [copied(&node.join("state")), copied(&coordinator.join("state"))];
    assert!(life(3).complete, "a restart is no fault");
    let good = [copied(&node.join("state")), copied(&coordinator.join("state"))];
    let put =
        |files: &[(PathBuf, Vec<u8>)]| files.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    let forked = |role: &str, folder: &Path, of: usize| {
        put(&old[of]);
        let lines = |files: &[(PathBuf, Vec<u8>)]| files[0].1.iter().filter(|byte| **byte == b'\n').count();
        (lines(&old[of])..lines(&good[of]) + 3).for_each(|_| lived(role, folder));
    };

    // A node's log.
    put(&old[0]);
    let statement = life(1);
    assert!(!statement.complete);
    let said_of = refused(&statement);
    assert!(said_of.len() == 1 && said_of[0].0 == gss && said_of[0].1.contains("went back"), "{said_of:?}");
    println!("node, restored from an older copy: {}", said_of[0].1);
    forked("node", &node, 0);
    let statement = life(1);
    let said_of = refused(&statement);
    assert!(said_of.len() == 1 && said_of[0].1.contains("is not the one that was seen"), "{said_of:?}");
    println!("node, another one from there on: {}", said_of[0].1);
    let named = said(&coordinator.join("state"), gss);
    assert!(named.len() == 2 && named[0].contains("went back") && named[1].contains("is not the one"), "{named:?}");
    // A restored log is accepted again.
    put(&good[0]);
    assert!(life(1).complete);

    // The coordinator's log: no node answers it.
    let good = [copied(&node.join("state")), copied(&coordinator.join("state"))];
    put(&old[1]);
    let said_of = refused(&life(1));
    // If the log has as many entries as a node once saw, its last entry is a different one.
    let back = |said: &str| said.contains("went back") || said.contains("is not the one");
    assert!(said_of.len() == 2 && said_of.iter().all(|(_, said)| back(said)), "{said_of:?}");
    println!("coordinator, restored from an older copy: {}", said_of[0].1);
    put(&old[1]);
    let lines = |files: &[(PathBuf, Vec<u8>)]| files[0].1.iter().filter(|byte| **byte == b'\n').count();
    (lines(&old[1])..lines(&good[1]) + 3).for_each(|_| lived("coordinator", &coordinator));
    let said_of = refused(&life(1));
    assert!(said_of.len() == 2 && said_of.iter().all(|(_, said)| said.contains("is not the one")), "{said_of:?}");
    println!("coordinator, another one from there on: {}", said_of[0].1);
    let named = said(&node.join("state"), "the coordinator's query log");
    assert!(
        named.len() >= 2 && named.iter().all(|said| said.contains("went back") || said.contains("not the one")),
        "{named:?}"
    );
    put(&good[1]);
    assert!(life(1).complete);
}

#[test]
fn a_log_that_is_changed_while_it_is_written_ends_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let layout = support::laid_out(&support::options(dir.path(), 2, None));
    life(&layout, 1);
    type Change = fn(&Path, &str);
    let changes: [(&str, Change); 8] = [
        ("its end was cut", |log, whole| std::fs::write(log, &whole[..whole.len() - 40]).unwrap()),
        ("it was emptied", |log, _| std::fs::write(log, "").unwrap()),
        ("it was removed", |log, _| std::fs::remove_file(log).unwrap()),
        ("it was moved away", |log, _| std::fs::rename(log, log.with_extension("old")).unwrap()),
        ("an older one was put in its place", |log, whole| {
            let next = log.with_extension("next");
            std::fs::write(&next, whole.lines().take(2).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
            std::fs::rename(next, log).unwrap();
        }),
        ("a word was changed", |log, whole| {
            let mut file = std::fs::OpenOptions::new().write(true).open(log).unwrap();
            let changed = whole.replacen("ADMIN", "OTHER", 1);
            std::io::Write::write_all(&mut file, changed.as_bytes()).unwrap();
        }),
        ("a line was repeated", |log, whole| {
            std::fs::write(log, format!("{whole}{}\n", whole.lines().next_back().unwrap())).unwrap();
        }),
        ("its number was replaced", |log, _| {
            let next = log.with_extension("next");
            std::fs::copy(log.with_extension("head"), &next).unwrap();
            std::fs::rename(next, log.with_extension("head")).unwrap();
        }),
    ];
    for (role, folder) in [("node", layout.node(layout.boroughs[1].gss)), ("coordinator", layout.coordinator())] {
        let log = folder.join("state/log.jsonl");
        let kept = copied(&folder.join("state"));
        for (what, change) in &changes {
            let mut child = started(role, &folder, std::fs::File::create(folder.join("said")).unwrap().into());
            let began = Instant::now();
            let told = || std::fs::read_to_string(folder.join("said")).unwrap();
            while !told().contains("serving") {
                assert!(began.elapsed() < Duration::from_secs(60), "{role}: {}", told());
                std::thread::sleep(Duration::from_millis(50));
            }
            std::thread::sleep(Duration::from_millis(50));
            change(&log, &std::fs::read_to_string(&log).unwrap());
            let changed = Instant::now();
            while child.try_wait().unwrap().is_none() {
                assert!(changed.elapsed() < Duration::from_secs(5), "{role}: {what}, and it goes on");
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(told().contains("while this ran"), "{role}: {what}: {}", told());
            println!("{role}: {what}: it ended after {:.1} s", changed.elapsed().as_secs_f64());
            for (path, bytes) in &kept {
                std::fs::write(path, bytes).unwrap();
            }
        }
    }
}

#[test]
fn who_may_not_ask_does_not_fill_the_logs() {
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let layout = support::laid_out(&support::options(dir.path(), 2, None));
        let mut processes = Processes::start(Path::new(BINARY), &layout).unwrap();
        let client = processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
        client.query(BY_BOROUGH, "demo", None, |_| {}).await.unwrap();
        let logs = [layout.node(layout.boroughs[1].gss), layout.coordinator()].map(|of| of.join("state/log.jsonl"));
        let sizes = || logs.clone().map(|log| std::fs::metadata(log).unwrap().len());
        let before = sizes();
        let mut answered = 0;
        for number in 0..300 {
            // The planner refuses the first question. Each node refuses the second: no agreement has its purpose.
            assert!(
                client.query(&format!("SELECT number{number} FROM residents"), "demo", None, |_| {}).await.is_err()
            );
            match client.query(BY_BOROUGH, "curiosity", None, |_| {}).await {
                Ok(answer) => {
                    answered += 1;
                    assert!(!answer.statement.complete);
                }
                Err(fault) => assert!(fault.to_string().contains("no borough has agreed"), "{fault}"),
            }
        }
        assert_eq!(answered, 60);
        // A coordinator that still asks a node.
        let gss = layout.boroughs[1].gss;
        let mut node = support::node_client(&layout, gss, &layout.coordinator());
        for number in 0..300 {
            let request = loda_proto::v1::SubmitRequest {
                query_id: uuid::Uuid::new_v4().to_string(),
                analyst: format!("spiffe://demo.london/analyst/x{}", number % 3),
                purpose: "curiosity".to_owned(),
                fragment: vec![0; 20],
                targets: vec![gss.to_owned()],
                deadline_ms: 5_000,
                dry_run: false,
                signed: None,
                would_sign: false,
                log: None,
                question_id: String::new(),
            };
            let request = support::logged(&mut node, &layout, request).await;
            assert!(node.submit(request).await.unwrap().into_inner().refusal.is_some());
        }
        let after = sizes();
        for id in [processes.node_id(layout.boroughs[1].gss), processes.coordinator_id()].into_iter().flatten() {
            assert!(Command::new("kill").args(["-TERM", &id.to_string()]).status().unwrap().success());
        }
        let stopping = Instant::now();
        let rest = |log: &PathBuf| std::fs::read_to_string(log).unwrap().contains("more refusals");
        while !logs.iter().all(rest) {
            assert!(stopping.elapsed() < Duration::from_secs(40), "what was counted is not in the log");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let of = |log: &Path| {
            let said = entries(log).into_iter().filter(|(kind, ..)| kind == "REFUSE").map(|(_, detail, _)| detail);
            said.collect::<Vec<String>>()
        };
        // The first sixty refusals of each asker have an entry each. One entry counts the rest.
        for ((log, expected), (before, after)) in logs.iter().zip([240, 60]).zip(before.into_iter().zip(after)) {
            let refusals = of(log);
            let (last, each) = refusals.split_last().unwrap();
            println!("{} refusals in {} bytes of log, the last: {last}", refusals.len(), after - before);
            assert_eq!(each.len(), expected);
            let rest = if expected == 60 { 240 } else { 120 };
            assert!(last.starts_with(&format!("{rest} more refusals")), "{last}");
        }
    });
}

#[test]
fn a_node_that_missed_three_versions_of_the_manifest_catches_up_by_itself() {
    use loda_identity::{Manifest, Signatures};
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let layout = support::laid_out(&support::options(dir.path(), 3, None));
        let mut processes = Processes::start(Path::new(BINARY), &layout).unwrap();
        let client = processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
        let path = layout.dir.join("manifest.toml");
        let first = Manifest::load(&path).unwrap();
        let away = layout.boroughs[2].gss;
        processes.kill_node(away).unwrap();
        let pinned = |gss: &str| Manifest::load(layout.node(gss).join("state/manifest.pinned.toml")).unwrap().version;
        let mut last = first.clone();
        for version in 2..=4 {
            let mut next = Manifest { version, previous: Some(hex::encode(last.sha256())), ..last.clone() };
            next.members[0].name = format!("renamed {version}");
            let mut signatures = Signatures::default();
            for borough in &layout.boroughs[..2] {
                let key = SigningKey::load(&layout.node(borough.gss).join("state/log.key")).unwrap();
                signatures.sign(borough.gss.parse().unwrap(), &next, &key);
            }
            std::fs::write(Signatures::beside(&path), signatures.to_text()).unwrap();
            std::fs::write(&path, next.to_toml()).unwrap();
            let began = Instant::now();
            while client.nodes().await.unwrap().manifest_version != version || pinned(layout.boroughs[1].gss) != version
            {
                assert!(began.elapsed() < Duration::from_secs(10), "version {version} is not taken up");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            last = next;
        }
        // The node starts with the last version beside it. That version does not follow the node's own.
        processes.start_node(away).unwrap();
        let began = Instant::now();
        while pinned(away) != 4 {
            assert!(began.elapsed() < Duration::from_secs(30), "it stays at version {}", pinned(away));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("three versions behind: it caught up {:.1} s after its start", began.elapsed().as_secs_f64());
        // An older version that is put back has no effect, also after a restart.
        processes.kill_node(away).unwrap();
        std::fs::write(&path, first.to_toml()).unwrap();
        processes.start_node(away).unwrap();
        let began = Instant::now();
        while !client.query(BY_BOROUGH, "demo", None, |_| {}).await.unwrap().statement.complete {
            assert!(began.elapsed() < Duration::from_secs(30), "it does not answer any more");
        }
        assert_eq!(pinned(away), 4);
        // A client that has only the first version gets the others from the coordinator.
        let own = dir.path().join("own.toml");
        std::fs::write(&own, first.to_toml()).unwrap();
        let updated = tokio::task::spawn_blocking({
            let (client, own) = (layout.client(), own.clone());
            move || {
                let run = ["loda", "federation", "update"].map(Into::into).into_iter().chain([own.into_os_string()]);
                Command::new(BINARY).args(run).arg("--config").arg(client).output().unwrap()
            }
        });
        let updated = updated.await.unwrap();
        let said = String::from_utf8_lossy(&updated.stdout) + String::from_utf8_lossy(&updated.stderr);
        assert!(updated.status.success() && Manifest::load(&own).unwrap() == last, "{said}");
        println!("{}", said.lines().next_back().unwrap_or_default());
    });
}
