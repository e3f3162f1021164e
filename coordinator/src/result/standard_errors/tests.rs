//! The stated errors of what is made of released figures, beside how far it is really off.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_precision_loss, clippy::print_stdout)]

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use datafusion::datasource::MemTable;

use super::*;
use crate::plan::federated_node::NOTE;
use crate::plan::lineage;
use crate::result::marks::tests::{context, leaves};
use crate::result::post_process::finish;

/// How many tables are simulated, unless `LODA_ERROR_TABLES` says otherwise.
const TABLES: usize = 150;

/// The standard errors of the figures n, m and f.
const ERRORS: [f64; 3] = [4.0, 6.0, 3.0];

/// How the errors of n and m go together.
const TOGETHER: f64 = 0.6;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

fn truth() -> [Vec<f64>; 3] {
    let of = |base: f64| (0..12).map(|row| base + f64::from(row * 7 % 5) * 3.0).collect();
    [of(120.0), of(200.0), of(80.0)]
}

/// A table of four and three keys. `dice`: its figures are off.
fn table(dice: Option<&mut Normal>) -> RecordBatch {
    let mut figures = truth();
    if let Some(dice) = dice {
        let whole = dice.draws(12);
        let own = dice.draws(12);
        let both =
            own.iter().zip(&whole).map(|(own, whole)| TOGETHER * whole + (1.0_f64 - TOGETHER * TOGETHER).sqrt() * own);
        for (draws, (figure, error)) in
            [both.collect(), whole.clone(), dice.draws(12)].iter().zip(figures.iter_mut().zip(ERRORS))
        {
            figure.iter_mut().zip(draws).for_each(|(value, draw): (&mut f64, &f64)| *value += error * draw);
        }
    }
    let whole = |figure: &[f64]| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(figure.iter().map(|v| v.round() as i64)))
    };
    let error = |error: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![error; 12])) };
    let columns: Vec<(String, ArrayRef)> = vec![
        ("k".into(), Arc::new(StringArray::from_iter_values((0..12).map(|row| KEYS[row / 3])))),
        ("g".into(), Arc::new(Int64Array::from_iter_values((0..12).map(|row| row % 3)))),
        ("n".into(), whole(&figures[0])),
        ("m".into(), whole(&figures[1])),
        ("f".into(), Arc::new(Float64Array::from(figures[2].clone()))),
        (format!("{NOTE}e2f0"), error(ERRORS[0])),
        (format!("{NOTE}e3f1"), error(ERRORS[1])),
        (format!("{NOTE}e4"), error(ERRORS[2])),
        (format!("{NOTE}w0f1"), error(TOGETHER)),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, column)| column).collect())
        .unwrap()
}

/// The answer to a question over a table: its columns as numbers, and their errors.
async fn answer(sql: &str, table: &RecordBatch) -> (Vec<Vec<f64>>, BTreeMap<usize, StandardError>) {
    let context = context();
    let plain = Cells::of(table).unwrap().cells;
    let of = MemTable::try_new(plain.schema(), vec![vec![plain]]).unwrap();
    context.register_table("t", Arc::new(of)).unwrap();
    let plan = leaves(&context, sql, &["t"]).await.unwrap();
    let rests = lineage::rests_on_figures(&plan);
    let width = rests.len();
    let split = SplitPlan { plan, parts: Vec::new(), rests, explain: false, notes: Vec::new() };
    let finished = finish(context.state(), &split, BTreeMap::from([(0, table.clone())])).await.unwrap();
    let mut columns = vec![Vec::new(); width];
    for batch in &finished.batches {
        for (column, found) in batch.columns().iter().zip(&mut columns) {
            let numbers = cast(column, &DataType::Float64).unwrap();
            found.extend(numbers.as_primitive::<Float64Type>().iter().map(Option::unwrap_or_default));
        }
    }
    (columns, finished.errors)
}

/// One question for each number of rows; each column is a kind of figure.
const QUESTIONS: [&str; 3] = [
    "SELECT k, g, n - m AS difference, 1.0 * n / m AS ratio, 1.0 * n / SUM(n) OVER () AS share, \
     SUM(n) OVER (ORDER BY k, g) AS running, n - LAG(n) OVER (ORDER BY k, g) AS change, n * 1000.0 / 9000 AS rate, \
     GREATEST(n, f + 30) AS larger, CASE WHEN g = 1 THEN f * 2 ELSE f END AS weighted, AVG(f) OVER (PARTITION BY k) AS around \
     FROM t ORDER BY k, g",
    "SELECT k, SUM(n) AS total, AVG(f) AS mean, 1.0 * SUM(n) / SUM(m) AS ratio, MAX(f) AS most FROM t GROUP BY k ORDER BY k",
    "SELECT SUM(n) AS total, SUM(n) - SUM(m) AS difference, AVG(n) AS mean FROM t",
];

/// For each kind of figure: the root of the mean square of how far it is off, over what is stated.
#[test]
fn what_is_made_of_figures_is_off_as_much_as_is_stated() {
    let tables = std::env::var("LODA_ERROR_TABLES").map_or(TABLES, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let exact = table(None);
    let mut dice = Normal::of(7);
    let within = 0.05 + 1.58 / (tables as f64).sqrt();
    for sql in QUESTIONS {
        let (truth, _) = runtime.block_on(answer(sql, &exact));
        let mut off: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        let mut stated: BTreeMap<usize, f64> = BTreeMap::new();
        for _ in 0..tables {
            let (found, errors) = runtime.block_on(answer(sql, &table(Some(&mut dice))));
            for (place, error) in errors {
                *stated.entry(place).or_default() += error.mean / tables as f64;
                let squares = off.entry(place).or_insert_with(|| vec![0.0; truth[place].len()]);
                for (square, (found, truth)) in squares.iter_mut().zip(found[place].iter().zip(&truth[place])) {
                    *square += (found - truth).powi(2) / tables as f64;
                }
            }
        }
        let plan = truth.len();
        let keys = sql.matches("SELECT k").count() + sql.matches("k, g, n").count();
        assert_eq!(stated.len(), plan - keys, "each figure states its error: {sql}");
        for (place, stated) in stated {
            let squares = &off[&place];
            // The first row of a change has none.
            let real: Vec<f64> = squares.iter().map(|square| square.sqrt()).filter(|error| *error > 0.0).collect();
            let real = real.iter().sum::<f64>() / real.len() as f64;
            println!("column {place}: off by {real:.4}, {:.3} of what is stated", real / stated);
            assert!((real / stated - 1.0).abs() < within, "column {place} of {sql}: off by {real}, and says {stated}");
        }
    }
}

#[test]
fn exact_figures_and_released_ones_need_no_rounds() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let of = |sql: &str| runtime.block_on(answer(sql, &table(None))).1;
    // Shown as it was released: the merge knows its error.
    assert!(of("SELECT k, g, n FROM t ORDER BY n").is_empty());
    // What does not depend on a figure, and what is the same whatever the figures are.
    assert!(of("SELECT k, COUNT(*) AS cells, SUM(n - n) AS nothing FROM t GROUP BY k").is_empty());
    // Rows that nothing names keep their places.
    assert_eq!(of("SELECT n + m AS both FROM t").len(), 1);
    assert_eq!(of("SELECT MAX(n) - MIN(n) AS wide FROM t").len(), 1);
    let plain = Schema::new(vec![Field::new("k", DataType::Utf8, true)]).with_metadata(HashMap::new());
    let none = RecordBatch::new_empty(Arc::new(plain));
    assert!(Cells::of(&none).unwrap().is_exact());
}
