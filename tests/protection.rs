//! With protection on: a node's released cell is the method applied to the pooled cell, and a London figure is the sum
//! of the boroughs' released cells.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use loda_contract::{Protection, Role};
use loda_demo::layout::Layout;
use loda_disclosure::default_table;
use loda_proto::v1;
use loda_proto::v1::node_client::NodeClient;
use loda_proto::v1::told::Word;
use loda_question::Measure;
use loda_question::table::{Functional, RowDomain};
use tonic::transport::Channel;

use crate::pooled::{contract, engine, holdings, text};
use crate::scenarios::{ask, rows};
use crate::support::{self, Federation};
use crate::wire::{decode, fragments, held, tables};

/// Sends one node a fragment as the coordinator would, and reads the released cells.
pub async fn released(federation: &Federation, gss: &str, fragment: &[u8]) -> RecordBatch {
    let bytes = released_by(federation.node_client(gss), &federation.layout, gss, fragment).await;
    let mut reader = arrow::ipc::reader::StreamReader::try_new(std::io::Cursor::new(bytes), None).unwrap();
    reader.next().unwrap().unwrap()
}

/// The bytes that a node sends for a fragment.
pub async fn released_by(mut node: NodeClient<Channel>, layout: &Layout, gss: &str, fragment: &[u8]) -> Vec<u8> {
    let request = v1::SubmitRequest {
        query_id: uuid::Uuid::new_v4().to_string(),
        analyst: "spiffe://demo.london/analyst/demo".to_owned(),
        purpose: "demo".to_owned(),
        fragment: fragment.to_vec(),
        targets: vec![gss.to_owned()],
        deadline_ms: 30_000,
        dry_run: false,
        signed: None,
        would_sign: false,
        log: None,
        question_id: String::new(),
    };
    let request = support::logged(&mut node, layout, request).await;
    let mut words = node.ask(request).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(told) = words.message().await.unwrap() {
        match told.word.unwrap() {
            Word::State(state) => {
                let waits = [v1::State::Queued, v1::State::Running].map(i32::from);
                assert!(waits.contains(&state), "{state}");
            }
            Word::Chunk(chunk) => bytes.extend(chunk.arrow_ipc),
            Word::Refusal(refusal) => panic!("{refusal:?}"),
        }
    }
    bytes
}

type Cells = BTreeMap<Vec<String>, Vec<Option<i128>>>;

fn cells(batches: &[RecordBatch], keys: usize) -> Cells {
    let mut cells = Cells::new();
    for batch in batches {
        for (row, key) in text(std::slice::from_ref(batch), keys).into_iter().enumerate() {
            let figures = batch.columns()[keys..].iter().map(|column| {
                column.is_valid(row).then(|| match column.as_primitive_opt::<Int64Type>() {
                    Some(numbers) => i128::from(numbers.value(row)),
                    None => column.as_primitive::<Decimal128Type>().value(row),
                })
            });
            assert!(cells.insert(key, figures.collect()).is_none());
        }
    }
    cells
}

#[test]
fn every_released_cell_is_the_method_applied_to_the_pooled_cell() {
    support::run(async {
        let Some(federation) = support::real().await else { return };
        let holdings = holdings(federation).await;
        // The engine's simplifier loses NULLs in merged IN lists, so exact figures are computed without it.
        let context = engine(false);
        let mut compared: HashMap<Protection, (usize, usize)> = HashMap::new();
        for (line, bytes, boroughs) in fragments(federation, "real.slt").await {
            let question = decode(&bytes);
            let protection = question.scope().protection;
            let keys = question.keys().len();
            for gss in &boroughs {
                let out = cells(&[released(federation, gss, &bytes).await], keys);
                let held = held(&holdings, gss, &question);
                let plan = loda_question::plan::plan(&question, &held).unwrap();
                let batches = context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
                let exact = cells(&batches, keys);
                let (seen, withheld) = compared.entry(protection).or_default();
                for (cell, figures) in &exact {
                    let empty = vec![None; figures.len()];
                    let said = out.get(cell).unwrap_or(&empty);
                    for (figure, (said, exact)) in said.iter().zip(figures).enumerate() {
                        *seen += 1;
                        match said {
                            Some(_) => assert_eq!(said, exact, "{line}: {gss} {cell:?} figure {figure}"),
                            None if protection == Protection::Public => assert_eq!(*exact, None, "{line}"),
                            None => *withheld += 1,
                        }
                        let counts = question.figures()[figure].measure == Measure::Rows;
                        if protection == Protection::Threshold
                            && counts
                            && let Some(said) = said
                        {
                            // A released zero follows from logic alone: the keys rule out the condition.
                            let by_logic = *said == 0 && question.possible().is_some();
                            assert!(*said >= 10 || by_logic, "{line}: {gss} {cell:?}: {said}");
                        }
                    }
                }
                assert!(out.keys().all(|cell| exact.contains_key(cell)), "{line}: a cell that has no rows");
            }
        }
        println!("(values compared, of them withheld) by method: {compared:?}");
        for method in [Protection::Public, Protection::Threshold] {
            assert!(compared.get(&method).is_some_and(|(seen, _)| *seen > 50), "{method} was not tried");
        }
    });
}

/// All tables of the scenarios. Each released cell is within the noise of the exact cell and has ten or more units, and
/// no node releases the exact cell. Sums are within the noise for their bounds.
#[test]
fn every_cell_of_a_table_about_people_is_perturbed_and_of_ten_units() {
    support::run(async {
        let (protected, exact) = (support::synthetic().await.unwrap(), support::synthetic_unprotected().await.unwrap());
        let noise = i128::from(default_table().unwrap().summary().max_noise);
        let (mut counts, mut moved, mut sums, mut withheld) = (0, 0, 0, 0);
        let tables = tables(protected, "synthetic.slt").await;
        println!("{} tables", tables.len());
        for (table, bytes, boroughs) in &tables {
            let keys = table.columns().len() * 2;
            for gss in boroughs.iter().skip(1).step_by(13) {
                let out = cells(&[released(protected, gss, bytes).await], keys);
                let all = cells(&[released(exact, gss, bytes).await], keys);
                withheld += all.len() - all.keys().filter(|cell| out.contains_key(*cell)).count();
                for (cell, figures) in &out {
                    let pooled =
                        all.get(cell).unwrap_or_else(|| panic!("{}: {gss} {cell:?} has no units", table.words()));
                    for ((said, exact), of) in figures.iter().zip(pooled).zip(table.functionals()) {
                        // Units without a row in a measure's dataset have no sum.
                        let (Some(said), exact) = (*said, exact.unwrap_or(0)) else { continue };
                        let here = || format!("{}: {gss} {cell:?} {of:?}: {said} for {exact}", table.words());
                        match of {
                            Functional::Units(_) => {
                                counts += 1;
                                moved += usize::from(said != exact);
                                assert!(said >= 10 && (said - exact).abs() <= noise, "{}", here());
                            }
                            Functional::Sum(measure) => {
                                let column = contract(&measure.dataset);
                                let column = column.column(measure.column.as_deref().unwrap()).unwrap().clone();
                                let Role::Measure { lower, upper, clamp: None, .. } = column.role else { continue };
                                sums += 1;
                                let rows = match table.domain() {
                                    RowDomain::Units(_) => 1,
                                    RowDomain::Rows(_) => 12,
                                };
                                assert!((said - exact).abs() <= (2 * noise + 1) * (upper - lower) * rows, "{}", here());
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        println!("{counts} counts within {noise}, {moved} of them moved; {sums} sums; {withheld} cells withheld");
        assert!(counts > 500 && moved * 3 > counts && sums > 10 && withheld > 100);
    });
}

#[test]
fn a_london_figure_is_the_sum_of_the_released_borough_cells_and_says_what_it_lacks() {
    support::run(async {
        let Some(federation) = support::real().await else { return };
        for sql in [
            "SELECT rating, COUNT(*) AS n FROM food_businesses GROUP BY rating",
            "SELECT COUNT(*) AS n FROM dwelling_fires WHERE hmo_license = 'HMO - unlicensed'",
            "SELECT hmo_license, year, COUNT(*) AS n FROM dwelling_fires GROUP BY hmo_license, year",
            "SELECT business_type, SUM(hygiene_score) AS n FROM food_businesses GROUP BY business_type",
        ] {
            let prepared = federation.client.prepare(sql, "demo", false).await.unwrap();
            let [fragment] = prepared.fragments.as_slice() else { panic!("{sql}: one fragment for all boroughs") };
            let keys = decode(&fragment.bytes).keys().len();
            let mut sums: BTreeMap<Vec<String>, (i128, u32)> = BTreeMap::new();
            for gss in &fragment.boroughs {
                for (cell, figures) in cells(&[released(federation, gss, &fragment.bytes).await], keys) {
                    if let Some(figure) = figures[0] {
                        let (sum, released) = sums.entry(cell).or_default();
                        *sum += figure;
                        *released += 1;
                    }
                }
            }
            let answer = ask(&federation.client, sql).await.unwrap();
            let reasons = text(&answer.batches, 99);
            for (row, with_reason) in rows(&answer).iter().zip(&reasons) {
                let (cell, figure) = row.split_at(keys);
                let reason = with_reason.last().unwrap();
                let (sum, released) = sums.remove(cell).unwrap_or_default();
                let expected = if released == 0 { "NULL".to_owned() } else { sum.to_string() };
                assert_eq!(figure[0], expected, "{sql} {cell:?}");
                let lacking = 33 - released;
                let says =
                    reason.strip_prefix("lacks ").and_then(|r| r.split(' ').next()).map_or(0, |n| n.parse().unwrap());
                assert_eq!(lacking, says, "{sql} {cell:?}: {reason}");
            }
            assert!(sums.is_empty(), "{sql}: released cells that the answer lacks");
            assert!(answer.statement.parts.iter().all(|p| p.london));
        }
    });
}

#[test]
fn the_same_question_worded_otherwise_gives_the_same_bytes() {
    support::run(async {
        let Some(federation) = support::real().await else { return };
        let wordings = [
            "SELECT outcome, COUNT(*) FROM stop_and_search WHERE gender = 'Male' AND NOT age_range = '10-17' GROUP BY outcome",
            "SELECT x.o, COUNT(1) FROM (SELECT outcome AS o, gender g, age_range AS a FROM stop_and_search) x \
             WHERE (a <> '10-17' AND 'Male' = g) AND (1 = 1 OR g = 'Female') GROUP BY x.o",
            "SELECT outcome, SUM(CASE WHEN TRUE THEN 1 ELSE 0 END) FROM stop_and_search \
             WHERE NOT (gender <> 'Male' OR age_range IN ('10-17')) GROUP BY outcome",
        ];
        let mut bytes = Vec::new();
        for sql in wordings {
            let prepared = federation.client.prepare(sql, "demo", false).await.unwrap();
            bytes.push(prepared.fragments[0].bytes.clone());
        }
        assert_eq!(bytes[0], bytes[1]);
        assert_eq!(bytes[0], bytes[2]);
        let first = released(federation, "E09000022", &bytes[0]).await;
        assert_eq!(first, released(federation, "E09000022", &bytes[0]).await);
    });
}
