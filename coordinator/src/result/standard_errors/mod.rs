//! Standard errors of an answer's columns.
//!
//! A column that shows figures as they were released has their errors. Any other column is made of figures by the steps
//! after the merge: sums over cells, shares of a total, differences, windows. These steps run again and again over
//! figures to which noise of their variance is added. The error of a value is the root of the mean square of how far it
//! moves: the propagation of distributions by a Monte Carlo method (JCGM 101:2008), with normal distributions.
//!
//! Figures are taken to be off independently of each other, except a count and the count that it is divided by. Of these
//! the estimates tell how their errors go together.
//!
//! | module | what it holds |
//! |---|---|
//! | [`noise`] | cells with noise on their figures |
//! | [`moves`] | how far the values of an answer move |

mod moves;
mod noise;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::collect;
use loda_proto::v1;
use tokio::time::Instant;

use self::moves::{FEWEST, Moves};
pub(crate) use self::noise::Cells;
use self::noise::Normal;
use crate::plan::federated_node::Merged;
use crate::plan::lineage::shown_figures;
use crate::plan::split::SplitPlan;
use crate::result::figure_errors::StandardError;
use crate::result::merge::MergedPart;
use crate::result::row_pairs::crossed;

/// The most rounds for one answer.
const ROUNDS: usize = 64;

/// The most values that all rounds together make, and the longest that they take.
const VALUES: usize = 2_000_000;
const PATIENCE: Duration = Duration::from_secs(1);

/// For each column of an answer that shows figures as they were released: its error.
pub(crate) fn of_released(split: &SplitPlan, merged: &[MergedPart]) -> BTreeMap<usize, StandardError> {
    let error = |(part, output): &(usize, usize)| *merged.get(*part)?.errors.get(*output)?;
    let of_column = |place: usize| {
        let errors = shown_figures(&split.plan, place).iter().filter_map(error).reduce(StandardError::or_larger);
        Some((place, errors?))
    };
    (0..split.rests.len()).filter_map(of_column).collect()
}

/// The errors of an answer's columns, as its statement gives them.
pub(crate) fn told(split: &SplitPlan, errors: &BTreeMap<usize, StandardError>) -> Vec<v1::ColumnError> {
    let fields = split.plan.schema().fields();
    let of_column = |(place, error): (&usize, &StandardError)| {
        let column = fields.get(*place)?.name().clone();
        Some(v1::ColumnError { column, standard_error: error.mean, at_most: error.most })
    };
    errors.iter().filter_map(of_column).collect()
}

/// The errors of the columns that the steps after the merge make. `plan`: the steps, without marks; `answer`: what they
/// made of the released figures. `None`: the answer is too large for it.
///
/// # Errors
/// A fault of the engine.
pub(crate) async fn of_made(
    state: &SessionState,
    plan: &LogicalPlan,
    split: &SplitPlan,
    parts: &BTreeMap<usize, Cells>,
    answer: &[RecordBatch],
) -> anyhow::Result<Option<BTreeMap<usize, StandardError>>> {
    let fields = split.plan.schema().fields();
    let is_made = |place: &usize| {
        let rests = split.rests.get(*place).copied().unwrap_or(false);
        let number = fields.get(*place).is_some_and(|field| field.data_type().is_numeric());
        rests && number && shown_figures(&split.plan, *place).is_empty()
    };
    let made: Vec<usize> = (0..split.rests.len()).filter(is_made).collect();
    if made.is_empty() || parts.values().all(Cells::is_exact) {
        return Ok(Some(BTreeMap::new()));
    }
    let rows: usize = answer.iter().map(RecordBatch::num_rows).sum();
    let cells = parts.values().map(|part| part.cells.num_rows().saturating_mul(part.cells.num_columns()));
    let values = cells.fold(rows.saturating_mul(split.rests.len()), usize::saturating_add).max(1);
    let rounds = (VALUES / values).min(ROUNDS);
    if rounds < FEWEST {
        return Ok(None);
    }
    let mut moves = Moves::of(split, made, answer)?;
    let mut dice = Normal::of_figures(parts.values())?;
    let until = Instant::now() + PATIENCE;
    let mut done = 0_usize;
    for _ in 0..rounds {
        if Instant::now() > until {
            break;
        }
        let mut drawn = BTreeMap::new();
        for (number, part) in parts {
            drawn.insert(*number, part.drawn(&mut dice)?);
        }
        let state =
            SessionStateBuilder::new_from_existing(state.clone()).with_query_planner(Arc::new(Merged(drawn))).build();
        // Noise may lead where the asker's expressions fail, as at a division by zero: such a round tells nothing.
        let Ok(physical) = state.query_planner().create_physical_plan(plan, &state).await else { continue };
        crossed(physical.as_ref())?;
        let Ok(batches) = collect(physical, state.task_ctx()).await else { continue };
        moves.add(&batches)?;
        done = done.saturating_add(1);
        tokio::task::yield_now().await;
    }
    Ok((done >= FEWEST).then(|| moves.errors()))
}
