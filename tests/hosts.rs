//! The walkthrough for three hosts: its script runs it in network namespaces.

use std::path::Path;
use std::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");

#[test]
fn three_hosts_one_of_them_behind_a_firewall() {
    let tag = format!("l{}", std::process::id() % 10_000);
    let probe = format!("{tag}-probe");
    let may = Command::new("ip").args(["netns", "add", &probe]).output();
    if !may.as_ref().is_ok_and(|made| made.status.success()) {
        let why = may.map(|made| String::from_utf8_lossy(&made.stderr).into_owned()).unwrap_or_else(|e| e.to_string());
        crate::support::skip::host(format!("network namespaces cannot be made here: {}", why.trim()));
        return;
    }
    Command::new("ip").args(["netns", "del", &probe]).status().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/hosts/three-hosts.sh");
    let ran = Command::new("bash")
        .arg(script)
        .arg(dir.path())
        .arg(&tag)
        .env("LODA", format!("{BINARY} loda"))
        .env("NODE", format!("{BINARY} node"))
        .env("DOCTOR", format!("{BINARY} node doctor"))
        .env("COORDINATOR", format!("{BINARY} coordinator"))
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("== done"), "{out}\n{err}");
    println!("{out}");
}
