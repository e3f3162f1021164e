//! Withheld values are in no byte from any door, and in no log.

use std::fs;
use std::io::{Cursor, Read, Write};
use std::process::Command;

use crate::support::doors::{has, python};
use crate::support::folder::{Folder, Trial};

const CONTRACT: &str = r#"
dataset = "visits"
version = 1
title = "Visits"
protection = "cell-key"
[[unit]]
domain = "person"
column = "person_key"
about = "people"
max-rows = 2
[[column]]
name = "person_key"
type = "text"
role = "unit"
to = "person"
[[column]]
name = "place"
type = "text"
role = "dimension"
open = true
codes-from = "places.place"
[[column]]
name = "cost"
type = "integer"
role = "measure"
min = "0"
max = "999999"
edges = ["1000"]
"#;

/// The published places: no column about people has values of its own.
const PLACES: &str = r#"
dataset = "places"
version = 1
title = "Places"
protection = "public"
[[unit]]
domain = "place"
about = "things"
[[column]]
name = "place"
type = "text"
role = "dimension"
open = true
"#;

/// Marks in the data of a few people: a place, a key, a cost.
const MARKS: [&str; 3] = ["ZQPLACE", "ZQPERSON", "777123"];

/// A trial that serves visits of people to places: rows of person, place, cost.
pub fn visits(rows: &str) -> Trial {
    let folder = Folder::new("visits", CONTRACT);
    fs::write(folder.path("contracts/places.toml"), PLACES).unwrap();
    folder.configure(
        "[[dataset]]\ncontract = \"contracts/visits.toml\"\nas_at = \"2026-11-01\"\n\
         sql = 'SELECT person_key, place, CAST(cost AS BIGINT) AS cost FROM visits'\n[[dataset.source]]\n\
         name = \"visits\"\nformat = \"csv\"\npath = \"visits.csv\"\n\
         [[dataset]]\ncontract = \"contracts/places.toml\"\nas_at = \"2026-11-01\"\n\
         sql = \"SELECT DISTINCT place FROM visits WHERE place NOT LIKE 'ZQ%'\"\n[[dataset.source]]\n\
         name = \"visits\"\nformat = \"csv\"\npath = \"visits.csv\"",
    );
    folder.put("visits.csv", format!("person_key,place,cost\n{rows}"));
    Trial::serve(folder)
}

#[test]
fn a_withheld_value_is_in_no_byte_that_leaves() {
    let (true, Some(python)) = (has("curl"), python()) else { return };
    let mut rows = String::new();
    (0..400).for_each(|n| rows.push_str(&format!("P{n:04},{},{}\n", ["Library", "Pool"][n % 2], n % 500)));
    (0..4).for_each(|n| rows.push_str(&format!("ZQPERSON{n},ZQPLACE{n},777123\n")));
    let trial = visits(&rows);
    let (folder, door, token) = (&trial.folder, &trial.door, trial.token.as_str());

    let mut left: Vec<(String, Vec<u8>)> = Vec::new();
    let mut seen = 0;
    for sql in [
        "SELECT place, COUNT(DISTINCT person_key) AS n, SUM(cost) AS cost FROM visits GROUP BY place",
        "SELECT place, MEDIAN(cost) AS median FROM visits GROUP BY place ORDER BY place DESC",
        "SELECT COUNT(DISTINCT (borough, person_key)) AS n, SUM(cost) AS cost FROM visits WHERE place = 'ZQPLACE1'",
        "SELECT CAST(place AS BIGINT) AS n, COUNT(*) AS c FROM visits GROUP BY place",
        "SELECT MAX(cost) AS most FROM visits",
        "SELECT place FROM visits",
        "EXPLAIN SELECT place, COUNT(*) FROM visits GROUP BY place",
    ] {
        let body = serde_json::json!({"sql": sql, "purpose": "trial"}).to_string();
        let said = door.with(token, &["--json", &body, "/v1/questions"]);
        left.push((sql.to_owned(), said.body.clone()));
        let Some(place) = said.header("location") else { continue };
        left.push((format!("state of {sql}"), door.with(token, &[&format!("{place}?wait=60")]).body));
        for format in ["json", "csv", "parquet", "arrow", "xlsx"] {
            let result = door.with(token, &[&format!("{place}/result?format={format}")]);
            let parts = if format == "xlsx" && result.status == 200 { unpacked(&result.body) } else { Vec::new() };
            seen += usize::from(result.text().contains("Library"));
            left.push((format!("{format} of {sql}"), result.body));
            left.push((format!("parts of {sql}"), parts));
        }
    }
    assert!(seen >= 4, "the door gives what is released");
    let script = folder.path("fetch.py");
    fs::write(&script, FETCH).unwrap();
    let mut fetch = Command::new(python);
    fetch.arg(script).env("LODA_ADDRESS", &door.address).env("LODA_CA", &door.authority).env("LODA_TOKEN", token);
    let fetched = fetch.output().unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    assert!(String::from_utf8_lossy(&fetched.stdout).contains("Library"));
    left.push(("Flight SQL".to_owned(), fetched.stdout));
    for at in trial.operations {
        left.push(("metrics".to_owned(), metrics(at)));
    }
    for log in ["node.log", "coordinator.log", "state/log.jsonl", "coordinator/state/log.jsonl"] {
        left.push((log.to_owned(), fs::read(folder.path(log)).unwrap()));
    }
    for (what, bytes) in &left {
        for mark in MARKS {
            // An asker's own words may be in the answer.
            let own = what.contains(mark);
            let there = bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
            assert!(own || !there, "{mark} is in {what}: {}", String::from_utf8_lossy(bytes));
        }
    }
    println!("{} outputs, {} bytes, none of {MARKS:?}", left.len(), left.iter().map(|(_, b)| b.len()).sum::<usize>());
}

const FETCH: &str = r#"
import os
import adbc_driver_flightsql.dbapi as flight
options = {
    "adbc.flight.sql.client_option.tls_root_certs": open(os.environ["LODA_CA"]).read(),
    "adbc.flight.sql.authorization_header": "Bearer " + os.environ["LODA_TOKEN"],
    "adbc.flight.sql.rpc.call_header.loda-purpose": "trial",
}
with flight.connect("grpc+tls://" + os.environ["LODA_ADDRESS"], db_kwargs=options, autocommit=True) as connection:
    print(connection.adbc_get_objects(depth="all").read_all().to_pylist())
    for sql in [
        "SELECT place, COUNT(DISTINCT person_key) AS n, SUM(cost) AS cost FROM visits GROUP BY place",
        "SELECT * FROM loda.last_statement",
        "SELECT * FROM loda.coverage",
        "SELECT * FROM information_schema.columns",
        "SELECT CAST(place AS BIGINT) AS n, COUNT(*) AS c FROM visits GROUP BY place",
        "SELECT * FROM visits",
    ]:
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                table = cursor.fetch_arrow_table()
                print(table.to_pylist(), table.schema.metadata, table.schema.to_string(show_field_metadata=True))
        except flight.Error as fault:
            print(fault)
"#;

/// All parts of a workbook.
pub fn unpacked(book: &[u8]) -> Vec<u8> {
    let mut parts = zip::ZipArchive::new(Cursor::new(book)).unwrap();
    let mut all = Vec::new();
    for number in 0..parts.len() {
        let mut part = parts.by_index(number).unwrap();
        part.read_to_end(&mut all).unwrap();
        all.extend_from_slice(part.name().unwrap().as_bytes());
    }
    // Text stays text: opening the workbook computes nothing.
    assert!(!String::from_utf8_lossy(&all).contains("<f>"));
    all
}

fn metrics(port: u16) -> Vec<u8> {
    let mut line = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    line.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut said = Vec::new();
    line.read_to_end(&mut said).unwrap();
    assert!(String::from_utf8_lossy(&said).contains("loda_questions"));
    said
}
