//! Random tables in random dialects and dirt, read back: every row is kept rightly, or named.

use super::{Folder, rows};
use crate::support::Dice;

/// How many tables, unless `LODA_TABLES` says otherwise (`just messy 500`).
const TABLES: u64 = 30;

const GIVEN: [&str; 8] = ["Amara", "Bo", "Jonas", "Mo", "Ines", "Tariq", "Lena", "Kofi"];
const SURNAME: [&str; 8] = ["Quill", "Okafor", "Birch", "Amin", "Crane", "Silva", "Novak", "Mensah"];
const WARDS: [&str; 5] = ["Vauxhall", "Stockwell", "Brixton Acre Lane", "Herne Hill", "Gipsy Hill"];
const STATUS: [&str; 3] = ["Open", "Closed", "Awaiting inspection"];

/// A column: its name, and its value in a row.
type MadeColumn = (String, Box<dyn Fn(u64, &mut Dice) -> String>);

fn columns(dice: &mut Dice) -> Vec<MadeColumn> {
    let mut all: Vec<MadeColumn> = vec![
        ("Case Ref".into(), Box::new(|row, _| format!("R{:05}", row + 10))),
        ("Surname".into(), Box::new(|_, d| SURNAME[d.index(8)].to_owned())),
        ("Forename".into(), Box::new(|_, d| GIVEN[d.index(8)].to_owned())),
        ("Ward".into(), Box::new(|_, d| WARDS[d.index(5)].to_owned())),
        ("Case Status".into(), Box::new(|_, d| STATUS[d.index(3)].to_owned())),
        (
            "Opened".into(),
            Box::new(|_, d| format!("{:02}/{:02}/{}", d.number(1, 28), d.number(1, 12), d.number(2019, 2024))),
        ),
        ("Net Award".into(), Box::new(|_, d| format!("{}.{:02}", d.number(1, 900), d.number(1, 99)))),
        ("Bedrooms".into(), Box::new(|_, d| d.number(1, 6).to_string())),
        ("Contact e-mail".into(), Box::new(|row, _| format!("p{row}@example.org"))),
    ];
    // Some columns, in some order; the reference first.
    let mut kept = vec![all.remove(0)];
    while !all.is_empty() {
        let column = all.remove(dice.index(all.len()));
        if dice.below(4) > 0 || kept.len() < 4 {
            kept.push(column);
        }
    }
    kept
}

#[test]
fn every_row_is_kept_rightly_or_named() {
    let tables = std::env::var("LODA_TABLES").map_or(TABLES, |text| text.parse().unwrap());
    let mut dice = Dice::new(23);
    for number in 0..tables {
        let mut did = Vec::new();
        let made = columns(&mut dice);
        let count = 40 + dice.below(120);
        let mut body: Vec<Vec<String>> =
            (0..count).map(|row| made.iter().map(|(_, value)| value(row, &mut dice)).collect()).collect();
        let mut header: Vec<String> = made.iter().map(|(name, _)| name.clone()).collect();
        let has = |name: &str| made.iter().position(|(known, _)| known == name);
        if dice.below(3) == 0 {
            let at = 1 + dice.index(header.len() - 1);
            header[at] = String::new();
            did.push("a blank cell in the header");
        }
        if dice.below(4) == 0 {
            header[0] = "Case  \n Ref".to_owned();
            did.push("a line break in a name");
        }
        if dice.below(4) == 0 {
            let last = header.len() - 1;
            if !header[last].is_empty() {
                header[last] = format!(
                    "{} {}",
                    header[last],
                    "of those who applied in the year before the one that ended".repeat(2)
                );
                did.push("a long name");
            }
        }
        if let Some(at) = has("Net Award").filter(|_| dice.below(2) == 0) {
            let marker = ["NULL", "-", "..", "N/A", "*", "[c]", "x"][dice.index(7)];
            (0..count as usize).step_by(9).for_each(|row| body[row][at] = marker.to_owned());
            did.push(marker);
        }
        if let Some(at) = has("Net Award").filter(|_| dice.below(3) == 0) {
            let cents = |cell: &String| cell.replace('.', "").parse::<i64>().unwrap_or(0);
            let sum: i64 = body.iter().map(|row| cents(&row[at])).sum();
            let mut total = vec![String::new(); header.len()];
            total[at] = format!("{}.{:02}", sum / 100, sum % 100);
            if dice.below(2) == 0 {
                total[0] = "Total".to_owned();
            }
            body.push(total);
            did.push("a total");
        }
        if dice.below(4) == 0 {
            let mut note = vec![String::new(); header.len()];
            note[0] = "Source: the case system, extracted on the first of the month".to_owned();
            body.push(note);
            did.push("a note");
        }
        let delimiter = [',', ';', '\t', '|'][dice.index(4)];
        let cell = |text: &String| match text.contains([delimiter, '\n', '"']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.clone(),
        };
        let line = |cells: &Vec<String>| cells.iter().map(cell).collect::<Vec<_>>().join(&delimiter.to_string());
        let mut lines: Vec<String> = Vec::new();
        if dice.below(3) == 0 {
            lines.push("Cases of the housing service".to_owned());
            lines.push(String::new());
            did.push("a title");
        }
        lines.push(line(&header));
        lines.extend(body.iter().map(line));
        let end = ["\n", "\r\n", "\r"][dice.index(3)];
        let mut bytes = if dice.below(3) == 0 { "\u{feff}".as_bytes().to_vec() } else { Vec::new() };
        bytes.extend(lines.join(end).as_bytes());
        let folder = Folder::new();
        folder.put("cases.csv", &bytes);
        let said = folder.init("E09000022", "cases", &["cases.csv"]);
        let (report, served) = folder.checked();
        let told =
            format!("table {number} with {did:?} and {delimiter:?}:\n{said}\n{report}\n{}", folder.read("node.toml"));
        assert!(served, "{told}");
        assert_eq!(rows(&report), (count, count), "{told}");
        let contract = folder.contract("cases");
        for private in GIVEN.iter().chain(&SURNAME).chain(&["R00012", "example.org"]) {
            assert!(!contract.contains(private), "{private}: {contract}\n{told}");
        }
    }
}
