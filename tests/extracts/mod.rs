//! Extracts as boroughs really have them: `init`, `check` and decisions, by the programs that a borough runs.

mod cases;
mod drafts;
mod kinds;
mod london;
mod pages;
mod random_tables;
mod workbooks;

use std::path::Path;
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");

/// A borough's folder.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path().join(name), bytes).unwrap();
        self
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }

    fn node(&self, arguments: &[&str]) -> Output {
        Command::new(BINARY).arg("node").args(arguments).current_dir(self.path()).output().unwrap()
    }

    /// `init` for a borough. What it says.
    fn init(&self, borough: &str, name: &str, more: &[&str]) -> String {
        let output = self.node(&[&["init", "--borough", borough, "--name", name], more].concat());
        let said = both(&output);
        assert!(output.status.success(), "init {more:?}: {said}");
        said
    }

    /// Decides all that is asked. What the check then says, and whether it would be served.
    fn checked(&self) -> (String, bool) {
        let decided = self.node(&["decide", "--by", "A. Khan", "--why", "looked at, and right"]);
        assert!(decided.status.success(), "{}", both(&decided));
        self.check()
    }

    fn check(&self) -> (String, bool) {
        let output = self.node(&["check"]);
        (both(&output), output.status.success())
    }

    /// The drafted contract.
    fn contract(&self, name: &str) -> String {
        self.read(&format!("contracts/{name}.toml"))
    }
}

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The rows that the mapping gave, and those that keep the contract.
fn rows(report: &str) -> (u64, u64) {
    let line = report.lines().find(|line| line.contains("mapping: ")).unwrap_or_else(|| panic!("{report}"));
    let numbers: Vec<u64> = line.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
    (numbers[0], numbers[1])
}
