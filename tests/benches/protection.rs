//! `just bench-protection`: the cost of `threshold` on 3 million records, as ratios in one run. It is compared with the
//! same SQL without protection (DataFusion over the same records), and with the same stage without a method.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "a bench prints and stops at the first fault; it shares the tests' support"
)]

#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use loda_contract::Contract;
use loda_node::{Laboratory, Methods};
use loda_question::plan::{Tables, arrow_schema};
use loda_question::{Draft, Figure, LIMITS, Measure, Predicate, Question, Rows, Scalar};
use support::Dice;

const RECORDS: u64 = 3_000_000;
const ROUNDS: usize = 5;

const CONTRACT: &str = r#"
dataset = "people"
version = 1
title = "People"
protection = "PROTECTION"
[[unit]]
domain = "UNIT"
column = "key"
about = "ABOUT"
one-row = true
[[column]]
name = "key"
type = "text"
role = "unit"
to = "UNIT"
[[column]]
name = "area"
type = "integer"
role = "dimension"
min = "0"
max = "19"
[[column]]
name = "age"
type = "integer"
role = "dimension"
min = "0"
max = "89"
[[column]]
name = "income"
type = "integer"
role = "measure"
min = "0"
max = "1000"
edges = ["250", "500", "750"]
"#;

struct One(Arc<MemTable>);

impl Tables for One {
    fn records(&self, dataset: &str) -> datafusion::common::Result<LogicalPlan> {
        LogicalPlanBuilder::scan(dataset, provider_as_source(Arc::<MemTable>::clone(&self.0)), None)?.build()
    }

    fn unit_id(&self, _: &str) -> Option<String> {
        None
    }
}

fn main() {
    support::run(async {
        let mut dice = Dice::new(1);
        let mut number = |n: u64| (0..RECORDS).map(|_| i64::try_from(dice.below(n)).unwrap()).collect::<Int64Array>();
        let (area, age, income) = (number(20), number(90), number(1_001));
        let keys: StringArray = (0..RECORDS).map(|n| Some(format!("p{n}"))).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(area), Arc::new(age), Arc::new(income)];
        {
            let (protection, about, unit) = ("threshold", "things", "thing");
            let text = CONTRACT.replace("PROTECTION", protection).replace("ABOUT", about).replace("UNIT", unit);
            let contract = Arc::new(Contract::parse(&text, "bench").unwrap());
            let batch = RecordBatch::try_new(arrow_schema(&contract), columns.clone()).unwrap();
            let state = tempfile::tempdir().unwrap();
            let mut laboratory = Laboratory::open(state.path()).unwrap();
            laboratory.hold(state.path(), &contract, &batch).unwrap();
            let table = One(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap()));
            let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
            let column = |name: &str| Scalar::Column(name.to_owned());
            let rich = Predicate::Compare {
                left: column("income"),
                op: loda_question::Comparison::GreaterOrEqual,
                right: Scalar::Literal(loda_contract::Value::Integer(500), loda_contract::ColumnType::Integer),
            };
            let figure = |measure, condition| Figure { measure, condition };
            let questions = [
                ("count by area", vec![column("area")], vec![figure(Measure::Rows, None)]),
                ("count by area and age", vec![column("area"), column("age")], vec![figure(Measure::Rows, None)]),
                (
                    "count, count of the rich, sum and mean by area",
                    vec![column("area")],
                    vec![
                        figure(Measure::Rows, None),
                        figure(Measure::Rows, Some(rich)),
                        figure(Measure::Sum("income".to_owned()), None),
                        figure(Measure::Present("income".to_owned()), None),
                    ],
                ),
            ];
            for (name, keys, figures) in questions {
                let draft = Draft { rows: Rows::of("people", None), keys, figures };
                let question = Question::derive(draft, &|_| Some(Arc::clone(&contract))).unwrap();
                let question = Question::decode(&question.encode(), LIMITS, &|_| Some(Arc::clone(&contract))).unwrap();
                let (standard, none) = (Methods::standard().unwrap(), Methods::unprotected().unwrap());
                let mut times = [Vec::new(), Vec::new(), Vec::new()];
                for _ in 0..ROUNDS {
                    let begun = Instant::now();
                    let plan = loda_question::plan::plan(&question, &table).unwrap();
                    context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
                    times[0].push(begun.elapsed());
                    let begun = Instant::now();
                    laboratory.release(&question, &none).await.unwrap();
                    times[1].push(begun.elapsed());
                    let begun = Instant::now();
                    laboratory.release(&question, &standard).await.unwrap();
                    times[2].push(begun.elapsed());
                }
                times.iter_mut().for_each(|t| t.sort_unstable());
                let [plain, staged, protected] = times.map(|t| t[ROUNDS / 2].as_secs_f64());
                println!(
                    "{protection}, {name}: plain SQL {:.0} ms; staged by unit without a method {:.0} ms; protected {:.0} ms; \
                     ratios {:.1} to plain SQL, {:.2} to the stage",
                    plain * 1000.0,
                    staged * 1000.0,
                    protected * 1000.0,
                    protected / plain,
                    protected / staged
                );
            }
        }
    });
}
