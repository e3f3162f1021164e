//! Sources that append: reading file after file gives the same rows as reading all files at once.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use loda_demo::random::Random;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::folder::Folder;

const CONTRACT: &str = r#"
dataset = "readings"
version = 1
title = "Readings of sensors"
[[unit]]
domain = "property"
column = "uprn"
about = "people"
max-rows = 1000
[[column]]
name = "uprn"
type = "text"
role = "unit"
to = "property"
[[column]]
name = "month"
type = "date"
role = "dimension"
grain = "month"
min = "2024-01-01"
max = "2030-12-31"
[[column]]
name = "room"
type = "text"
role = "dimension"
codes = ["Bedroom", "Kitchen"]
[[column]]
name = "hours"
type = "integer"
role = "measure"
min = "0"
max = "744"
edges = ["24"]
"#;

const SQL: &str = "SELECT r.uprn, uk_date(r.day) AS month, rooms.name AS room, CAST(r.hours AS BIGINT) AS hours \
                   FROM readings r LEFT JOIN rooms ON r.room = rooms.code";

/// A contract in which each row is its own unit.
fn of_records() -> String {
    let (before, after) = CONTRACT.split_once("[[unit]]").unwrap();
    let (_, columns) = after.split_once("[[column]]\nname = \"month\"").unwrap();
    format!("{before}[[unit]]\ndomain = \"reading\"\nabout = \"people\"\n[[column]]\nname = \"month\"{columns}")
}

fn folder(contract: &str, sql: &str) -> Folder {
    let folder = Folder::new("readings", contract);
    fs::create_dir(folder.path("extracts")).unwrap();
    configure(&folder, sql, "appends = true");
    folder.put("rooms.csv", "code,name\nb,Bedroom\nk,Kitchen\n");
    folder
}

fn configure(folder: &Folder, sql: &str, of_readings: &str) {
    folder.configure(&format!(
        "[[dataset]]\ncontract = \"contracts/readings.toml\"\nas_at = \"2026-11-01\"\nsql = '''{sql}'''\n\
         [[dataset.source]]\nname = \"readings\"\nformat = \"csv\"\npath = \"extracts/*.csv\"\n{of_readings}\n\
         [[dataset.source]]\nname = \"rooms\"\nformat = \"csv\"\npath = \"rooms.csv\""
    ));
}

fn week(random: &mut Random, rows: u64) -> String {
    let mut text = "uprn,day,room,hours\n".to_owned();
    for _ in 0..rows {
        let (home, day, room) = (random.below(40), 1 + random.below(28), ["b", "k", "b"][random.below(3) as usize]);
        writeln!(text, "{:012},{day:02}/{:02}/2025,{room},{}", home, 1 + random.below(3), random.below(4)).unwrap();
    }
    text
}

/// The newest snapshot's rows by unit, sorted by content, and the number of units. The unit's number does not matter:
/// the dictionary chooses it.
fn rows(folder: &Folder, domain: &str) -> (Vec<String>, usize) {
    let mut found: std::collections::BTreeMap<u64, Vec<String>> = std::collections::BTreeMap::new();
    for piece in folder.pieces("readings") {
        let batches = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(piece).unwrap()).unwrap();
        for batch in batches.build().unwrap() {
            let batch = batch.unwrap();
            let ids = batch[format!("__unit_{domain}").as_str()].as_primitive::<UInt64Type>().clone();
            let plain = ["month", "room", "hours"].map(|name| cast(&batch[name], &DataType::Utf8).unwrap());
            let options = FormatOptions::default();
            let texts = plain.each_ref().map(|column| ArrayFormatter::try_new(column, &options).unwrap());
            for row in 0..batch.num_rows() {
                let texts = texts.each_ref().map(|text| text.value(row).to_string());
                found.entry(ids.value(row)).or_default().push(texts.join(" "));
            }
        }
    }
    let units = found.len();
    let each = found.into_values().map(|mut rows| {
        rows.sort();
        rows.join("; ")
    });
    let mut each: Vec<String> = each.collect();
    each.sort();
    (each, units)
}

/// The rows of a fresh folder with the same secret and the same files, and no other memory.
fn read_whole(folder: &Folder, domain: &str) -> (Vec<String>, usize) {
    let other = Folder::new("readings", &fs::read_to_string(folder.path("contracts/readings.toml")).unwrap());
    for name in ["node.toml", "rooms.csv", "manifest.toml", "agreement.toml", "tls.pem", "tls.key"] {
        fs::copy(folder.path(name), other.path(name)).unwrap();
    }
    for (name, of) in [("extracts", "extracts"), ("revocation", "revocation")] {
        fs::create_dir(other.path(name)).unwrap();
        for file in fs::read_dir(folder.path(of)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), other.path(name).join(file.file_name())).unwrap();
        }
    }
    fs::create_dir(other.path("state")).unwrap();
    for key in ["record.key", "log.key"] {
        fs::copy(folder.path("state").join(key), other.path("state").join(key)).unwrap();
    }
    let told = other.ingest();
    assert!(told.contains("snapshot 1"), "{told}");
    rows(&other, domain)
}

#[test]
fn file_after_file_is_what_all_of_them_give() {
    for (domain, contract) in [("property", CONTRACT.to_owned()), ("reading", of_records())] {
        let sql = if domain == "property" { SQL.to_owned() } else { SQL.replace("r.uprn, ", "") };
        let folder = folder(&contract, &sql);
        folder.trial();
        let mut random = Random::at(&[7]);
        let mut most = 0;
        for number in 0..14 {
            let count = if number == 0 { 900 } else { random.below(60) };
            folder.put(&format!("extracts/{number:03}.csv"), week(&mut random, count));
            let told = folder.ingest();
            assert!(told.contains(&format!("snapshot {},", number + 1)), "{told}");
            most = most.max(folder.pieces("readings").len());
            if number % 4 == 1 {
                assert!(rows(&folder, domain) == read_whole(&folder, domain), "{domain} after {number}");
            }
        }
        // New files become pieces beside the large piece. There are only a few pieces.
        assert!((2..=6).contains(&most), "{most}");
        // Without new files nothing is read, and no snapshot is made.
        let before = folder.snapshots();
        folder.ingest();
        assert_eq!(folder.snapshots(), before);
        // The two newest snapshots, and the snapshot of the epoch.
        assert_eq!(before.lines().count(), 4, "{before}");
        // A changed file, a removed file, a file that comes before the first, or other names for the rooms: everything
        // is read anew.
        let first = folder.pieces("readings").remove(0);
        folder.put("extracts/003.csv", week(&mut random, 20));
        folder.ingest();
        assert!(rows(&folder, domain) == read_whole(&folder, domain));
        assert_ne!(folder.pieces("readings").first(), Some(&first));
        fs::remove_file(folder.path("extracts/005.csv")).unwrap();
        folder.ingest();
        assert!(rows(&folder, domain) == read_whole(&folder, domain));
        folder.put("extracts/000-a.csv", week(&mut random, 20));
        folder.ingest();
        assert!(rows(&folder, domain) == read_whole(&folder, domain));
        folder.put("rooms.csv", "code,name\nb,Kitchen\nk,Bedroom\n");
        let before = rows(&folder, domain);
        folder.ingest();
        let after = rows(&folder, domain);
        assert!(after != before && after == read_whole(&folder, domain));
    }
}

#[test]
fn a_new_file_that_cannot_be_served_leaves_the_snapshot_as_it_is() {
    let folder = folder(CONTRACT, SQL);
    folder.trial();
    let mut random = Random::at(&[8]);
    folder.put("extracts/1.csv", week(&mut random, 500));
    folder.ingest();
    let good = (folder.snapshots(), rows(&folder, "property"));
    let second = week(&mut random, 40);
    for (broken, why) in [
        (second.replace("uprn,", "Uprn No,"), "its header is not that of the first file"),
        // Forty bad rows of 540 would be accepted. Forty of forty are not.
        (second.replace("/2025", "/1925"), "40 of 40 rows are left out"),
        (format!("{second}\"never ends"), ""),
    ] {
        folder.put("extracts/2.csv", broken);
        let told = folder.ingest();
        assert!(told.contains(why), "{why}: {told}");
        if !why.is_empty() {
            assert!((folder.snapshots(), rows(&folder, "property")) == good, "{why}");
        }
    }
    folder.put("extracts/2.csv", &second);
    folder.ingest();
    // The report covers all rows that are served.
    let report = fs::read_to_string(folder.path("state/reports/readings.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["read"], &report["kept"]), (&540.into(), &540.into()));
    assert_eq!(report["sources"]["readings"]["files"].as_array().unwrap().len(), 2);
    assert_eq!(report["sources"]["rooms"]["rows"], 2);
    let rooms = report["columns"].as_array().unwrap().iter().find(|column| column["name"] == "room").unwrap();
    assert_eq!(rooms["bands"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>(), 540);
}

#[test]
fn a_lost_or_torn_snapshot_gives_way_to_the_one_before_and_to_a_whole_reading() {
    let folder = folder(CONTRACT, SQL);
    folder.trial();
    let mut random = Random::at(&[9]);
    for number in 0..3 {
        folder.put(&format!("extracts/{number}.csv"), week(&mut random, if number == 0 { 900 } else { 30 }));
        folder.ingest();
    }
    let whole = rows(&folder, "property");
    let listing = |number: u64| -> std::path::PathBuf {
        let of_version = folder.pieces("readings")[0].parent().unwrap().to_owned();
        let named = |file: &Path| file.file_name().unwrap().to_str().unwrap().starts_with(&format!("{number:08}_"));
        fs::read_dir(of_version).unwrap().map(|file| file.unwrap().path()).find(|file| named(file)).unwrap()
    };
    fs::write(listing(3), "{\"pieces\": [\"../../../../etc/passwd\"]").unwrap();
    let told = folder.ingest();
    assert!(told.contains("cannot be used") && told.contains("snapshot 4"), "{told}");
    assert!(rows(&folder, "property") == whole);
    fs::remove_file(&folder.pieces("readings")[0]).unwrap();
    let told = folder.ingest();
    assert!(told.contains("is not there") && told.contains("snapshot 5"), "{told}");
    assert!(rows(&folder, "property") == whole);
}

#[test]
fn snapshots_are_kept_as_deep_as_the_configuration_says() {
    let folder = folder(CONTRACT, SQL);
    configure(&folder, SQL, "");
    let node = fs::read_to_string(folder.path("node.toml")).unwrap();
    fs::write(folder.path("node.toml"), node.replace("[tls]", "[limits]\nsnapshots = 4\n[tls]")).unwrap();
    folder.trial();
    folder.put("extracts/1.csv", week(&mut Random::at(&[10]), 50));
    (0..6).for_each(|_| drop(folder.ingest()));
    let kept = folder.snapshots();
    let numbers: Vec<&str> = kept.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    // The first snapshot is pinned for the epoch and is served. Later snapshots wait.
    assert_eq!(numbers, ["1", "3", "4", "5", "6"], "{kept}");
    assert!(kept.contains("for epoch 20") && kept.contains("waits for the next epoch"), "{kept}");
    // Pieces without a snapshot are removed, and no half-written file is left.
    let of_version = folder.pieces("readings")[0].parent().unwrap().to_owned();
    assert_eq!(fs::read_dir(of_version).unwrap().count(), 10);
    fs::write(folder.path("node.toml"), node.replace("[tls]", "[limits]\nsnapshots = 1\n[tls]")).unwrap();
    let told = folder.said(&["node", "snapshots"]);
    assert!(!told.content && told.text.contains("snapshots at least 2"), "{}", told.text);
}

#[test]
fn a_mapping_over_all_files_does_not_append() {
    let folder = folder(CONTRACT, SQL);
    folder.trial();
    folder.put("extracts/1.csv", week(&mut Random::at(&[11]), 50));
    let select = "SELECT uprn, uk_date(day) AS month, 'Kitchen' AS room, CAST(hours AS BIGINT) AS hours FROM readings";
    let by_day = "SELECT uprn, uk_date(day) AS month, 'Kitchen' AS room, SUM(CAST(hours AS BIGINT)) AS hours FROM readings \
                  GROUP BY uprn, day";
    for (sql, why) in [
        (by_day.to_owned(), "put __file among the columns of GROUP BY"),
        (format!("SELECT DISTINCT * FROM ({select})"), "put __file among"),
        (format!("{select} LIMIT 10"), "LIMIT takes rows of all files"),
        (format!("{select} UNION ALL SELECT '1', DATE '2025-01-01', 'Kitchen', 1 FROM rooms"), "UNION would add"),
        (format!("{select} WHERE uprn IN (SELECT uprn FROM readings WHERE room = 'b')"), "reads it 2 times"),
        (
            "SELECT '1' AS uprn, DATE '2025-01-01' AS month, name AS room, 1 AS hours FROM rooms \
             WHERE code IN (SELECT room FROM readings)"
                .to_owned(),
            "read within an expression",
        ),
        (
            "SELECT uprn, DATE '2025-01-01' AS month, 'Kitchen' AS room, 1 AS hours FROM rooms \
             LEFT JOIN readings ON code = room"
                .to_owned(),
            "put the source on the side that is kept",
        ),
        (
            "SELECT uprn, uk_date(day) AS month, 'Kitchen' AS room, ROW_NUMBER() OVER (PARTITION BY uprn ORDER BY day) AS hours \
             FROM readings"
                .to_owned(),
            "put __file among",
        ),
    ] {
        configure(&folder, &sql, "appends = true");
        for told in [folder.check().text, folder.ingest()] {
            assert!(told.contains(why), "{sql}: {told}");
        }
    }
    let window = "SELECT uprn, uk_date(day) AS month, 'Kitchen' AS room, \
                  ROW_NUMBER() OVER (PARTITION BY __file, uprn ORDER BY day) AS hours FROM readings";
    let named = "WITH r AS (SELECT * FROM readings ORDER BY day) SELECT x.uprn, uk_date(x.day) AS month, 'Kitchen' AS room, \
                 SUM(CAST(hours AS BIGINT)) AS hours FROM r AS x JOIN rooms ON x.room = rooms.code GROUP BY x.uprn, x.day, x.__file";
    for sql in [by_day.replace("uprn, day", "uprn, day, __file"), window.to_owned(), named.to_owned()] {
        configure(&folder, &sql, "appends = true");
        let told = folder.check();
        assert!(told.content && told.text.contains("This may be served"), "{sql}: {}", told.text);
    }
    // If a unit has one row, a new file can hold a row of a unit that already exists.
    let one_row = CONTRACT.replace("max-rows = 1000", "one-row = true");
    fs::write(folder.path("contracts/readings.toml"), one_row).unwrap();
    configure(&folder, SQL, "appends = true");
    let told = folder.check().text;
    assert!(told.contains("the contract gives a property one row"), "{told}");
    for (keys, why) in [
        (
            "appends = true\n[[dataset.source]]\nname = \"more\"\nformat = \"csv\"\npath = \"rooms.csv\"\nappends = true",
            "two",
        ),
        (
            "appends = true\n[[dataset.source]]\nname = \"db\"\nformat = \"sqlite\"\npath = \"x.db\"\nquery = \"SELECT 1\"",
            "source 'db' is a database",
        ),
    ] {
        configure(&folder, SQL, keys);
        let told = folder.check();
        assert!(!told.content && told.text.contains(why), "{}", told.text);
    }
}
