//! Random records of three contracts, held by a node and as plain tables.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use loda_contract::{ColumnType, Contract, Value};
use loda_node::Laboratory;
use loda_question::plan::{Tables, arrow_schema};

use crate::support::Dice;

const PEOPLE: &str = r#"
dataset = "people"
version = 1
title = "People"
protection = "PROTECTION"
pairs = [["income", "wealth"]]
[[unit]]
domain = "PERSON"
column = "person_key"
about = "ABOUT"
one-row = true
[[unit]]
domain = "HOUSEHOLD"
column = "household_key"
about = "ABOUT"
[[column]]
name = "person_key"
type = "text"
role = "unit"
to = "PERSON"
[[column]]
name = "household_key"
type = "text"
role = "unit"
to = "HOUSEHOLD"
[[column]]
name = "area"
type = "text"
role = "dimension"
codes = ["n", "s", "e"]
[[column]]
name = "age"
type = "integer"
role = "dimension"
min = "0"
max = "9"
[[column]]
name = "flag"
type = "boolean"
role = "dimension"
nullable = true
[[column]]
name = "income"
type = "integer"
role = "measure"
min = "0"
max = "100"
edges = ["25", "50", "75"]
[[column]]
name = "wealth"
type = "integer"
role = "measure"
nullable = true
min = "-50"
max = "50"
edges = ["0"]
"#;

const EVENTS: &str = r#"
dataset = "events"
version = 1
title = "Events"
protection = "PROTECTION"
[[unit]]
domain = "PERSON"
column = "person_key"
about = "ABOUT"
max-rows = 6
[[column]]
name = "person_key"
type = "text"
role = "unit"
to = "PERSON"
[[column]]
name = "kind"
type = "text"
role = "dimension"
nullable = true
codes = ["x", "y", "z"]
[[column]]
name = "month"
type = "date"
role = "dimension"
grain = "month"
min = "2024-01-01"
max = "2024-03-31"
[[column]]
name = "hours"
type = "integer"
role = "measure"
min = "0"
max = "20"
edges = ["5", "10"]
"#;

const HOMES: &str = r#"
dataset = "homes"
version = 1
title = "Homes"
protection = "PROTECTION"
[[unit]]
domain = "HOUSEHOLD"
column = "household_key"
about = "ABOUT"
one-row = true
[[column]]
name = "household_key"
type = "text"
role = "unit"
to = "HOUSEHOLD"
[[column]]
name = "tenure"
type = "text"
role = "dimension"
codes = ["own", "rent"]
[[column]]
name = "rent"
type = "decimal"
scale = 2
role = "measure"
nullable = true
min = "0"
max = "500"
edges = ["100", "250.50"]
"#;

/// The same three contracts, about people or about things.
pub fn contracts(people: bool) -> BTreeMap<String, Arc<Contract>> {
    let made = [PEOPLE, EVENTS, HOMES].map(|text| {
        let text = if people {
            text.replace("PROTECTION", "cell-key").replace("ABOUT", "people")
        } else {
            text.replace("PROTECTION", "threshold").replace("ABOUT", "things")
        };
        let (person, household) = if people { ("person", "household") } else { ("shop", "chain") };
        let text = text.replace("PERSON", person).replace("HOUSEHOLD", household);
        let contract = Contract::parse(&text, "trial.toml").unwrap();
        (contract.dataset.clone(), Arc::new(contract))
    });
    made.into_iter().collect()
}

pub type Row = Vec<Value>;

/// Records by dataset, in the columns of the contract.
#[derive(Clone)]
pub struct Records(pub BTreeMap<String, Vec<Row>>);

impl Records {
    pub fn random(dice: &mut Dice) -> Self {
        let people = 40 + dice.below(220);
        let households = 1 + people * 2 / 5;
        let name = |prefix: &str, n: u64| Value::Text(format!("{prefix}{n}").into());
        let mut rows = BTreeMap::new();
        let person = |dice: &mut Dice, n: u64| -> Row {
            vec![
                name("p", n),
                name("h", dice.below(households)),
                Value::Text((*dice.pick(&["n", "n", "n", "s", "e"])).into()),
                Value::Integer(dice.number(0, 9)),
                dice.pick(&[Value::Null, Value::Boolean(true), Value::Boolean(false)]).clone(),
                Value::Integer(dice.number(0, 100)),
                if dice.one_in(4) { Value::Null } else { Value::Integer(dice.number(-50, 50)) },
            ]
        };
        rows.insert("people".to_owned(), (0..people).map(|n| person(dice, n)).collect::<Vec<_>>());
        let mut events = Vec::new();
        // Some events belong to no person in the table.
        for n in 0..people + 20 {
            for _ in 0..dice.below(5) {
                events.push(event(dice, n));
            }
        }
        rows.insert("events".to_owned(), events);
        let homes = (0..households).filter(|_| !dice.one_in(6)).collect::<Vec<_>>();
        let home = |dice: &mut Dice, n: u64| -> Row {
            let tenure = dice.pick(&["own", "rent"]).to_string();
            let rent = if dice.one_in(3) { Value::Null } else { Value::Decimal(i128::from(dice.below(50_001))) };
            vec![name("h", n), Value::Text(tenure.into()), rent]
        };
        rows.insert("homes".to_owned(), homes.into_iter().map(|n| home(dice, n)).collect());
        Self(rows)
    }

    fn batch(&self, contract: &Contract) -> RecordBatch {
        let rows = &self.0[&contract.dataset];
        let columns = contract.columns.iter().enumerate().map(|(i, column)| -> ArrayRef {
            let values = rows.iter().map(|row| &row[i]);
            match column.kind {
                ColumnType::Text => Arc::new(
                    values
                        .map(|v| if let Value::Text(t) = v { Some(t.to_string()) } else { None })
                        .collect::<StringArray>(),
                ),
                ColumnType::Integer => Arc::new(
                    values.map(|v| if let Value::Integer(i) = v { Some(*i) } else { None }).collect::<Int64Array>(),
                ),
                ColumnType::Boolean => Arc::new(
                    values.map(|v| if let Value::Boolean(b) = v { Some(*b) } else { None }).collect::<BooleanArray>(),
                ),
                ColumnType::Date => Arc::new(
                    values.map(|v| if let Value::Date(d) = v { Some(*d) } else { None }).collect::<Date32Array>(),
                ),
                ColumnType::Decimal(scale) => {
                    let values = values.map(|v| if let Value::Decimal(d) = v { Some(*d) } else { None });
                    Arc::new(values.collect::<Decimal128Array>().with_data_type(DataType::Decimal128(38, scale)))
                }
            }
        });
        RecordBatch::try_new(arrow_schema(contract), columns.collect()).unwrap()
    }
}

pub fn event(dice: &mut Dice, person: u64) -> Row {
    let kind = dice.pick(&["x", "x", "y", "z", ""]);
    let kind = if kind.is_empty() { Value::Null } else { Value::Text((*kind).into()) };
    // The first days of January, February and March 2024.
    let month = *dice.pick(&[19_723, 19_754, 19_783]);
    let hours = Value::Integer(dice.number(0, 20));
    vec![Value::Text(format!("p{person}").into()), kind, Value::Date(month), hours]
}

/// The inside of a node, with these records.
pub fn laboratory(state: &Path, contracts: &BTreeMap<String, Arc<Contract>>, records: &Records) -> Laboratory {
    let mut laboratory = Laboratory::open(state).unwrap();
    for contract in contracts.values() {
        laboratory.hold(state, contract, &records.batch(contract)).unwrap();
    }
    laboratory
}

/// The same records for plain SQL plans.
pub struct Pooled(BTreeMap<String, Arc<MemTable>>);

impl Pooled {
    pub fn of(contracts: &BTreeMap<String, Arc<Contract>>, records: &Records) -> Self {
        let table =
            |c: &Arc<Contract>| Arc::new(MemTable::try_new(arrow_schema(c), vec![vec![records.batch(c)]]).unwrap());
        Self(contracts.iter().map(|(name, c)| (name.clone(), table(c))).collect())
    }
}

impl Tables for Pooled {
    fn records(&self, dataset: &str) -> datafusion::common::Result<LogicalPlan> {
        let table = Arc::<MemTable>::clone(&self.0[dataset]);
        LogicalPlanBuilder::scan(dataset, provider_as_source(table), None)?.build()
    }

    fn unit_id(&self, _: &str) -> Option<String> {
        None
    }
}
