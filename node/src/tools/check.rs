//! `loda-node check`: reports the snapshots that extracts would become, and writes nothing.

use std::sync::Arc;

use loda_contract::Contract;

use crate::config::Config;
use crate::ingest::config::DatasetConfig;
use crate::ingest::conformance::report::Report;
use crate::ingest::pipeline::{Mode, ingest};
use crate::ingest::residents;
use crate::ingest::unit_ids::RecordSecret;

/// The reports on the snapshots that the datasets of a configuration would become. Nothing is written.
///
/// # Errors
/// The configuration or a contract cannot be used. A dataset that cannot be read has an error of its own.
pub(crate) async fn check(
    config: &Config,
    only: Option<&str>,
) -> anyhow::Result<Vec<(String, anyhow::Result<Report>)>> {
    let secret = RecordSecret::passing()?;
    let wanted = |dataset: &DatasetConfig| dataset.mapping.asks_for_residents();
    let residents = match &config.residents {
        Some(residents) if config.datasets.iter().any(wanted) => Some(residents::look(residents, &secret).await?.0),
        _ => None,
    };
    let mut reports = Vec::new();
    for dataset in &config.datasets {
        let contract = Arc::new(Contract::load(&dataset.contract)?);
        if only.is_some_and(|only| only != contract.dataset) {
            continue;
        }
        let report = ingest(&config.state, &secret, &contract, dataset, residents.as_ref(), Mode::Check).await;
        reports.push((contract.dataset.clone(), report.map(|(_, report)| report)));
    }
    anyhow::ensure!(!reports.is_empty(), "the configuration has no such dataset");
    Ok(reports)
}
