//! Properties over random questions and random records. Federated equals pooled. A set has one answer, however it is
//! derived. Records outside a question change no byte of its answer.
//!
//! `LODA_PROPERTY_CASES` sets the number of cases (default 1,500 for each property), and `LODA_PROPERTY_SEED` the first
//! seed. A failure names the seed of its case.

pub mod asker;
pub mod records;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use loda_contract::{ColumnType, Contract, Value};
use loda_node::{Laboratory, Methods};
use loda_question::{
    Comparison, Draft, Figure, Join, JoinKind, Measure, PerUnit, Predicate, Question, Rows, Scalar, Source,
};

use self::asker::{Asker, dataset};
use self::records::{Pooled, Records, Row, contracts, event, laboratory};
use crate::pooled::{engine, same, text};
use crate::support::{self, Dice};

fn cases() -> u64 {
    std::env::var("LODA_PROPERTY_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_500)
}

fn first_seed() -> u64 {
    std::env::var("LODA_PROPERTY_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// The number of questions for each set of random records.
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
                    // No record at all: SQL gives one row of zeros and NULLs, and the node gives no cell.
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

/// The same records by another derivation, if there is one.
fn derived_otherwise(rows: &Rows, dice: &mut Dice) -> Option<Rows> {
    let mut other = rows.clone();
    let with_people = matches!(&rows.first, Source::Dataset { name, .. } if name == "people") && !rows.joins.is_empty();
    let on = vec![("t0.person_key".to_owned(), "person_key".to_owned())];
    let per_person = |name: &str, filter: Option<Predicate>, values: Vec<Figure>| {
        let per_unit =
            PerUnit { rows: Rows::of(name, filter), unit: "person_key".to_owned(), keys: Vec::new(), values };
        Source::PerUnit(Box::new(per_unit))
    };
    match dice.below(3) {
        0 if with_people => {
            // All people are in the table of people.
            other.joins.push(Join { kind: JoinKind::Semi, source: dataset("people", None), on });
        }
        1 if with_people => {
            // A person is one row of the people table, grouped by person.
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
                // A person with a match has a count of at least one.
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
            let contracts = contracts(false);
            let records = Records::random(&mut dice);
            let state = tempfile::tempdir().unwrap();
            let laboratory = laboratory(state.path(), &contracts, &records);
            for _ in 0..QUESTIONS {
                let mut asker = Asker { dice: &mut dice, contracts: &contracts };
                let draft = asker.draft();
                let Ok(question) = asker.derive(draft.clone()) else { continue };
                let Some(rows) = derived_otherwise(&draft.rows, &mut dice) else { continue };
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
            let contracts = contracts(false);
            let records = Records::random(&mut dice);
            let state = tempfile::tempdir().unwrap();
            let before = laboratory(state.path(), &contracts, &records);
            // Events of people who are in no table.
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
                // Questions that begin with people are about the people in the table.
                if !rows_have(&draft.rows, "people") {
                    continue;
                }
                let Ok(question) = asker.derive(draft) else { continue };
                let a = before.release(&question, &methods).await.unwrap();
                let b = after.release(&question, &methods).await.unwrap();
                assert_eq!(a, b, "seed {seed}: ghosts\n{}", question.sql());
                compared += 1;
            }
            // People outside the condition are replaced, or are elsewhere.
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
                    new[1] = Value::Text(format!("h{}", 900 + dice.below(50)).into());
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

/// Cells of at most four people are withheld for any noise. Other values, and other people, show nowhere.
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
            row[0] = Value::Text(format!("q{n}").into());
            row[1] = Value::Text(format!("h{}", 800 + dice.below(50)).into());
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
