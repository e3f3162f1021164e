//! The steps after the merge: HAVING, ORDER BY, LIMIT, ratios, windows and joins, on protected values only.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::TryStreamExt;
use loda_answer::{PROTECTED, REASON};
use loda_question::{Refusal, Rule};

use crate::plan::federated_node::{Merged, NOTE};
use crate::plan::split::SplitPlan;

/// The most bytes of a result.
pub(crate) const MAX_BYTES: usize = 64 << 20;

/// The most rows of a result.
const MAX_ROWS: usize = 2_000_000;

/// The most pairs of rows that joins without equal columns may make.
const PAIRS: u64 = 50_000_000;

/// The assumed rows of a source that does not give its row count: the catalogue's own tables.
const UNKNOWN: u64 = 1_000;

/// Runs the steps after the merge, and folds the notes into one `reason` column, the last.
///
/// # Errors
/// A fault in the asker's own expressions (a division by zero, a cast), or a limit.
pub(crate) async fn finish(
    state: SessionState,
    split: &SplitPlan,
    parts: BTreeMap<usize, RecordBatch>,
) -> anyhow::Result<(SchemaRef, Vec<RecordBatch>)> {
    let state = SessionStateBuilder::new_from_existing(state).with_query_planner(Arc::new(Merged(parts))).build();
    let plan = state.optimize(&split.plan)?;
    let physical = state.query_planner().create_physical_plan(&plan, &state).await?;
    crossed(physical.as_ref())?;
    let schema = result_schema(&split.plan, &split.rests);
    let (mut rows, mut bytes, mut results) = (0_usize, 0_usize, Vec::new());
    // The limits apply while batches arrive, before a result that is too large is complete.
    let mut batches = execute_stream(physical, state.task_ctx())?;
    while let Some(batch) = batches.try_next().await? {
        let batch = result_batch(&batch, &schema, &split.withholds)?;
        let shown = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size());
        rows = rows.saturating_add(batch.num_rows());
        bytes = bytes.saturating_add(shown.sum::<Result<usize, _>>()?);
        anyhow::ensure!(rows <= MAX_ROWS, "the result has more than {MAX_ROWS} rows");
        anyhow::ensure!(bytes <= MAX_BYTES, "the result has more than {MAX_BYTES} bytes");
        results.push(batch);
    }
    Ok((schema, results))
}

/// Refuses joins that would pair too many rows. The number is known before they run.
///
/// # Errors
/// Rule `grid-too-large`, as an external error.
pub(crate) fn crossed(plan: &dyn ExecutionPlan) -> datafusion::common::Result<()> {
    let (_, pairs) = pairs(plan)?;
    if pairs > PAIRS {
        let message = format!("rows are put side by side {pairs} times; the limit is {PAIRS}");
        let refusal = Refusal::new(Rule::Grid, message, "Join on equal columns, or join less");
        return Err(DataFusionError::External(Box::new(refusal)));
    }
    Ok(())
}

/// The most rows of a part of a plan, if only joins without equal columns multiply them. Also the largest such number
/// in the parts below it.
fn pairs(plan: &dyn ExecutionPlan) -> datafusion::common::Result<(u64, u64)> {
    let children = plan.children();
    if children.is_empty() {
        let rows = StatisticsContext::new().compute(plan, &StatisticsArgs::new())?.num_rows;
        let rows = rows.get_value().map_or(UNKNOWN, |rows| (*rows as u64).max(1));
        return Ok((rows, rows));
    }
    let of: Vec<(u64, u64)> = children.into_iter().map(|child| pairs(child.as_ref())).collect::<Result<_, _>>()?;
    let rows = of.iter().map(|(rows, _)| *rows);
    let rows = match plan.name() {
        "CrossJoinExec" | "NestedLoopJoinExec" => rows.fold(1, u64::saturating_mul),
        _ if is_one_row(plan) => 1,
        _ => rows.fold(0, u64::saturating_add),
    };
    Ok((rows, of.iter().map(|(_, most)| *most).fold(rows, u64::max)))
}

fn is_one_row(plan: &dyn ExecutionPlan) -> bool {
    let plan: &dyn Any = plan;
    plan.downcast_ref::<AggregateExec>().is_some_and(|aggregate| aggregate.group_expr().is_empty())
}

/// The columns of an explanation.
pub(crate) fn explained_schema() -> SchemaRef {
    let field = |name, kind| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        field("fragment", DataType::Int64),
        field("item", DataType::Utf8),
        field("explanation", DataType::Utf8),
        field(REASON, DataType::Utf8),
    ]))
}

/// The columns of a question's answer, before the question runs.
pub(crate) fn planned_schema(split: &SplitPlan) -> SchemaRef {
    if split.explain { explained_schema() } else { result_schema(&split.plan, &split.rests) }
}

fn result_schema(plan: &LogicalPlan, protected: &[bool]) -> SchemaRef {
    let columns = plan.schema().fields().iter().zip(protected).filter(|(f, _)| !f.name().starts_with(NOTE));
    let mut fields: Vec<Field> = columns
        .map(|(field, protected)| {
            let plain = Field::new(field.name(), field.data_type().clone(), true);
            if *protected {
                plain.with_metadata(HashMap::from([(PROTECTED.to_owned(), "1".to_owned())]))
            } else {
                plain
            }
        })
        .collect();
    fields.push(Field::new(REASON, DataType::Utf8, true));
    Arc::new(Schema::new(fields))
}

fn result_batch(batch: &RecordBatch, schema: &SchemaRef, withholds: &[bool]) -> anyhow::Result<RecordBatch> {
    let named = batch.schema();
    let (notes, values): (Vec<_>, Vec<_>) =
        named.fields().iter().zip(batch.columns()).partition(|(f, _)| f.name().starts_with(NOTE));
    let notes: Vec<&StringArray> = notes
        .iter()
        .map(|(_, n)| n.as_string_opt::<i32>().context("a note is not text"))
        .collect::<anyhow::Result<_>>()?;
    // If rows were combined, the notes are gone. A figure is then missing only because it is withheld.
    let combined = notes.is_empty();
    let missing = |row: usize| batch.columns().iter().zip(withholds).any(|(c, withholds)| *withholds && c.is_null(row));
    let reasons = (0..batch.num_rows()).map(|row| {
        if combined && missing(row) {
            return Some("c".to_owned());
        }
        let mut said: Vec<&str> = notes.iter().filter(|n| n.is_valid(row)).map(|n| n.value(row)).collect();
        // A missing borough comes first: it says more than a withheld value.
        said.sort_by_key(|s| (!s.starts_with('x'), *s));
        said.dedup();
        (!said.is_empty()).then(|| said.join("; "))
    });
    let reasons: ArrayRef = Arc::new(reasons.collect::<StringArray>());
    let columns =
        values.into_iter().zip(schema.fields()).map(|((_, c), f)| Ok(arrow::compute::cast(c, f.data_type())?));
    let mut columns = columns.collect::<anyhow::Result<Vec<ArrayRef>>>()?;
    columns.push(reasons);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
