//! `just bench`: 33 nodes with millions of residents under `cell-key`, compared with the same SQL on pooled Parquet in
//! DataFusion (here) and in DuckDB (from PyPI). All run one after another in one run. On each side a person counts once
//! in each borough, and cells of fewer than ten are withheld.
//!
//! `LODA_BENCH_RESIDENTS=3000000,9000000` sets the sizes. `LODA_BENCH_ROUNDS=7` sets how often each question is asked.
//! `LODA_BENCH_PYTHON` names a Python that has `duckdb`. Without one, its column stays empty, with the reason.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "a bench prints and stops at the first fault; it shares the tests' support"
)]

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionConfig, SessionContext};
use loda_demo::layout::{Layout, Options};
use loda_demo::processes::Processes;

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");
/// `wards` lists the values of the other tables' wards.
const TABLES: [&str; 5] = ["residents", "electoral_roll", "properties", "social_care_clients", "wards"];

/// The title, and SQL with the same meaning on all sides.
const QUESTIONS: [(&str, &str); 6] = [
    (
        "people by borough",
        "SELECT borough, COUNT(DISTINCT person_key) AS n FROM residents GROUP BY borough \
         HAVING COUNT(DISTINCT person_key) >= 10",
    ),
    (
        "people by tenure and age band",
        "SELECT tenure, age_band, SUM(n) AS n FROM (SELECT borough, tenure, age_band, COUNT(DISTINCT person_key) AS n \
         FROM residents GROUP BY borough, tenure, age_band HAVING COUNT(DISTINCT person_key) >= 10) b \
         GROUP BY tenure, age_band",
    ),
    (
        "cost of care, mean and spread, by borough and tenure",
        "SELECT r.borough, r.tenure, COUNT(DISTINCT c.person_key) AS n, AVG(c.weekly_cost) AS mean, \
         STDDEV(c.weekly_cost) AS spread FROM social_care_clients c \
         JOIN residents r ON c.person_key = r.person_key AND c.borough = r.borough \
         GROUP BY r.borough, r.tenure HAVING COUNT(DISTINCT c.person_key) >= 10",
    ),
    (
        "people of six wards by age band and sex",
        "SELECT borough, ward, age_band, sex, COUNT(DISTINCT person_key) AS n FROM residents WHERE ward IN \
         ('Barnet 03', 'Camden 05', 'Croydon 11', 'Lambeth 07', 'Newham 02', 'Westminster 01') \
         GROUP BY borough, ward, age_band, sex HAVING COUNT(DISTINCT person_key) >= 10",
    ),
    (
        "electors by the energy band of their home",
        "SELECT p.borough, p.epc_band, COUNT(DISTINCT e.person_key) AS n FROM electoral_roll e \
         JOIN properties p ON e.uprn = p.uprn AND e.borough = p.borough GROUP BY p.borough, p.epc_band \
         HAVING COUNT(DISTINCT e.person_key) >= 10",
    ),
    (
        "ROLLUP over tenure and age band",
        "SELECT borough, tenure, age_band, COUNT(DISTINCT person_key) AS n FROM residents \
         GROUP BY GROUPING SETS ((borough), (borough, tenure), (borough, tenure, age_band)) \
         HAVING COUNT(DISTINCT person_key) >= 10",
    ),
];

/// Runs each question in the same number of rounds. Prints the seconds of wall and CPU time, and the sum of `n`.
const DUCKDB: &str = r#"
import duckdb, json, resource, sys, time
folder, rounds, questions = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
db = duckdb.connect()
db.execute("SET threads = 2")
db.execute("SET enable_progress_bar = false")
for table in json.loads(sys.argv[4]):
    db.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{folder}/{table}/*.parquet')")
cpu = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
answers = []
for sql in questions:
    walls, cpus = [], []
    for round in range(rounds + 1):
        began, spent = time.perf_counter(), cpu()
        rows = db.execute(sql).fetchall()
        walls.append(time.perf_counter() - began)
        cpus.append(cpu() - spent)
    n = [d[0] for d in db.description].index("n")
    answers.append({"wall": walls[1:], "cpu": cpus[1:], "n": sum(int(row[n]) for row in rows)})
print(json.dumps({"version": duckdb.__version__, "answers": answers,
                  "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
"#;

/// The time of one side for a question in each round, and the number of people that it counted.
#[derive(Default)]
struct Spent {
    wall: Vec<f64>,
    cpu: Vec<f64>,
    /// The CPU time of the nodes alone.
    nodes: Vec<f64>,
    people: i64,
}

fn rounds() -> usize {
    support::rounds("LODA_BENCH_ROUNDS", 7) as usize
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The CPU seconds that the processes have used, from /proc.
fn cpu(processes: &[u32]) -> f64 {
    let of = |process: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<f64>().ok()).sum::<f64>() / 100.0
    };
    processes.iter().map(of).sum()
}

/// The resident memory of the processes in MiB. Each shared page is divided among the processes that share it.
fn memory(processes: &[u32]) -> u64 {
    let of = |process: &u32| {
        let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    processes.iter().map(of).sum::<u64>() / 1024
}

/// The private memory of a process in KiB: without the pages of the program's file, which processes of one host share.
fn private_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The sum of the column `n` over the rows that have a value.
fn people(batches: &[RecordBatch]) -> i64 {
    let mut total = 0;
    for batch in batches {
        let place = batch.schema().index_of("n").unwrap();
        let column = arrow::compute::cast(batch.column(place), &DataType::Int64).unwrap();
        total += column.as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
    }
    total
}

/// All boroughs' extracts of one table, as one Parquet file for each borough with the borough's code.
async fn pool(layout: &Layout, folder: &Path) {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    for table in TABLES {
        for borough in &layout.boroughs {
            let config = loda_node::Config::load(&layout.node(borough.gss).join("node.toml")).unwrap();
            let of_table = |d: &&loda_node::DatasetConfig| d.contract.file_stem().unwrap() == table;
            let mapping = &config.datasets.iter().find(of_table).unwrap().mapping;
            let path = mapping.sources[0].path().unwrap().to_str().unwrap().to_owned();
            // In an extract all values are text. The mapping gives the types.
            let text = CsvReadOptions::new().schema_infer_max_records(0);
            context.register_csv(table, path, text).await.unwrap();
            let sql = format!("SELECT '{}' AS borough, m.* FROM ({}) m", borough.gss, mapping.sql);
            let rows = context.sql(&sql).await.unwrap();
            let file = folder.join(table).join(format!("{}.parquet", borough.gss));
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            let options = DataFrameWriteOptions::new().with_single_file_output(true);
            rows.write_parquet(file.to_str().unwrap(), options, None).await.unwrap();
            context.deregister_table(table).unwrap();
        }
    }
}

/// The Python that has duckdb. `None`: there is none, and the reason is printed.
fn python() -> Option<String> {
    let python = std::env::var("LODA_BENCH_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", "import duckdb"]).output().is_ok_and(|o| o.status.success());
    if !found {
        println!("no DuckDB beside: {python} has no module of that name (pip install duckdb)");
    }
    found.then_some(python)
}

fn duckdb(python: &str, folder: &Path) -> (String, Vec<Spent>) {
    let questions: Vec<&str> = QUESTIONS.iter().map(|(_, sql)| *sql).collect();
    let json = |texts: &[&str]| serde_json::to_string(texts).unwrap();
    let output = Command::new(python)
        .args(["-c", DUCKDB, folder.to_str().unwrap(), &rounds().to_string(), &json(&questions), &json(&TABLES)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let numbers = |of: &serde_json::Value| of.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
    let spent = |of: &serde_json::Value| Spent {
        wall: numbers(&of["wall"]),
        cpu: numbers(&of["cpu"]),
        nodes: Vec::new(),
        people: of["n"].as_i64().unwrap(),
    };
    let spent = told["answers"].as_array().unwrap().iter().map(spent).collect();
    (format!("DuckDB {}, peak {} MiB", told["version"].as_str().unwrap(), told["peak_mib"]), spent)
}

async fn pooled(folder: &Path) -> Vec<Spent> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    for table in TABLES {
        let path = folder.join(table);
        context.register_parquet(table, path.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
    }
    let ourselves = [std::process::id()];
    let mut all = Vec::new();
    for (_, sql) in QUESTIONS {
        let mut spent = Spent::default();
        for round in 0..=rounds() {
            let (began, used) = (Instant::now(), cpu(&ourselves));
            let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
            if round > 0 {
                spent.wall.push(began.elapsed().as_secs_f64());
                spent.cpu.push(cpu(&ourselves) - used);
            }
            spent.people = people(&batches);
        }
        all.push(spent);
    }
    all
}

async fn federated(client: &loda::Client, processes: &[u32], nodes: &[u32]) -> Vec<Spent> {
    let mut all = Vec::new();
    for (title, sql) in QUESTIONS {
        let mut spent = Spent::default();
        for round in 0..=rounds() {
            let (began, used, by_nodes) = (Instant::now(), cpu(processes), cpu(nodes));
            let answer = client.query(sql, "demo", None, |_| {}).await.unwrap_or_else(|e| panic!("{title}: {e}"));
            if round > 0 {
                spent.wall.push(began.elapsed().as_secs_f64());
                spent.cpu.push(cpu(processes) - used);
                spent.nodes.push(cpu(nodes) - by_nodes);
            } else {
                println!("first asked, {title}: {:.0} ms", 1_000.0 * began.elapsed().as_secs_f64());
            }
            assert!(answer.statement.complete, "{title}: {:?}", answer.statement);
            spent.people = people(&answer.batches);
        }
        all.push(spent);
    }
    all
}

/// Waits until the nodes have prepared their tables: until they have been idle for some seconds.
async fn ready(nodes: &[u32]) {
    let (began, first) = (Instant::now(), cpu(nodes));
    let (mut still, mut used) = (0, first);
    while still < 5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = cpu(nodes);
        still = if now - used < 0.1 { still + 1 } else { 0 };
        used = now;
    }
    println!(
        "tables about people made ready in {:.0} s, {:.0} s of CPU",
        began.elapsed().as_secs_f64() - 5.0,
        used - first
    );
}

async fn size(residents: u64, python: Option<&str>) {
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let scale = residents as f64 / 8_800_000.0;
    let options = Options { scale, tables: TABLES.to_vec(), ..support::options(dir.path(), 33, None) };
    let layout = support::laid_out(&options);
    println!("\n## {residents} residents\n\nextracts written in {:.0} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    let folder = dir.path().join("pooled");
    pool(&layout, &folder).await;
    println!("pooled as Parquet in {:.0} s", began.elapsed().as_secs_f64());
    let mut processes = Processes::start(Path::new(BINARY), &layout).unwrap();
    let began = Instant::now();
    let client = processes.ready(Duration::from_secs(1_800), &mut |_| {}).await.unwrap();
    let nodes: Vec<u32> = layout.boroughs.iter().map(|b| processes.node_id(b.gss).unwrap()).collect();
    let all = [nodes.clone(), vec![processes.coordinator_id().unwrap()]].concat();
    println!("33 nodes have read them in {:.0} s", began.elapsed().as_secs_f64());
    ready(&nodes).await;
    let sorted = |of: fn(u32) -> u64| {
        let mut kib: Vec<u64> = nodes.iter().map(|node| of(*node) / 1024).collect();
        kib.sort_unstable();
        (kib[16], kib[32])
    };
    let ((resident, largest), (private, _)) = (sorted(support::resident_kib), sorted(private_kib));
    println!(
        "at rest: a node {resident} MiB resident (median; largest {largest}), {private} of them its own; the federation {} MiB",
        memory(&all)
    );
    let ours = federated(&client, &all, &nodes).await;
    println!("after the questions: the federation {} MiB", memory(&all));
    drop(processes);
    let theirs = pooled(&folder).await;
    let (told, ducks) = python.map_or((String::new(), Vec::new()), |python| duckdb(python, &folder));
    println!("{told}\n");
    println!(
        "| question | federation, wall / CPU | CPU of a node | pooled DataFusion | DuckDB | wall, of DataFusion's | of DuckDB's | people: \
         federation, pooled |\n|---|---|---|---|---|---|---|---|"
    );
    let none = Spent::default();
    for (number, (title, _)) in QUESTIONS.iter().enumerate() {
        let (our, their, duck) = (&ours[number], &theirs[number], ducks.get(number).unwrap_or(&none));
        let shown = |spent: &Spent| {
            let (wall, cpu) = (median(&spent.wall), median(&spent.cpu));
            format!("{:.0} / {:.0} ms", wall * 1000.0, cpu * 1000.0)
        };
        let ratio = |of: &Spent| format!("{:.2}", median(&our.wall) / median(&of.wall));
        println!(
            "| {title} | {} | {:.1} ms | {} | {} | {} | {} | {}, {} |",
            shown(our),
            1_000.0 * our.nodes.iter().sum::<f64>() / our.nodes.len().max(1) as f64 / 33.0,
            shown(their),
            shown(duck),
            ratio(their),
            ratio(duck),
            our.people,
            their.people
        );
        assert!(duck.wall.is_empty() || duck.people == their.people, "{title}: {} {}", duck.people, their.people);
    }
}

fn main() {
    let sizes = std::env::var("LODA_BENCH_RESIDENTS").unwrap_or_else(|_| "3000000,9000000".to_owned());
    let python = python();
    support::run(async move {
        for residents in sizes.split(',') {
            size(residents.trim().parse().unwrap(), python.as_deref()).await;
        }
    });
}
