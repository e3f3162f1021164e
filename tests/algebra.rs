//! Properties of the algebra over random conditions. The normal form keeps the meaning of a condition. Evaluation
//! equals the engine's. Fixing a column equals giving the column that value. Decoding an encoded question gives the
//! question back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, Int64Array, RecordBatch, StringArray};
use loda_contract::{ColumnType, Contract, Grain, Value};
use loda_question::plan::{arrow_schema, predicate_expr};
use loda_question::{Comparison, DatePart, Draft, Figure, LIMITS, Measure, Predicate, Question, Rows, Scalar};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::pooled::engine;
use crate::support;

const CONTRACT: &str = r#"
dataset = "trial"
version = 1
title = "Trial"
protection = "threshold"
[[unit]]
domain = "thing"
about = "things"
[[column]]
name = "t"
type = "text"
role = "dimension"
nullable = true
codes = ["a", "B", "c"]
[[column]]
name = "i"
type = "integer"
role = "dimension"
nullable = true
min = "0"
max = "3"
[[column]]
name = "d"
type = "date"
role = "dimension"
nullable = true
min = "2019-11-01"
max = "2020-02-29"
grain = "month"
[[column]]
name = "b"
type = "boolean"
role = "dimension"
nullable = true
"#;

type Row = [Value; 4];

fn contract() -> Arc<Contract> {
    Arc::new(Contract::parse(CONTRACT, "trial.toml").unwrap())
}

/// All combinations of values, including NULL.
fn rows() -> Vec<Row> {
    let contract = contract();
    let values = |name: &str| {
        let loda_contract::Role::Dimension(domain) = &contract.column(name).unwrap().role else { unreachable!() };
        let mut values = domain.values().unwrap();
        values.push(Value::Null);
        values
    };
    let mut rows = Vec::new();
    for t in values("t") {
        for i in values("i") {
            for d in values("d") {
                for b in values("b") {
                    rows.push([t.clone(), i.clone(), d.clone(), b]);
                }
            }
        }
    }
    rows
}

fn batch(rows: &[Row]) -> RecordBatch {
    let text = |v: &Value| if let Value::Text(t) = v { Some(t.to_string()) } else { None };
    let integer = |v: &Value| if let Value::Integer(i) = v { Some(*i) } else { None };
    let date = |v: &Value| if let Value::Date(d) = v { Some(*d) } else { None };
    let boolean = |v: &Value| if let Value::Boolean(b) = v { Some(*b) } else { None };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| text(&r[0])).collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| integer(&r[1])).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| date(&r[2])).collect::<Date32Array>()),
        Arc::new(rows.iter().map(|r| boolean(&r[3])).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(arrow_schema(&contract()), columns).unwrap()
}

fn at(row: &Row) -> impl Fn(&str) -> Value {
    move |column| row[["t", "i", "d", "b"].iter().position(|name| *name == column).unwrap()].clone()
}

fn column(name: &str) -> Scalar {
    Scalar::Column(name.to_owned())
}

fn text() -> impl Strategy<Value = (Value, ColumnType)> {
    let value = prop_oneof![
        6 => prop::sample::select(vec!["a", "B", "c", "A", "z"]).prop_map(|t| Value::Text(t.into())),
        1 => Just(Value::Null),
    ];
    value.prop_map(|v| (v, ColumnType::Text))
}

fn integer() -> impl Strategy<Value = (Value, ColumnType)> {
    prop_oneof![6 => (-1_i64..5).prop_map(Value::Integer), 1 => Just(Value::Null)]
        .prop_map(|v| (v, ColumnType::Integer))
}

fn date() -> impl Strategy<Value = (Value, ColumnType)> {
    // The first days of the months from October 2019 to April 2020.
    prop::sample::select(vec![18170, 18201, 18231, 18262, 18293, 18322, 18353])
        .prop_map(|d| (Value::Date(d), ColumnType::Date))
}

fn literal((value, kind): (Value, ColumnType)) -> Scalar {
    Scalar::Literal(value, kind)
}

fn text_scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        3 => Just(column("t")),
        1 => Just(Scalar::Upper(Box::new(column("t")))),
        1 => Just(Scalar::Lower(Box::new(column("t")))),
        1 => text().prop_map(|l| Scalar::Coalesce(vec![column("t"), literal(l)])),
    ]
}

fn integer_scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        2 => Just(column("i")),
        1 => prop::sample::select(DatePart::ALL.to_vec()).prop_map(|p| Scalar::DatePart(p, Box::new(column("d")))),
    ]
}

fn date_scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        2 => Just(column("d")),
        1 => prop::sample::select(vec![Grain::Month, Grain::Quarter, Grain::Year])
            .prop_map(|g| Scalar::DateTrunc(g, Box::new(column("d")))),
    ]
}

fn leaf() -> impl Strategy<Value = Predicate> {
    let op = || prop::sample::select(Comparison::ALL.to_vec());
    let compare = |left, op, right| Predicate::Compare { left, op, right };
    prop_oneof![
        (text_scalar(), op(), text()).prop_map(move |(l, op, r)| compare(l, op, literal(r))),
        (text(), op(), text_scalar()).prop_map(move |(l, op, r)| compare(literal(l), op, r)),
        (text_scalar(), op(), text_scalar()).prop_map(move |(l, op, r)| compare(l, op, r)),
        (integer_scalar(), op(), integer()).prop_map(move |(l, op, r)| compare(l, op, literal(r))),
        (date_scalar(), op(), date()).prop_map(move |(l, op, r)| compare(l, op, literal(r))),
        (text_scalar(), vec(text(), 0..4)).prop_map(|(of, values)| Predicate::In { of, values }),
        (integer_scalar(), vec(integer(), 1..4)).prop_map(|(of, values)| Predicate::In { of, values }),
        text_scalar().prop_map(Predicate::IsNull),
        date_scalar().prop_map(Predicate::IsNull),
        Just(Predicate::Truth(column("b"))),
        prop::sample::select(vec![Some(true), Some(false), None]).prop_map(Predicate::Constant),
    ]
}

fn predicate() -> impl Strategy<Value = Predicate> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(Predicate::And),
            vec(inner.clone(), 1..4).prop_map(Predicate::Or),
            inner.clone().prop_map(|p| Predicate::Not(Box::new(p))),
            (inner.clone(), inner).prop_map(|(when, then)| {
                let truth = |b| Scalar::Literal(Value::Boolean(b), ColumnType::Boolean);
                let branches = vec![(when, truth(true)), (then, truth(false))];
                Predicate::Truth(Scalar::Case { branches, otherwise: None })
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_normal_form_keeps_the_meaning_and_is_its_own(p in predicate()) {
        let normal = p.clone().normal();
        prop_assert_eq!(normal.clone().normal(), normal.clone());
        for row in rows() {
            prop_assert_eq!(p.evaluate(&at(&row)), normal.evaluate(&at(&row)), "{:?}\n{:?}\n{:?}", p, normal, row);
        }
    }

    #[test]
    fn evaluation_equals_the_engine(p in predicate()) {
        let rows = rows();
        let batch = batch(&rows);
        let normal = p.normal();
        let expr = predicate_expr(&normal);
        let said = support::run(async move {
            engine(false).read_batch(batch).unwrap().select(vec![expr]).unwrap().collect().await.unwrap()
        });
        let said: Vec<Option<bool>> = said.iter().flat_map(|b| b.column(0).as_boolean().iter().collect::<Vec<_>>()).collect();
        prop_assert_eq!(said.len(), rows.len());
        for (row, said) in rows.iter().zip(said) {
            prop_assert_eq!(normal.evaluate(&at(row)), said, "{:?}\n{:?}", normal, row);
        }
    }

    #[test]
    fn fixing_a_column_is_giving_it_that_value(p in predicate(), fixed in text()) {
        let value = fixed.0.clone();
        let without = p.fix("t", &literal(fixed));
        for mut row in rows() {
            row[0] = value.clone();
            prop_assert_eq!(p.evaluate(&at(&row)), without.evaluate(&at(&row)), "{:?}\n{:?}", p, without);
        }
    }

    #[test]
    fn a_question_comes_back_from_its_bytes(filter in predicate(), conditions in vec(predicate(), 1..4)) {
        let figures = conditions.into_iter().map(|c| Figure { measure: Measure::Rows, condition: Some(c) }).collect();
        let keys = vec![column("t"), Scalar::DateTrunc(Grain::Year, Box::new(column("d")))];
        let draft = Draft { rows: Rows::of("trial", Some(filter)), keys, figures };
        if let Ok(question) = Question::derive(draft, &|_| Some(contract())) {
            let bytes = question.encode();
            // A refusal is allowed only for nesting beyond the limit.
            if let Ok(again) = Question::decode(&bytes, LIMITS, &|_| Some(contract())) {
                prop_assert_eq!(again.draft(), question.draft());
                prop_assert_eq!(again.encode(), bytes);
            }
        }
    }

    #[test]
    fn possible_masks_are_those_that_some_row_has(filter in predicate(), conditions in vec(predicate(), 1..4)) {
        let figures: Vec<Figure> =
            conditions.into_iter().map(|c| Figure { measure: Measure::Rows, condition: Some(c) }).collect();
        let draft = Draft { rows: Rows::of("trial", Some(filter)), keys: vec![column("t")], figures };
        let Ok(question) = Question::derive(draft, &|_| Some(contract())) else { return Ok(()) };
        let possible = question.possible().expect("enumerable");
        for row in rows() {
            if question.filter().is_some_and(|f| f.evaluate(&at(&row)) != Some(true)) {
                continue;
            }
            let mask = question.conditions().iter().enumerate().fold(0_u16, |mask, (bit, condition)| {
                mask | u16::from(condition.evaluate(&at(&row)) == Some(true)) << bit
            });
            prop_assert!(possible.masks(&row[..1]).is_some_and(|masks| masks.contains(&mask)), "{:?} {}", row, mask);
        }
    }
}

#[test]
fn the_rows_cover_every_value() {
    let rows = rows();
    assert_eq!(rows.len(), 4 * 5 * 5 * 3);
    assert_eq!(batch(&rows).column(0).null_count(), rows.len() / 4);
}
