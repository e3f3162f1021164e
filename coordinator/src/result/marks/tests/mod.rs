//! Random questions over cells of which some are withheld, incomplete or estimated, beside the same questions over
//! complete cells: every value is the same, or NULL, or marked.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::print_stdout
)]

mod questions;

use std::collections::HashMap;
use std::fmt::Write;

use arrow::array::{Float64Array, Int64Array, StringArray};
use arrow::datatypes::Schema;
use arrow::util::display::array_value_to_string;
use datafusion::common::DFSchema;
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use loda_answer::reason::Marks;

use self::questions::{Asker, Random};
use super::*;
use crate::plan::lineage;
use crate::plan::split::SplitPlan;
use crate::result::post_process::{Finished, finish};

/// How many questions a run asks, unless `LODA_MARKED_PLANS` says otherwise.
const PLANS: u64 = 10_000;

/// Steps of one question.
const STEPS: usize = 10;

/// One table: cells of two keys, three figures.
struct Table {
    name: &'static str,
    whole: RecordBatch,
    seen: RecordBatch,
}

fn table(name: &'static str, random: &mut Random) -> Table {
    let (mut k, mut g) = (Vec::new(), Vec::new());
    let mut figures: [Vec<i64>; 3] = Default::default();
    for key in ["a", "b", "c", "d"] {
        for group in 0..3_i64 {
            if random.percent(85) {
                k.push(key);
                g.push(group);
                figures.iter_mut().for_each(|figure| figure.push(i64::try_from(random.below(40)).unwrap()));
            }
        }
    }
    let schema = |extra: Vec<FieldRef>, missing: bool| {
        let plain = |name: &str, kind: DataType| Arc::new(Field::new(name, kind, true));
        let mut fields = vec![
            plain("k", DataType::Utf8),
            plain("g", DataType::Int64),
            plain("n", DataType::Int64),
            plain("m", DataType::Int64),
            plain("f", DataType::Float64),
        ];
        fields.extend(extra);
        let missing = missing.then(|| (MISSING.to_owned(), "lacks groups of boroughs that did not answer".to_owned()));
        Arc::new(Schema::new(fields).with_metadata(missing.into_iter().collect::<HashMap<_, _>>()))
    };
    let columns = |k: &[&str], g: &[i64], figures: [Vec<Option<i64>>; 3]| -> Vec<ArrayRef> {
        let [n, m, f] = figures;
        let halves = f.into_iter().map(|v| v.map(|v| v as f64 / 2.0));
        vec![
            Arc::new(StringArray::from(k.to_vec())),
            Arc::new(Int64Array::from(g.to_vec())),
            Arc::new(Int64Array::from(n)),
            Arc::new(Int64Array::from(m)),
            Arc::new(halves.collect::<Float64Array>()),
        ]
    };
    let all = figures.clone().map(|figure| figure.into_iter().map(Some).collect());
    let whole = RecordBatch::try_new(schema(Vec::new(), false), columns(&k, &g, all)).unwrap();
    // What is seen of it.
    let loses = random.percent(15);
    let rows: Vec<usize> = (0..k.len()).filter(|_| !loses || random.percent(80)).collect();
    let share = *random.one(&[0, 10, 30, 60]);
    let mut marks: [Vec<Option<&str>>; 3] = Default::default();
    let mut seen: [Vec<Option<i64>>; 3] = Default::default();
    for row in &rows {
        for (place, figure) in figures.iter().enumerate() {
            let value = figure[*row];
            let (value, mark) = match random.below(100) {
                hit if hit < share => (None, Some(*random.one(&["c", "x: no answer"]))),
                hit if hit < share + share / 4 => (Some(value / 2), Some("lacks 1 of 3 boroughs: 1 withheld")),
                hit if hit < share + share / 2 => (Some(value + 1), Some("about 1 estimated")),
                _ => (Some(value), None),
            };
            seen[place].push(value);
            marks[place].push(mark);
        }
    }
    let of = |place: usize| marks[place].iter().any(Option::is_some).then(|| mark_field(place + 2));
    let extra: Vec<FieldRef> = (0..3).filter_map(of).collect();
    let (k, g): (Vec<&str>, Vec<i64>) = rows.iter().map(|row| (k[*row], g[*row])).unzip();
    let mut arrays = columns(&k, &g, seen);
    arrays.extend(
        (0..3)
            .filter(|place| of(*place).is_some())
            .map(|place| -> ArrayRef { Arc::new(StringArray::from(marks[place].clone())) }),
    );
    let seen = RecordBatch::try_new(schema(extra, loses), arrays).unwrap();
    Table { name, whole, seen }
}

pub(crate) fn context() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().sql_parser.default_null_ordering = "nulls_last".to_owned();
    config.options_mut().execution.skip_physical_aggregate_schema_check = true;
    SessionContext::new_with_state(SessionStateBuilder::new().with_config(config).with_default_features().build())
}

/// The plan of SQL over tables of two keys, with leaves in place of these.
pub(crate) async fn leaves(context: &SessionContext, sql: &str, tables: &[&str]) -> Result<LogicalPlan> {
    let plan = context.state().create_logical_plan(sql).await?;
    let plan = context.state().analyzer().execute_and_check(plan, context.state().config_options(), |_, _| {})?;
    let replaced = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
        let part = tables.iter().position(|table| scan.table_name.table() == *table).unwrap();
        let fields = scan.projected_schema.iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?);
        let node = Arc::new(Federated { part, words: "".into(), schema, keys: 2 });
        Ok(Transformed::yes(LogicalPlan::Extension(Extension { node })))
    })?;
    Ok(replaced.data)
}

/// A row's values as texts; `None` is NULL.
fn rows(batches: &[RecordBatch], width: usize) -> Vec<Vec<Option<String>>> {
    let mut all = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cell = |column: &ArrayRef| column.is_valid(row).then(|| array_value_to_string(column, row).unwrap());
            all.push(batch.columns().iter().take(width).map(cell).collect());
        }
    }
    all
}

/// What became of one question.
enum Outcome {
    /// It cannot be run.
    Failed,
    /// A value is another one, and has no mark.
    Broken(String),
    /// Its rows; those with a value that has no mark; those with a mark.
    Held { rows: usize, known: usize, marked: usize },
}

async fn ask(seed: u64) -> Outcome {
    let mut random = Random::of(seed);
    let tables = [table("t", &mut random), table("u", &mut random)];
    let mut asker = Asker { random: &mut random, names: 0 };
    let mut relation = asker.base();
    for _ in 0..STEPS {
        if asker.random.percent(70) {
            let next = asker.step(relation.clone());
            // A long question says nothing that two short ones do not.
            if next.sql.len() < 6_000 && next.columns.len() < 12 {
                relation = next;
            }
        }
    }
    let context = context();
    for table in &tables {
        let of = MemTable::try_new(table.whole.schema(), vec![vec![table.whole.clone()]]).unwrap();
        context.register_table(table.name, Arc::new(of)).unwrap();
    }
    let sql = relation.sql;
    let whole = async { context.sql(&sql).await?.collect().await };
    let Ok(whole) = whole.await else { return Outcome::Failed };
    let Ok(plan) = leaves(&context, &sql, &tables.each_ref().map(|table| table.name)).await else {
        return Outcome::Failed;
    };
    let rests = lineage::rests_on_figures(&plan);
    let split = SplitPlan { plan, parts: Vec::new(), rests, explain: false, notes: Vec::new() };
    let parts = tables.iter().enumerate().map(|(part, table)| (part, table.seen.clone())).collect();
    let finished = finish(context.state(), &split, parts).await;
    let Finished { schema, batches, .. } = match finished {
        Ok(finished) => finished,
        // A value that is missing may be what a step cannot do without, and the other way round.
        Err(fault) => {
            let fault = format!("{fault:#}");
            // The last one is the engine's: it plans a sorted union of constants that it then refuses itself.
            let own =
                ["Divide by zero", "more than one row", "verflow", "cannot be combined in this way", "SanityCheckPlan"];
            let expected = own.iter().any(|own| fault.contains(own));
            return if expected {
                Outcome::Failed
            } else {
                Outcome::Broken(format!("question {seed}: {fault}\n{sql}\n"))
            };
        }
    };
    let width = schema.fields().len() - 1;
    let whole = rows(&whole, width);
    let seen = rows(&batches, width + 1);
    let all = seen.len();
    let (mut known, mut marked) = (0, 0);
    for mut row in seen {
        let reason = row.pop().unwrap();
        let marks = Marks::read(reason.as_deref());
        marked += usize::from(reason.is_some());
        let is_known = |field: &FieldRef| {
            let protected = loda_answer::is_protected(field);
            marks.row.is_none() && marks.of(field.name(), protected).is_none()
        };
        let is_known: Vec<bool> = schema.fields().iter().take(width).map(is_known).collect();
        if !is_known.contains(&true) {
            continue;
        }
        known += 1;
        // NULL without a mark is the true value too: a step above could make another one of it.
        let fits = |truth: &Vec<Option<String>>| {
            row.iter().zip(truth).zip(&is_known).all(|((cell, truth), known)| !known || same(cell, truth))
        };
        if !whole.iter().any(fits) {
            let mut told = String::new();
            writeln!(told, "question {seed}: {sql}\nthe row {row:?} with the reason {reason:?} is none of").unwrap();
            whole.iter().for_each(|row| writeln!(told, "  {row:?}").unwrap());
            return Outcome::Broken(told);
        }
    }
    Outcome::Held { rows: all, known, marked }
}

fn same(a: &Option<String>, b: &Option<String>) -> bool {
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<f64>().ok());
    match (number(a), number(b)) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(1.0),
        _ => a == b,
    }
}

fn outcomes(seeds: impl Iterator<Item = u64>) -> Vec<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    seeds.map(|seed| runtime.block_on(ask(seed))).collect()
}

/// Conditions on decimals of different precisions, which the engine cannot estimate.
#[test]
fn what_had_no_answer_once_has_one() {
    let all = outcomes([1_009_908].into_iter());
    assert!(all.iter().all(|outcome| matches!(outcome, Outcome::Held { .. })), "it has none again");
}

#[test]
fn every_value_is_true_or_null_or_marked() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (first, plans) = (number("LODA_MARKED_FIRST").unwrap_or(0), number("LODA_MARKED_PLANS").unwrap_or(PLANS));
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let (mut all, mut broken) = ([0; 4], Vec::new());
    std::thread::scope(|scope| {
        let own = |thread: u64| (first..first + plans).filter(move |seed| seed % threads == thread);
        let asking: Vec<_> = (0..threads).map(|thread| scope.spawn(move || outcomes(own(thread)))).collect();
        for outcome in asking.into_iter().flat_map(|thread| thread.join().unwrap()) {
            match outcome {
                Outcome::Failed => {}
                Outcome::Broken(told) => broken.push(told),
                Outcome::Held { rows, known, marked } => {
                    all[0] += 1;
                    all.iter_mut().skip(1).zip([rows, known, marked]).for_each(|(all, of)| *all += of);
                }
            }
        }
    });
    let [held, rows, known, marked] = all;
    println!("{plans} questions: {held} run, {rows} rows, {known} with a value that has no mark, {marked} with a mark");
    broken.sort_by_key(String::len);
    let first: String = broken.iter().take(3).flat_map(|told| [told.as_str(), "\n"]).collect();
    assert!(broken.is_empty(), "{} questions give wrong values:\n{first}", broken.len());
    assert!(held * 10 > usize::try_from(plans).unwrap() * 7, "too many questions cannot be run");
    // Marking everything would hold as well.
    assert!(known * 3 > rows && marked * 10 > rows, "{known} and {marked} of {rows}");
}
