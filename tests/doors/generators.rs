//! Statements that real tools generate: each is answered, or refused by the rule that should.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::doors::{DOORS, analyst, has, python, works};

/// The lines of a script: a tool, the rule that should refuse it if one should, and a statement.
fn lines(of: &mut Command, script: &str) -> Vec<[String; 3]> {
    let output =
        of.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doors/clients").join(script)).output().unwrap();
    let Output { status, stdout, stderr } = output;
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let parts = |line: &str| {
        let mut parts = line.splitn(3, '\t').map(str::to_owned);
        [(); 3].map(|()| parts.next().unwrap())
    };
    String::from_utf8(stdout).unwrap().lines().map(parts).collect()
}

#[test]
fn what_ibis_sqlalchemy_and_dbplyr_generate_is_answered() {
    let mut all = Vec::new();
    if let Some(python) = python() {
        all.extend(lines(&mut Command::new(python), "generators.py"));
    }
    let has_dbplyr =
        || Command::new("Rscript").args(["-e", "library(dbplyr)"]).output().is_ok_and(|o| o.status.success());
    if has("Rscript") && has_dbplyr() {
        all.extend(lines(&mut Command::new("Rscript"), "dbplyr.R"));
    } else {
        crate::support::skip::tool("dbplyr is not installed (r-cran-dbplyr)");
    }
    let mut counts: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut faults = Vec::new();
    for [tool, rule, sql] in &all {
        let output = DOORS.loda(analyst(), &["query", "-p", "demo", "--format", "csv", sql]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let answered = output.status.code() == Some(0);
        let as_expected = if rule.is_empty() { answered } else { said.contains(&format!("rule: {rule}\n")) };
        counts.entry(tool.clone()).or_default()[usize::from(!answered)] += 1;
        if !as_expected {
            faults.push(format!("{tool}: {sql}\n    {said}"));
        }
    }
    for (tool, [answered, refused]) in &counts {
        println!("{tool:12} {answered:>3} answered {refused:>3} refused by a rule");
        works(tool, &["generated statements: answered, or refused by a rule"]);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
