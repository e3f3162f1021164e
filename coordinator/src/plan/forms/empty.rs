//! Rows that are none, whatever the data: tools begin with `SELECT * … WHERE 0 = 1` or `LIMIT 0` to learn the columns.
//!
//! *Attack: none.* Such rows tell what the contracts tell. Nobody is asked for them.

use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{EmptyRelation, Expr, FetchType, LogicalPlan};
use loda_question::plan::constant;

/// A plan whose parts without rows read no table.
///
/// # Errors
/// The engine's own, for a plan that it cannot rewrite.
pub(crate) fn without_empty_scans(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_down_with_subqueries(|node| {
        let empty = match &node {
            LogicalPlan::Filter(filter) => split_conjunction(&filter.predicate).into_iter().any(never),
            LogicalPlan::Limit(limit) => matches!(limit.get_fetch_type()?, FetchType::Literal(Some(0))),
            _ => false,
        };
        if !empty {
            return Ok(Transformed::no(node));
        }
        let schema = std::sync::Arc::clone(node.schema());
        Ok(Transformed::yes(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema })))
    })?;
    Ok(rewritten.data)
}

/// Whether a condition is false or NULL for every row.
fn never(condition: &Expr) -> bool {
    matches!(constant(condition), Some(ScalarValue::Boolean(Some(false) | None) | ScalarValue::Null))
}
