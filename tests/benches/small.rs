//! `just bench`: the memory of an idle node, the latency of a small query over 33 processes, and the cost of privacy
//! compared with the same SQL on pooled tables in this process. All are ratios in one run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "a bench prints and stops at the first fault; it shares the tests' support"
)]

#[path = "../pooled.rs"]
mod pooled;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use loda_demo::processes::Processes;

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");
const ROUNDS: usize = 200;
const QUERIES: [(&str, &str); 3] = [
    ("small: count by borough", "SELECT borough, COUNT(*) AS n FROM residents GROUP BY borough"),
    ("London: people by age and sex", "SELECT age_band, sex, COUNT(*) AS n FROM residents GROUP BY age_band, sex"),
    (
        "wide: homes by borough, band and moves",
        "SELECT borough, band, moves_24m, COUNT(*) AS n FROM council_tax GROUP BY borough, band, moves_24m",
    ),
];

fn main() {
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let layout = support::laid_out(&support::options(dir.path(), 33, None));
        let started = Instant::now();
        let mut processes = Processes::start(Path::new(BINARY), &layout).unwrap();
        let client = processes.ready(Duration::from_secs(120), &mut |_| {}).await.unwrap();
        println!("33 nodes and a coordinator up in {:.1} s", started.elapsed().as_secs_f64());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut resident: Vec<u64> =
            layout.boroughs.iter().map(|b| support::resident_kib(processes.node_id(b.gss).unwrap())).collect();
        resident.sort_unstable();
        println!(
            "node memory at rest (resident): median {} MiB, largest {} MiB; coordinator {} MiB",
            resident[16] / 1024,
            resident[32] / 1024,
            support::resident_kib(processes.coordinator_id().unwrap()) / 1024
        );
        let holdings = pooled::holdings_of(&layout).await;
        let whole = pooled::Pooled::new(&holdings);
        for (name, sql) in QUERIES {
            let (mut federated, mut alone) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS + 10 {
                let begun = Instant::now();
                let answer = client.query(sql, "demo", None, |_| {}).await.unwrap();
                let spent = begun.elapsed();
                assert!(answer.statement.complete);
                let begun = Instant::now();
                whole.ask(sql).await;
                // The first rounds open connections and warm caches.
                if round >= 10 {
                    federated.push(spent);
                    alone.push(begun.elapsed());
                }
            }
            federated.sort_unstable();
            alone.sort_unstable();
            let ms = |d: Duration| d.as_secs_f64() * 1000.0;
            println!(
                "{name}: p50 {:.1} ms, p99 {:.1} ms over 33 processes; pooled DataFusion p50 {:.1} ms; ratio {:.1}",
                ms(federated[ROUNDS / 2]),
                ms(federated[ROUNDS * 99 / 100]),
                ms(alone[ROUNDS / 2]),
                federated[ROUNDS / 2].as_secs_f64() / alone[ROUNDS / 2].as_secs_f64()
            );
        }
        println!("nodes' memory after {} queries: largest {} MiB", 3 * (ROUNDS + 10), {
            let all = layout.boroughs.iter().map(|b| support::resident_kib(processes.node_id(b.gss).unwrap()));
            all.max().unwrap() / 1024
        });
    });
}
