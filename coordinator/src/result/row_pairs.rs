//! The rows that joins put side by side, counted before they run.

use std::any::Any;

use datafusion::common::DataFusionError;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use loda_question::{Refusal, Rule};

/// The most pairs of rows that joins without equal columns may make.
const PAIRS: u64 = 50_000_000;

/// The assumed rows of a source that does not give its row count: the catalogue's own tables.
const UNKNOWN: u64 = 1_000;

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
