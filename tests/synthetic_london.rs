//! The synthetic London: its known answers, its dialects as real nodes read them back, and the linkage of its people.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use loda_demo::boroughs::BOROUGHS;
use loda_demo::london::{self, Outputs, Plan, SMALL};

use crate::residents::{Borough, agreement, service_names};
use crate::support;

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");

/// All of London at the scale of a first look, made once for all tests here.
fn small() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let outputs = Outputs { extracts: true, pooled: true, truth: true, answers: true };
        let plan = Plan { seed: 5, scale: SMALL, boroughs: (0..BOROUGHS.len()).collect(), outputs };
        london::write(folder.path(), &plan, &|_, _| {}).unwrap();
        folder
    });
    folder.path()
}

/// The pooled tables, ready for SQL.
async fn pooled() -> SessionContext {
    let context = SessionContext::new();
    for table in fs::read_dir(small().join("pooled")).unwrap() {
        let path = table.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        context.register_parquet(name, path.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
    }
    context
}

/// Rows as text, sorted.
async fn rows(context: &SessionContext, sql: &str) -> Vec<Vec<String>> {
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in &batches {
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect()));
    }
    rows.sort();
    rows
}

#[test]
fn known_answers_are_what_their_sql_says() {
    support::run(async {
        let context = pooled().await;
        let answers = fs::read_to_string(small().join("answers.json")).unwrap();
        let answers: serde_json::Value = serde_json::from_str(&answers).unwrap();
        let questions = answers["questions"].as_object().unwrap();
        assert_eq!(questions.len(), 11);
        for (number, question) in questions {
            let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let row = |row: &serde_json::Value| row.as_array().unwrap().iter().map(text).collect::<Vec<_>>();
            let mut expected: Vec<_> = question["rows"].as_array().unwrap().iter().map(row).collect();
            expected.sort();
            assert!(!expected.is_empty(), "question {number}");
            let found = rows(&context, question["sql"].as_str().unwrap()).await;
            let differing = found.iter().zip(&expected).find(|(found, expected)| found != expected);
            assert!(found == expected, "question {number}: {differing:?}");
        }
    });
}

/// For each dataset: the numbers of rows that a node's check reads and keeps.
fn checked(gss: &str) -> BTreeMap<String, (u64, u64)> {
    let config = small().join("extracts").join(gss).join("node.toml");
    let output = Command::new(BINARY).args(["node", "check", "--config"]).arg(&config).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{gss}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    let (mut found, mut dataset) = (BTreeMap::new(), "");
    for line in text.lines() {
        if let Some((name, _)) = line.split_once(" – ") {
            dataset = name;
        }
        if let Some(rest) = line.trim().strip_prefix("mapping: ") {
            let numbers: Vec<u64> = rest.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            found.insert(dataset.to_owned(), (numbers[0], numbers[1]));
        }
    }
    found
}

#[test]
fn every_boroughs_dialect_is_read_back_whole() {
    support::run(async {
        let context = pooled().await;
        let mut kept = 0;
        for borough in &BOROUGHS {
            let found = checked(borough.gss);
            for (dataset, table, readable) in [
                ("council_tax", "council_tax", "readable"),
                ("electoral_roll", "electoral_roll", "readable"),
                ("properties", "properties", "readable"),
                ("repairs", "repairs", "readable"),
                // A person without a date of birth has no age band.
                ("social_care_clients", "social_care", "readable AND date_of_birth IS NOT NULL"),
            ] {
                let sql = format!(
                    "SELECT COUNT(*), COUNT(*) FILTER (WHERE {readable}) FROM {table} WHERE borough = '{}'",
                    borough.gss
                );
                let expected = rows(&context, &sql).await[0].iter().map(|n| n.parse().unwrap()).collect::<Vec<u64>>();
                assert_eq!(found[dataset], (expected[0], expected[1]), "{dataset} of {}", borough.gss);
                kept += expected[1];
            }
        }
        println!("{kept} rows of 165 datasets kept, in 33 boroughs' own dialects");
    });
}

#[test]
fn a_synthetic_boroughs_people_are_found_over_fourteen_services() {
    let lambeth = BOROUGHS.iter().find(|borough| borough.gss == "E09000022").unwrap();
    let configuration = london::configuration(5, lambeth).unwrap();
    let (before, _) = configuration.split_once("[[dataset]]").unwrap();
    let services = service_names(before);
    assert_eq!(services.len(), 14);
    let truth = fs::read_to_string(small().join("truth/E09000022.csv")).unwrap();
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut lines = vec!["service,ref,number".to_owned()];
    let mut known = BTreeSet::new();
    for line in truth.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        if services.iter().any(|service| service == fields[0]) && !fields[2].is_empty() {
            let next = numbers.len();
            lines.push(format!("{},{},{}", fields[0], fields[1], numbers.entry(fields[2]).or_insert(next)));
            known.insert(fields[0]);
        }
    }
    assert_eq!(known.len(), 14);
    let borough = Borough::over(before, &services, &small().join("extracts/E09000022"));
    fs::write(borough.path("truth.csv"), lines.join("\n")).unwrap();
    println!("{}", borough.said(&["node", "residents"]).text);
    let told = borough.ingest();
    let rows = borough.rows();
    assert_eq!(rows.len(), lines.len() - 1, "{told}");
    let (precision, recall) = agreement(&rows);
    println!(
        "a synthetic borough: {} records of {} people, precision {precision:.4}, recall {recall:.4}",
        rows.len(),
        numbers.len()
    );
    assert!(precision > 0.99 && recall > 0.95);
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_another_london() {
    let write = |seed: u64, boroughs: Vec<usize>| {
        let folder = tempfile::tempdir().unwrap();
        let outputs = Outputs { extracts: true, pooled: true, truth: true, answers: false };
        london::write(folder.path(), &Plan { seed, scale: 0.0005, boroughs, outputs }, &|_, _| {}).unwrap();
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.path().to_owned()];
        while let Some(at) = folders.pop() {
            for entry in fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_str().unwrap().contains("E09000002") {
                    files.insert(path.strip_prefix(folder.path()).unwrap().to_owned(), fs::read(&path).unwrap());
                }
            }
        }
        files
    };
    // A borough's files are the same whether it is written alone or with others.
    let (alone, among) = (write(4, vec![1]), write(4, vec![0, 1, 6]));
    assert!(alone.len() > 40 && alone == among);
    assert_ne!(alone, write(5, vec![1]));
}
