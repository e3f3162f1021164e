//! A borough assesses a dataset, and its node answers no larger tables than the assessment found good.

use std::process::Command;

use loda_demo::layout::{Layout, Options};
use loda_proto::v1::node_client::NodeClient;
use loda_proto::v1::told::Word;
use loda_proto::v1::{DescribeRequest, HeldDataset, SubmitRequest};
use loda_question::table::{ColumnRef, Functional, RowDomain, Table};

use crate::pooled::contract;
use crate::support;

const TABLES: [&str; 3] = ["residents", "social_care_clients", "wards"];

/// Starts the borough's node, and returns a client to it. The node ends with its runtime.
async fn started(layout: &Layout, runtime: &tokio::runtime::Handle) -> NodeClient<tonic::transport::Channel> {
    let gss = layout.boroughs[1].gss;
    let config = loda_node::Config::load(&layout.node(gss).join("node.toml")).unwrap();
    let methods = loda_node::Methods::standard().unwrap();
    let node = loda_node::Node::open(config, methods, runtime.clone()).await.unwrap();
    let listener = node.bind().await.unwrap();
    runtime.spawn(async move { node.serve(listener).await.unwrap() });
    support::node_client(layout, gss, &layout.coordinator())
}

async fn held(client: &mut NodeClient<tonic::transport::Channel>) -> HeldDataset {
    let said = client
        .describe(DescribeRequest { versions: (0..20).collect(), log: None, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    said.datasets.into_iter().find(|held| held.name == "residents").unwrap()
}

/// The counts of people by these columns.
fn table(columns: &[&str]) -> Vec<u8> {
    let of = |name: &str| Some(contract(name));
    let columns = columns.iter().map(|column| ColumnRef::parse(&format!("residents.{column}")).unwrap());
    let figures = [Functional::Units("person".to_owned())];
    Table::new(RowDomain::Units("person".to_owned()), columns, figures, &of).unwrap().encode()
}

/// The rule that refuses a table, or the assessment in the answer.
async fn asked(
    client: &mut NodeClient<tonic::transport::Channel>,
    layout: &Layout,
    gss: &str,
    fragment: Vec<u8>,
) -> Result<String, String> {
    let request = SubmitRequest {
        query_id: uuid::Uuid::new_v4().to_string(),
        analyst: "spiffe://demo.london/analyst/demo".to_owned(),
        purpose: "demo".to_owned(),
        fragment,
        targets: vec![gss.to_owned()],
        deadline_ms: 60_000,
        dry_run: false,
        signed: None,
        would_sign: false,
        log: None,
        question_id: String::new(),
    };
    let request = support::logged(client, layout, request).await;
    let mut words = client.ask(request).await.unwrap().into_inner();
    while let Some(told) = words.message().await.unwrap() {
        match told.word.unwrap() {
            Word::Refusal(refusal) => return Err(refusal.rule),
            Word::Chunk(chunk) => return Ok(chunk.header.unwrap().assessed),
            Word::State(_) => {}
        }
    }
    panic!("no answer");
}

#[test]
fn a_node_answers_no_larger_tables_than_were_found_good() {
    let dir = tempfile::tempdir().unwrap();
    let of_test = support::options(dir.path(), 2, None);
    let layout = support::laid_out(&Options { tables: TABLES.to_vec(), ..of_test });
    let gss = layout.boroughs[1].gss;
    let config = layout.node(gss).join("node.toml");
    let large = || table(&["age_band", "sex", "ward"]);
    // Each run of the node has its own runtime, which ends it.
    let life = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let assess = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loda-demo"));
        command.args(["node", "assess", "residents", "--config", config.to_str().unwrap()]).args(more);
        let output = command.output().unwrap();
        (
            output.status.success(),
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        )
    };
    let (good, said) = assess(&[]);
    assert!(!good && said.contains("nothing has been read of 'residents' yet"), "{said}");
    let first = life();
    first.block_on(async {
        let mut client = started(&layout, first.handle()).await;
        assert_eq!(held(&mut client).await.assessed, "not assessed");
        assert_eq!(asked(&mut client, &layout, gss, large()).await, Ok(String::new()));
    });
    first.shutdown_timeout(std::time::Duration::from_secs(10));
    // In a small borough, tables of three columns reveal too much.
    let page = dir.path().join("page.html");
    let (good, said) = assess(&["--html", page.to_str().unwrap()]);
    println!("{said}");
    assert!(!good && said.contains("Too much: with tables of three columns"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 120 || line.starts_with("  ")), "{said}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<table>") && page.contains("Of 100"), "{page}");
    let second = life();
    second.block_on(async {
        let mut client = started(&layout, second.handle()).await;
        let of = held(&mut client).await;
        assert!(of.dimensions < 3 && of.assessed.ends_with(&format!("d = {}", of.dimensions)), "{of:?}");
        assert_eq!(asked(&mut client, &layout, gss, large()).await, Err("too-many-columns".to_owned()));
        let small = asked(&mut client, &layout, gss, table(&["age_band"])).await.unwrap();
        assert!(small.starts_with("residents assessed"), "{small}");
    });
    second.shutdown_timeout(std::time::Duration::from_secs(10));
    // The steward decides otherwise, and gives a reason.
    let text = std::fs::read_to_string(&config).unwrap();
    let at = text.find("residents.toml").unwrap();
    let line_end = at + text[at..].find('\n').unwrap() + 1;
    let decision =
        "decision = { dimensions = 3, by = \"the steward\", on = \"2026-11-27\", why = \"made-up people\" }\n";
    std::fs::write(&config, format!("{}{decision}{}", &text[..line_end], &text[line_end..])).unwrap();
    let (good, said) = assess(&["--column", "sex"]);
    assert!(good && said.contains("the steward decided so: d = 3, the steward, 27 November 2026"), "{said}");
    let third = life();
    third.block_on(async {
        let mut client = started(&layout, third.handle()).await;
        assert_eq!(held(&mut client).await.dimensions, 3);
        assert!(asked(&mut client, &layout, gss, large()).await.is_ok());
    });
    third.shutdown_timeout(std::time::Duration::from_secs(10));
}

/// `LODA_ASSESS_RESIDENTS` sets the number of people in the borough (default 300).
#[test]
fn a_large_borough_is_assessed_in_minutes() {
    let people = support::rounds("LODA_ASSESS_RESIDENTS", 300);
    let dir = tempfile::tempdir().unwrap();
    let of_test = support::options(dir.path(), 2, None);
    let tables = vec!["residents", "social_care_clients", "electoral_roll", "benefits", "wards"];
    // This borough's population in all of London.
    let scale = people as f64 / 218_900.0;
    let layout = support::laid_out(&Options { scale, tables, ..of_test });
    let config = layout.node(layout.boroughs[1].gss).join("node.toml");
    let life = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    life.block_on(async {
        let config = loda_node::Config::load(&config).unwrap();
        loda_node::Node::open(config, loda_node::Methods::standard().unwrap(), life.handle().clone()).await.unwrap();
    });
    life.shutdown_timeout(std::time::Duration::from_secs(10));
    let began = std::time::Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loda-demo"));
    command.args(["node", "assess", "residents", "--config", config.to_str().unwrap()]);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}\nin {:.0} s, {} MiB at most", began.elapsed().as_secs_f64(), peak / 1024);
    assert!(said.contains("Of 100, how many would be guessed right?"), "{said}");
}

/// Assesses all contracts about people, by size of a borough, and then real stops by borough. Each dataset takes
/// minutes at 300,000. `LODA_ASSESS_CONTRACTS=5000,20000` sets the sizes (`just assess-contracts`). Without it nothing
/// is assessed.
#[test]
fn contracts_by_what_an_unlimited_asker_would_learn() {
    let sizes = std::env::var("LODA_ASSESS_CONTRACTS").unwrap_or_default();
    let sizes = sizes.split(',').filter_map(|size| size.trim().parse::<u32>().ok());
    for size in sizes {
        let dir = tempfile::tempdir().unwrap();
        let of_test = support::options(dir.path(), 2, None);
        let layout = support::laid_out(&Options { scale: f64::from(size) / 218_900.0, ..of_test });
        let datasets = loda_demo::datasets::SYNTHETIC.iter().map(|dataset| dataset.name);
        assessed_all(&format!("synthetic, {size}"), &layout, layout.boroughs[1].gss, datasets);
    }
    let Some(data) = support::open_data().filter(|_| std::env::var("LODA_ASSESS_CONTRACTS").is_ok()) else { return };
    let dir = tempfile::tempdir().unwrap();
    let layout = support::laid_out(&support::options(dir.path(), 33, Some(data)));
    // The City of London, Hackney, Westminster.
    for gss in ["E09000001", "E09000012", "E09000033"] {
        assessed_all(&format!("stops of {gss}"), &layout, gss, ["stop_and_search"].into_iter());
    }
}

fn assessed_all<'a>(title: &str, layout: &Layout, gss: &str, datasets: impl Iterator<Item = &'a str>) {
    let folder = layout.node(gss);
    let config = folder.join("node.toml");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loda-demo"));
        command.arg("node").args(arguments).args(["--config", config.to_str().unwrap()]);
        command.output().unwrap()
    };
    let read = run(&["--ingest-only"]);
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    for dataset in datasets.filter(|name| contract(name).protection.may_be_about_people()) {
        let began = std::time::Instant::now();
        run(&["assess", dataset]);
        let state = loda_node::Config::load(&config).unwrap().state;
        let Ok(text) = std::fs::read(state.join("assessments").join(format!("{dataset}.json"))) else {
            println!("| {title} | {dataset} | no column that tells of people |");
            continue;
        };
        let found: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let of = |line: &serde_json::Value, figure: &str| line[figure].as_f64().unwrap();
        let gain = |line: &serde_json::Value| of(line, "typical").max(of(line, "exposed")) - of(line, "chance");
        let worst = (1..=4).map(|dimensions| {
            let lines = found["lines"].as_array().unwrap().iter().filter(|line| line["dimensions"] == dimensions);
            let worst = lines.max_by(|a, b| gain(a).total_cmp(&gain(b)));
            worst.map_or("–".to_owned(), |line| {
                format!("{:+.0} ({}; {:.0})", gain(line), line["column"].as_str().unwrap(), of(line, "chance"))
            })
        });
        println!(
            "| {title} | {dataset} | {} | {} | {:.0} s |",
            found["units"],
            worst.collect::<Vec<_>>().join(" | "),
            began.elapsed().as_secs_f64()
        );
    }
}
