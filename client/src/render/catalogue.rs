//! The tables that can be asked.

use std::collections::BTreeSet;

use loda_proto::v1::{Table, TableColumn};
use serde_json::{Value, json};

use super::table::grid;
use super::wrap::wrapped;
use loda_answer::plain;
use loda_answer::statement::units_in_words;

/// One line for each table.
pub fn catalogue(tables: &[Table], width: Option<u16>) -> String {
    let names = ["table", "about", "protection", "counts", "boroughs"].map(str::to_owned);
    let row = |table: &Table| {
        vec![
            plain::line(&table.name),
            plain::line(&table.title),
            plain::line(&table.protection),
            units_in_words(&table.units),
            held_by(table),
        ]
    };
    let rows: Vec<_> = tables.iter().map(row).collect();
    let mut text = grid(&names, &[false, false, false, false, true], &rows, width);
    let methods: BTreeSet<&str> = tables.iter().map(|table| table.protection.as_str()).collect();
    let told = methods.into_iter().filter_map(|method| Some(format!("{method}: {}\n", method_in_words(method)?)));
    text.push_str(&wrapped(&told.collect::<String>(), width));
    text
}

/// What a method of protection does to figures, and whose tables have none.
fn method_in_words(method: &str) -> Option<&'static str> {
    match method {
        "cell-key" => Some("each figure is changed a little at random; small counts are withheld"),
        "threshold" => Some("figures of few units, or of few large ones, are withheld"),
        "public" => Some("published: every record may be shown as it is"),
        "reference" => Some("held by the coordinator, to join"),
        _ => None,
    }
}

/// One table with its columns and the allowed uses of each.
pub fn table_details(table: &Table, width: Option<u16>) -> String {
    let mut text = format!("{}: {}\n", plain::line(&table.name), plain::line(&table.title));
    text.push_str(&format!("protection: {}", plain::line(&table.protection)));
    if let Some(words) = method_in_words(&table.protection) {
        text.push_str(&format!(" ({words})"));
    }
    if !table.units.is_empty() {
        text.push_str(&format!("; counts {}", units_in_words(&table.units)));
    }
    text.push_str(&match table.boroughs.len() {
        0 => "; held by the coordinator\n\n".to_owned(),
        1 => "; held by 1 borough\n\n".to_owned(),
        n => format!("; held by {n} boroughs\n\n"),
    });
    text = wrapped(&text, width);
    let names = ["column", "type", "role", "what it is, and its values"].map(str::to_owned);
    let row = |column: &TableColumn| {
        let null = if column.nullable { "may be NULL" } else { "" };
        let said = [column.description.as_str(), column.values.as_str(), null];
        let said: Vec<String> = said.into_iter().filter(|part| !part.is_empty()).map(plain::line).collect();
        vec![plain::line(&column.name), plain::line(&column.r#type), plain::line(&column.role), said.join(": ")]
    };
    let rows: Vec<_> = table.columns.iter().map(row).collect();
    text.push_str(&grid(&names, &[], &rows, width));
    let told = [
        ("dimension", "A dimension can be grouped by, and compared with any of its values."),
        ("unit", "A unit is what is counted, each once, with COUNT(DISTINCT …)."),
        ("reference key", "A reference key joins a table of what is published, by the same code."),
        ("measure", "A measure can be summed and averaged, and compared with the numbers that are named."),
    ];
    let has = |role: &str| table.columns.iter().any(|column| column.role == role);
    let told: Vec<&str> = told.into_iter().filter(|(role, _)| has(role)).map(|(_, words)| words).collect();
    if !told.is_empty() {
        text.push_str(&wrapped(&format!("\n{}\n", told.join("\n")), width));
    }
    text
}

/// The tables with the field names of the wire contract.
pub fn catalogue_json(tables: &[Table]) -> Value {
    let column = |column: &TableColumn| {
        json!({
            "name": column.name,
            "type": column.r#type,
            "role": column.role,
            "values": column.values,
            "nullable": column.nullable,
            "description": column.description,
        })
    };
    let table = |table: &Table| {
        json!({
            "name": table.name,
            "title": table.title,
            "protection": table.protection,
            "units": table.units,
            "boroughs": table.boroughs,
            "columns": table.columns.iter().map(column).collect::<Vec<_>>(),
        })
    };
    tables.iter().map(table).collect()
}

fn held_by(table: &Table) -> String {
    match table.boroughs.len() {
        0 => "–".into(),
        n => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_table_is_listed_and_described() {
        let column = TableColumn {
            name: "age".into(),
            r#type: "Int64".into(),
            values: "0 to 120".into(),
            role: "dimension".into(),
            ..Default::default()
        };
        let table = Table {
            name: "people".into(),
            title: "Residents\u{7}".into(),
            units: vec!["person".into()],
            boroughs: vec!["E09000001".into(); 33],
            columns: vec![column],
            ..Default::default()
        };
        let list = catalogue(std::slice::from_ref(&table), Some(80));
        assert!(list.contains("people") && list.contains("33") && !list.contains('\u{7}'), "{list}");
        let narrow = catalogue(&[Table { name: "social_care_clients".into(), ..table.clone() }], Some(60));
        assert!(narrow.contains("social_care_clients"), "{narrow}");
        let protected = Table { protection: "cell-key".into(), ..table.clone() };
        let list = catalogue(&[protected.clone(), protected.clone()], Some(60));
        assert_eq!(list.matches("cell-key: each figure").count(), 1, "{list}");
        let details = table_details(&protected, Some(60));
        assert!(details.lines().all(|line| line.chars().count() <= 60), "{details}");
        let details = table_details(&table, None);
        assert!(details.contains("counts people; held by 33 boroughs") && details.contains("0 to 120"), "{details}");
        assert!(details.ends_with("compared with any of its values.\n") && !details.contains("A measure"), "{details}");
        assert_eq!(catalogue_json(&[table])[0]["columns"][0]["type"], "Int64");
    }
}
