//! No log, agreement or certificate fails, goes back or ends without a word.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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
        // One that cannot be read stays without effect.
        write("id = ");
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let answer = client.query(BY_BOROUGH, "demo", None, |_| {}).await.unwrap();
        assert!(answer.statement.complete);
        let told = std::fs::read_to_string(folder.join("process.log")).unwrap();
        assert!(told.contains("the agreement of before stays in force"), "{told}");
        // Fifty ask all the while.
        let stop = Instant::now() + Duration::from_secs(7);
        let asking = (0..50).map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut asked = 0_u32;
                while Instant::now() < stop {
                    // Another table each time: what is kept is answered in a moment.
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
        // And what is agreed again is answered again.
        write(&good);
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert!(client.query(BY_BOROUGH, "demo", None, |_| {}).await.unwrap().statement.complete);
    });
}

/// Starts a party and says what it told before it ended; none where it serves.
fn refused(layout: &Layout, role: &str, folder: &Path) -> Option<String> {
    let mut child = Command::new(BINARY)
        .args([role, "--config"])
        .arg(folder.join(format!("{role}.toml")))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = layout;
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
            // A second one over the same state.
            for (role, folder) in [("node", layout.node(layout.boroughs[1].gss)), ("coordinator", layout.coordinator())]
            {
                let said = refused(&layout, role, &folder).expect("a second one began");
                assert!(said.contains(&format!("a {role} runs on")), "{said}");
            }
        }
    });
    for (role, folder) in [("node", layout.node(layout.boroughs[1].gss)), ("coordinator", layout.coordinator())] {
        let state = folder.join("state");
        let names = ["log.jsonl", "log.head", "log.key"];
        let kept: Vec<(PathBuf, Vec<u8>)> = names
            .iter()
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
        ];
        for (what, change) in changes {
            change();
            let said = refused(&layout, role, &folder).unwrap_or_else(|| panic!("{role}: {what}, and it began"));
            assert!(said.contains("log"), "{role}: {what}: {said}");
            println!(
                "{role}: {what}: {}",
                said.lines().last().unwrap_or_default().chars().take(160).collect::<String>()
            );
            for (path, bytes) in &kept {
                std::fs::write(path, bytes).unwrap();
            }
        }
        assert!(refused(&layout, role, &folder).is_none(), "the {role} does not begin on its own log");
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
            // The demo's own layout made the key's folder before.
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
