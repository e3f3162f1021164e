//! Finds the columns of a question that divide one figure of a part by another. The result's statement gives the
//! expected error of these shares.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, LogicalPlan, Operator, TryCast};
use loda_question::Measure;

use crate::plan::federated_aggregate::{FederatedAggregate, Output, Ratio};
use crate::plan::federated_node::Federated;

/// Tells each part which of its counts is divided by which other count.
pub(crate) fn tell(plan: &LogicalPlan, parts: &mut [FederatedAggregate]) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Projection(projection) = node else { return Ok(TreeNodeRecursion::Continue) };
        for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
            let Some(quotient) = quotient(expr) else { continue };
            let origin = |column: &Column| origin(&projection.input, column);
            let (Some((part, over)), Some((of, under))) = (origin(quotient.over), origin(quotient.under)) else {
                continue;
            };
            let Some(part) = parts.get_mut(part).filter(|_| part == of) else { continue };
            let (Some(over), Some(under)) = (count(part, over), count(part, under)) else { continue };
            let ratio = Ratio { name: field.name().clone(), over, under, factor: quotient.factor };
            if !part.ratios.contains(&ratio) {
                part.ratios.push(ratio);
            }
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

/// One column divided by another, and the factor on the quotient.
struct Quotient<'a> {
    over: &'a Column,
    under: &'a Column,
    factor: f64,
}

fn quotient(expr: &Expr) -> Option<Quotient<'_>> {
    match expr {
        Expr::Alias(alias) => quotient(&alias.expr),
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => quotient(expr),
        Expr::ScalarFunction(call) if call.name() == "round" => quotient(call.args.first()?),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Multiply, right }) => {
            let (of, by) = number(right).map(|by| (left, by)).or_else(|| number(left).map(|by| (right, by)))?;
            let of = quotient(of)?;
            Some(Quotient { factor: of.factor * by, ..of })
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) => {
            let ((over, by), (under, of)) = (multiple(left)?, multiple(right)?);
            Some(Quotient { over, under, factor: by / of })
        }
        _ => None,
    }
}

/// A column, and the number that multiplies it.
fn multiple(expr: &Expr) -> Option<(&Column, f64)> {
    match expr {
        Expr::Column(column) => Some((column, 1.0)),
        Expr::Alias(alias) => multiple(&alias.expr),
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => multiple(expr),
        Expr::ScalarFunction(call) if call.name() == "nullif" => multiple(call.args.first()?),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Multiply, right }) => {
            let (of, by) = number(right).map(|by| (left, by)).or_else(|| number(left).map(|by| (right, by)))?;
            multiple(of).map(|(column, of)| (column, of * by))
        }
        _ => None,
    }
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
