//! Monitoring: the metrics exist, alerts and a dashboard use them, and the documentation says what to do about each
//! alert.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use loda_demo::processes::Processes;
use serde_json::Value;

use crate::support;

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn said(port: u16, page: &str) -> String {
    let mut line = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    line.write_all(format!("GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut said = String::new();
    line.read_to_string(&mut said).unwrap();
    said
}

/// The names of our metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("loda_")).map(str::to_owned).collect()
}

#[test]
fn alerts_and_dashboard_are_over_metrics_that_there_are_and_each_alert_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let layout = support::laid_out(&support::options(dir.path(), 1, None));
    let ports = support::free_ports();
    let folders = [(layout.node(layout.boroughs[0].gss), "node.toml"), (layout.coordinator(), "coordinator.toml")];
    for ((folder, file), port) in folders.iter().zip(ports..) {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("operations"));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        std::fs::write(folder.join(file), format!("operations = \"127.0.0.1:{port}\"\n{text}")).unwrap();
    }
    let told = support::run(async move {
        let mut processes = Processes::start(Path::new(BINARY), &layout).unwrap();
        let client = processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
        let sql = "SELECT borough, COUNT(*) AS people FROM residents GROUP BY borough";
        client.query(sql, "demo", None, |_| {}).await.unwrap();
        tokio::task::spawn_blocking(move || {
            let told = [said(ports, "/metrics"), said(ports + 1, "/metrics")];
            drop(processes);
            told
        })
        .await
        .unwrap()
    });
    // A counter exists once it has counted.
    let there: BTreeSet<String> =
        names(&told.concat()).into_iter().chain(["loda_sign_ins_refused_total".to_owned()]).collect();
    let alerts = read("deploy/monitoring/alerts.yml");
    let dashboard: Value = serde_json::from_str(&read("deploy/monitoring/dashboard.json")).unwrap();
    let mut panels = 0;
    let mut shown = String::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        panels += 1;
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()));
        for target in panel["targets"].as_array().unwrap() {
            shown += target["expr"].as_str().unwrap();
            shown.push(' ');
        }
    }
    for (what, text) in [("alerts", &alerts), ("dashboard", &shown)] {
        let missing: Vec<String> = names(text).into_iter().filter(|name| !there.contains(name)).collect();
        assert!(missing.is_empty(), "{what}: no such metric: {missing:?}\n{there:?}");
    }
    // Each metric is shown or watched.
    let unseen: Vec<&String> = there
        .iter()
        .filter(|name| !names(&format!("{alerts} {shown}")).contains(*name))
        .filter(|name| {
            !["_sum", "_count"].iter().any(|end| name.ends_with(end))
                && *name != "loda_seconds"
                && *name != "loda_questions"
        })
        .filter(|name| *name != "loda_sign_ins_refused")
        .collect();
    assert!(unseen.is_empty(), "nobody looks at {unseen:?}");
    let operations = read("docs/operations.md");
    let named: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    for alert in &named {
        let row = operations.lines().find(|line| line.starts_with(&format!("| {alert} | ")));
        let what = row.unwrap_or_else(|| panic!("docs/operations.md does not say what to do about {alert}"));
        assert!(what.trim_end_matches(" |").ends_with('.'), "{what}");
    }
    println!("{} alerts and {panels} panels over {} metrics", named.len(), there.len());
    assert!(named.len() >= 12 && panels >= 10);
    // Prometheus's own tool, if it is installed.
    let checked = Command::new("promtool").args(["check", "rules"]).arg("deploy/monitoring/alerts.yml").output();
    match checked {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.contains(&format!("{} rules found", named.len())), "{said}");
            println!("promtool: {}", said.trim().replace('\n', "; "));
        }
        Err(_) => support::skip::tool("no promtool"),
    }
}
