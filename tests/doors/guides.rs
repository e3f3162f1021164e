//! docs/tools.md, step by step as a reader follows it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::support::doors::{DOORS, analyst, has, python, works};

/// The commands of a page, in order: their language and their text.
fn commands(page: &str) -> Vec<(&str, &str)> {
    let blocks = page.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.split_once('\n')).filter(|(kind, _)| ["sh", "python", "r"].contains(kind)).collect()
}

/// Whether R has the packages for its part of the guide.
fn has_packages() -> bool {
    let asked = Command::new("Rscript").args(["-e", "library(curl); library(jsonlite)"]).output();
    let found = asked.is_ok_and(|output| output.status.success());
    if !found {
        crate::support::skip::tool("R lacks curl or jsonlite");
    }
    found
}

#[test]
fn the_guide_does_what_it_says() {
    let (true, true, Some(python)) = (has("curl"), has("bash"), python()) else { return };
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tools.md")).unwrap();
    let commands = commands(&page);
    let with_r = has("Rscript") && has_packages();
    assert_eq!(commands.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), ["sh", "sh", "sh", "python", "r", "sh"]);
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&DOORS.layout.dir, dir.path().join("federation")).unwrap();
    let (certificate, _) = DOORS.certificate(analyst());
    let config = certificate.with_extension("toml");
    let loda = format!("{} loda --config {}", env!("CARGO_BIN_EXE_loda-demo"), config.display());
    let mut script = "set -euo pipefail\n".to_owned();
    for (number, (kind, text)) in commands.iter().enumerate() {
        let text = text.replace("localhost:24134", &DOORS.address.replace("127.0.0.1", "localhost"));
        if *kind == "sh" {
            script.push_str(&text.replace("cargo run --release -- loda", &loda));
            continue;
        }
        let program = if *kind == "r" { Path::new("Rscript") } else { python.as_path() };
        if *kind == "r" && !with_r {
            continue;
        }
        let name = format!("guide{number}.{kind}");
        std::fs::write(dir.path().join(&name), text).unwrap();
        writeln!(script, "{} {name}", program.display()).unwrap();
    }
    let output = Command::new("bash").arg("-c").arg(script).current_dir(dir.path()).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("missing: 0 boroughs") && text.contains("borough,tenure,people"), "{text}");
    if with_r {
        assert!(text.contains("[1] TRUE"), "{text}");
        works("R 4, curl and jsonlite", &["token; questions, progress, CSV as a data frame, the statement"]);
    }
    assert!(std::fs::read(dir.path().join("people.xlsx")).unwrap().starts_with(b"PK"));
}
