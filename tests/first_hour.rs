//! A borough's first hour, as README.md tells it: from an empty folder to a served dataset.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{self, Running};

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");

/// A program of the federation, run in a folder.
fn program(folder: &Path, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg(name).args(arguments).current_dir(folder);
    command
}

fn done(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

fn serve(folder: &Path, name: &str, config: &str) -> Running {
    let log = std::fs::File::create(folder.join(format!("{name}.log"))).unwrap();
    let mut command = program(folder, name, &["--config", config]);
    Running(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
}

/// Asks until both programs are ready.
fn answered(folder: &Path, sql: &str) -> String {
    let began = Instant::now();
    loop {
        let asked = program(folder, "loda", &["query", "-p", "trial", "--format", "csv", "--config", "loda.toml", sql]);
        let output = { asked }.output().unwrap();
        if output.status.success() {
            return done(&output);
        }
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(began.elapsed() < Duration::from_secs(30), "{told}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn files(folder: &Path, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| folder.join(name).display().to_string()).collect()
}

/// The commands of README.md, on a folder of extracts.
fn first_hour(name: &str, extracts: &[String], mend: impl FnOnce(&Path, &str)) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let mut init = vec!["init", "--borough", "E09000022", "--name", name];
    init.extend(extracts.iter().map(String::as_str));
    let told = done(&program(folder, "node", &init).output().unwrap());
    assert!(told.contains("To decide, before this is served"), "{told}");
    let checked = program(folder, "node", &["check", "--html", "report.html"]).output().unwrap();
    mend(folder, &String::from_utf8_lossy(&checked.stdout));
    done(&program(folder, "node", &["decide", "--by", "A. Khan", "--why", "looked at, and right"]).output().unwrap());
    let report = done(&program(folder, "node", &["check"]).output().unwrap());
    let port = support::free_ports().to_string();
    done(
        &program(folder, "loda", &["federation", "trial", "--borough", "E09000022", "--port", &port]).output().unwrap(),
    );
    let node = std::fs::read_to_string(folder.join("node.toml")).unwrap();
    let listen = format!("127.0.0.1:{}", port.parse::<u16>().unwrap() + 1);
    std::fs::write(folder.join("node.toml"), node.replace("127.0.0.1:7444", &listen)).unwrap();
    done(&program(folder, "node", &["doctor"]).output().unwrap());
    (dir, report)
}

fn open_data(folder: &str) -> Option<PathBuf> {
    Some(support::open_data()?.join(folder)).filter(|folder| folder.is_dir())
}

#[test]
fn lambeths_planning_decisions_as_published_are_served_whole() {
    let Some(data) = open_data("lambeth_council/planning") else { return };
    let names = ["2005fromApril", "2006", "2007", "2008", "2009", "2010", "2011toMarch"];
    let names: Vec<String> = names.iter().map(|name| format!("PlanPer{name}.csv")).collect();
    let extracts = files(&data, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let (dir, report) = first_hour("planning", &extracts, |_, _| {});
    // The publisher's own number of rows (PROVENANCE.md of the folder).
    assert!(report.contains("15283 rows; 15283 keep the contract"), "{report}");
    assert!(report.contains("PlanPer2005fromApril.csv: 1817 rows (windows-1252"), "{report}");
    let _running =
        (serve(dir.path(), "node", "node.toml"), serve(dir.path(), "coordinator", "coordinator/coordinator.toml"));
    let csv = answered(dir.path(), "SELECT COUNT(*) AS decisions FROM planning");
    let count: i64 = csv.lines().nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    assert!((count - 15_283).abs() <= 8, "{csv}");
}

#[test]
fn lambeths_payments_as_published_name_their_malformed_rows_and_serve_the_rest() {
    let Some(data) = open_data("lambeth_council/payments-to-suppliers") else { return };
    let mut names: Vec<String> =
        std::fs::read_dir(&data).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let extracts = files(&data, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let (dir, report) = first_hour("payments", &extracts, |folder, first| {
        // 17 months with three kinds of header. Most files have a title above the header. One file has old Macintosh
        // line ends.
        for told in [
            "2011-11-payments.csv: 909 rows",
            "has 108 of 2 fields",
            "2011-11-payments.csv line 912",
            "2012-02-payments.csv line 882",
            "638 × has 5 of 6 fields",
        ] {
            assert!(first.contains(told), "{told}: {first}");
        }
        // The report names the fault, and the borough answers it: that system omits the last column if it is empty.
        let node = std::fs::read_to_string(folder.join("node.toml")).unwrap();
        std::fs::write(folder.join("node.toml"), format!("{node}pad = true\n")).unwrap();
    });
    assert!(report.contains("This may be served"), "{report}");
    assert!(std::fs::read_to_string(dir.path().join("report.html")).unwrap().contains("<h1>payments</h1>"));
    let _running =
        (serve(dir.path(), "node", "node.toml"), serve(dir.path(), "coordinator", "coordinator/coordinator.toml"));
    let csv = answered(dir.path(), "SELECT COUNT(*) AS payments FROM payments");
    let count: i64 = csv.lines().nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    let kept: i64 = report.split(" keep the contract").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!((count - kept).abs() <= 8 && kept > 18_000, "{csv} {report}");
}

#[test]
fn recorded_crime_of_three_vintages_becomes_one_table_of_ones_own_borough() {
    let Some(data) = open_data("mps_borough_crime") else { return };
    let names =
        ["mps_borough_crime_2017-2018.csv", "mps_borough_crime_historical.csv", "mps_borough_crime_recent24.csv"];
    let (dir, report) = first_hour("recorded_crime", &files(&data, &names), |_, _| {});
    assert!(report.contains("source_1: 1050 rows read") && report.contains("source_2: 931 rows read"), "{report}");
    let _running =
        (serve(dir.path(), "node", "node.toml"), serve(dir.path(), "coordinator", "coordinator/coordinator.toml"));
    // Lambeth's rows, with months as rows: 24, 155 and 24 months.
    let lambeth = |name: &str| {
        let text = std::fs::read_to_string(data.join(name)).unwrap();
        let rows = text.lines().filter(|line| line.split(',').any(|field| field == "Lambeth")).count() as i64;
        rows * (text.lines().next().unwrap().split(',').count() as i64 - 3)
    };
    let expected: i64 = names.iter().map(|name| lambeth(name)).sum();
    let csv = answered(dir.path(), "SELECT COUNT(*) AS n FROM recorded_crime");
    let count: i64 = csv.lines().nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    assert!((count - expected).abs() <= 8, "{csv}, {expected}: {report}");
}

#[test]
fn new_extracts_are_taken_up_while_the_node_serves_and_bad_ones_are_not() {
    new_extracts("");
}

#[test]
fn so_are_the_new_files_of_a_source_that_appends() {
    new_extracts("appends = true\n");
}

fn new_extracts(of_source: &str) {
    let extract = |rows: std::ops::Range<usize>| -> String {
        let row = |n: usize| format!("R{n:05},{}\n", if n.is_multiple_of(2) { "Owned" } else { "Rented" });
        std::iter::once("Ref,Tenure\n".to_owned()).chain(rows.map(row)).collect()
    };
    let given = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        // A careful system writes a file beside its place and then renames it.
        let partial = given.path().join(format!("{name}.partial"));
        std::fs::write(&partial, text).unwrap();
        std::fs::rename(partial, given.path().join(name)).unwrap();
    };
    put("1.csv", &extract(0..1000));
    let health = support::free_ports();
    let ready = || -> String {
        let mut line = std::net::TcpStream::connect(("127.0.0.1", health)).unwrap();
        line.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut said = String::new();
        line.read_to_string(&mut said).unwrap();
        said
    };
    let extracts = vec![given.path().join("1.csv").display().to_string()];
    let (dir, _) = first_hour("homes", &extracts, |folder, _| {
        let node = std::fs::read_to_string(folder.join("node.toml")).unwrap();
        let node = node
            .replace("1.csv\"", &format!("*.csv\"\n{of_source}"))
            .replace("as_at = ", "refresh = \"change\"\nas_at = \"newest-file\"   # ")
            .replace("[tls]", "[limits]\nquery_seconds = 1\n\n[tls]")
            .replace("state = ", &format!("operations = \"127.0.0.1:{health}\"\nstate = "));
        std::fs::write(folder.join("node.toml"), node).unwrap();
        // Data about people do not change for an epoch, but these data are about things.
        let contract = std::fs::read_to_string(folder.join("contracts/homes.toml")).unwrap();
        let mut contract = contract
            .replace("cell-key", "threshold")
            .replace("dimensions = 2\nepoch = \"quarter\"\n", "")
            .replace("\"people\"", "\"things\"");
        if !of_source.is_empty() {
            // A new file can hold the same home again.
            contract = contract.replace("one-row = true", "max-rows = 3");
        }
        std::fs::write(folder.join("contracts/homes.toml"), contract).unwrap();
    });
    let folder = dir.path();
    let _running = (serve(folder, "node", "node.toml"), serve(folder, "coordinator", "coordinator/coordinator.toml"));
    let count = || -> i64 {
        let csv = answered(folder, "SELECT COUNT(*) AS n FROM homes");
        csv.lines().nth(1).unwrap().split(',').next().unwrap().parse().unwrap()
    };
    let near = |count: i64, expected: i64| count == expected;
    assert!(near(count(), 1000));
    let log = || std::fs::read_to_string(folder.join("node.log")).unwrap();
    let becomes = |expected: i64| {
        let began = Instant::now();
        while !near(count(), expected) {
            assert!(
                began.elapsed() < Duration::from_secs(40),
                "it never became {expected}, but {}\n{}",
                count(),
                log()
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    };
    put("2.csv", &extract(1000..3000));
    becomes(3000);
    // A header that has drifted is reported, and the served data stay.
    put("3.csv", &extract(3000..9000).replace("Tenure", "Tenure Type"));
    let began = Instant::now();
    while !log().contains("its header is not that of the first file") {
        assert!(began.elapsed() < Duration::from_secs(40), "{}", log());
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(near(count(), 3000));
    let said = ready();
    assert!(said.starts_with("HTTP/1.1 503") && said.contains("3.csv: its header"), "{said}");
    put("3.csv", &extract(3000..9000));
    becomes(9000);
    assert!(ready().starts_with("HTTP/1.1 200"));
    // The log records which snapshot was served from when. Only two snapshots are kept.
    let written = std::fs::read_to_string(folder.join("state/log.jsonl")).unwrap();
    let admin = written.lines().filter(|line| line.contains("ADMIN") && line.contains("snapshot "));
    let admin: Vec<&str> = admin.collect();
    assert!(admin.len() == 2 && admin[0].contains("snapshot 2 of") && admin[1].contains("snapshot 3 of"), "{admin:?}");
    let kept = done(&program(folder, "node", &["snapshots"]).output().unwrap());
    let today = chrono::Utc::now().date_naive().to_string();
    assert!(kept.lines().count() == 3 && kept.matches(&today).count() == 2, "{kept}");
}
