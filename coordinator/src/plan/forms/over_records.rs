//! Expressions over records, one by one.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::plan::domains::{Domains, Sources};

/// A plan in which expressions over records are others, under their old names. What `replaced` gives is not looked at
/// again, and an expression within a replaced one is part of that.
///
/// # Errors
/// The engine's own, for a plan that it cannot type.
pub(super) fn over_records(
    plan: LogicalPlan,
    domains: &Domains<'_>,
    is_of_records: &dyn Fn(&LogicalPlan) -> bool,
    replaced: &dyn Fn(&Expr, &Sources<'_>) -> Option<Expr>,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        if matches!(node, LogicalPlan::TableScan(_)) || !node.inputs().into_iter().any(is_of_records) {
            return Ok(Transformed::no(node));
        }
        let names = NamePreserver::new(&node);
        let sources = Sources::of_node(&node, domains);
        let mut changed = Vec::new();
        node.apply_expressions(|expr| {
            // The columns of grouping sets have the names of their expressions.
            if matches!(expr, Expr::GroupingSet(_)) {
                changed.push(None);
                return Ok(TreeNodeRecursion::Continue);
            }
            let name = names.save(expr);
            let other = expr.clone().transform_down(|e| {
                Ok(match replaced(&e, &sources) {
                    Some(other) => Transformed::new(other, true, TreeNodeRecursion::Jump),
                    None => Transformed::no(e),
                })
            })?;
            changed.push(other.transformed.then(|| name.restore(other.data)));
            Ok(TreeNodeRecursion::Continue)
        })?;
        drop(sources);
        if changed.iter().all(Option::is_none) {
            return Ok(Transformed::no(node));
        }
        let mut changed = changed.into_iter();
        let node = node.map_expressions(|expr| {
            Ok(match changed.next().flatten() {
                Some(other) => Transformed::yes(other),
                None => Transformed::no(expr),
            })
        })?;
        Ok(Transformed::yes(node.data.recompute_schema()?))
    })?;
    Ok(rewritten.data)
}
