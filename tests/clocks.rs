//! Clocks that are a day off. Signed and linked entries are ordered by their position, not by the time that they claim.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use loda_demo::processes::Processes;

use crate::pooled::text;
use crate::support;

const SQL: &str = "SELECT borough, COUNT(*) AS people FROM residents GROUP BY borough ORDER BY borough";

/// A library that moves a process's wall clock by `CLOCK_OFF` seconds.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t which, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(which, at);
    const char *off = getenv("CLOCK_OFF");
    if (which == CLOCK_REALTIME && off) at->tv_sec += atol(off);
    return done;
}
"#;

/// The demo's binary, with its clock set by the file `clock` beside the configuration. `None`: this cannot be built
/// here.
fn binary(dir: &Path) -> Option<PathBuf> {
    let (source, library) = (dir.join("clock.c"), dir.join("clock.so"));
    std::fs::write(&source, CLOCK).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl").status();
    if !cfg!(target_os = "linux") || !built.is_ok_and(|status| status.success()) {
        support::skip::host("clocks can only be set here with Linux's preloading and a C compiler");
        return None;
    }
    let script = format!(
        "#!/bin/sh\nif read -r CLOCK_OFF < \"$(dirname \"$3\")/clock\"; then\n\
         export CLOCK_OFF LD_PRELOAD='{}'\nfi 2>/dev/null\nexec '{}' \"$@\"\n",
        library.display(),
        env!("CARGO_BIN_EXE_loda-demo")
    );
    let path = dir.join("demo");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Some(path)
}

/// The days in a log's entries, in the order of the log.
fn days(log: &Path) -> Vec<i64> {
    let text = std::fs::read_to_string(log).unwrap();
    let day = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        // The entries at the start of an epoch belong to no question.
        if line["entry"]["what"]["kind"] == "ADMIN" {
            return None;
        }
        let time: chrono::DateTime<chrono::Utc> = line["entry"]["time"].as_str().unwrap().parse().unwrap();
        Some(((time - chrono::Utc::now()).num_hours() + 12).div_euclid(24))
    };
    text.lines().filter_map(day).collect()
}

#[test]
fn with_clocks_a_day_apart_answers_are_the_same_and_logs_are_ordered_by_place() {
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let Some(binary) = binary(dir.path()) else { return };
        let layout = support::laid_out(&support::options(&dir.path().join("federation"), 3, None));
        let boroughs: Vec<&'static str> = layout.boroughs.iter().map(|b| b.gss).collect();
        let set =
            |folder: PathBuf, days: i64| std::fs::write(folder.join("clock"), format!("{}\n", days * 86_400)).unwrap();
        // Seen from the coordinator, the first node is a day behind and the last node is a day ahead.
        set(layout.coordinator(), 1);
        set(layout.node(boroughs[1]), 1);
        set(layout.node(boroughs[2]), 2);
        let mut processes = Processes::start(&binary, &layout).unwrap();
        let client = processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
        let first = client.query(SQL, "demo", None, |_| {}).await.unwrap();
        assert!(first.statement.complete);
        // The last node's clock is corrected, so its log continues two days earlier. The coordinator's clock moves to
        // where the node's clock was.
        set(layout.node(boroughs[2]), 0);
        set(layout.coordinator(), 2);
        processes.kill_node(boroughs[2]).unwrap();
        processes.kill_coordinator().unwrap();
        processes.start_node(boroughs[2]).unwrap();
        processes.start_coordinator().unwrap();
        let client = processes.ready(Duration::from_secs(60), &mut |_| {}).await.unwrap();
        let second = client.query(SQL, "demo", None, |_| {}).await.unwrap();
        assert!(second.statement.complete);
        assert_eq!(text(&second.batches, 99), text(&first.batches, 99));
        let log = |gss: &str| layout.node(gss).join("state/log.jsonl");
        assert_eq!(days(&log(boroughs[0])), [0, 0, 0, 0]);
        assert_eq!(days(&log(boroughs[1])), [1, 1, 1, 1]);
        assert_eq!(days(&log(boroughs[2])), [2, 2, 0, 0]);
        assert_eq!(days(&layout.coordinator().join("state/log.jsonl")), [1, 1, 2, 2]);

        // Before its peers' certificates become valid, a node accepts no peer. The fault is reported, and disappears
        // with its cause.
        set(layout.node(boroughs[0]), -1);
        processes.kill_node(boroughs[0]).unwrap();
        processes.start_node(boroughs[0]).unwrap();
        let third = client.query(SQL, "demo", Some(Duration::from_secs(5)), |_| {}).await.unwrap();
        let rows = text(&third.batches, 99);
        assert_eq!(rows[0][1..], ["NULL", "x: no answer"]);
        assert_eq!(rows[1..], text(&first.batches, 99)[1..]);
        set(layout.node(boroughs[0]), 0);
        processes.kill_node(boroughs[0]).unwrap();
        processes.start_node(boroughs[0]).unwrap();
        let client = processes.ready(Duration::from_secs(60), &mut |_| {}).await.unwrap();
        let last = client.query(SQL, "demo", None, |_| {}).await.unwrap();
        assert_eq!(text(&last.batches, 99), text(&first.batches, 99));

        let manifest = loda_identity::Manifest::load(layout.manifest()).unwrap();
        for member in &manifest.members {
            loda_ledger::verify_lines(&log(member.gss.as_str()), &member.log_key).unwrap();
        }
    });
}
