//! With protection on: what a node releases is the method applied to the pooled cell, and a London figure is
//! the sum of what the boroughs released.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use datafusion::prelude::ParquetReadOptions;
use loda_contract::{Protection, Role};
use loda_disclosure::{default_table, pcv};
use loda_proto::v1;
use loda_proto::v1::told::Word;
use loda_question::plan::{predicate_expr, scalar_expr};
use loda_question::{Measure, Question};

use crate::pooled::{engine, holdings, text};
use crate::scenarios::{ask, rows};
use crate::support::{self, Federation};
use crate::wire::{decode, fragments, held};

/// Asks one node a fragment as the coordinator would, and reads what it releases.
pub async fn released(federation: &Federation, gss: &str, fragment: &[u8]) -> RecordBatch {
    let mut node = federation.node_client(gss);
    let request = v1::SubmitRequest {
        query_id: uuid::Uuid::new_v4().to_string(),
        analyst: "spiffe://demo.london/analyst/demo".to_owned(),
        purpose: "demo".to_owned(),
        fragment: fragment.to_vec(),
        targets: vec![gss.to_owned()],
        deadline_ms: 30_000,
        dry_run: false,
        authority: None,
    };
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
    let mut reader = arrow::ipc::reader::StreamReader::try_new(std::io::Cursor::new(bytes), None).unwrap();
    reader.next().unwrap().unwrap()
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
        // The engine's simplifier does not keep NULLs in merged IN lists: what is exact is asked without it.
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
                if protection == Protection::CellKey {
                    perturbed(federation, gss, &question, &exact, &out, (seen, withheld), &line).await;
                    continue;
                }
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
                            // A zero that is released is one that logic alone gives: a condition that the keys rule out.
                            let by_logic = *said == 0 && question.possible().is_some();
                            assert!(*said >= 10 || by_logic, "{line}: {gss} {cell:?}: {said}");
                        }
                    }
                }
                assert!(out.keys().all(|cell| exact.contains_key(cell)), "{line}: a cell that has no rows");
            }
        }
        println!("(values compared, of them withheld) by method: {compared:?}");
        for method in [Protection::Public, Protection::Threshold, Protection::CellKey] {
            assert!(compared.get(&method).is_some_and(|(seen, _)| *seen > 50), "{method} was not tried");
        }
    });
}

/// Joins, derivations by unit, moments and quantiles too: counts are within the table's largest noise of the pooled ones
/// and never under ten, sums within their bounds' noise, published figures exact, and no cell comes from nowhere.
#[test]
fn joined_and_per_unit_cells_keep_the_method() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let holdings = holdings(federation).await;
        let context = engine(false);
        let noise = i128::from(default_table().unwrap().summary().max_noise);
        let (mut counts, mut sums, mut published) = (0, 0, 0);
        let mut seen = std::collections::BTreeSet::new();
        for (line, bytes, boroughs) in fragments(federation, "synthetic.slt").await {
            if !seen.insert(bytes.clone()) {
                continue;
            }
            let question = decode(&bytes);
            let scope = question.scope();
            let keys = question.keys().len();
            for gss in boroughs.iter().skip(1).step_by(17) {
                let out = cells(&[released(federation, gss, &bytes).await], keys);
                let held = held(&holdings, gss, &question);
                let plan = loda_question::plan::plan(&question, &held).unwrap();
                let exact = cells(&context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap(), keys);
                for (cell, figures) in &out {
                    let pooled = exact.get(cell).unwrap_or_else(|| panic!("{line}: {gss} {cell:?} has no rows"));
                    for ((said, exact), of) in figures.iter().zip(pooled).zip(question.figures()) {
                        let Some(said) = said else { continue };
                        let here = || format!("{line}: {gss} {cell:?} {:?}: {said} for {exact:?}", of.measure);
                        let exact = exact.unwrap_or(0);
                        let rows = scope.counted().map_or(1, |(_, rows)| i128::from(rows));
                        if scope.protection == Protection::Public {
                            published += 1;
                            assert_eq!(*said, exact, "{}", here());
                            continue;
                        }
                        match &of.measure {
                            Measure::Units(_) => {
                                counts += 1;
                                assert!(*said >= 10 && (said - exact).abs() <= noise, "{}", here());
                            }
                            Measure::Rows if rows == 1 => {
                                counts += 1;
                                assert!(*said >= 10 && (said - exact).abs() <= noise, "{}", here());
                            }
                            Measure::Sum(name) => {
                                let Some(Role::Measure { lower, upper, clamp: None, .. }) =
                                    scope.column(name).map(|c| c.role.clone())
                                else {
                                    continue;
                                };
                                let rows = scope.counted_for(name).map_or(1, |(_, rows)| i128::from(rows));
                                sums += 1;
                                let width = (upper - lower).max(upper.abs());
                                assert!((said - exact).abs() <= (2 * noise + 1) * width * rows, "{}", here());
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        println!(
            "{counts} counts within {noise} of the pooled ones, {sums} sums within their noise, {published} published"
        );
        assert!(counts > 500 && sums > 10 && published > 50);
    });
}

/// ONS's method from the snapshot's own record keys, by SQL: n and Σ keys, then the table, then the threshold.
async fn perturbed(
    federation: &Federation,
    gss: &str,
    question: &Question,
    exact: &Cells,
    out: &Cells,
    (seen, withheld): (&mut usize, &mut usize),
    line: &str,
) {
    let perturbation = default_table().unwrap();
    let position = federation.layout.boroughs.iter().position(|b| b.gss == gss).unwrap();
    let files = federation.nodes[position].snapshot_files();
    let file = &files.iter().find(|(name, _)| *name == question.scope().datasets[0].dataset).unwrap().1;
    let context = engine(false);
    let unit = &question.scope().units[0].unit.domain;
    for (figure, counted) in question.figures().iter().enumerate() {
        let rows = context.read_parquet(file.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
        let rows = match question.filter() {
            Some(filter) => rows.filter(predicate_expr(filter)).unwrap(),
            None => rows,
        };
        let condition = question.draft().figures[figure].condition.as_ref();
        let rows = match condition {
            Some(condition) => rows.filter(predicate_expr(condition)).unwrap(),
            None => rows,
        };
        assert_eq!(counted.measure, Measure::Rows);
        let mut keys: Vec<_> =
            question.keys().iter().enumerate().map(|(i, k)| scalar_expr(&k.scalar).alias(format!("k{i}"))).collect();
        keys.push(datafusion::prelude::col(format!("__key_{unit}")));
        let batches = rows.select(keys).unwrap().collect().await.unwrap();
        let mut sums: BTreeMap<Vec<String>, (u64, u64)> = BTreeMap::new();
        for mut row in text(&batches, 99) {
            let key: u64 = row.pop().unwrap().parse().unwrap();
            let (n, sum) = sums.entry(row).or_default();
            *n += 1;
            *sum += key;
        }
        for cell in exact.keys() {
            let (n, sum) = sums.get(cell).copied().unwrap_or_default();
            let pvalue = perturbation.lookup(n, u32::try_from(sum % 4096).unwrap());
            let expected = i128::from(n) + i128::from(pvalue);
            let expected = (expected >= 10).then_some(expected);
            let said = out.get(cell).and_then(|figures| figures[figure]);
            assert_eq!(said, expected, "{line}: {gss} {cell:?} n {n} pcv {}", pcv(n));
            *seen += 1;
            *withheld += usize::from(said.is_none());
        }
    }
}

#[test]
fn a_london_figure_is_the_sum_of_the_released_borough_cells_and_says_what_it_lacks() {
    support::run(async {
        let Some(federation) = support::real().await else { return };
        for sql in [
            "SELECT rating, COUNT(*) AS n FROM food_businesses GROUP BY rating",
            "SELECT COUNT(*) AS n FROM dwelling_fires WHERE hmo_license = 'HMO - unlicensed'",
            "SELECT hmo_license, year, COUNT(*) AS n FROM dwelling_fires GROUP BY hmo_license, year",
            "SELECT outcome, COUNT(*) AS n FROM stop_and_search GROUP BY outcome",
            "SELECT self_ethnicity, gender, COUNT(*) AS n FROM stop_and_search GROUP BY self_ethnicity, gender",
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
