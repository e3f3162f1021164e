//! The bytes on the wire are DataFusion's own plan encoding, and they decode only to a typed question.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::{Result, TableReference, not_impl_err};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Extension, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;
use datafusion_proto::logical_plan::{AsLogicalPlan, LogicalExtensionCodec};
use datafusion_proto::protobuf::LogicalPlanNode;
use loda_question::plan::Tables;
use loda_question::table::{Functional, Made, RowDomain, Table};
use loda_question::{LIMITS, Question};
use prost::Message;

use crate::pooled::{Holding, contract, holdings, same, text};
use crate::{scenarios, support};

/// The datasets of one borough, as tables that plans may scan.
#[derive(Debug)]
pub struct Held(BTreeMap<String, Arc<MemTable>>);

impl Tables for Held {
    fn records(&self, dataset: &str) -> Result<LogicalPlan> {
        let table = Arc::<MemTable>::clone(&self.0[dataset]);
        LogicalPlanBuilder::scan(dataset, provider_as_source(table), None)?.build()
    }

    fn unit_id(&self, _: &str) -> Option<String> {
        None
    }
}

impl LogicalExtensionCodec for Held {
    fn try_decode(&self, _: &[u8], _: &[LogicalPlan], _: &TaskContext) -> Result<Extension> {
        not_impl_err!("no extensions")
    }

    fn try_encode(&self, _: &Extension, _: &mut Vec<u8>) -> Result<()> {
        not_impl_err!("no extensions")
    }

    fn try_decode_table_provider(
        &self,
        _: &[u8],
        name: &TableReference,
        schema: SchemaRef,
        _: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        let table = &self.0[name.table()];
        assert_eq!(schema, table.schema(), "the schema on the wire is the contract's");
        Ok(Arc::<MemTable>::clone(table))
    }

    fn try_encode_table_provider(&self, _: &TableReference, _: Arc<dyn TableProvider>, _: &mut Vec<u8>) -> Result<()> {
        not_impl_err!("decoding only")
    }
}

/// All questions among the fragments of the scenarios, with the boroughs that get them.
pub async fn fragments(federation: &support::Federation, file: &str) -> Vec<(String, Vec<u8>, Vec<String>)> {
    let all = sent(federation, file).await.into_iter();
    all.filter(|(_, bytes, _)| !Table::is_meant(bytes, LIMITS)).collect()
}

/// All tables about people among the fragments, each once.
pub async fn tables(federation: &support::Federation, file: &str) -> Vec<(Table, Vec<u8>, Vec<String>)> {
    let mut seen = std::collections::BTreeSet::new();
    let all = sent(federation, file).await.into_iter();
    let tables = all.filter(|(_, bytes, _)| Table::is_meant(bytes, LIMITS) && seen.insert(bytes.clone()));
    let decode = |bytes: &[u8]| Table::decode(bytes, LIMITS, &|dataset| Some(contract(dataset))).unwrap();
    tables.map(|(_, bytes, boroughs)| (decode(&bytes), bytes, boroughs)).collect()
}

async fn sent(federation: &support::Federation, file: &str) -> Vec<(String, Vec<u8>, Vec<String>)> {
    let mut found = Vec::new();
    for scenario in scenarios::queries(file) {
        let prepared = federation.client.prepare(&scenario.sql, "demo", false).await.unwrap();
        for fragment in prepared.fragments.clone() {
            found.push((scenario.line.clone(), fragment.bytes, fragment.boroughs));
        }
    }
    found
}

pub fn decode(bytes: &[u8]) -> Question {
    Question::decode(bytes, LIMITS, &|dataset| Some(contract(dataset))).unwrap()
}

pub fn held(holdings: &[Holding], gss: &str, question: &Question) -> Held {
    let tables = question.scope().datasets.iter().map(|contract| {
        let held = holdings.iter().find(|h| h.gss == gss && h.dataset == contract.dataset).unwrap();
        let table = MemTable::try_new(loda_question::plan::arrow_schema(contract), vec![held.rows.clone()]).unwrap();
        (contract.dataset.clone(), Arc::new(table))
    });
    Held(tables.collect())
}

#[test]
fn fragments_decode_with_datafusion_proto_to_the_same_rows() {
    support::run(async {
        let Some(federation) = support::real().await else { return };
        same_rows(federation, "real.slt", 40).await;
    });
}

#[test]
fn joined_and_per_unit_fragments_decode_with_datafusion_proto_to_the_same_rows() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        same_rows(federation, "synthetic.slt", 40).await;
    });
}

async fn same_rows(federation: &support::Federation, file: &str, least: usize) {
    let holdings = holdings(federation).await;
    let context = SessionContext::new();
    let (mut count, mut longest) = (0, 0);
    for (line, bytes, boroughs) in fragments(federation, file).await {
        let question = decode(&bytes);
        let held = held(&holdings, &boroughs[0], &question);
        let ours = loda_question::plan::plan(&question, &held).unwrap();
        let node = LogicalPlanNode::decode(bytes.as_slice()).unwrap();
        let theirs = node.try_into_logical_plan(&context.task_ctx(), &held).unwrap();
        let mut rows = Vec::new();
        let plans = format!("{}\n{}", ours.display_indent(), theirs.display_indent());
        for plan in [ours, theirs] {
            let batches = context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
            let mut sorted = text(&batches, 99);
            sorted.sort();
            rows.push(sorted);
        }
        let equal = rows[0].len() == rows[1].len() && rows[0].iter().zip(&rows[1]).all(|(a, b)| same(a, b, 1e-12));
        assert!(equal, "{line}\n{}\n{plans}\n{rows:?}", question.sql());
        count += 1;
        longest = longest.max(bytes.len());
        // Seeds for the fuzzer, on request.
        if let Some(folder) = std::env::var_os("LODA_SEEDS")
            && count % 13 == 0
        {
            let stem = file.trim_end_matches(".slt");
            std::fs::write(std::path::Path::new(&folder).join(format!("{stem}-{count:03}")), &bytes).unwrap();
        }
    }
    println!("{file}: {count} fragments decode to the same rows; the longest has {longest} bytes");
    assert!(count >= least);
}

/// The rows of one dataset, under the column names in the plan of a table.
#[derive(Debug)]
struct Flat(Arc<MemTable>);

impl LogicalExtensionCodec for Flat {
    fn try_decode(&self, _: &[u8], _: &[LogicalPlan], _: &TaskContext) -> Result<Extension> {
        not_impl_err!("no extensions")
    }

    fn try_encode(&self, _: &Extension, _: &mut Vec<u8>) -> Result<()> {
        not_impl_err!("no extensions")
    }

    fn try_decode_table_provider(
        &self,
        _: &[u8],
        _: &TableReference,
        schema: SchemaRef,
        _: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        assert_eq!(schema.fields().len(), self.0.schema().fields().len());
        Ok(Arc::<MemTable>::clone(&self.0))
    }

    fn try_encode_table_provider(&self, _: &TableReference, _: Arc<dyn TableProvider>, _: &mut Vec<u8>) -> Result<()> {
        not_impl_err!("decoding only")
    }
}

/// The columns of a table's plan, from one borough's rows of its single dataset. `None`: the table reads several
/// datasets, or columns made from several rows.
fn flat(holdings: &[Holding], gss: &str, table: &Table, node: &LogicalPlanNode) -> Option<Flat> {
    use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
    use datafusion_proto::protobuf::logical_plan_node::LogicalPlanType;
    let [contract] = table.datasets() else { return None };
    let plain = |column: &loda_question::table::TableColumn| matches!(column.made, Made::Presence | Made::Dimension);
    let once = match table.domain() {
        RowDomain::Units(unit) => contract.unit(unit).is_some_and(|u| u.one_row),
        RowDomain::Rows(_) => true,
    };
    let counted = table.functionals().iter().any(|f| *f != Functional::Rows);
    if !once || !table.columns().iter().all(plain) || (table.columns().is_empty() && !counted) {
        return None;
    }
    let Some(LogicalPlanType::Aggregate(aggregate)) = &node.logical_plan_type else { panic!() };
    let Some(LogicalPlanType::CustomScan(scan)) = &aggregate.input.as_ref().unwrap().logical_plan_type else {
        panic!()
    };
    let schema: arrow::datatypes::Schema = scan.schema.as_ref().unwrap().try_into().unwrap();
    let rows = &holdings.iter().find(|h| h.gss == gss && h.dataset == contract.dataset).unwrap().rows;
    let whole = arrow::compute::concat_batches(&rows[0].schema(), rows).unwrap();
    let column = |name: &str| -> ArrayRef {
        if name.ends_with(".*") {
            return Arc::new(BooleanArray::from(vec![true; whole.num_rows()]));
        }
        if let Some((_, bare)) = name.strip_suffix("/period").and_then(|name| name.split_once('.')) {
            let every = contract.closure.period.as_ref().unwrap().every;
            let days = whole.column_by_name(bare).unwrap().as_primitive::<arrow::datatypes::Date32Type>();
            return Arc::new(days.unary::<_, arrow::datatypes::Date32Type>(|day| every.floor(day)));
        }
        if let Some((_, bare)) = name.split_once('.') {
            return Arc::clone(whole.column_by_name(bare).unwrap());
        }
        let unit = contract.unit(name).unwrap();
        let Some(named) = &unit.column else {
            return Arc::new((0..i64::try_from(whole.num_rows()).unwrap()).map(Some).collect::<Int64Array>());
        };
        let names = whole.column_by_name(named).unwrap().as_string::<i32>();
        let mut known: BTreeMap<&str, i64> = BTreeMap::new();
        let numbers = (0..names.len()).map(|row| {
            let next = i64::try_from(known.len()).unwrap();
            Some(*known.entry(names.value(row)).or_insert(next))
        });
        Arc::new(numbers.collect::<Int64Array>())
    };
    let columns = schema.fields().iter().map(|field| column(field.name()));
    let batch = RecordBatch::try_new(Arc::new(schema.clone()), columns.collect()).unwrap();
    Some(Flat(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap())))
}

/// The bytes of a table are DataFusion's own plan of its CUBE. Run over the plain rows, the plan gives the cells that a
/// node without protection releases.
#[test]
fn tables_decode_with_datafusion_proto_to_the_cube_that_nodes_answer() {
    support::run(async {
        let federation = support::synthetic_unprotected().await.unwrap();
        let holdings = holdings(federation).await;
        let context = SessionContext::new();
        let (mut compared, mut cells) = (0, 0);
        for (table, bytes, boroughs) in tables(federation, "synthetic.slt").await {
            let node = LogicalPlanNode::decode(bytes.as_slice()).unwrap();
            let Some(flat) = flat(&holdings, &boroughs[0], &table, &node) else { continue };
            let plan = node.try_into_logical_plan(&context.task_ctx(), &flat).unwrap();
            let batches = context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
            let keys = table.columns().len();
            let mut theirs = Vec::new();
            for mut row in text(&batches, 99) {
                if keys > 0 {
                    let id: u32 = row.remove(keys).parse().unwrap();
                    // A register has no table without columns. Rows that come by period have no table without the
                    // period.
                    let is_without = |place: usize| id >> (keys - 1 - place) & 1 == 1;
                    if matches!(table.domain(), RowDomain::Units(_)) && id == (1 << keys) - 1
                        || table.period().is_some_and(is_without)
                    {
                        continue;
                    }
                }
                theirs.push(row);
            }
            let batch = crate::protection::released(federation, &boroughs[0], &bytes).await;
            let mut ours = Vec::new();
            for row in text(std::slice::from_ref(&batch), 99) {
                // The rows without the states.
                let kept = row.into_iter().enumerate().filter(|(place, _)| *place >= 2 * keys || place % 2 == 0);
                ours.push(kept.map(|(_, value)| value).collect::<Vec<String>>());
            }
            ours.sort();
            theirs.sort();
            let equal = ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| same(a, b, 1e-12));
            assert!(equal, "{}\nours {ours:?}\ntheirs {theirs:?}", table.sql());
            compared += 1;
            cells += ours.len();
        }
        println!("{compared} tables of {cells} cells are DataFusion's own CUBE");
        assert!(compared >= 30);
    });
}

#[test]
fn fragments_are_canonical_and_changed_bytes_are_refused_or_mean_what_they_say() {
    support::run(async {
        let Some(federation) = support::real().await else { return };
        let mut changed = 0;
        for (line, bytes, _) in fragments(federation, "real.slt").await {
            assert_eq!(decode(&bytes).encode(), bytes, "{line}");
            for at in 0..bytes.len() {
                let mut other = bytes.clone();
                other[at] ^= 1 << (at % 8);
                let known = |dataset: &str| (dataset.len() < 99).then(|| dataset.to_owned());
                let decoded = Question::decode(&other, LIMITS, &|dataset| {
                    let held = ["dwelling_fires", "hmo_households", "food_businesses", "stop_and_search"];
                    known(dataset).filter(|d| held.contains(&d.as_str())).map(|d| contract(&d))
                });
                if let Ok(question) = decoded {
                    assert_eq!(question.encode(), other, "{line}: byte {at}");
                    changed += 1;
                }
            }
            let unknown_field = [bytes.as_slice(), &[0xF8, 0x07, 0x01]].concat();
            assert!(Question::decode(&unknown_field, LIMITS, &|d| Some(contract(d))).is_err(), "{line}");
            let truncated = &bytes[..bytes.len() - 1];
            assert!(Question::decode(truncated, LIMITS, &|d| Some(contract(d))).is_err(), "{line}");
        }
        println!("{changed} changed fragments are other questions, each canonical; all others are refused");
    });
}
