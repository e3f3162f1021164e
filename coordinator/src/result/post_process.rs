//! The steps after the merge: HAVING, ORDER BY, LIMIT, ratios, windows and joins, on protected values only.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use loda_answer::{PROTECTED, reason};

use crate::plan::federated_node::Merged;
use crate::plan::split::SplitPlan;
use crate::result::figure_errors::StandardError;
use crate::result::marks::{Marked, Marker, Value, text_at, words_of_row};
use crate::result::row_pairs::crossed;
use crate::result::standard_errors::{self, Cells};

/// The most bytes of a result.
pub(crate) const MAX_BYTES: usize = 64 << 20;

/// The most rows of a result.
const MAX_ROWS: usize = 2_000_000;

/// The note on an answer of too many values.
const UNTOLD: &str = "How far off the figures are that are made of released ones is not told: the answer is too large";

/// The rows of an answer, and the notes on rows that are left out.
pub(crate) struct Finished {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) notes: Vec<String>,
    /// The errors of columns that are made of released figures.
    pub(crate) errors: BTreeMap<usize, StandardError>,
}

/// Runs the steps after the merge, and puts the marks of each row into the last column, `reason`.
///
/// # Errors
/// A fault in the asker's own expressions (a division by zero, a cast), or a limit.
pub(crate) async fn finish(
    state: SessionState,
    split: &SplitPlan,
    parts: BTreeMap<usize, RecordBatch>,
) -> anyhow::Result<Finished> {
    let (mut merged, mut known) = (BTreeMap::new(), BTreeMap::new());
    for (number, batch) in parts {
        let mut cells = Cells::of(&batch)?;
        merged.insert(number, cells.cells.schema());
        cells.cells = plain(&cells.cells)?;
        known.insert(number, cells);
    }
    let parts = Merged(known.iter().map(|(number, part)| (*number, part.cells.clone())).collect());
    let state = SessionStateBuilder::new_from_existing(state).with_query_planner(Arc::new(parts)).build();
    let plan = state.optimize(&split.plan)?;
    let (marked, mut notes) = Marker::mark(state.clone(), merged, &plan).await?;
    let physical = state.query_planner().create_physical_plan(&marked.plan, &state).await?;
    crossed(physical.as_ref())?;
    let schema = result_schema(&split.plan, &split.rests);
    let (mut rows, mut bytes, mut batches) = (0_usize, 0_usize, Vec::new());
    // The limits apply while batches arrive, before a result that is too large is complete.
    let mut arriving = execute_stream(physical, state.task_ctx())?;
    while let Some(batch) = arriving.try_next().await? {
        let batch = result_batch(&batch, &schema, &marked, &split.rests)?;
        let shown = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size());
        rows = rows.saturating_add(batch.num_rows());
        bytes = bytes.saturating_add(shown.sum::<Result<usize, _>>()?);
        anyhow::ensure!(rows <= MAX_ROWS, "the result has more than {MAX_ROWS} rows");
        anyhow::ensure!(bytes <= MAX_BYTES, "the result has more than {MAX_BYTES} bytes");
        batches.push(batch);
    }
    let errors = standard_errors::of_made(&state, &plan, split, &known, &batches).await?;
    if errors.is_none() {
        notes.push(UNTOLD.to_owned());
    }
    Ok(Finished { schema, batches, notes, errors: errors.unwrap_or_default() })
}

/// Merged cells without the metadata of their schema: the engine compares them with those of the plan.
fn plain(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let schema = Schema::new(batch.schema_ref().fields().clone());
    Ok(RecordBatch::try_new(Arc::new(schema), batch.columns().to_vec())?)
}

/// The columns of an explanation.
pub(crate) fn explained_schema() -> SchemaRef {
    let field = |name, kind| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        field("fragment", DataType::Int64),
        field("item", DataType::Utf8),
        field("explanation", DataType::Utf8),
        reason::field(["fragment"]),
    ]))
}

/// The columns of a question's answer, before the question runs.
pub(crate) fn planned_schema(split: &SplitPlan) -> SchemaRef {
    if split.explain { explained_schema() } else { result_schema(&split.plan, &split.rests) }
}

fn result_schema(plan: &LogicalPlan, protected: &[bool]) -> SchemaRef {
    let columns = plan.schema().fields().iter().zip(protected);
    let mut fields: Vec<Field> = columns
        .map(|(field, protected)| {
            // Texts have one type: not all clients read views.
            let kind = match field.data_type() {
                DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
                other => other.clone(),
            };
            let plain = Field::new(field.name(), kind, true);
            if *protected {
                plain.with_metadata(HashMap::from([(PROTECTED.to_owned(), "1".to_owned())]))
            } else {
                plain
            }
        })
        .collect();
    fields.push(reason::field(fields.iter().map(|field| field.name().as_str())));
    Arc::new(Schema::new(fields))
}

fn result_batch(
    batch: &RecordBatch,
    schema: &SchemaRef,
    marked: &Marked,
    rests: &[bool],
) -> anyhow::Result<RecordBatch> {
    let marks = |column: &Option<Column>| column.as_ref().and_then(|column| batch.column_by_name(&column.name));
    let values = batch.columns().iter().zip(schema.fields()).take(marked.values.len());
    let figures: Vec<_> = values
        .clone()
        .zip(marked.values.iter().zip(rests))
        .filter(|(_, (mark, rests))| mark.is_some() || **rests)
        .map(|((value, field), (mark, rests))| (field.name().as_str(), *rests, value, marks(mark)))
        .collect();
    let of_rows = marks(&marked.rows);
    let reasons = (0..batch.num_rows()).map(|row| {
        let of_row = of_rows.and_then(|marks| text_at(marks, row));
        let values = figures.iter().map(|(name, protected, value, marks)| Value {
            name,
            protected: *protected,
            is_null: value.is_null(row),
            mark: marks.and_then(|marks| text_at(marks, row)),
        });
        words_of_row(values.collect(), of_row)
    });
    let reasons: ArrayRef = Arc::new(reasons.collect::<StringArray>());
    let columns = values.map(|(value, field)| Ok(arrow::compute::cast(value, field.data_type())?));
    let mut columns = columns.collect::<anyhow::Result<Vec<ArrayRef>>>()?;
    columns.push(reasons);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
