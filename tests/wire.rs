//! The bytes on the wire are DataFusion's own plan encoding, and nothing but a typed question comes of them.

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
use loda_question::{LIMITS, Question};
use prost::Message;

use crate::pooled::{Holding, contract, holdings, same, text};
use crate::{scenarios, support};

/// What one borough holds, as tables that plans may scan.
#[derive(Debug)]
pub struct Held(BTreeMap<String, Arc<MemTable>>);

impl Tables for Held {
    fn records(&self, dataset: &str) -> Result<LogicalPlan> {
        let table = Arc::<MemTable>::clone(&self.0[dataset]);
        LogicalPlanBuilder::scan(dataset, provider_as_source(table), None)?.build()
    }

    fn beside(&self, _: &str) -> Option<(String, String)> {
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

/// Every fragment of the scenarios, with one borough that it goes to.
pub async fn fragments(federation: &support::Federation, file: &str) -> Vec<(String, Vec<u8>, Vec<String>)> {
    let mut found = Vec::new();
    for scenario in scenarios::queries(file) {
        let prepared = federation.client.prepare(&scenario.sql, "demo", false).await.unwrap();
        for fragment in prepared.fragments {
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
        // Seeds for the fuzzer, when they are asked for.
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
