//! Properties over random questions and random records: federated equals pooled, the same set has the same answer
//! however it is derived, and records that are not asked about change no byte.
//!
//! `LODA_PROPERTY_CASES` sets the number of cases (default 1,500 for each property), `LODA_PROPERTY_SEED` the first
//! seed; a failure names the seed of its case.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::DataType;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use loda_contract::{Column, ColumnType, Contract, Domain, Role, Value};
use loda_node::{Laboratory, Methods};
use loda_question::plan::{Tables, arrow_schema};
use loda_question::{
    Arithmetic, Comparison, Draft, Figure, Join, JoinKind, Measure, PerUnit, Predicate, Question, Refusal, Rows,
    Scalar, Scope, Source,
};

use crate::pooled::{engine, same, text};
use crate::support::{self, Dice};

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

/// The same three contracts about people, or about things.
fn contracts(people: bool) -> BTreeMap<String, Arc<Contract>> {
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

type Row = Vec<Value>;

/// Records by dataset, in the contract's columns.
#[derive(Clone)]
struct Records(BTreeMap<String, Vec<Row>>);

impl Records {
    fn random(dice: &mut Dice) -> Self {
        let people = 40 + dice.below(220);
        let households = 1 + people * 2 / 5;
        let name = |prefix: &str, n: u64| Value::Text(format!("{prefix}{n}"));
        let mut rows = BTreeMap::new();
        let person = |dice: &mut Dice, n: u64| -> Row {
            vec![
                name("p", n),
                name("h", dice.below(households)),
                Value::Text(dice.pick(&["n", "n", "n", "s", "e"]).to_string()),
                Value::Integer(dice.number(0, 9)),
                dice.pick(&[Value::Null, Value::Boolean(true), Value::Boolean(false)]).clone(),
                Value::Integer(dice.number(0, 100)),
                if dice.one_in(4) { Value::Null } else { Value::Integer(dice.number(-50, 50)) },
            ]
        };
        rows.insert("people".to_owned(), (0..people).map(|n| person(dice, n)).collect::<Vec<_>>());
        let mut events = Vec::new();
        // Some events are of nobody in the table.
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
            vec![name("h", n), Value::Text(tenure), rent]
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
                        .map(|v| if let Value::Text(t) = v { Some(t.clone()) } else { None })
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

fn event(dice: &mut Dice, person: u64) -> Row {
    let kind = dice.pick(&["x", "x", "y", "z", ""]);
    let kind = if kind.is_empty() { Value::Null } else { Value::Text((*kind).to_owned()) };
    // The first days of January, February and March 2024.
    let month = *dice.pick(&[19_723, 19_754, 19_783]);
    let hours = Value::Integer(dice.number(0, 20));
    vec![Value::Text(format!("p{person}")), kind, Value::Date(month), hours]
}

/// A node's inside, with these records.
fn laboratory(state: &Path, contracts: &BTreeMap<String, Arc<Contract>>, records: &Records) -> Laboratory {
    let mut laboratory = Laboratory::open(state).unwrap();
    for contract in contracts.values() {
        laboratory.hold(state, contract, &records.batch(contract)).unwrap();
    }
    laboratory
}

/// The same records for plain SQL plans.
struct Pooled(BTreeMap<String, Arc<MemTable>>);

impl Pooled {
    fn of(contracts: &BTreeMap<String, Arc<Contract>>, records: &Records) -> Self {
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

    fn beside(&self, _: &str) -> Option<String> {
        None
    }
}

/// Writes random questions of the algebra.
struct Asker<'a> {
    dice: &'a mut Dice,
    contracts: &'a BTreeMap<String, Arc<Contract>>,
}

impl Asker<'_> {
    fn derive(&self, draft: Draft) -> Result<Question, Refusal> {
        Question::derive(draft, &|name| self.contracts.get(name).cloned())
    }

    fn scope(&self, rows: &Rows) -> Scope {
        let unit = if rows.first == dataset("homes", None)
            || matches!(&rows.first, Source::PerUnit(p) if p.unit.ends_with("household_key"))
        {
            "household_key"
        } else {
            "person_key"
        };
        let figure = Figure { measure: Measure::Units(rows.name(0, unit)), condition: None };
        let question = self.derive(Draft { rows: rows.clone(), keys: Vec::new(), figures: vec![figure] });
        question.unwrap_or_else(|e| panic!("{e}: {rows:?}")).scope().clone()
    }

    fn filtered(&mut self, name: &str) -> Option<Predicate> {
        let scope = self.scope(&Rows::of(name, None));
        (!self.dice.one_in(3)).then(|| self.predicate(&scope, 1))
    }

    fn per_unit(&mut self, rows: Rows, unit: &str, keyed: bool) -> Source {
        let scope = self.scope(&rows);
        let mut values = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            let measure = self.measure(&scope, true);
            let condition = self.dice.one_in(3).then(|| self.predicate(&scope, 0));
            values.push(Figure { measure, condition });
        }
        let dimension = scope.columns.iter().find(|c| matches!(c.role, Role::Dimension(_))).map(|c| c.name.clone());
        let keys = if keyed { dimension.into_iter().collect() } else { Vec::new() };
        Source::PerUnit(Box::new(PerUnit { unit: rows.name(0, unit), rows, keys, values }))
    }

    fn rows(&mut self) -> Rows {
        let on = |unit: &str| vec![(format!("t0.{unit}"), unit.to_owned())];
        let mut rows = match self.dice.below(11) {
            0 => Rows::of("people", None),
            1 => Rows::of("events", None),
            2 | 3 => {
                let kind = *self.dice.pick(&JoinKind::ALL);
                let source = dataset("events", self.filtered("events"));
                joined("people", Join { kind, source, on: on("person_key") })
            }
            4 => {
                let kind = *self.dice.pick(&JoinKind::ALL);
                let source = dataset("homes", self.filtered("homes"));
                joined("people", Join { kind, source, on: on("household_key") })
            }
            5 | 6 => {
                let kind = *self.dice.pick(&[JoinKind::Inner, JoinKind::Left]);
                let inner = Rows::of("events", self.filtered("events"));
                let keyed = self.dice.one_in(4);
                let source = self.per_unit(inner, "person_key", keyed);
                joined("people", Join { kind, source, on: on("person_key") })
            }
            7 => {
                let inner = Rows::of("people", self.filtered("people"));
                let first = self.per_unit(inner, "household_key", false);
                Rows { first, joins: Vec::new(), filter: None }
            }
            8 => {
                let kind = *self.dice.pick(&[JoinKind::Inner, JoinKind::Left]);
                let inner = Rows::of("people", self.filtered("people"));
                let source = self.per_unit(inner, "household_key", false);
                joined("homes", Join { kind, source, on: on("household_key") })
            }
            9 => {
                let events = Join { kind: JoinKind::Inner, source: dataset("events", None), on: on("person_key") };
                let first = self.per_unit(joined("people", events), "person_key", false);
                Rows { first, joins: Vec::new(), filter: None }
            }
            _ => {
                let mut rows = joined(
                    "people",
                    Join { kind: JoinKind::Inner, source: dataset("homes", None), on: on("household_key") },
                );
                let kind = *self.dice.pick(&JoinKind::ALL);
                let source = dataset("events", self.filtered("events"));
                rows.joins.push(Join { kind, source, on: on("person_key") });
                rows
            }
        };
        let scope = self.scope(&rows);
        if !self.dice.one_in(3) {
            rows.filter = Some(self.predicate(&scope, 2));
        }
        rows
    }

    fn draft(&mut self) -> Draft {
        let rows = self.rows();
        let scope = self.scope(&Rows { filter: None, ..rows.clone() });
        let keys = (0..self.dice.below(3)).map(|_| self.key(&scope)).collect();
        let mut figures = Vec::new();
        for _ in 0..1 + self.dice.below(4) {
            let measure = self.measure(&scope, false);
            let condition = self.dice.one_in(2).then(|| self.predicate(&scope, 1));
            figures.push(Figure { measure, condition });
        }
        Draft { rows, keys, figures }
    }

    fn measure(&mut self, scope: &Scope, per_unit: bool) -> Measure {
        let measures: Vec<&Column> = scope.columns.iter().filter(|c| matches!(c.role, Role::Measure { .. })).collect();
        let units: Vec<&Column> = scope.columns.iter().filter(|c| matches!(c.role, Role::Unit(_))).collect();
        let of = |dice: &mut Dice| measures[dice.index(measures.len())].name.clone();
        let unit = units[self.dice.index(units.len())].name.clone();
        match (self.dice.below(8), measures.is_empty()) {
            (0 | 1, _) | (_, true) => Measure::Units(unit),
            (2 | 3, _) => Measure::Rows,
            (4, _) => Measure::Present(of(self.dice)),
            (5, _) if per_unit => Measure::Least(of(self.dice)),
            (6, _) if per_unit => Measure::Greatest(of(self.dice)),
            (5, _) => Measure::Square(of(self.dice)),
            (6, _) if !scope.pairs.is_empty() => {
                let (a, b) = scope.pairs[0].clone();
                Measure::Product(a, b)
            }
            _ => Measure::Sum(of(self.dice)),
        }
    }

    fn key(&mut self, scope: &Scope) -> Scalar {
        let dimensions: Vec<Column> =
            scope.columns.iter().filter(|c| matches!(c.role, Role::Dimension(_))).cloned().collect();
        let texts = |t: &str| Scalar::Literal(Value::Text(t.to_owned()), ColumnType::Text);
        if dimensions.is_empty() || self.dice.one_in(4) {
            let when = self.predicate(scope, 1);
            let otherwise = self.dice.one_in(2).then(|| Box::new(texts("no")));
            return Scalar::Case { branches: vec![(when, texts("yes"))], otherwise };
        }
        let column = &dimensions[self.dice.index(dimensions.len())];
        let of = Scalar::Column(column.name.clone());
        match column.kind {
            ColumnType::Integer if self.dice.one_in(2) => Scalar::Arithmetic(Arithmetic::Divide, Box::new(of), 5),
            ColumnType::Date if self.dice.one_in(2) => Scalar::DateTrunc(loda_contract::Grain::Quarter, Box::new(of)),
            ColumnType::Text if self.dice.one_in(2) => Scalar::Coalesce(vec![of, texts("none")]),
            _ => of,
        }
    }

    fn predicate(&mut self, scope: &Scope, depth: u32) -> Predicate {
        if depth > 0 && self.dice.one_in(2) {
            let operands = (0..2).map(|_| self.predicate(scope, depth - 1)).collect();
            return match self.dice.below(3) {
                0 => Predicate::And(operands),
                1 => Predicate::Or(operands),
                _ => Predicate::Not(Box::new(Predicate::And(operands))),
            };
        }
        let usable: Vec<Column> = scope
            .columns
            .iter()
            .filter(|c| match &c.role {
                Role::Dimension(_) => true,
                Role::Measure { edges, .. } => !edges.is_empty(),
                Role::Unit(_) => c.nullable,
                _ => false,
            })
            .cloned()
            .collect();
        if usable.is_empty() {
            return Predicate::Constant(Some(true));
        }
        let column = &usable[self.dice.index(usable.len())];
        let of = Scalar::Column(column.name.clone());
        let op = *self.dice.pick(&Comparison::ALL);
        match &column.role {
            Role::Unit(_) => Predicate::IsNull(of),
            _ if column.nullable && self.dice.one_in(5) => Predicate::IsNull(of),
            Role::Measure { edges, .. } => {
                let edge = edges[self.dice.index(edges.len())];
                let value = match column.kind {
                    ColumnType::Decimal(_) => Value::Decimal(edge),
                    _ => Value::Integer(i64::try_from(edge).unwrap()),
                };
                let op = if self.dice.one_in(2) { Comparison::Less } else { Comparison::GreaterOrEqual };
                Predicate::Compare { left: of, op, right: Scalar::Literal(value, column.kind) }
            }
            Role::Dimension(domain) => {
                let values = domain.values().unwrap();
                let value = values[self.dice.index(values.len())].clone();
                if matches!(domain, Domain::Booleans) {
                    return Predicate::Truth(of);
                }
                if self.dice.one_in(3) {
                    let other = values[self.dice.index(values.len())].clone();
                    return Predicate::In { of, values: vec![(value, column.kind), (other, column.kind)] };
                }
                Predicate::Compare { left: of, op, right: Scalar::Literal(value, column.kind) }
            }
            _ => Predicate::Constant(Some(true)),
        }
    }
}

fn dataset(name: &str, filter: Option<Predicate>) -> Source {
    Source::Dataset { name: name.to_owned(), filter }
}

fn joined(first: &str, join: Join) -> Rows {
    Rows { first: dataset(first, None), joins: vec![join], filter: None }
}

fn cases() -> u64 {
    std::env::var("LODA_PROPERTY_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_500)
}

fn first_seed() -> u64 {
    std::env::var("LODA_PROPERTY_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// How many questions one set of random records is asked.
const QUESTIONS: u64 = 25;

#[test]
fn random_questions_equal_the_pooled_records() {
    support::run(async {
        let (mut asked, mut refused) = (0_u64, 0_u64);
        let methods = Methods::unprotected().unwrap();
        let context = engine(false);
        let mut seed = first_seed();
        while asked < cases() {
            let mut dice = Dice::new(seed);
            let contracts = contracts(seed.is_multiple_of(2));
            let records = Records::random(&mut dice);
            let state = tempfile::tempdir().unwrap();
            let laboratory = laboratory(state.path(), &contracts, &records);
            let pooled = Pooled::of(&contracts, &records);
            for _ in 0..QUESTIONS {
                let mut asker = Asker { dice: &mut dice, contracts: &contracts };
                let draft = asker.draft();
                let Ok(question) = asker.derive(draft) else {
                    refused += 1;
                    continue;
                };
                asked += 1;
                let bytes = question.encode();
                let again =
                    laboratory.decode(&bytes).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{}", question.sql()));
                assert_eq!(again.encode(), bytes, "seed {seed}: {}", question.sql());
                let released = laboratory.release(&again, &methods).await;
                let released = released.unwrap_or_else(|e| panic!("seed {seed}: {e:#}\n{}", question.sql()));
                let plan = loda_question::plan::plan(&question, &pooled).unwrap();
                let whole = context.execute_logical_plan(plan).await.unwrap().collect().await;
                let whole = whole.unwrap_or_else(|e| panic!("seed {seed}: {e}\n{}", question.sql()));
                let mut federated = text(std::slice::from_ref(&released), 99);
                let mut whole = text(&whole, 99);
                if question.keys().is_empty() && federated.is_empty() {
                    // No record at all: SQL gives one row of zeros and NULLs, the node no cell.
                    assert!(whole[0].iter().all(|v| v == "0" || v == "NULL"), "seed {seed}: {}", question.sql());
                    continue;
                }
                federated.sort();
                whole.sort();
                let equal =
                    federated.len() == whole.len() && federated.iter().zip(&whole).all(|(a, b)| same(a, b, 1e-9));
                assert!(equal, "seed {seed}: {}\nfederated {federated:?}\npooled {whole:?}", question.sql());
            }
            seed += 1;
        }
        println!("{asked} random questions equal the pooled records; {refused} more had no derivation");
        assert!(refused < asked * 3);
    });
}

/// The same records by another derivation, where this one has one.
fn derived_otherwise(rows: &Rows, dice: &mut Dice, about_people: bool) -> Option<Rows> {
    let mut other = rows.clone();
    let with_people = matches!(&rows.first, Source::Dataset { name, .. } if name == "people") && !rows.joins.is_empty();
    let on = vec![("t0.person_key".to_owned(), "person_key".to_owned())];
    let per_person = |name: &str, filter: Option<Predicate>, values: Vec<Figure>| {
        let per_unit =
            PerUnit { rows: Rows::of(name, filter), unit: "person_key".to_owned(), keys: Vec::new(), values };
        Source::PerUnit(Box::new(per_unit))
    };
    match dice.below(4) {
        0 if about_people => {
            // p is (p and c is null) or (p and c is not null).
            let column = rows.name(0, if rows_have(rows, "people") { "flag" } else { return None });
            let missing = Predicate::IsNull(Scalar::Column(column));
            let p = rows.filter.clone().unwrap_or(Predicate::Constant(Some(true)));
            let present = Predicate::Not(Box::new(missing.clone()));
            other.filter =
                Some(Predicate::Or(vec![Predicate::And(vec![p.clone(), missing]), Predicate::And(vec![p, present])]));
        }
        1 if with_people => {
            // Everybody is among the people.
            other.joins.push(Join { kind: JoinKind::Semi, source: dataset("people", None), on });
        }
        2 if with_people => {
            // Somebody is one row of people by person.
            let source = per_person("people", None, Vec::new());
            other.joins.push(Join { kind: JoinKind::Inner, source, on });
        }
        _ => {
            let join = other.joins.last_mut()?;
            let Source::Dataset { name, filter } = join.source.clone() else { return None };
            if name != "events" || rows.joins.len() != 1 {
                return None;
            }
            match join.kind {
                // Who has a match has a count of at least one.
                JoinKind::Semi => {
                    let values = vec![Figure { measure: Measure::Rows, condition: filter }];
                    *join = Join { kind: JoinKind::Inner, source: per_person("events", None, values), on };
                    other.filter = Predicate::both(other.filter, Some(count_of_one(Comparison::GreaterOrEqual)));
                }
                JoinKind::Anti => {
                    *join = Join { kind: JoinKind::Left, source: per_person("events", filter, Vec::new()), on };
                    let missing = Predicate::IsNull(Scalar::Column("t1.person_key".to_owned()));
                    other.filter = Predicate::both(other.filter, Some(missing));
                }
                _ => return None,
            }
        }
    }
    Some(other)
}

fn rows_have(rows: &Rows, name: &str) -> bool {
    matches!(&rows.first, Source::Dataset { name: first, .. } if first == name)
}

fn count_of_one(op: Comparison) -> Predicate {
    let one = Scalar::Literal(Value::Integer(1), ColumnType::Integer);
    Predicate::Compare { left: Scalar::Column("t1.d0".to_owned()), op, right: one }
}

#[test]
fn the_same_set_has_the_same_answer_however_it_is_derived() {
    support::run(async {
        let (mut compared, mut released_some) = (0_u64, 0_u64);
        let methods = Methods::standard().unwrap();
        let mut seed = first_seed() + 1_000_000;
        while compared < cases() {
            let mut dice = Dice::new(seed);
            let about_people = seed.is_multiple_of(2);
            let contracts = contracts(about_people);
            let records = Records::random(&mut dice);
            let state = tempfile::tempdir().unwrap();
            let laboratory = laboratory(state.path(), &contracts, &records);
            for _ in 0..QUESTIONS {
                let mut asker = Asker { dice: &mut dice, contracts: &contracts };
                let draft = asker.draft();
                let Ok(question) = asker.derive(draft.clone()) else { continue };
                let Some(rows) = derived_otherwise(&draft.rows, &mut dice, about_people) else { continue };
                let asker = Asker { dice: &mut dice, contracts: &contracts };
                let other = asker.derive(Draft { rows, ..draft });
                let Ok(other) = other else { continue };
                let a = laboratory.release(&question, &methods).await.unwrap();
                let b = laboratory.release(&other, &methods).await.unwrap();
                assert_eq!(a, b, "seed {seed}\n{}\n{}", question.sql(), other.sql());
                compared += 1;
                released_some += u64::from(a.num_rows() > 0);
            }
            seed += 1;
        }
        println!("{compared} pairs of derivations have identical answers; {released_some} released something");
        assert!(released_some > compared / 5);
    });
}

#[test]
fn records_that_are_not_asked_about_change_no_byte() {
    support::run(async {
        let (mut compared, mut changed, mut withheld) = (0_u64, 0_u64, 0_u64);
        let methods = Methods::standard().unwrap();
        let mut seed = first_seed() + 2_000_000;
        while compared < cases() {
            let mut dice = Dice::new(seed);
            let contracts = contracts(seed.is_multiple_of(2));
            let records = Records::random(&mut dice);
            let state = tempfile::tempdir().unwrap();
            let before = laboratory(state.path(), &contracts, &records);
            // Events of people whom no table knows.
            let mut others = records.clone();
            let ghosts = |row: &Row| matches!(&row[0], Value::Text(t) if t[1..].parse::<usize>().unwrap() >= others_people(&records));
            let events = others.0.get_mut("events").unwrap();
            events.retain(|row| !ghosts(row));
            for n in 0..dice.below(60) {
                events.push(event(&mut dice, 5_000 + n));
            }
            let after = laboratory(state.path(), &contracts, &others);
            for _ in 0..QUESTIONS / 2 {
                let mut asker = Asker { dice: &mut dice, contracts: &contracts };
                let draft = asker.draft();
                // Questions that begin with people ask about those in the table.
                if !rows_have(&draft.rows, "people") {
                    continue;
                }
                let Ok(question) = asker.derive(draft) else { continue };
                let a = before.release(&question, &methods).await.unwrap();
                let b = after.release(&question, &methods).await.unwrap();
                assert_eq!(a, b, "seed {seed}: ghosts\n{}", question.sql());
                compared += 1;
            }
            // People outside the condition are others, or elsewhere.
            let people = &contracts["people"];
            for _ in 0..QUESTIONS / 4 {
                let mut asker = Asker { dice: &mut dice, contracts: &contracts };
                let scope = asker.scope(&Rows::of("people", None));
                let filter = asker.predicate(&scope, 2);
                let keys = (0..asker.dice.below(3)).map(|_| asker.key(&scope)).collect();
                let figures = (0..3).map(|_| Figure {
                    measure: asker.measure(&scope, false),
                    condition: asker.dice.one_in(2).then(|| asker.predicate(&scope, 1)),
                });
                let figures = figures.collect();
                let draft = Draft { rows: Rows::of("people", Some(filter.clone())), keys, figures };
                let Ok(question) = asker.derive(draft) else { continue };
                let asked = |row: &Row| holds(people, &filter, row);
                let mut others = records.clone();
                let rows = others.0.get_mut("people").unwrap();
                for row in rows.iter_mut().filter(|row| !asked(row)) {
                    let mut new = row.clone();
                    new[5] = Value::Integer(dice.number(0, 100));
                    new[1] = Value::Text(format!("h{}", 900 + dice.below(50)));
                    new[3] = Value::Integer(dice.number(0, 9));
                    if !asked(&new) {
                        *row = new;
                        changed += 1;
                    }
                }
                let after = laboratory(state.path(), &contracts, &others);
                let a = before.release(&question, &methods).await.unwrap();
                let b = after.release(&question, &methods).await.unwrap();
                assert_eq!(a, b, "seed {seed}: outside\n{}", question.sql());
                compared += 1;
            }
            withheld += inside_withheld(&mut dice, &contracts, &records, state.path(), &before, &methods, seed).await;
            seed += 1;
        }
        println!(
            "{compared} questions answered the same over other records outside them ({changed} records changed), \
             and {withheld} over other values inside withheld cells"
        );
        assert!(changed > compared && withheld > 100);
    });
}

fn others_people(records: &Records) -> usize {
    records.0["people"].len()
}

fn holds(contract: &Contract, predicate: &Predicate, row: &Row) -> bool {
    let value =
        |name: &str| contract.columns.iter().position(|c| c.name == name).map_or(Value::Null, |i| row[i].clone());
    predicate.evaluate(&value) == Some(true)
}

/// Cells of at most four people are withheld whatever the noise: other values, and other people, show nowhere.
async fn inside_withheld(
    dice: &mut Dice,
    contracts: &BTreeMap<String, Arc<Contract>>,
    records: &Records,
    state: &Path,
    before: &Laboratory,
    methods: &Methods,
    seed: u64,
) -> u64 {
    let mut cells: BTreeMap<(Value, Value), usize> = BTreeMap::new();
    for row in &records.0["people"] {
        *cells.entry((row[2].clone(), row[3].clone())).or_default() += 1;
    }
    let mut others = records.clone();
    let mut touched = 0;
    for (n, row) in others.0.get_mut("people").unwrap().iter_mut().enumerate() {
        if cells[&(row[2].clone(), row[3].clone())] <= 4 {
            row[0] = Value::Text(format!("q{n}"));
            row[1] = Value::Text(format!("h{}", 800 + dice.below(50)));
            row[5] = Value::Integer(dice.number(0, 100));
            row[6] = Value::Integer(dice.number(-50, 50));
            touched += 1;
        }
    }
    let after = laboratory(state, contracts, &others);
    let column = |name: &str| Scalar::Column(name.to_owned());
    let mut compared = 0;
    for measure in [
        Measure::Rows,
        Measure::Units("household_key".to_owned()),
        Measure::Sum("income".to_owned()),
        Measure::Square("wealth".to_owned()),
        Measure::Present("wealth".to_owned()),
    ] {
        let figures = vec![Figure { measure, condition: None }];
        let draft = Draft { rows: Rows::of("people", None), keys: vec![column("area"), column("age")], figures };
        let question = Question::derive(draft, &|name| contracts.get(name).cloned()).unwrap();
        let a = before.release(&question, methods).await.unwrap();
        let b = after.release(&question, methods).await.unwrap();
        assert_eq!(a, b, "seed {seed}: inside\n{}", question.sql());
        compared += u64::from(touched > 0);
    }
    compared
}

#[test]
fn sums_about_people_are_perturbed_by_their_bounds_and_not_by_their_names() {
    support::run(async {
        let methods = Methods::standard().unwrap();
        let contracts = contracts(true);
        let mut dice = Dice::new(77);
        let (mut errors, mut seen) = (0.0_f64, 0_u32);
        for _ in 0..40 {
            let records = Records::random(&mut dice);
            let state = tempfile::tempdir().unwrap();
            let laboratory = laboratory(state.path(), &contracts, &records);
            let figures = vec![Figure { measure: Measure::Sum("income".to_owned()), condition: None }];
            let draft = Draft { rows: Rows::of("people", None), keys: Vec::new(), figures };
            let question = Question::derive(draft, &|name| contracts.get(name).cloned()).unwrap();
            let released = laboratory.release(&question, &methods).await.unwrap();
            let sum = released.column(0).as_primitive::<arrow::datatypes::Decimal128Type>();
            assert!(sum.is_valid(0));
            let exact: i128 = records.0["people"]
                .iter()
                .map(|row| if let Value::Integer(i) = row[5] { i128::from(i) } else { 0 })
                .sum();
            let error = (sum.value(0) - exact) as f64;
            // Two draws of at most five and a half half-widths of 50.
            assert!(error.abs() <= 11.0 * 50.0, "{error}");
            errors += error.abs();
            seen += 1;
        }
        let mean = errors / f64::from(seen);
        println!("a sum of values from 0 to 100 is off by {mean:.0} on average");
        assert!((40.0..200.0).contains(&mean), "{mean}");
    });
}
