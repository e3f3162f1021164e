//! Flight SQL with the clients that people have.

use std::process::{Command, Stdio};
use std::time::Duration;

use loda_identity::Role;

use crate::support::doors::{CROWD, DOORS, analyst, python};

/// Runs a script with what it needs to come in.
fn script(name: &str, more: &[(&str, String)]) {
    let Some(python) = python() else { return };
    let (certificate, key) = DOORS.certificate(analyst());
    let output = Command::new(python)
        .arg(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doors").join(name))
        .env("LODA_ADDRESS", &DOORS.address)
        .env("LODA_CA", &DOORS.authority)
        .env("LODA_CERTIFICATE", certificate)
        .env("LODA_KEY", key)
        .env("LODA_TOKEN", DOORS.token(analyst(), &[]))
        .env("LODA_OTHER", DOORS.token(Role::Analyst("other".to_owned()), &[]))
        .env("LODA_READER", DOORS.token(analyst(), &["--scope", "read"]))
        .envs(more.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    println!("{text}");
    assert!(output.status.success(), "{text}");
}

/// Fifty analysts at once, over both doors: `LODA_DOORS_SECONDS` for so long.
#[test]
fn fifty_at_once_are_answered_over_both_doors() {
    let Some(python) = python() else { return };
    let seconds = std::env::var("LODA_DOORS_SECONDS").unwrap_or_else(|_| "8".to_owned());
    let tokens: Vec<String> =
        (0..CROWD).map(|n| DOORS.token(Role::Analyst(format!("a{n:02}")), &["--purpose", "demo"])).collect();
    let memory = || resident_mib(DOORS.processes.coordinator_id().unwrap());
    let before = memory();
    let mut crowd = Command::new(python);
    crowd.arg(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doors/crowd.py"));
    crowd.env("LODA_ADDRESS", &DOORS.address).env("LODA_CA", &DOORS.authority).env("LODA_SECONDS", seconds);
    crowd.env("LODA_TOKENS", tokens.join(" ")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = crowd.spawn().unwrap();
    let mut most = before;
    while running.try_wait().unwrap().is_none() {
        most = most.max(memory());
        std::thread::sleep(Duration::from_millis(200));
    }
    let output = running.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    println!("{text}coordinator: {before} MiB before, {most} at most, {} after", memory());
    assert!(output.status.success(), "{text}");
    assert!(most < 600, "{most} MiB");
}

fn resident_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn adbc_lists_prepares_asks_and_is_kept_out() {
    script("adbc.py", &[]);
}
