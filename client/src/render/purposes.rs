//! The purposes that an asker may state.

use loda_proto::v1::{Purpose, PurposeDataset};
use serde_json::{Value, json};

use super::table::grid;
use loda_answer::plain;
use loda_answer::statement::names;

/// If more boroughs than this have agreed, they are counted and not named.
const MANY: usize = 3;

/// One line for each purpose and dataset.
pub fn purposes(all: &[Purpose], width: Option<u16>) -> String {
    if all.is_empty() {
        return "No borough that can be reached has agreed to a question of yours: ask the boroughs to add you\n"
            .to_owned();
    }
    let header = ["purpose", "dataset", "boroughs", "until"].map(str::to_owned);
    let row = |purpose: &Purpose, of: &PurposeDataset, first: bool| {
        let codes: Vec<&str> = of.boroughs.iter().map(String::as_str).collect();
        let boroughs = if codes.len() > MANY { format!("{} boroughs", codes.len()) } else { names(&codes) };
        let name = if first { plain::line(&purpose.purpose) } else { String::new() };
        vec![name, plain::line(&of.dataset), boroughs, plain::line(&of.until)]
    };
    let of_purpose = |purpose| {
        let purpose: &Purpose = purpose;
        purpose.datasets.iter().enumerate().map(move |(place, of)| row(purpose, of, place == 0))
    };
    let rows: Vec<Vec<String>> = all.iter().flat_map(of_purpose).collect();
    let end = "State a purpose with each question: loda query --purpose 'its name' 'SELECT …'\n";
    format!("{}{end}", grid(&header, &[], &rows, width))
}

/// The purposes with the field names of the wire contract.
pub fn purposes_json(all: &[Purpose]) -> Value {
    let dataset = |of: &PurposeDataset| json!({"dataset": of.dataset, "boroughs": of.boroughs, "until": of.until});
    let purpose = |one: &Purpose| {
        let datasets: Vec<Value> = one.datasets.iter().map(dataset).collect();
        json!({"purpose": one.purpose, "datasets": datasets})
    };
    json!({"purposes": all.iter().map(purpose).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_is_named_once_and_few_boroughs_by_name() {
        let of = |dataset: &str, boroughs: &[&str]| PurposeDataset {
            dataset: dataset.into(),
            boroughs: boroughs.iter().map(|gss| (*gss).to_owned()).collect(),
            until: "2026-12-31".into(),
        };
        let all = ["E09000001", "E09000002", "E09000003", "E09000004"];
        let datasets = vec![of("residents", &all), of("benefits", &["E09000007"])];
        let text = purposes(&[Purpose { purpose: "homes".into(), datasets }], None);
        assert_eq!(text.matches("homes").count(), 1, "{text}");
        assert!(text.contains("4 boroughs") && text.contains("Camden (E09000007)"), "{text}");
        assert!(purposes(&[], None).contains("No borough"));
    }
}
