//! Rows that come by period: late, corrected, lost and restated rows. Closed periods never change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Int8Type, Int64Type};
use arrow::ipc::reader::StreamReader;
use loda_demo::layout::Layout;
use loda_question::table::{ColumnRef, Functional, RowDomain, Table};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::pooled::contract;
use crate::support;

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");

/// A node for one test, which writes the repairs.
struct Node {
    layout: Layout,
    gss: &'static str,
    _dir: tempfile::TempDir,
}

/// Released rows by quarter and, if the table has them, by month and code.
type Cells = BTreeMap<Vec<Option<String>>, i64>;

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = support::laid_out(&support::options(dir.path(), 2, None));
        let gss = layout.boroughs[1].gss;
        Self { layout, gss, _dir: dir }
    }

    fn folder(&self) -> PathBuf {
        self.layout.node(self.gss)
    }

    /// The extract of the borough's system on a day.
    fn extract(&self, day: &str, rows: &[String]) {
        let file = self.folder().join(format!("data/{}/repairs.csv", self.gss));
        let mut text = "uprn,month,code,cost\n".to_owned();
        rows.iter().for_each(|row| writeln!(text, "{row}").unwrap());
        fs::write(file, text).unwrap();
        self.configured("repairs", "as_at", &format!("\"{day}\""));
    }

    /// Sets one setting of a dataset in the node's configuration.
    fn configured(&self, dataset: &str, key: &str, value: &str) {
        let path = self.folder().join("node.toml");
        let mut config: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let datasets = config["dataset"].as_array_mut().unwrap();
        let named =
            |entry: &&mut toml::Value| entry["contract"].as_str().unwrap().ends_with(&format!("/{dataset}.toml"));
        let of = datasets.iter_mut().find(named).unwrap().as_table_mut().unwrap();
        let value: toml::Table = format!("value = {value}").parse().unwrap();
        of.insert(key.to_owned(), value["value"].clone());
        // Other months than those of the demo.
        of.remove("covers");
        // Fewer rows than before are not a fault here.
        of.insert("thresholds".to_owned(), toml::Value::Table("shrink = 1.0".parse().unwrap()));
        fs::write(path, toml::to_string(&config).unwrap()).unwrap();
    }

    fn periods(&self) -> PathBuf {
        let of_dataset = self.folder().join("state/periods/repairs");
        fs::read_dir(of_dataset).unwrap().next().unwrap().unwrap().path()
    }

    /// Starts the node and asks it. `None`: it does not serve repairs.
    async fn asked(&self, columns: &[&str]) -> Option<Cells> {
        let columns = columns.iter().map(|column| ColumnRef::parse(&format!("repairs.{column}")).unwrap());
        let counted = [Functional::Rows];
        let table = Table::new(RowDomain::Rows("repairs".to_owned()), columns, counted, &|name| Some(contract(name)));
        let table = table.unwrap();
        let handle = support::RUNTIME.handle().clone();
        let config = loda_node::Config::load(&self.folder().join("node.toml")).unwrap();
        let node =
            loda_node::Node::open(config, loda_node::Methods::standard().unwrap(), handle.clone()).await.unwrap();
        let listener = node.bind().await.unwrap();
        let serving = handle.spawn(async move { node.serve(listener).await.unwrap() });
        let client = || support::node_client(&self.layout, self.gss, &self.layout.coordinator());
        let request = loda_proto::v1::DescribeRequest {
            versions: loda_proto::VERSIONS.to_vec(),
            log: None,
            ..Default::default()
        };
        let held = client().describe(request).await.unwrap().into_inner().datasets;
        let served = held.iter().any(|held| held.name == "repairs");
        let bytes = match served {
            true => Some(crate::protection::released_by(client(), &self.layout, self.gss, &table.encode()).await),
            false => None,
        };
        serving.abort();
        let _ended = serving.await.is_err();
        bytes.map(|bytes| cells(&bytes, table.columns().len()))
    }

    fn doctor(&self) -> String {
        let told = std::process::Command::new(BINARY).current_dir(self.folder()).args(["node", "doctor"]).output();
        String::from_utf8(told.unwrap().stdout).unwrap()
    }
}

fn cells(bytes: &[u8], columns: usize) -> Cells {
    let mut found = Cells::new();
    for batch in StreamReader::try_new(bytes, None).unwrap() {
        let batch = batch.unwrap();
        let counts = batch.column(columns * 2).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let key = (0..columns).map(|column| {
                let there = batch.column(column * 2 + 1).as_primitive::<Int8Type>().is_valid(row);
                let values = arrow::util::display::array_value_to_string(batch.column(column * 2), row).unwrap();
                there.then_some(values)
            });
            assert!(found.insert(key.collect(), counts.value(row)).is_none());
        }
    }
    found
}

/// The number of rows in a period's file for each day.
fn named(file: &Path) -> BTreeMap<i32, usize> {
    let mut found = BTreeMap::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(fs::File::open(file).unwrap()).unwrap().build().unwrap() {
        let batch = batch.unwrap();
        for day in batch["__of"].as_primitive::<Date32Type>().values() {
            *found.entry(*day).or_default() += 1;
        }
    }
    found
}

/// One repair in a month for each home of a range.
fn repairs(homes: std::ops::Range<u32>, month: u32, cost: u32) -> Vec<String> {
    let code = |home: u32| ["Damp and mould", "Heating", "Plumbing", "Roof", "Electrical"][(home % 5) as usize];
    homes.map(|home| format!("{home:012},2025-{month:02}-01,{},{cost}.00", code(home))).collect()
}

const JANUARY: i32 = 20_089;
const FEBRUARY: i32 = 20_120;
const APRIL: i32 = 20_179;

#[test]
fn what_is_closed_stands_and_what_is_late_counts_when_it_comes() {
    support::run(async {
        let node = Node::new();
        let of = |cells: &Cells, quarter: &str| -> Cells {
            cells
                .iter()
                .filter(|(key, _)| key.contains(&Some(quarter.to_owned())))
                .map(|(k, n)| (k.clone(), *n))
                .collect()
        };
        let winter = [repairs(0..2_000, 1, 100), repairs(0..2_000, 2, 100)].concat();
        let spring = repairs(500..2_500, 4, 100);
        // In June the first quarter is closed, and the second is still open.
        node.extract("2025-06-30", &[winter.clone(), spring.clone()].concat());
        let june = node.asked(&["code"]).await.unwrap();
        let quarters = |cells: &Cells| -> BTreeSet<String> { cells.keys().flatten().flatten().cloned().collect() };
        assert!(quarters(&june).contains("2025-01-01") && !quarters(&june).contains("2025-04-01"), "{june:?}");
        assert_eq!(of(&june, "2025-01-01").len(), june.len(), "every cell is of one period");
        assert_eq!(
            named(&node.periods().join("2025-01-01.parquet")),
            BTreeMap::from([(JANUARY, 2_000), (FEBRUARY, 2_000)])
        );
        assert!(
            node.doctor().contains(
                "1 periods are closed, the last 2025-01-01; the next closes with data that describe 2025-07-31"
            ),
            "{}",
            node.doctor()
        );
        // In August, 600 repairs of February come late, 300 of January have another cost, and 100 are gone.
        let corrected = [repairs(0..100, 1, 100), repairs(100..400, 1, 250), repairs(400..1_900, 1, 100)].concat();
        let late = repairs(3_000..3_600, 2, 100);
        // One row names an unknown year. It makes no period of its own.
        let stray = vec!["000000009999,2024-05-01,Roof,100.00".to_owned()];
        let all = [corrected, repairs(0..2_000, 2, 100), late, stray, spring].concat();
        node.extract("2025-08-15", &all);
        let august = node.asked(&["code"]).await.unwrap();
        assert_eq!(of(&august, "2025-01-01"), of(&june, "2025-01-01"));
        let second = node.periods().join("2025-04-01.parquet");
        assert_eq!(named(&second), BTreeMap::from([(FEBRUARY, 600), (APRIL, 2_000)]));
        let total: i64 =
            of(&august, "2025-04-01").iter().filter(|(key, _)| key.iter().flatten().count() == 1).map(|(_, n)| n).sum();
        assert!((total - 2_600).abs() <= 60, "{total}");
        // The late rows count in this quarter, in its last month.
        let months = node.asked(&["month"]).await.unwrap();
        let june_rows = months
            .iter()
            .find(|(key, _)| key.iter().all(Option::is_some) && key.contains(&Some("2025-06-01".to_owned())));
        assert!((june_rows.unwrap().1 - 600).abs() <= 60, "{months:?}");
        // The process ended between log and file, or the file is an older one, or the node just starts again.
        let file = node.periods().join("periods.json");
        let listed = fs::read_to_string(&file).unwrap();
        let mut older: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
        older.truncate(1);
        for text in ["[]".to_owned(), serde_json::to_string(&older).unwrap(), listed.clone()] {
            fs::write(&file, text).unwrap();
            assert_eq!(node.asked(&["code"]).await.unwrap(), august);
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(node.asked(&["code"]).await.unwrap(), august);
        // If the units' ids were lost, all rows would be late.
        let units = node.folder().join("state/units/property");
        let ids = fs::read(&units).unwrap();
        fs::remove_file(&units).unwrap();
        let turned = std::iter::once("000000000001,2025-07-01,Roof,1.00".to_owned()).chain(all.iter().rev().cloned());
        node.extract("2025-11-15", &turned.collect::<Vec<_>>());
        assert_eq!(node.asked(&["code"]).await, None);
        fs::write(&units, ids).unwrap();
        node.extract("2025-08-15", &all);
        assert_eq!(node.asked(&["code"]).await.unwrap(), august);
        // Other rows under a closed period's name are not served.
        let whole = fs::read(&second).unwrap();
        fs::copy(node.periods().join("2025-01-01.parquet"), &second).unwrap();
        assert_eq!(node.asked(&["code"]).await, None);
        fs::write(&second, whole).unwrap();
        assert_eq!(node.asked(&["code"]).await.unwrap(), august);
    });
}

#[test]
fn a_closed_period_is_declared_anew_once_and_only_where_many_change() {
    support::run(async {
        let node = Node::new();
        let first = |cells: &Cells| {
            cells
                .iter()
                .filter(|(key, _)| key.contains(&Some("2025-01-01".to_owned())))
                .map(|(k, n)| (k.clone(), *n))
                .collect::<Cells>()
        };
        node.extract("2025-06-30", &repairs(0..2_000, 1, 100));
        let june = node.asked(&["code"]).await.unwrap();
        // If few rows change, an attacker who knows the others could see whose rows they are.
        let few = [repairs(0..1_950, 1, 100), repairs(1_950..2_000, 2, 400)].concat();
        node.extract("2025-07-01", &few);
        node.configured("repairs", "restate", "{ \"2025-01-01\" = \"a load without February\" }");
        assert_eq!(node.asked(&["code"]).await.unwrap(), june);
        assert!(!node.periods().join("2025-01-01.restated.parquet").exists());
        let many = [repairs(0..2_000, 1, 100), repairs(0..1_800, 2, 100)].concat();
        node.extract("2025-07-02", &many);
        let restated = node.asked(&["code"]).await.unwrap();
        assert_ne!(first(&restated), first(&june));
        assert_eq!(
            named(&node.periods().join("2025-01-01.restated.parquet")),
            BTreeMap::from([(JANUARY, 2_000), (FEBRUARY, 1_800)])
        );
        let log = fs::read_to_string(node.folder().join("state/log.jsonl")).unwrap();
        assert!(log.contains("is restated: a load without February"));
        // A period is never restated twice.
        node.extract("2025-07-03", &[many, repairs(5_000..8_000, 3, 100)].concat());
        assert_eq!(node.asked(&["code"]).await.unwrap(), restated);
        // A lost period can be restated. The data that registers took from it are gone until the next epoch, so repairs
        // are still not served.
        let other = Node::new();
        other.extract("2025-06-30", &repairs(0..2_000, 1, 100));
        other.asked(&["code"]).await.unwrap();
        fs::remove_file(other.periods().join("2025-01-01.parquet")).unwrap();
        assert_eq!(other.asked(&["code"]).await, None);
        other.configured("repairs", "restate", "{ \"2025-01-01\" = \"the disk was lost\" }");
        assert_eq!(other.asked(&["code"]).await, None);
        assert!(other.periods().join("2025-01-01.restated.parquet").exists());
    });
}
