//! The description of the HTTP API: it is valid, it holds, and what is generated from it works.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::provider::installed;
use crate::support::doors::{DOORS, analyst, python, works};

fn description() -> Value {
    DOORS.with(&DOORS.token(analyst(), &[]), &["/v1/openapi.json"]).json()
}

/// Runs a program to its end.
fn passes(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

#[test]
fn each_response_is_described_and_each_operation_has_a_name() {
    let description = description();
    let mut names = HashSet::new();
    let paths = description["paths"].as_object().unwrap();
    for (path, (method, operation)) in
        paths.iter().flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |one| (path, one)))
    {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{method} {path}: {name} is another's name");
        assert!(operation["tags"][0].is_string(), "{method} {path}");
        assert!(operation["summary"].as_str().or(operation["description"].as_str()).is_some(), "{method} {path}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path} {status}");
        }
    }
    assert!(names.len() >= 14, "{names:?}");
}

#[test]
fn clients_are_generated_from_the_description_and_ask() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, serde_json::to_vec(&description()).unwrap()).unwrap();
    passes(Command::new(python.with_file_name("openapi-spec-validator")).arg(&file));
    works("openapi-spec-validator 0.9", &["the description is valid"]);
    passes(
        Command::new(python.with_file_name("openapi-python-client"))
            .args(["generate", "--meta", "none", "--path"])
            .arg(&file)
            .arg("--output-path")
            .arg(folder.path().join("federation")),
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doors/clients/generated.py");
    let said = passes(
        Command::new(python)
            .arg(script)
            .env("PYTHONPATH", folder.path())
            .env("LODA_ADDRESS", &DOORS.address)
            .env("LODA_CA", DOORS.layout.web_authority())
            .env("LODA_TOKEN", DOORS.token(analyst(), &[])),
    );
    println!("{said}");
    works("openapi-python-client 0.29", &["a generated client asks, waits, fetches, and is refused with advice"]);
    let Some(packages) = installed() else { return };
    let types = folder.path().join("federation.ts");
    passes(Command::new(packages.join("node_modules/.bin/openapi-typescript")).arg(&file).arg("-o").arg(&types));
    let types = std::fs::read_to_string(types).unwrap();
    assert!(["ask: ", "result: ", "search_log: "].iter().all(|operation| types.contains(operation)), "{types}");
    works("openapi-typescript 7.13", &["types are generated for each operation"]);
}

#[test]
fn the_description_holds_against_thousands_of_cases() {
    let Some(python) = python() else { return };
    let token = DOORS.token(analyst(), &[]);
    let schemathesis = python.with_file_name("schemathesis");
    let dir = tempfile::tempdir().unwrap();
    let examples = std::env::var("LODA_SCHEMATHESIS_EXAMPLES").unwrap_or_else(|_| "130".to_owned());
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doors/clients/schemathesis.toml");
    let output = Command::new(schemathesis)
        .arg("--config-file")
        .arg(config)
        .args(["run", &format!("https://{}/v1/openapi.json", DOORS.address)])
        .arg("--tls-verify")
        .arg(DOORS.layout.web_authority())
        .args(["-H", &format!("Authorization: Bearer {token}"), "--max-examples", &examples])
        .args(["--checks", "all", "--seed", "1", "--workers", "1", "--no-color"])
        .args(["--exclude-checks", "positive_data_acceptance,ignored_auth"])
        .args(["--suppress-health-check", "all"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let end: Vec<&str> = text.lines().rev().take(25).collect();
    println!("{}", end.into_iter().rev().collect::<Vec<_>>().join("\n"));
    let log = std::fs::read_to_string(DOORS.layout.coordinator().join("process.log")).unwrap_or_default();
    let refused: Vec<&str> = log.lines().filter(|line| line.contains("connection refused")).collect();
    println!("{} connections were refused; the last: {:?}", refused.len(), refused.last());
    assert!(output.status.success(), "{text}");
    works("schemathesis 4.32", &["the description holds: no 5xx, no schema violation"]);
}
