//! Finds the figures that a question combines.
//!
//! If one count is divided by another, their errors go together, and the error of the share is smaller. If London figures are
//! divided, subtracted or averaged, all of them are formed over the same boroughs: a share of two figures of which one
//! lacks three boroughs and the other lacks none is no share of anything.

use std::collections::BTreeSet;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Cast, Distinct, Expr, LogicalPlan, Operator, TryCast};
use loda_question::Measure;

use crate::plan::arithmetic;
use crate::plan::federated_aggregate::{FederatedAggregate, Output};
use crate::plan::federated_node::Federated;

/// Tells each part which of its figures the question combines.
pub(crate) fn tell(plan: &LogicalPlan, parts: &mut [FederatedAggregate]) -> Result<()> {
    tell_wholes(plan, parts)?;
    tell_combined(plan, parts)
}

/// Tells each part which of its counts is divided by which other count.
fn tell_wholes(plan: &LogicalPlan, parts: &mut [FederatedAggregate]) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Projection(projection) = node else { return Ok(TreeNodeRecursion::Continue) };
        for (over, under) in projection.expr.iter().filter_map(quotient) {
            let origin = |column: &Column| origin(&projection.input, column);
            let (Some((part, over)), Some((of, under))) = (origin(over), origin(under)) else { continue };
            let Some(part) = parts.get_mut(part).filter(|_| part == of) else { continue };
            let (Some(over), Some(under)) = (count(part, over), count(part, under)) else { continue };
            part.wholes.insert(over, under);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// The node's figure behind an output of a part, if it is a count.
fn count(part: &FederatedAggregate, output: usize) -> Option<usize> {
    let Output::Figure { figure, .. } = part.outputs.get(output)? else { return None };
    matches!(part.measures.get(*figure)?, Measure::Rows | Measure::Units(_) | Measure::Present(_)).then_some(*figure)
}

/// One column, or a multiple of it, divided by another.
fn quotient(expr: &Expr) -> Option<(&Column, &Column)> {
    match expr {
        Expr::Alias(alias) => quotient(&alias.expr),
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => quotient(expr),
        Expr::ScalarFunction(call) if call.name() == "round" => quotient(call.args.first()?),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) => {
            Some((multiple(left)?.0, multiple(right)?.0))
        }
        _ => quotient(product(expr)?.0),
    }
}

/// A column, and the number that multiplies it.
fn multiple(expr: &Expr) -> Option<(&Column, f64)> {
    match expr {
        Expr::Column(column) => Some((column, 1.0)),
        Expr::Alias(alias) => multiple(&alias.expr),
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => multiple(expr),
        Expr::ScalarFunction(call) if call.name() == "nullif" => multiple(call.args.first()?),
        _ => {
            let (of, by) = product(expr)?;
            multiple(of).map(|(column, of)| (column, of * by))
        }
    }
}

/// An expression, and the number that multiplies it.
fn product(expr: &Expr) -> Option<(&Expr, f64)> {
    let (left, right) = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Multiply, right }) => (left.as_ref(), right.as_ref()),
        Expr::ScalarFunction(call) if call.name() == arithmetic::PRODUCT => (call.args.first()?, call.args.get(1)?),
        _ => return None,
    };
    number(right).map(|by| (left, by)).or_else(|| number(left).map(|by| (right, by)))
}

fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => number(expr),
        Expr::Literal(value, _) => match value.cast_to(&DataType::Float64).ok()? {
            ScalarValue::Float64(number) => number.filter(|number| *number != 0.0),
            _ => None,
        },
        _ => None,
    }
}

/// The part and the output that a column shows unchanged.
fn origin(plan: &LogicalPlan, column: &Column) -> Option<(usize, usize)> {
    let place = plan.schema().maybe_index_of_column(column)?;
    match plan {
        LogicalPlan::Extension(extension) => {
            let federated = extension.node.as_any().downcast_ref::<Federated>()?;
            Some((federated.part, place.checked_sub(federated.keys)?))
        }
        LogicalPlan::Projection(projection) => {
            let (column, by) = multiple(projection.expr.get(place)?)?;
            if by == 1.0 { origin(&projection.input, column) } else { None }
        }
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, alias.input.schema().columns().get(place)?),
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => origin(plan.inputs().first()?, column),
        _ => None,
    }
}

/// An output of a part.
type Origin = (usize, usize);

/// Tells each London part which of its figures belong together.
fn tell_combined(plan: &LogicalPlan, parts: &mut [FederatedAggregate]) -> Result<()> {
    let mut sets: Vec<BTreeSet<Origin>> = Vec::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::BinaryExpr(BinaryExpr { op, .. }) = e
                    && matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide)
                {
                    sets.push(origins_of(node, e));
                }
                if let Expr::ScalarFunction(_) = e {
                    // A checked sum, a rounding, a power: what it reads is combined.
                    sets.push(origins_of(node, e));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    for (number, part) in parts.iter_mut().enumerate().filter(|(_, part)| part.is_london()) {
        let of_part = sets.iter().map(|set| set.iter().filter(|(of, _)| *of == number).map(|(_, output)| *output));
        let outputs = of_part.map(Iterator::collect::<Vec<usize>>);
        let alone = (0..part.outputs.len()).map(|output| vec![output]);
        let figures: Vec<BTreeSet<usize>> = outputs
            .chain(alone)
            .map(|outputs| {
                outputs.into_iter().filter_map(|output| part.outputs.get(output)).flat_map(Output::combines).collect()
            })
            .collect();
        part.combined = joined(figures);
    }
    Ok(())
}

/// Sets of more than one figure. Sets that share a figure become one.
fn joined(sets: Vec<BTreeSet<usize>>) -> Vec<BTreeSet<usize>> {
    let mut all: Vec<BTreeSet<usize>> = Vec::new();
    for mut set in sets {
        all.retain(|other| {
            let apart = set.is_disjoint(other);
            if !apart {
                set.extend(other);
            }
            apart
        });
        all.push(set);
    }
    all.retain(|set| set.len() > 1);
    all
}

fn origins_of(node: &LogicalPlan, expr: &Expr) -> BTreeSet<Origin> {
    let columns = expr.column_refs();
    columns
        .into_iter()
        .flat_map(|column| node.inputs().into_iter().flat_map(|input| origins(input, column)).collect::<Vec<_>>())
        .collect()
}

/// The outputs that a column is made from, row by row.
fn origins(plan: &LogicalPlan, column: &Column) -> BTreeSet<Origin> {
    let Some(place) = plan.schema().maybe_index_of_column(column) else { return BTreeSet::new() };
    match plan {
        LogicalPlan::Extension(extension) => {
            let leaf = extension.node.as_any().downcast_ref::<Federated>();
            leaf.and_then(|leaf| Some((leaf.part, place.checked_sub(leaf.keys)?))).into_iter().collect()
        }
        LogicalPlan::Projection(projection) => {
            projection.expr.get(place).map(|expr| origins_of(plan, expr)).unwrap_or_default()
        }
        LogicalPlan::SubqueryAlias(alias) => {
            alias.input.schema().columns().get(place).map(|column| origins(&alias.input, column)).unwrap_or_default()
        }
        LogicalPlan::Aggregate(aggregate) if !matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) => {
            let mut made = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
            made.nth(place).map(|expr| origins_of(plan, expr)).unwrap_or_default()
        }
        LogicalPlan::Window(window) if place >= window.input.schema().fields().len() => {
            let of = place.saturating_sub(window.input.schema().fields().len());
            window.window_expr.get(of).map(|expr| origins_of(plan, expr)).unwrap_or_default()
        }
        LogicalPlan::Distinct(Distinct::All(input)) => origins(input, column),
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Window(_) => plan.inputs().into_iter().flat_map(|input| origins(input, column)).collect(),
        LogicalPlan::Union(union) => {
            let of = |input: &LogicalPlan| input.schema().columns().get(place).map(|column| origins(input, column));
            union.inputs.iter().filter_map(|input| of(input)).flatten().collect()
        }
        _ => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_that_share_a_figure_become_one() {
        let sets = [vec![0, 1], vec![2], vec![3, 4], vec![5, 6], vec![4, 5]].map(BTreeSet::from_iter);
        assert_eq!(joined(sets.to_vec()), [vec![0, 1], vec![3, 4, 5, 6]].map(BTreeSet::from_iter));
    }
}
