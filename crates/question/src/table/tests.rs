//! Which tables there are, their bytes, and questions as tables.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use loda_contract::{ColumnType, Contract, Grain, Value};

use super::{CellFigure, ColumnRef, Functional, Lowered, RowDomain, State, Table, TableCells, TableRow};
use crate::draft::{Comparison, Draft, Figure, Join, JoinKind, Measure, PerUnit, Predicate, Rows, Scalar, Source};
use crate::{LIMITS, Question, Rule};

const PEOPLE: &str = r#"
    dataset = "people"
    version = 1
    title = "People"
    dimensions = 3
    [[unit]]
    domain = "person"
    column = "person_key"
    about = "people"
    one-row = true
    [[unit]]
    domain = "home"
    column = "uprn"
    about = "people"
    [[column]]
    name = "person_key"
    type = "text"
    role = "unit"
    to = "person"
    [[column]]
    name = "uprn"
    type = "text"
    role = "unit"
    to = "home"
    [[column]]
    name = "sex"
    type = "text"
    role = "dimension"
    codes = ["F", "M"]
    [[column]]
    name = "age"
    type = "text"
    role = "dimension"
    codes = ["young", "middle", "old"]
    nullable = true
    [[column]]
    name = "tenure"
    type = "text"
    role = "dimension"
    codes = ["own", "rent"]
    of = "home"
    [[derived]]
    name = "adults"
    unit = "home"
    of = "rows"
    where = { age = ["middle", "old"] }
    bands = ["0", "1", "2"]
"#;

const HOMES: &str = r#"
    dataset = "homes"
    version = 1
    title = "Homes"
    dimensions = 3
    threshold = 20
    [[unit]]
    domain = "home"
    column = "uprn"
    about = "people"
    one-row = true
    [[column]]
    name = "uprn"
    type = "text"
    role = "unit"
    to = "home"
    [[column]]
    name = "band"
    type = "text"
    role = "dimension"
    codes = ["A", "B"]
    [[column]]
    name = "rent"
    type = "integer"
    role = "measure"
    min = "0"
    max = "500"
    edges = ["100", "200"]
"#;

const REPAIRS: &str = r#"
    dataset = "repairs"
    version = 1
    title = "Repairs"
    [[unit]]
    domain = "home"
    column = "uprn"
    about = "people"
    max-rows = 4
    [[column]]
    name = "uprn"
    type = "text"
    role = "unit"
    to = "home"
    [[column]]
    name = "code"
    type = "text"
    role = "dimension"
    codes = ["damp", "roof"]
    [[column]]
    name = "cost"
    type = "integer"
    role = "measure"
    min = "0"
    max = "1000"
"#;

/// Rows that come by quarter; each is a unit of its own.
const STOPS: &str = r#"
    dataset = "stops"
    version = 1
    title = "Stops"
    period = "month"
    every = "quarter"
    [[unit]]
    domain = "stop"
    about = "people"
    [[column]]
    name = "month"
    type = "date"
    role = "dimension"
    grain = "month"
    min = "2025-01-01"
    max = "2026-12-31"
    [[column]]
    name = "outcome"
    type = "text"
    role = "dimension"
    codes = ["arrest", "none"]
    nullable = true
    [[column]]
    name = "power"
    type = "text"
    role = "dimension"
    codes = ["1", "23", "60"]
"#;

fn contracts(name: &str) -> Option<Arc<Contract>> {
    let all = [("people", PEOPLE), ("homes", HOMES), ("repairs", REPAIRS), ("stops", STOPS)];
    let text = all.into_iter().find(|(n, _)| *n == name)?.1;
    Some(Arc::new(Contract::parse(text, name).unwrap()))
}

fn column(text: &str) -> ColumnRef {
    ColumnRef::parse(text).unwrap()
}

fn units(of: &str) -> RowDomain {
    RowDomain::Units(of.to_owned())
}

fn table(domain: RowDomain, columns: &[&str], functionals: Vec<Functional>) -> Result<Table, crate::Refusal> {
    Table::new(domain, columns.iter().map(|c| column(c)), functionals, &contracts)
}

fn people(columns: &[&str]) -> Result<Table, crate::Refusal> {
    table(units("person"), columns, vec![Functional::Units("person".to_owned())])
}

#[test]
fn a_column_of_another_unit_weighs_two_and_presence_that_is_told_nothing() {
    let weight = |columns: &[&str]| people(columns).map(|t| t.weight());
    assert_eq!(weight(&["people.sex", "people.age"]).unwrap(), 2);
    assert_eq!(weight(&["people.sex", "people.tenure"]).unwrap(), 3);
    assert_eq!(weight(&["people.sex", "people.*"]).unwrap(), 1);
    assert_eq!(weight(&["people.*", "people.uprn>homes.band"]).unwrap(), 2);
    assert_eq!(weight(&["people.uprn>homes.*"]).unwrap(), 2);
    let refused = people(&["people.sex", "people.age", "people.tenure"]).unwrap_err();
    assert_eq!(refused.rule, Rule::Dimensions);
    assert!(refused.advice.contains("people.tenure"), "{refused}");
    // The home's own figures: its tenure weighs one.
    let homes = table(units("home"), &["people.tenure", "homes.band"], vec![Functional::Units("home".to_owned())]);
    assert_eq!(homes.as_ref().unwrap().weight(), 2);
    assert_eq!(homes.unwrap().threshold(), 20);
    // A dataset that says nothing has two dimensions, and of several the smallest counts.
    let narrow =
        table(units("home"), &["people.tenure", "homes.band", "repairs.*"], vec![Functional::Units("home".to_owned())]);
    assert_eq!(narrow.unwrap_err().rule, Rule::Dimensions);
}

#[test]
fn what_is_no_column_of_a_row_domain_is_refused() {
    let home = || vec![Functional::Units("home".to_owned())];
    // A person's own columns are none of a home, and a home's derived values none of a person.
    for columns in [&["people.sex"][..], &["people.person_key"], &["homes.uprn"], &["repairs.code"]] {
        assert!(table(units("home"), columns, home()).is_err(), "{columns:?}");
    }
    assert!(people(&["people.adults"]).is_err());
    assert!(table(units("home"), &["people.adults"], home()).is_ok());
    assert!(table(units("home"), &[], home()).is_err());
    let rows = RowDomain::Rows("repairs".to_owned());
    assert!(table(rows.clone(), &["repairs.code"], vec![Functional::Rows]).is_ok());
    assert!(table(rows.clone(), &["homes.band"], vec![Functional::Rows]).is_err());
    assert!(table(rows, &[], vec![Functional::Sum(column("repairs.cost"))]).is_ok());
    assert!(table(RowDomain::Rows("people".to_owned()), &[], vec![Functional::Rows]).is_err());
    assert!(table(units("home"), &["homes.*"], vec![Functional::Sum(column("repairs.cost"))]).is_err());
}

#[test]
fn bytes_decode_to_the_same_table_and_no_other_bytes_do() {
    let tables = [
        people(&["people.sex", "people.uprn>homes.band"]).unwrap(),
        table(
            units("home"),
            &["homes.rent", "people.adults"],
            vec![Functional::Units("home".to_owned()), Functional::Square(column("homes.rent"))],
        )
        .unwrap(),
        table(RowDomain::Rows("repairs".to_owned()), &[], vec![Functional::Rows, Functional::Units("home".to_owned())])
            .unwrap(),
    ];
    for table in tables {
        let bytes = table.encode();
        assert!(Table::is_meant(&bytes, LIMITS));
        let again = Table::decode(&bytes, LIMITS, &contracts).unwrap();
        assert_eq!(again.encode(), bytes);
        assert_eq!(again.columns(), table.columns());
        assert_eq!(again.functionals(), table.functionals());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                // A damaged name may be another's: then those are its canonical bytes.
                if let Ok(other) = Table::decode(&damaged, LIMITS, &contracts) {
                    assert_eq!(other.encode(), damaged);
                }
            }
            assert!(Table::decode(&bytes[..at], LIMITS, &contracts).is_err());
        }
    }
}

fn is(name: &str, value: &str) -> Predicate {
    Predicate::Compare {
        left: Scalar::Column(name.to_owned()),
        op: Comparison::Equal,
        right: Scalar::Literal(Value::Text(value.into()), ColumnType::Text),
    }
}

fn count(condition: Option<Predicate>) -> Figure {
    Figure { measure: Measure::Rows, condition }
}

fn lowered(rows: Rows, keys: &[&str], figures: Vec<Figure>) -> Result<Lowered, crate::Refusal> {
    let keys = keys.iter().map(|k| Scalar::Column((*k).to_owned())).collect();
    let question = Question::derive(Draft { rows, keys, figures }, &contracts).unwrap();
    Lowered::of(&question, &contracts)
}

fn columns(lowered: &Lowered) -> Vec<Vec<String>> {
    let of = |t: &Table| t.columns().iter().map(|c| c.reference.to_string()).collect();
    lowered.tables().iter().map(of).collect()
}

#[test]
fn conditions_become_columns_and_never_reach_the_table() {
    let one = lowered(Rows::of("people", Some(is("sex", "F"))), &["age"], vec![count(None)]).unwrap();
    assert_eq!(columns(&one), [["people.age", "people.sex"]]);
    // A column that a figure cannot depend on is dropped, or kept by its presence.
    let either = Predicate::Or(vec![is("sex", "F"), is("sex", "M")]);
    let all = lowered(Rows::of("people", Some(either)), &[], vec![count(None)]).unwrap();
    assert_eq!(columns(&all), [["people.*"]]);
    // Figures of fewer columns share the table of those with more.
    let two = lowered(Rows::of("people", None), &["sex"], vec![count(None), count(Some(is("age", "old")))]).unwrap();
    assert_eq!(columns(&two), [["people.age", "people.sex"]]);
    let bytes = |text: &str| {
        let wanted = lowered(Rows::of("people", Some(is("sex", text))), &[], vec![count(None)]).unwrap();
        wanted.tables()[0].encode()
    };
    assert_eq!(bytes("F"), bytes("M"));
}

#[test]
fn joins_are_predicates_over_the_register() {
    let join = |kind, source| Join { kind, source, on: vec![("t0.uprn".to_owned(), "uprn".to_owned())] };
    let dataset = |name: &str| Source::Dataset { name: name.to_owned(), filter: None };
    let of = |first: &str, joins| Rows { first: dataset(first), joins, filter: None };
    let without = lowered(of("homes", vec![join(JoinKind::Anti, dataset("repairs"))]), &["t0.band"], vec![count(None)]);
    assert_eq!(columns(&without.unwrap()), [["homes.band", "repairs.*"]]);
    // Persons by their home's band: through the unit that both have.
    let electors =
        lowered(of("people", vec![join(JoinKind::Inner, dataset("homes"))]), &["t1.band"], vec![count(None)]);
    assert_eq!(columns(&electors.unwrap()), [["people.uprn>homes.band"]]);
    let old = Predicate::In {
        of: Scalar::Column("age".to_owned()),
        values: ["middle", "old"].map(|t| (Value::Text(t.into()), ColumnType::Text)).to_vec(),
    };
    let adults = |filter: Predicate| {
        Source::PerUnit(Box::new(PerUnit {
            rows: Rows::of("people", Some(filter)),
            unit: "uprn".to_owned(),
            keys: Vec::new(),
            values: vec![count(None)],
        }))
    };
    let two = Predicate::Compare {
        left: Scalar::Column("t1.d0".to_owned()),
        op: Comparison::GreaterOrEqual,
        right: Scalar::Literal(Value::Integer(2), ColumnType::Integer),
    };
    let rows = |source, filter: Predicate| Rows {
        first: dataset("homes"),
        joins: vec![join(JoinKind::Inner, source)],
        filter: Some(filter),
    };
    let named = lowered(rows(adults(old.clone()), two.clone()), &[], vec![count(None)]).unwrap();
    assert_eq!(columns(&named), [["homes.*", "people.adults"]]);
    // A value that no contract names is refused with the TOML to propose, and that TOML is a contract's.
    let refused = lowered(rows(adults(is("sex", "F")), two), &[], vec![count(None)]).unwrap_err();
    assert_eq!(refused.rule, Rule::Derived);
    let toml = &refused.advice[refused.advice.find("[[derived]]").unwrap()..];
    let contract = Contract::parse(&format!("{PEOPLE}\n{toml}"), "people").unwrap();
    assert_eq!(contract.closure.derived.len(), 2);
}

/// A question over stops.
fn stops(filter: Option<Predicate>, keys: Vec<Scalar>) -> Result<Lowered, crate::Refusal> {
    let rows = Rows::of("stops", filter);
    let draft = Draft { rows, keys, figures: vec![count(None)] };
    Lowered::of(&Question::derive(draft, &contracts).unwrap(), &contracts)
}

#[test]
fn the_period_is_part_of_every_table_and_weighs_nothing() {
    let month = || Scalar::Column("month".to_owned());
    let from = |op: Comparison, day: &str| Predicate::Compare {
        left: month(),
        op,
        right: Scalar::Literal(Value::parse(day, ColumnType::Date).unwrap(), ColumnType::Date),
    };
    let within = |first: &str, after: &str| {
        Some(Predicate::And(vec![from(Comparison::GreaterOrEqual, first), from(Comparison::Less, after)]))
    };
    let quarter = "stops.month/period";
    let of = |lowered: Result<Lowered, crate::Refusal>| columns(&lowered.unwrap());
    assert_eq!(of(stops(None, vec![])), [[quarter]]);
    assert_eq!(of(stops(Some(is("outcome", "arrest")), vec![])), [[quarter, "stops.outcome"]]);
    // A quarter by its months is the quarter; some of its months are months.
    assert_eq!(of(stops(within("2025-04-01", "2025-10-01"), vec![])), [[quarter]]);
    assert_eq!(of(stops(None, vec![Scalar::DateTrunc(Grain::Year, Box::new(month()))])), [[quarter]]);
    assert_eq!(of(stops(within("2025-04-01", "2025-09-01"), vec![])), [["stops.month", quarter]]);
    assert_eq!(of(stops(None, vec![month()])), [["stops.month", quarter]]);
    let rows = |columns: &[&str], figures| table(RowDomain::Rows("stops".to_owned()), columns, figures);
    let counted = || vec![Functional::Units("stop".to_owned())];
    let both = rows(&["stops.outcome", "stops.power"], counted()).unwrap();
    assert_eq!((both.weight(), both.period(), both.columns().len()), (2, Some(0), 3));
    assert_eq!(rows(&["stops.month", "stops.outcome", "stops.power"], counted()).unwrap_err().rule, Rule::Dimensions);
    // A stop is a row: it has no register beside, and rows are not counted in another way.
    assert!(table(units("stop"), &["stops.outcome"], counted()).is_err());
    assert!(rows(&[], vec![Functional::Rows]).is_err());
    let again = Table::decode(&both.encode(), LIMITS, &contracts).unwrap();
    assert_eq!(again.columns(), both.columns());
}

#[test]
fn a_figure_lacks_the_periods_that_a_borough_lists_and_does_not_release() {
    let lowered = stops(Some(is("outcome", "arrest")), vec![]).unwrap();
    let day = |text: &str| Value::parse(text, ColumnType::Date).unwrap();
    let cell = |quarter: &str, n: i128| TableRow {
        cell: vec![Some((State::Value, day(quarter))), Some((State::Value, Value::Text("arrest".into())))],
        figures: vec![Some(n)],
    };
    let found = |listed: &[&str]| {
        let lists = vec![Some(listed.iter().map(|quarter| day(quarter)).collect()), None];
        let rows = vec![cell("2025-01-01", 20), cell("2025-04-01", 30)];
        lowered.cells(&[TableCells { rows, lists, noise: 5.0 }], true, true, &BTreeMap::new())[&vec![]][0]
    };
    let closed = found(&["2025-01-01", "2025-04-01"]);
    assert_eq!((closed.value, closed.lacks), (Some(50), false));
    let another = found(&["2025-01-01", "2025-04-01", "2025-07-01"]);
    assert_eq!((another.value, another.lacks), (Some(50), true));
    // A period that is named and closed nowhere is missing, and not empty.
    let from = |first: &str, after: &str| {
        let compared = |op: Comparison, text: &str| Predicate::Compare {
            left: Scalar::Column("month".to_owned()),
            op,
            right: Scalar::Literal(day(text), ColumnType::Date),
        };
        let within = vec![compared(Comparison::GreaterOrEqual, first), compared(Comparison::Less, after)];
        let lowered = stops(Some(Predicate::And(within)), vec![]).unwrap();
        let lists = vec![Some(["2025-01-01", "2025-04-01"].map(day).to_vec())];
        let cell = |quarter: &str, n: i128| TableRow {
            cell: vec![Some((State::Value, day(quarter)))],
            figures: vec![Some(n)],
        };
        let rows = vec![cell("2025-01-01", 20), cell("2025-04-01", 30)];
        let cells = lowered.cells(&[TableCells { rows, lists, noise: 5.0 }], true, true, &BTreeMap::new());
        (cells[&vec![]][0].value, cells[&vec![]][0].lacks)
    };
    assert_eq!(from("2025-01-01", "2025-07-01"), (Some(50), false));
    assert_eq!(from("2025-01-01", "2026-01-01"), (Some(50), true));
    assert_eq!(from("2026-01-01", "2026-04-01"), (None, true));
}

#[test]
fn figures_are_sums_of_released_cells_and_say_what_they_lack() {
    let not_young = Predicate::Not(Box::new(is("age", "young")));
    let question = lowered(Rows::of("people", Some(not_young)), &["sex"], vec![count(None)]).unwrap();
    let text = |t: &str| Value::Text(t.into());
    let cell = |age: Option<&str>, sex: Option<&str>, n: i128| TableRow {
        cell: [age, sex].map(|value| value.map(|v| (State::Value, text(v)))).to_vec(),
        figures: vec![Some(n)],
    };
    let mut rows = vec![
        cell(Some("middle"), Some("F"), 20),
        cell(Some("old"), Some("F"), 15),
        cell(Some("young"), Some("F"), 50),
        cell(Some("middle"), Some("M"), 11),
    ];
    let found = |rows: &[TableRow]| {
        question.cells(
            &[TableCells { rows: rows.to_vec(), lists: Vec::new(), noise: 5.0 }],
            true,
            true,
            &BTreeMap::new(),
        )
    };
    let cells = found(&rows);
    let of = |cells: &BTreeMap<Vec<Value>, Vec<CellFigure>>, sex: &str| cells[&vec![text(sex)]][0];
    assert_eq!((of(&cells, "F").value, of(&cells, "F").lacks), (Some(35), false));
    // No margin says how many men are old.
    assert_eq!((of(&cells, "M").value, of(&cells, "M").lacks), (Some(11), true));
    let keys: BTreeSet<&Vec<Value>> = cells.keys().collect();
    assert_eq!(keys.len(), 2);
    // Twenty men: nine of them young, old or of no known age.
    rows.push(cell(None, Some("M"), 20));
    let (men, women) = (of(&found(&rows), "M"), of(&found(&rows), "F"));
    assert!(!men.lacks && (12..=17).contains(&men.value.unwrap()), "{men:?}");
    let estimate = men.estimate.unwrap();
    assert!((1.0..6.0).contains(&estimate.withheld.unwrap()) && estimate.variance > 5.0, "{estimate:?}");
    assert_eq!((women.value, women.lacks), (Some(35), false));
    // Nobody's own cell is told.
    let by_age = lowered(Rows::of("people", None), &["sex", "age"], vec![count(None)]).unwrap();
    let cells = by_age.cells(&[TableCells { rows, lists: Vec::new(), noise: 5.0 }], true, true, &BTreeMap::new());
    let old = cells[&vec![text("M"), text("old")]][0];
    assert_eq!((old.value, old.lacks), (None, true));
    assert!((1..=6).contains(&old.estimate.unwrap().figure), "{old:?}");
    assert_eq!(cells[&vec![text("M"), text("middle")]][0].value, Some(11));
}
