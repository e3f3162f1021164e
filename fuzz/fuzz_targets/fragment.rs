//! Wire bytes to a question or a table. Nothing panics, and every accepted input is canonical and renders.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use loda_contract::Contract;
use loda_question::table::Table;
use loda_question::{LIMITS, Question};

static CONTRACTS: LazyLock<Vec<Arc<Contract>>> = LazyLock::new(|| {
    let texts = [
        include_str!("../../deploy/contracts/stop_and_search.toml"),
        include_str!("../../deploy/contracts/food_businesses.toml"),
        include_str!("../../deploy/contracts/social_care_clients.toml"),
        include_str!("../../deploy/contracts/residents.toml"),
        include_str!("../../deploy/contracts/council_tax.toml"),
        include_str!("../../deploy/contracts/electoral_roll.toml"),
        include_str!("../../deploy/contracts/repairs.toml"),
        include_str!("../../deploy/contracts/wards.toml"),
    ];
    texts.iter().filter_map(|text| Contract::parse(text, "contract").ok()).map(Arc::new).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let known = |dataset: &str| CONTRACTS.iter().find(|c| c.dataset == dataset).cloned();
    if let Ok(question) = Question::decode(bytes, LIMITS, &known) {
        assert_eq!(question.encode(), bytes);
        assert!(!question.words().is_empty() && !question.sql().is_empty());
        let _possible = question.possible();
    }
    if let Ok(table) = Table::decode(bytes, LIMITS, &known) {
        assert_eq!(table.encode(), bytes);
        assert!(!table.words().is_empty() && !table.sql().is_empty());
        assert!(table.weight() <= table.dimensions());
    }
});
