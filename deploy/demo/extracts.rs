//! Demo nodes that read messy extracts: the files of their boroughs' systems, mapped by each borough in its own way.

use std::path::Path;

use anyhow::Context;
use toml::{Table, Value};

use crate::boroughs::{BOROUGHS, Borough};
use crate::london::{self, Outputs, Plan};

/// Writes the extracts of a borough into its node's folder, and puts the datasets that they supply into the node's
/// configuration, in place of the generated ones.
///
/// # Errors
/// A file cannot be written.
pub fn feed(folder: &Path, borough: &Borough, seed: u64, scale: f64, configuration: &mut Table) -> anyhow::Result<()> {
    let index = BOROUGHS.iter().position(|known| known.gss == borough.gss).context("no such borough")?;
    let outputs = Outputs { extracts: true, pooled: false, truth: false, answers: false };
    london::write(folder, &Plan { seed, scale, boroughs: vec![index], outputs }, &|_, _| {})?;
    let mut mapped: Table = london::configuration(seed, borough)?.parse()?;
    let within = format!("extracts/{}", borough.gss);
    if let Some(mut residents) = mapped.remove("residents") {
        for service in residents.get_mut("service").and_then(Value::as_array_mut).into_iter().flatten() {
            put_within(service, &within);
        }
        configuration.insert("residents".to_owned(), residents);
    }
    let Some(Value::Array(mut datasets)) = mapped.remove("dataset") else { return Ok(()) };
    datasets.iter_mut().for_each(|dataset| put_within(dataset, &within));
    let contract = |dataset: &Value| dataset.get("contract").and_then(Value::as_str).map(str::to_owned);
    let fed: Vec<Option<String>> = datasets.iter().map(contract).collect();
    let served = configuration.entry("dataset").or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(served) = served {
        // A federation of fewer datasets has contracts for those alone.
        let wanted: Vec<Option<String>> = served.iter().map(contract).collect();
        served.retain(|dataset| !fed.contains(&contract(dataset)));
        served.extend(datasets.into_iter().filter(|dataset| wanted.contains(&contract(dataset))));
    }
    Ok(())
}

/// Puts the folder before the paths of a section's sources.
fn put_within(section: &mut Value, folder: &str) {
    for source in section.get_mut("source").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::String(path)) = source.get_mut("path") {
            *path = format!("{folder}/{path}");
        }
    }
}
