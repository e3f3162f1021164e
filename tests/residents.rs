//! The residents index inside a node: it links records into the `person` of the node's datasets, and the link stays.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::Running;
use crate::support::folder::Folder;

const CONTRACT: &str = r#"
dataset = "contacts"
version = 1
title = "Contacts with services"
[[unit]]
domain = "person"
column = "person_key"
about = "people"
max-rows = 12
[[column]]
name = "person_key"
type = "text"
role = "unit"
to = "person"
[[column]]
name = "number"
type = "integer"
role = "dimension"
min = "0"
max = "9999"
"#;

/// A borough whose services are CSV files. Its dataset counts their contacts by person.
pub struct Borough(Folder);

impl Borough {
    /// `services`: name and SELECT. `number`: SQL for the contract's number.
    fn new(services: &[(&str, &str)], number: &str, of_residents: &str) -> Self {
        let borough = Self(Folder::new("contacts", CONTRACT));
        let rows = services.iter().map(|(name, _)| {
            format!("SELECT resident('{name}', \"id\") AS person_key, {number} AS number FROM {name}")
        });
        let source = |name: &str| format!("name = \"{name}\"\nformat = \"csv\"\npath = \"{name}.csv\"\n");
        let sources = services.iter().map(|(name, _)| format!("[[dataset.source]]\n{}", source(name)));
        let residents = services.iter().map(|(name, sql)| {
            format!(
                "[[residents.service]]\nname = \"{name}\"\nonce = true\nsql = '''{sql}'''\n[[residents.service.source]]\n{}",
                source(name)
            )
        });
        borough.configure(&format!(
            "[limits]\nquery_seconds = 1\n[residents]\n{of_residents}\n{}\n[[dataset]]\n\
             contract = \"contracts/contacts.toml\"\nas_at = \"2026-11-01\"\nsql = '''{}'''\n{}",
            residents.collect::<String>(),
            rows.collect::<Vec<_>>().join(" UNION ALL "),
            sources.collect::<String>()
        ));
        borough
    }

    /// A borough with configured services over extracts in a folder. Its dataset is `truth.csv`, the number of the
    /// person behind each record.
    pub fn over(residents: &str, services: &[String], extracts: &Path) -> Self {
        let borough = Self(Folder::new("contacts", &CONTRACT.replace("max-rows = 12", "max-rows = 100")));
        for file in fs::read_dir(extracts).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), borough.path(file.file_name().to_str().unwrap())).unwrap();
        }
        let rows = services.iter().map(|name| {
            format!(
                "SELECT resident('{name}', ref) AS person_key, CAST(number AS BIGINT) AS number FROM truth \
                 WHERE service = '{name}'"
            )
        });
        let node = format!(
            "{residents}\n[[dataset]]\ncontract = \"contracts/contacts.toml\"\nas_at = \"2025-12-31\"\nsql = \"{}\"\n\
             [[dataset.source]]\nname = \"truth\"\nformat = \"csv\"\npath = \"truth.csv\"\n",
            rows.collect::<Vec<_>>().join(" UNION ALL ")
        );
        fs::write(borough.path("node.toml"), node).unwrap();
        borough
    }

    /// Reads all sources, with the certificates of a trial.
    pub fn ingest(&self) -> String {
        self.trial();
        self.0.ingest()
    }

    /// The newest snapshot's rows: the contract's number and the person's id.
    pub fn rows(&self) -> Vec<(i64, u64)> {
        let pieces = self.pieces("contacts");
        let file = fs::File::open(&pieces[0]).unwrap();
        let batches = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let rows = batches.flat_map(|batch| {
            let batch = batch.unwrap();
            let numbers = batch["number"].as_primitive::<Int64Type>().values().to_vec();
            let people = batch["__unit_person"].as_primitive::<UInt64Type>().values().to_vec();
            numbers.into_iter().zip(people).collect::<Vec<_>>()
        });
        rows.collect()
    }
}

impl Deref for Borough {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.0
    }
}

/// The services of a configuration.
pub fn service_names(configuration: &str) -> Vec<String> {
    let after = configuration.split("[[residents.service]]").skip(1);
    after.map(|service| service.split('"').nth(1).unwrap().to_owned()).collect()
}

/// Precision and recall of the pairs of rows that are linked as one person, from rows of (truth, linked person).
pub fn agreement(rows: &[(i64, u64)]) -> (f64, f64) {
    fn pairs(groups: &BTreeMap<impl Ord, u64>) -> f64 {
        groups.values().map(|n| n * (n - 1) / 2).sum::<u64>() as f64
    }
    let (mut found, mut real, mut right) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (truth, person) in rows {
        *found.entry(person).or_default() += 1;
        *real.entry(truth).or_default() += 1;
        *right.entry((truth, person)).or_default() += 1;
    }
    (pairs(&right) / pairs(&found), pairs(&right) / pairs(&real))
}

#[test]
fn people_of_two_services_are_found_on_the_way_to_a_snapshot() {
    let Some(data) = crate::support::open_data().map(|data| data.join("febrl")).filter(|febrl| febrl.is_dir()) else {
        return;
    };
    let service = |name: &str| {
        format!(
            "SELECT \"id\" AS key, given_name AS given, surname, date_of_birth AS born, street_number AS number, \
             address_1 AS street, suburb AS town, postcode FROM {name}"
        )
    };
    let (a, b) = (service("a"), service("b"));
    // `rec-12-dup-0` is person 12.
    let borough = Borough::new(&[("a", &a), ("b", &b)], "CAST(split_part(\"id\", '-', 2) AS BIGINT)", "");
    for name in ["a", "b"] {
        let text = fs::read_to_string(data.join(format!("febrl4_{name}.csv"))).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        let names: Vec<&str> = header.split(',').map(str::trim).collect();
        let header = names.join(",").replacen("rec_id", "id", 1);
        // The published files have a blank before each value.
        fs::write(borough.path(&format!("{name}.csv")), format!("{header}\n{}", rows.replace(", ", ","))).unwrap();
    }
    let told = borough.said(&["node", "residents", "--review", "review.csv"]).text;
    println!("{told}");
    let ingested = borough.ingest();
    let rows = borough.rows();
    assert_eq!(rows.len(), 10_000, "{ingested}");
    let (precision, recall) = agreement(&rows);
    println!("febrl4 through a node: precision {precision:.4}, recall {recall:.4}");
    assert!(precision >= 0.999 && recall >= 0.99);
    let review = fs::read_to_string(borough.path("review.csv")).unwrap();
    assert!(review.starts_with("one_service,one_key,other_service,other_key,bits,same\n"), "{review}");
}

const CARE: &str = "id,forename,surname,dob,postcode\n\
    C1,Maria,Okafor,12/03/1984,SW2 5TN\nC2,Daniel,Okafor,07/09/2011,SW2 5TN\nC3,Samir,Haddad,30/01/1950,SE5 8TT\n";
const TAX: &str = "id,forename,surname,dob,postcode\n\
    T1,Maria,Okafour,1984-03-12,sw25tn\nT2,Ingrid,Nilsen,1971-07-08,SW9 6AA\n,Nobody,Atall,1990-01-01,SW9 6AA\n";
const SERVICE: &str =
    "SELECT \"id\" AS key, forename AS given, surname, uk_date(dob) AS born, postcode(postcode) AS postcode FROM ";

fn person(rows: &[(i64, u64)], number: i64) -> u64 {
    rows.iter().find(|row| row.0 == number).unwrap().1
}

#[test]
fn a_decision_on_a_pair_reaches_what_is_served() {
    let (care, tax) = (format!("{SERVICE}care"), format!("{SERVICE}tax"));
    // C1 has the number 1001, and T1 has 2001.
    let number = "CASE WHEN \"id\" LIKE 'C%' THEN 1000 ELSE 2000 END + CAST(substr(\"id\", 2) AS BIGINT)";
    let keys = "refresh = \"change\"\ndecided = \"decided.csv\"";
    let borough = Borough::new(&[("care", &care), ("tax", &tax)], number, keys);
    let header = "one_service,one_key,other_service,other_key,bits,same\n";
    borough.put("care.csv", CARE);
    borough.put("tax.csv", TAX);
    borough.put("decided.csv", header);
    let told = borough.said(&["node", "residents"]).text;
    assert!(told.contains("4 people in 5 records of 2 services"), "{told}");
    assert!(told.contains("1 people are known to 2 of the services"), "{told}");
    // The report names a missing key as a missing unit.
    let told = borough.ingest();
    assert!(told.contains("5 of 6 rows kept; 1 left out where person_key is missing"), "{told}");
    let first = borough.rows();
    assert_eq!(person(&first, 1001), person(&first, 2001));
    assert_ne!(person(&first, 1001), person(&first, 1002));

    let log = fs::File::create(borough.path("node.log")).unwrap();
    let node = borough.command(&["node", "--config", "node.toml"]).stderr(log).stdout(Stdio::null()).spawn().unwrap();
    let _node = Running(node);
    let until = |what: &str, is: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !is() {
            let log = fs::read_to_string(borough.path("node.log")).unwrap();
            assert!(began.elapsed() < Duration::from_secs(60), "{what}\n{log}");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    // A person decides: the two Okafors are two people, and the boy is the man in the other service after all.
    borough.put("decided.csv", format!("{header}care,C1,tax,T1,9.0,no\ncare,C2,tax,T2,,yes\n"));
    until("the decision is taken up", &|| {
        let rows = borough.rows();
        person(&rows, 1001) != person(&rows, 2001) && person(&rows, 1002) == person(&rows, 2002)
    });
    let rows = borough.rows();
    assert_eq!((person(&rows, 1001), person(&rows, 1003)), (person(&first, 1001), person(&first, 1003)));
    // An invalid list leaves the last index in use, and the operator is told.
    borough.put("decided.csv", format!("{header}care,C1,tax,T1,9.0,perhaps\n"));
    until("the fault is told", &|| {
        fs::read_to_string(borough.path("node.log")).unwrap().contains("line 2: `same` is yes, no or empty")
    });
    assert_eq!(borough.rows(), rows);
    // The node's stored files hold no names of people.
    let index = fs::read(borough.path("state/residents.index")).unwrap();
    assert!(!index.windows(6).any(|bytes| bytes == b"Okafor" || bytes == b"Haddad"));
}

#[test]
fn a_mistake_in_residents_says_what_to_write() {
    let care = format!("{SERVICE}care");
    let said = |sql: &str, rows: &str| {
        let borough = Borough::new(&[("care", sql)], "1", "");
        fs::write(borough.path("care.csv"), rows).unwrap();
        (borough.said(&["node", "residents"]).text, borough.said(&["node", "check"]).text)
    };
    let (told, _) = said("SELECT \"id\" AS ref FROM care", CARE);
    assert!(
        told.contains("[[residents.service]] 'care': the SELECT gives 'ref': write AS one of key, given"),
        "{told}"
    );
    let (told, _) = said("SELECT surname FROM care", CARE);
    assert!(told.contains("the SELECT gives no `key`"), "{told}");
    let (told, checked) = said(&care, CARE);
    assert!(told.contains("3 people in 3 records of 1 services; 0 pairs for review"), "{told}");
    assert!(checked.contains("3 keep the contract"), "{checked}");
    // An extract that lacks half of the index's records is not complete.
    let borough = Borough::new(&[("care", &care)], "1", "");
    fs::write(borough.path("care.csv"), CARE).unwrap();
    borough.ingest();
    fs::write(borough.path("care.csv"), CARE.lines().take(2).collect::<Vec<_>>().join("\n")).unwrap();
    let told = borough.ingest();
    assert!(told.contains("'care' has 1 records, and the last index has 3 of it"), "{told}");
    let node = fs::read_to_string(borough.path("node.toml")).unwrap();
    fs::write(borough.path("node.toml"), node.replace("resident('care'", "resident('housing'")).unwrap();
    let told = borough.said(&["node", "check"]).text;
    assert!(told.contains("the first argument names a service of [residents], as text: care"), "{told}");
}
