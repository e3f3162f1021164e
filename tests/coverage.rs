//! Data that end on a day: figures of later days are neither zero nor withheld.

use std::fs::{read_to_string, write};
use std::path::Path;

use loda_answer::statement;

use loda_demo::datasets::Dataset;
use loda_demo::layout::Layout;

use crate::pooled::text;
use crate::scenarios::ask;
use crate::support::folder::Folder;
use crate::support::{self, Federation};

const CONTRACT: &str = r#"dataset = "events"
version = 1
title = "Events"
protection = "public"

[[unit]]
domain = "event"
column = "id"
about = "things"
one-row = true
borough-exclusive = true

[[column]]
name = "id"
type = "text"
role = "unit"
to = "event"
description = "The event"

[[column]]
name = "kind"
type = "text"
role = "dimension"
codes = ["a", "b"]
description = "Its kind"

[[column]]
name = "month"
type = "date"
role = "dimension"
grain = "month"
min = "2019-01-01"
max = "2021-12-31"
description = "Its month, as the first day"
"#;

const MAPPING: &str = "SELECT id, kind, CAST(month AS DATE) AS month FROM events";

/// Three events a month of 2020, two of them of kind a.
fn events(months: std::ops::RangeInclusive<u32>) -> String {
    let row = |(month, number): (u32, u32)| {
        format!("{month}-{number},{},2020-{month:02}-01\n", if number < 2 { "a" } else { "b" })
    };
    let rows = months.flat_map(|month| (0..3).map(move |number| (month, number)));
    format!("id,kind,month\n{}", rows.map(row).collect::<String>())
}

fn dataset(contract: &str, file: &Path, covers: &str) -> String {
    format!(
        "\n[[dataset]]\ncontract = \"{contract}\"\nas_at = \"2020-12-31\"\nsql = \"{MAPPING}\"\n{covers}\n[[dataset.source]]\nname \
         = \"events\"\npath = \"{}\"\nformat = \"csv\"\n",
        file.display()
    )
}

#[test]
fn a_figure_after_the_data_end_says_so_and_is_not_a_zero() {
    support::run(async {
        // A contract of the federation with another text, so that the manifest names it.
        let dir = tempfile::tempdir().unwrap();
        let options = support::options(dir.path(), 2, None);
        let contract = |dataset: &Dataset| match dataset.name {
            "schools" => CONTRACT.replacen("\"events\"", "\"schools\"", 1),
            _ => support::wide(dataset),
        };
        let layout = Layout::create_under(&options, &mut |_| {}, &contract).unwrap();
        for (gss, months, covers) in [
            ("E09000001", 1..=12, ""),
            (
                "E09000002",
                1..=10,
                "[dataset.covers]\ncolumn = \"month\"\nfrom = \"2020-01-01\"\nuntil = \"2020-10-31\"",
            ),
        ] {
            let node = layout.node(gss);
            write(node.join("events.csv"), events(months)).unwrap();
            let ours = dataset("../../contracts/schools.toml", &node.join("events.csv"), covers);
            let config = read_to_string(node.join("node.toml")).unwrap();
            let sections =
                config.split("\n[[dataset]]\n").map(|section| match section.contains("contracts/schools.toml") {
                    true => ours.trim_start_matches("\n[[dataset]]\n").to_owned(),
                    false => section.to_owned(),
                });
            write(node.join("node.toml"), sections.collect::<Vec<_>>().join("\n[[dataset]]\n")).unwrap();
        }
        let methods = loda_node::Methods::standard().unwrap();
        let federation = Federation::serving(layout, methods, dir).await;
        let rows = async |sql: &str| text(&ask(&federation.client, sql).await.unwrap().batches, 99);

        // The sum over boroughs lacks one of them, and is not the smaller number alone.
        let by_month = rows("SELECT month, COUNT(*) AS n FROM schools GROUP BY month ORDER BY month").await;
        for row in &by_month {
            let late = row[0].as_str() > "2020-10-31";
            let (n, reason) = if late { ("3", "lacks 1 of 2 boroughs: 1 no data") } else { ("6", "NULL") };
            assert_eq!((row[1].as_str(), row[2].as_str()), (n, reason), "{row:?}");
        }
        assert_eq!(by_month.len(), 12);

        // One borough's figure is [z] and says from when on; its other figure stands.
        let answer = ask(
            &federation.client,
            "SELECT borough, COUNT(*) FILTER (WHERE month = DATE '2020-11-01') AS late, COUNT(*) FILTER (WHERE month < DATE \
             '2020-01-01') AS early, COUNT(*) AS n FROM schools GROUP BY borough ORDER BY borough",
        )
        .await
        .unwrap();
        let late = text(&answer.batches, 99);
        assert_eq!(late[0][1..], ["3", "0", "36", "NULL"].map(str::to_owned));
        assert_eq!(late[1][1..4], ["NULL", "NULL", "30"].map(str::to_owned));
        let why = &late[1][4];
        assert!(why.contains("late: z: after the data end (2020-10-31)"), "{why}");
        assert!(why.contains("early: z: before the data begin (2020-01-01)"), "{why}");
        let mut csv = Vec::new();
        loda_answer::csv(&answer, &mut csv).unwrap();
        assert!(String::from_utf8_lossy(&csv).contains("E09000002,[z],[z],30"), "{}", String::from_utf8_lossy(&csv));
        let said = statement(&answer.statement, loda_answer::Detail::Plain);
        let data = "  data: schools 2020-01-01 to 2020-10-31: Barking and Dagenham (E09000002)\n";
        assert!(said.contains(data) && !said.contains("withheld:"), "{said}");

        // What is made of it is marked, and a question about later months alone is not complete for London.
        let sum = rows(
            "SELECT SUM(late) AS late FROM (SELECT borough, COUNT(*) FILTER (WHERE month = DATE '2020-12-01') AS late FROM \
             schools GROUP BY borough) t",
        )
        .await;
        assert_eq!(sum[0], ["3", "lacks 1 of 2 cells: no data"].map(str::to_owned));
        let sum = rows("SELECT COUNT(*) AS n FROM schools WHERE month >= DATE '2020-11-01'").await;
        assert_eq!(sum[0], ["6", "lacks 1 of 2 boroughs: 1 no data"].map(str::to_owned));
        // A London share is formed over the boroughs that have data for both of its parts.
        let share = rows(
            "SELECT 1.0 * COUNT(*) FILTER (WHERE month = DATE '2020-11-01') / COUNT(*) AS share, COUNT(*) AS n FROM schools",
        )
        .await;
        assert!(share[0][0].starts_with("0.0833") && share[0][1] == "36", "{share:?}");
        assert!(share[0][2].contains("1 no data"), "{share:?}");
        // A quarter that the data reach in part has data.
        let quarters =
            rows("SELECT date_trunc('quarter', month) AS q, COUNT(*) AS n FROM schools GROUP BY 1 ORDER BY 1").await;
        assert_eq!(quarters.last().unwrap()[1..], ["12", "NULL"].map(str::to_owned));
    });
}

#[test]
fn a_period_that_the_rows_contradict_or_a_contract_does_not_have_is_named() {
    let folder = Folder::new("events", CONTRACT);
    folder.put("events.csv", events(1..=12));
    folder.configure(&dataset("contracts/events.toml", Path::new("events.csv"), ""));
    folder.trial();
    for (covers, said) in [
        (
            "column = \"month\"\nuntil = \"2020-10-31\"",
            "6 rows have a month outside the period that [dataset.covers] declares",
        ),
        ("column = \"kind\"\nuntil = \"2020-10-31\"", "no date column of events has this name (there is: month)"),
        ("column = \"month\"", "needs from, until, or both"),
        ("column = \"month\"\nuntil = \"October\"", "write YYYY-MM-DD"),
        ("column = \"month\"\nfrom = \"2021-01-01\"\nuntil = \"2020-10-31\"", "ends before"),
    ] {
        let covers = format!("[dataset.covers]\n{covers}");
        folder.configure(&dataset("contracts/events.toml", Path::new("events.csv"), &covers));
        let check = folder.check();
        assert!(!check.content && check.text.contains(said), "{said}: {}", check.text);
    }
    let covers = "[dataset.covers]\ncolumn = \"month\"\nuntil = \"2020-12-15\"";
    folder.configure(&dataset("contracts/events.toml", Path::new("events.csv"), covers));
    let check = folder.check();
    assert!(check.content, "{}", check.text);
}
