//! The same tables in one place: each borough's mapping runs over its sources, and the results are pooled. No code of
//! ingest, the algebra or disclosure control is used.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::optimizer::Optimizer;
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionConfig, SessionContext};
use loda_contract::Contract;
use loda_demo::boroughs::reference_csv;
use loda_demo::datasets::{Dataset, REAL, SYNTHETIC};
use loda_demo::layout::Layout;
use loda_question::plan::arrow_schema;

use crate::support::Federation;

/// One borough's rows of one dataset, in the contract's columns.
pub struct Holding {
    pub gss: String,
    pub dataset: String,
    pub rows: Vec<RecordBatch>,
}

pub fn contract(dataset: &str) -> Arc<Contract> {
    let all: Vec<&Dataset> = REAL.iter().chain(&SYNTHETIC).collect();
    let found = all.iter().find(|d| d.name == dataset).unwrap();
    Arc::new(Contract::parse(&crate::support::wide(found), dataset).unwrap())
}

/// Reads the sources in the nodes' configurations.
pub async fn holdings(federation: &Federation) -> Vec<Holding> {
    holdings_of(&federation.layout).await
}

pub async fn holdings_of(layout: &Layout) -> Vec<Holding> {
    let mut holdings = Vec::new();
    for borough in &layout.boroughs {
        let folder = layout.node(borough.gss);
        let config = loda_node::Config::load(&folder.join("node.toml")).unwrap();
        for dataset in &config.datasets {
            let name = dataset.contract.file_stem().unwrap().to_str().unwrap().to_owned();
            let sources = dataset.mapping.sources.iter();
            let sources =
                sources.map(|s| (s.name.clone(), s.path().unwrap().to_owned(), s.format == loda_node::Format::Csv));
            let rows = map(&name, &sources.collect::<Vec<_>>(), &dataset.mapping.sql).await;
            holdings.push(Holding { gss: borough.gss.to_owned(), dataset: name, rows });
        }
    }
    holdings
}

async fn map(dataset: &str, sources: &[(String, std::path::PathBuf, bool)], sql: &str) -> Vec<RecordBatch> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for (name, path, csv) in sources {
        let path = path.to_str().unwrap();
        if *csv {
            let header = std::fs::read_to_string(path).unwrap().lines().next().unwrap().to_owned();
            let fields: Vec<Field> = header.split(',').map(|n| Field::new(n, DataType::Utf8, true)).collect();
            let schema = Schema::new(fields);
            let options = CsvReadOptions::new().schema(&schema).newlines_in_values(true);
            context.register_csv(name, path, options).await.unwrap();
        } else {
            context.register_parquet(name, path, ParquetReadOptions::default()).await.unwrap();
        }
    }
    let schema = arrow_schema(&contract(dataset));
    let mapped = context.sql(sql).await.unwrap().collect().await.unwrap();
    let in_contract_types = |batch: &RecordBatch| {
        let columns = schema
            .fields()
            .iter()
            .map(|field| arrow::compute::cast(batch.column_by_name(field.name()).unwrap(), field.data_type()).unwrap());
        RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
    };
    mapped.iter().map(in_contract_types).collect()
}

/// The pooled tables, for questions in SQL.
pub struct Pooled {
    strict: SessionContext,
    simplified: SessionContext,
}

impl Pooled {
    pub fn new(holdings: &[Holding]) -> Self {
        Self { strict: session(holdings, false), simplified: session(holdings, true) }
    }

    /// Runs without the engine's simplifier, because it merges IN lists without regard to NULL. For `coalesce` and the
    /// clock the engine needs the simplifier.
    pub async fn ask(&self, sql: &str) -> Vec<RecordBatch> {
        match self.strict.sql(sql).await.unwrap().collect().await {
            Ok(batches) => batches,
            Err(_) => self.simplified.sql(sql).await.unwrap().collect().await.unwrap(),
        }
    }
}

/// The engine with one partition, with or without its simplifier.
pub fn engine(simplifies: bool) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().sql_parser.default_null_ordering = "nulls_last".to_owned();
    let rules = Optimizer::new().rules.into_iter();
    let rules = rules.filter(|rule| simplifies || rule.name() != "simplify_expressions").collect();
    let state =
        SessionStateBuilder::new().with_config(config).with_default_features().with_optimizer_rules(rules).build();
    SessionContext::new_with_state(state)
}

/// A session over pooled tables, each with its `borough` column, and the reference table.
fn session(holdings: &[Holding], simplifies: bool) -> SessionContext {
    let context = engine(simplifies);
    let mut names: Vec<&str> = holdings.iter().map(|h| h.dataset.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let columns = arrow_schema(&contract(name));
        let borough = Arc::new(Field::new("borough", DataType::Utf8, false));
        let name_of = Arc::new(Field::new("borough_name", DataType::Utf8, false));
        let fields: Vec<_> =
            std::iter::once(borough).chain(columns.fields().iter().cloned()).chain([name_of]).collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let batches = holdings.iter().filter(|h| h.dataset == name).flat_map(|holding| {
            holding.rows.iter().map(|batch| {
                let borough: ArrayRef = Arc::new(StringArray::from(vec![holding.gss.as_str(); batch.num_rows()]));
                let known = loda_demo::boroughs::BOROUGHS.iter().find(|known| known.gss == holding.gss).unwrap();
                let name: ArrayRef = Arc::new(StringArray::from(vec![known.name; batch.num_rows()]));
                let columns = std::iter::once(borough).chain(batch.columns().iter().cloned()).chain([name]);
                RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
            })
        });
        let table = MemTable::try_new(Arc::clone(&schema), vec![batches.collect()]).unwrap();
        context.register_table(name, Arc::new(table)).unwrap();
    }
    context.register_table("boroughs", Arc::new(reference())).unwrap();
    context
}

fn reference() -> MemTable {
    let csv = reference_csv();
    let format = arrow::csv::reader::Format::default().with_header(true);
    let (schema, _) = format.infer_schema(csv.as_bytes(), None).unwrap();
    let schema = Arc::new(schema);
    let reader = arrow::csv::ReaderBuilder::new(Arc::clone(&schema)).with_header(true).build(csv.as_bytes()).unwrap();
    MemTable::try_new(schema, vec![reader.map(Result::unwrap).collect()]).unwrap()
}

/// Rows as text, one string for each cell. NULL is `NULL`.
pub fn text(batches: &[RecordBatch], columns: usize) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let formatters: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().take(columns).map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            rows.push(formatters.iter().map(|f| f.value(row).to_string()).collect());
        }
    }
    rows
}

/// Whether two rows are equal: exactly, or within a relative tolerance for numbers with a fraction.
pub fn same(a: &[String], b: &[String], tolerance: f64) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            a == b
                || match (a.parse::<f64>(), b.parse::<f64>()) {
                    (Ok(x), Ok(y)) => (x - y).abs() <= tolerance * x.abs().max(y.abs()).max(1.0),
                    _ => false,
                }
        })
}
