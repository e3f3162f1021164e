//! SQL text to questions. Nothing panics. Every accepted input is canonical, renders, and is the same after decoding.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use loda_contract::Contract;
use loda_coordinator::Dry;
use loda_question::table::Table;
use loda_question::{LIMITS, Question};

const TEXTS: [&str; 5] = [
    include_str!("../../deploy/contracts/residents.toml"),
    include_str!("../../deploy/contracts/council_tax.toml"),
    include_str!("../../deploy/contracts/electoral_roll.toml"),
    include_str!("../../deploy/contracts/repairs.toml"),
    include_str!("../../deploy/contracts/wards.toml"),
];

static CONTRACTS: LazyLock<Vec<Arc<Contract>>> = LazyLock::new(|| {
    TEXTS.iter().filter_map(|text| Contract::parse(text, "contract").ok()).map(Arc::new).collect()
});

static DRY: LazyLock<Dry> = LazyLock::new(|| {
    let boroughs = ["E09000001", "E09000022"].iter().filter_map(|gss| gss.parse().ok()).collect();
    let contracts = CONTRACTS.iter().map(|c| c.as_ref().clone()).collect();
    Dry::new(contracts, boroughs).expect("the contracts register")
});

/// The planner recurses over SQL, and the instrumented frames are large.
static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).thread_stack_size(256 << 20).build().expect("a runtime")
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(sql) = std::str::from_utf8(bytes) else { return };
    let sql = sql.to_owned();
    let planned = RUNTIME.block_on(async { RUNTIME.spawn(async move { DRY.fragments(&sql).await }).await });
    let Ok(Ok(fragments)) = planned else {
        assert!(planned.is_ok(), "planning panicked");
        return;
    };
    let known = |dataset: &str| CONTRACTS.iter().find(|c| c.dataset == dataset).cloned();
    for bytes in fragments {
        if Table::is_meant(&bytes, LIMITS) {
            let table = Table::decode(&bytes, LIMITS, &known).expect("what is planned is accepted by a node");
            assert_eq!(table.encode(), bytes);
            assert!(!table.words().is_empty() && !table.sql().is_empty());
            continue;
        }
        let again = Question::decode(&bytes, LIMITS, &known).expect("what is planned is accepted by a node");
        assert_eq!(again.encode(), bytes);
        assert!(!again.words().is_empty() && !again.sql().is_empty());
    }
});
