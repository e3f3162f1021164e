//! Which columns of a plan depend on figures from boroughs. In these columns NULL means withheld or missing.

use std::collections::{HashMap, HashSet};

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, Result};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};

use crate::plan::federated_node::Federated;

/// For each column of the plan's schema: whether it depends on a figure.
pub(crate) fn rests_on_figures(plan: &LogicalPlan) -> Vec<bool> {
    let width = plan.schema().fields().len();
    match plan {
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<Federated>() {
            Some(federated) => (0..width).map(|i| i >= federated.keys).collect(),
            None => vec![false; width],
        },
        LogicalPlan::Projection(p) => of_expressions(p.expr.iter(), &p.input),
        LogicalPlan::Aggregate(a) => {
            let keys = a.group_expr.iter().flat_map(|key| match key {
                Expr::GroupingSet(sets) => sets.distinct_expr(),
                key => vec![key],
            });
            let mut flags = of_expressions(keys, &a.input);
            // Between keys and figures, GROUPING SETS have a column of their own.
            flags.resize(width.saturating_sub(a.aggr_expr.len()), false);
            flags.extend(of_expressions(a.aggr_expr.iter(), &a.input));
            flags
        }
        LogicalPlan::Window(w) => {
            let mut flags = rests_on_figures(&w.input);
            flags.extend(of_expressions(w.window_expr.iter(), &w.input));
            flags
        }
        LogicalPlan::Join(j) => match j.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => rests_on_figures(&j.left),
            JoinType::RightSemi | JoinType::RightAnti => rests_on_figures(&j.right),
            _ => {
                let mut flags = rests_on_figures(&j.left);
                flags.extend(rests_on_figures(&j.right));
                flags.resize(width, false);
                flags
            }
        },
        LogicalPlan::Union(u) => u.inputs.iter().fold(vec![false; width], |flags, input| {
            flags.into_iter().zip(rests_on_figures(input)).map(|(a, b)| a || b).collect()
        }),
        other => match other.inputs().as_slice() {
            [input] if input.schema().fields().len() == width => rests_on_figures(input),
            _ => vec![false; width],
        },
    }
}

/// The names of all columns that a plan reads.
pub(crate) fn used_names(plan: &LogicalPlan) -> Result<HashSet<String>> {
    let mut names: HashSet<String> = plan.schema().columns().into_iter().map(|column| column.name).collect();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::Column(column) | Expr::OuterReferenceColumn(_, column) = e {
                    names.insert(column.name.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(names)
}

/// Whether a plan has rows of totals beside those of groups: ROLLUP, CUBE or GROUPING SETS.
pub(crate) fn has_totals(plan: &LogicalPlan) -> bool {
    let of_sets = |node: &LogicalPlan| node.schema().has_column_with_unqualified_name(Aggregate::INTERNAL_GROUPING_ID);
    plan.exists(|node| Ok(of_sets(node))).unwrap_or(false)
}

/// The columns of a plan that depend on a figure.
pub(crate) fn figures(plan: &LogicalPlan) -> impl Iterator<Item = Column> {
    let columns = plan.schema().columns().into_iter().zip(rests_on_figures(plan));
    columns.filter_map(|(column, rests)| rests.then_some(column))
}

/// The names that the asker gave to columns of the parts: by part, and by the column's place in it. An expression that
/// has no name is left out.
pub(crate) fn shown_names(plan: &LogicalPlan) -> HashMap<(usize, usize), String> {
    let mut names = HashMap::new();
    for (place, field) in plan.schema().fields().iter().enumerate() {
        let is_name = field.name().chars().all(|c| c.is_alphanumeric() || c == '_' || c == ' ');
        let mut sources = Vec::new();
        if is_name {
            shows(plan, place, &mut sources);
        }
        for source in sources {
            names.entry((source.0.part, source.1)).or_insert_with(|| field.name().clone());
        }
    }
    names
}

/// The figures of parts that a column of a plan shows as they are: the part, and the figure's place among its outputs.
pub(crate) fn shown_figures(plan: &LogicalPlan, place: usize) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    shows(plan, place, &mut found);
    found.into_iter().filter_map(|(leaf, place)| Some((leaf.part, place.checked_sub(leaf.keys)?))).collect()
}

/// The columns of parts that a column of a plan shows as they are.
fn shows<'a>(plan: &'a LogicalPlan, place: usize, found: &mut Vec<(&'a Federated, usize)>) {
    match plan {
        LogicalPlan::Extension(extension) => {
            found.extend(extension.node.as_any().downcast_ref::<Federated>().map(|leaf| (leaf, place)));
        }
        LogicalPlan::Projection(projection) => {
            let expr = projection.expr.get(place).map(|expr| expr.clone().unalias_nested().data);
            if let Some(Expr::Column(column)) = expr
                && let Some(place) = projection.input.schema().maybe_index_of_column(&column)
            {
                shows(&projection.input, place, found);
            }
        }
        LogicalPlan::Window(window) if place < window.input.schema().fields().len() => {
            shows(&window.input, place, found);
        }
        LogicalPlan::Join(join) => match place.checked_sub(join.left.schema().fields().len()) {
            None => shows(&join.left, place, found),
            Some(place) => shows(&join.right, place, found),
        },
        LogicalPlan::Union(union) => union.inputs.iter().for_each(|input| shows(input, place, found)),
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().iter().for_each(|input| shows(input, place, found));
        }
        _ => {}
    }
}

fn of_expressions<'a>(exprs: impl Iterator<Item = &'a Expr>, input: &LogicalPlan) -> Vec<bool> {
    let columns = input.schema().columns();
    let resting: HashSet<&Column> =
        columns.iter().zip(rests_on_figures(input)).filter(|(_, flag)| *flag).map(|(c, _)| c).collect();
    exprs.map(|e| e.column_refs().iter().any(|c| resting.contains(*c)) || rests_on_a_subquery(e)).collect()
}

/// A scalar subquery has its own lineage.
pub(crate) fn rests_on_a_subquery(expr: &Expr) -> bool {
    let mut found = false;
    // The closure never fails.
    let _walked = expr.apply(|e| {
        if let Expr::ScalarSubquery(subquery) = e {
            found |= rests_on_figures(&subquery.subquery).contains(&true);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}
