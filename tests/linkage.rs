//! Linkage of people, measured on labelled records from other sources, and compared with Splink's results on the same
//! records.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Instant;

use loda_linkage::{Bands, Index, Record, Records};

use crate::support::{self, Dice};

/// The rows of a CSV file, by column name.
fn read(path: &Path) -> Vec<HashMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap();
    // Names with commas are in quotes.
    let fields = |line: &str| -> Vec<String> {
        let (mut fields, mut quoted) = (vec![String::new()], false);
        for c in line.chars() {
            match c {
                '"' => quoted = !quoted,
                ',' if !quoted => fields.push(String::new()),
                c => fields.last_mut().unwrap().push(c),
            }
        }
        fields
    };
    let mut lines = text.lines();
    let names = fields(lines.next().unwrap());
    lines.map(|line| names.iter().cloned().zip(fields(line)).collect()).collect()
}

fn febrl(row: &HashMap<String, String>, service: u16) -> Record {
    let text = |name: &str| row[name].trim().to_owned();
    Record {
        service,
        given: text("given_name"),
        surname: text("surname"),
        born: text("date_of_birth"),
        number: text("street_number"),
        street: text("address_1"),
        town: text("suburb"),
        postcode: text("postcode"),
        nhs: String::new(),
        nino: String::new(),
    }
}

fn people(records: &[Record], once: &[u16]) -> Index {
    records.iter().collect::<Records>().people(once, &[], Bands::default())
}

/// Precision and recall of the pairs that an index links as one person.
fn measured(index: &Index, truth: &[usize]) -> (f64, f64) {
    let pairs = |groups: BTreeMap<(usize, usize), u64>| -> u64 { groups.values().map(|n| n * (n - 1) / 2).sum() };
    let count = |key: &dyn Fn(usize) -> (usize, usize)| {
        let mut groups = BTreeMap::new();
        (0..truth.len()).for_each(|at| *groups.entry(key(at)).or_default() += 1);
        pairs(groups)
    };
    let found = count(&|at| (index.people[at], 0));
    let real = count(&|at| (truth[at], 0));
    let right = count(&|at| (index.people[at], truth[at]));
    (right as f64 / found as f64, right as f64 / real as f64)
}

/// A number for each label of a column.
fn labels<'a>(names: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut known: HashMap<&str, usize> = HashMap::new();
    names
        .map(|name| {
            let next = known.len();
            *known.entry(name).or_insert(next)
        })
        .collect()
}

/// `rec-12-dup-3` is person 12.
fn person(id: &str) -> &str {
    id.split('-').nth(1).unwrap()
}

#[test]
fn the_residents_index_finds_who_is_who() {
    let Some(data) = support::open_data() else { return };
    let febrl_folder = data.join("febrl");
    if !febrl_folder.is_dir() {
        support::skip::host("febrl is not among the open data");
        return;
    }
    let (a, b) = (read(&febrl_folder.join("febrl4_a.csv")), read(&febrl_folder.join("febrl4_b.csv")));
    let records: Vec<Record> = a.iter().map(|r| febrl(r, 0)).chain(b.iter().map(|r| febrl(r, 1))).collect();
    let truth = labels(a.iter().chain(&b).map(|row| person(&row["rec_id"])));
    let index = people(&records, &[0, 1]);
    let (precision, recall) = measured(&index, &truth);
    println!(
        "febrl4, 2 x 5,000: precision {precision:.4}, recall {recall:.4}, {} pairs for review",
        index.review.len()
    );
    if std::env::var_os("LODA_LINKAGE_MISSES").is_some() {
        let mut by_person: HashMap<usize, Vec<usize>> = HashMap::new();
        (0..truth.len()).for_each(|at| by_person.entry(truth[at]).or_default().push(at));
        for pair in by_person.values().filter(|p| p.len() == 2 && index.people[p[0]] != index.people[p[1]]) {
            println!("missed: {:?}\n        {:?}", records[pair[0]], records[pair[1]]);
        }
    }
    assert!(precision >= 0.999 && recall >= 0.99, "{precision} {recall}");
    // It is unknown which services hold a person only once.
    let (precision, recall) = measured(&people(&records, &[]), &truth);
    println!("  as one file: precision {precision:.4}, recall {recall:.4}");

    let rows = read(&febrl_folder.join("febrl3.csv"));
    let records: Vec<Record> = rows.iter().map(|row| febrl(row, 0)).collect();
    let truth = labels(rows.iter().map(|row| person(&row["rec_id"])));
    let index = people(&records, &[]);
    let (precision, recall) = measured(&index, &truth);
    println!(
        "febrl3, 5,000 in one file: precision {precision:.4}, recall {recall:.4}, {} for review",
        index.review.len()
    );

    let path = data.join("record_linkage/historical_figures_with_errors_50k.csv");
    if path.is_file() {
        let rows = read(&path);
        let record = |row: &HashMap<String, String>| Record {
            given: row["first_name"].clone(),
            surname: row["surname"].clone(),
            born: row["dob"].replace('-', ""),
            town: row["birth_place"].clone(),
            postcode: row["postcode_fake"].clone(),
            ..Record::default()
        };
        let records: Vec<Record> = rows.iter().map(record).collect();
        let truth = labels(rows.iter().map(|row| row["cluster"].as_str()));
        let began = Instant::now();
        let index = people(&records, &[]);
        let took = began.elapsed();
        let (precision, recall) = measured(&index, &truth);
        println!(
            "historical figures, {}: precision {precision:.4}, recall {recall:.4}, {} for review, {took:.1?}",
            rows.len(),
            index.review.len()
        );
    }
    // The results of other tools on febrl4, from the files beside it.
    for (file, runs) in [
        ("baseline_splink.json", "/splink_detailed_no_ssid/1to1_0.5"),
        ("baseline_overlap.json", "/splink full addr=True p>=0.5 1:1"),
        (
            "baseline_recordlinkage.json",
            "/block given_name|surname|dob|postcode|soc_sec_id ssid=False/ECM (unsupervised)",
        ),
        ("baseline_matchkeys.json", "/no_id_safe/full"),
    ] {
        let text = std::fs::read_to_string(febrl_folder.join(file)).unwrap();
        let baseline: serde_json::Value = serde_json::from_str(&text).unwrap();
        let found = runs.trim_start_matches('/').split('/').try_fold(&baseline, |at, name| at.get(name));
        let figure = |name: &str| found.and_then(|found| found.get(name)).map_or("?".to_owned(), ToString::to_string);
        println!("  {file} {runs}: precision {}, recall {}", figure("precision"), figure("recall"));
    }
}

#[test]
fn a_million_records_are_joined_in_minutes() {
    let count = support::rounds("LODA_LINKAGE_RECORDS", 100_000);
    let mut dice = Dice::new(support::seed());
    let letters = |dice: &mut Dice, from: usize| -> String {
        (0..from + dice.index(4))
            .map(|n| if n % 2 == 0 { b"bdfgklmnprst"[dice.index(12)] } else { b"aeiou"[dice.index(5)] } as char)
            .collect()
    };
    let names: Vec<String> = (0..3_000).map(|_| letters(&mut dice, 4)).collect();
    let streets: Vec<String> = (0..2_000).map(|_| letters(&mut dice, 6)).collect();
    let (mut records, mut truth) = (Vec::new(), Vec::new());
    let mut who = 0;
    while (records.len() as u64) < count {
        let record = Record {
            given: dice.pick(&names).clone(),
            surname: dice.pick(&names).clone(),
            born: format!("{}{:02}{:02}", dice.number(1930, 2020), dice.number(1, 12), dice.number(1, 28)),
            number: dice.number(1, 200).to_string(),
            street: dice.pick(&streets).clone(),
            town: "london".to_owned(),
            postcode: format!(
                "sw{}{}{}{}",
                dice.number(1, 20),
                dice.number(1, 9),
                (b'a' + dice.below(26) as u8) as char,
                (b'a' + dice.below(26) as u8) as char
            ),
            ..Record::default()
        };
        for service in 0..1 + u16::try_from(dice.below(4)).unwrap() {
            let mut copy = Record { service, ..record.clone() };
            match dice.below(8) {
                0 => copy.given.insert(1, 'h'),
                1 => copy.surname.truncate(4),
                2 => copy.born.replace_range(6.., "01"),
                3 => copy.street.push('e'),
                _ => {}
            }
            records.push(copy);
            truth.push(who);
        }
        who += 1;
    }
    let began = Instant::now();
    let index = people(&records, &[]);
    let took = began.elapsed();
    let (precision, recall) = measured(&index, &truth);
    println!("{} records of {who} people: precision {precision:.5}, recall {recall:.4}, {took:.1?}", records.len());
    assert!(precision > 0.999 && recall > 0.98);
}
