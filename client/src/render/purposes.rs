//! The purposes that an asker may state.

use loda_proto::v1::{Purpose, PurposeDataset};
use serde_json::{Value, json};

use super::table::grid;
use loda_answer::plain;
use loda_answer::statement::names;

/// If more boroughs than this have agreed, they are counted and not named.
const MANY: usize = 3;

/// One line for each set of datasets that the same boroughs have agreed to. Purposes that read alike share their lines.
pub fn purposes(all: &[Purpose], width: Option<u16>) -> String {
    if all.is_empty() {
        return "No borough that can be reached has agreed to a question of yours: ask the boroughs to add you\n"
            .to_owned();
    }
    let header = ["purpose", "datasets", "boroughs", "until"].map(str::to_owned);
    let mut alike: Vec<(Vec<String>, Vec<[String; 3]>)> = Vec::new();
    for purpose in all {
        let (name, lines) = (plain::line(&purpose.purpose), lines(purpose));
        match alike.iter_mut().find(|(_, known)| *known == lines) {
            Some((names, _)) => names.push(name),
            None => alike.push((vec![name], lines)),
        }
    }
    let mut rows = Vec::new();
    for (names, lines) in alike {
        let mut names = Some(names.join(", "));
        for [datasets, boroughs, until] in lines {
            rows.push(vec![names.take().unwrap_or_default(), datasets, boroughs, until]);
        }
    }
    let end = "State one purpose with each question: loda query --purpose 'its name' 'SELECT …'\n";
    format!("{}{end}", grid(&header, &[], &rows, width))
}

/// The datasets that the same boroughs have agreed to until the same day; the boroughs; the day.
fn lines(purpose: &Purpose) -> Vec<[String; 3]> {
    let mut lines: Vec<[String; 3]> = Vec::new();
    for PurposeDataset { dataset, boroughs, until } in &purpose.datasets {
        let codes: Vec<&str> = boroughs.iter().map(String::as_str).collect();
        let boroughs = if codes.len() > MANY { format!("{} boroughs", codes.len()) } else { names(&codes) };
        let (dataset, until) = (plain::line(dataset), plain::line(until));
        match lines.iter_mut().find(|[_, of, to]| *of == boroughs && *to == until) {
            Some([datasets, ..]) => *datasets = format!("{datasets}, {dataset}"),
            None => lines.push([dataset, boroughs, until]),
        }
    }
    lines
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
        let both = ["homes", "care"].map(|purpose| Purpose {
            purpose: purpose.into(),
            datasets: vec![of("residents", &all), of("benefits", &all)],
        });
        let text = purposes(&both, None);
        assert!(text.contains("homes, care") && text.contains("residents, benefits"), "{text}");
        assert!(purposes(&[], None).contains("No borough"));
    }
}
