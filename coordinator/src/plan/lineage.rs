//! Which columns of a plan depend on figures that boroughs protect. In these columns NULL means withheld or missing.

use std::collections::HashSet;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::plan::federated_node::Federated;

/// The figures to follow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figures {
    All,
    /// Only figures that can be withheld.
    Protected,
}

/// For each column of the plan's schema: whether it depends on such a figure.
pub(crate) fn rests_on_figures(plan: &LogicalPlan, which: Figures) -> Vec<bool> {
    let width = plan.schema().fields().len();
    match plan {
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<Federated>() {
            Some(federated) => {
                let follows = which == Figures::All || federated.protected;
                (0..width).map(|i| follows && i >= federated.keys && i + 1 < width).collect()
            }
            None => vec![false; width],
        },
        LogicalPlan::Projection(p) => of_expressions(p.expr.iter(), &p.input, which),
        LogicalPlan::Aggregate(a) => of_expressions(a.group_expr.iter().chain(&a.aggr_expr), &a.input, which),
        LogicalPlan::Window(w) => {
            let mut flags = rests_on_figures(&w.input, which);
            flags.extend(of_expressions(w.window_expr.iter(), &w.input, which));
            flags
        }
        LogicalPlan::Join(j) => match j.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => rests_on_figures(&j.left, which),
            JoinType::RightSemi | JoinType::RightAnti => rests_on_figures(&j.right, which),
            _ => {
                let mut flags = rests_on_figures(&j.left, which);
                flags.extend(rests_on_figures(&j.right, which));
                flags.resize(width, false);
                flags
            }
        },
        LogicalPlan::Union(u) => u.inputs.iter().fold(vec![false; width], |flags, input| {
            flags.into_iter().zip(rests_on_figures(input, which)).map(|(a, b)| a || b).collect()
        }),
        other => match other.inputs().as_slice() {
            [input] if input.schema().fields().len() == width => rests_on_figures(input, which),
            _ => vec![false; width],
        },
    }
}

fn of_expressions<'a>(exprs: impl Iterator<Item = &'a Expr>, input: &LogicalPlan, which: Figures) -> Vec<bool> {
    let columns = input.schema().columns();
    let resting: HashSet<&Column> =
        columns.iter().zip(rests_on_figures(input, which)).filter(|(_, flag)| *flag).map(|(c, _)| c).collect();
    exprs.map(|e| e.column_refs().iter().any(|c| resting.contains(*c)) || rests_on_a_subquery(e, which)).collect()
}

/// A scalar subquery has its own lineage.
fn rests_on_a_subquery(expr: &Expr, which: Figures) -> bool {
    let mut found = false;
    // The closure never fails.
    let _walked = expr.apply(|e| {
        if let Expr::ScalarSubquery(subquery) = e {
            found |= rests_on_figures(&subquery.subquery, which).contains(&true);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}
