//! Aggregates over records that tools write in other forms than the algebra reads.
//!
//! | written | asked |
//! |---|---|
//! | `AVG(CASE WHEN c THEN 1 ELSE 0 END)` | `COUNT(*) FILTER (WHERE c)` over `COUNT(*)` |
//! | `AVG(CAST(flag AS INT))` | `COUNT(*) FILTER (WHERE flag)` over `COUNT(flag)` |
//! | `SUM(CASE WHEN c THEN 1 END)` | `COUNT(*) FILTER (WHERE c)`, NULL for none |
//! | `SUM(CASE WHEN c THEN 1 WHEN NOT c THEN 0 END)` | the same with `ELSE 0`, if c is never unknown |
//! | `SUM(CAST(flag AS INT))` | `SUM(CASE WHEN flag THEN 1 ELSE 0 END)` |
//!
//! *Attack: none.* What is asked is a form that the algebra judges by itself, and the rest follows the merge.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, Result};
use datafusion::functions::core::expr_fn::nullif;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Case, Expr, ExprFunctionExt, ExprSchemable, cast, lit};
use loda_question::plan::bare;
use std::sync::Arc;

/// An aggregate in forms that the algebra reads, and the columns of the one that was written as expressions over its
/// columns. `None`: it is in such forms.
///
/// # Errors
/// The engine's own, for an aggregate that it cannot type.
pub(crate) fn in_known_forms(written: &Aggregate) -> Result<Option<(Aggregate, Vec<Expr>)>> {
    let schema = written.input.schema();
    let keys = written.schema.fields().len().saturating_sub(written.aggr_expr.len());
    let mut asked = Asked(Vec::new());
    let mut figures = Vec::new();
    let mut changed = false;
    for (expr, column) in written.aggr_expr.iter().zip(written.schema.columns().into_iter().skip(keys)) {
        let form = match bare(expr) {
            Expr::AggregateFunction(call) => other_form(call, schema)?,
            _ => None,
        };
        changed |= form.is_some();
        figures.push(match form {
            None => {
                asked.0.push(expr.clone());
                Expr::Column(column)
            }
            Some(Form::Ones(ones)) => asked.of(ones).alias(column.name),
            Some(Form::OnesOrNull(ones)) => nullif(asked.of(ones), lit(0_i64)).alias(column.name),
            Some(Form::Share(over, under)) => {
                let (over, under) = (asked.of(over), asked.of(under));
                let share = cast(over, DataType::Float64) / cast(nullif(under, lit(0_i64)), DataType::Float64);
                share.alias(column.name)
            }
        });
    }
    if !changed {
        return Ok(None);
    }
    let read = Aggregate::try_new(Arc::clone(&written.input), written.group_expr.clone(), asked.0)?;
    let columns = written.schema.columns().into_iter().take(keys).map(Expr::Column).chain(figures);
    Ok(Some((read, columns.collect())))
}

/// The aggregates that are asked.
struct Asked(Vec<Expr>);

impl Asked {
    /// Asks for one more, under a name of its own. Its column.
    fn of(&mut self, figure: Expr) -> Expr {
        let name = format!("{figure} ({})", self.0.len());
        self.0.push(figure.alias(&name));
        Expr::Column(Column::new_unqualified(name))
    }
}

/// What stands for an aggregate.
enum Form {
    Ones(Expr),
    OnesOrNull(Expr),
    Share(Expr, Expr),
}

fn other_form(call: &AggregateFunction, schema: &DFSchema) -> Result<Option<Form>> {
    let params = &call.params;
    let ([argument], false, true) = (params.args.as_slice(), params.distinct, params.order_by.is_empty()) else {
        return Ok(None);
    };
    let filter = params.filter.as_deref();
    let met = |condition: &Expr| match filter {
        Some(filter) => filter.clone().and(condition.clone()),
        None => condition.clone(),
    };
    let counted = |condition: Option<Expr>, of: Expr| match condition {
        Some(condition) => count(of).filter(condition).build(),
        None => Ok(count(of)),
    };
    let all = || lit(1_i64);
    let argument = bare(argument);
    let plain = match argument {
        Expr::Case(case) => two_sided(case, schema)?,
        _ => None,
    };
    let form = match (call.func.name(), argument) {
        ("avg", Expr::Case(case)) => match ones(plain.as_ref().unwrap_or(case)) {
            Some((condition, Otherwise::Zero)) => {
                Form::Share(counted(Some(met(&condition)), all())?, counted(filter.cloned(), all())?)
            }
            _ => return Ok(None),
        },
        ("sum", Expr::Case(case)) => match (plain, ones(case)) {
            (Some(plain), _) => {
                let ones = sum(Expr::Case(plain));
                Form::Ones(match filter.cloned() {
                    Some(filter) => ones.filter(filter).build()?,
                    None => ones,
                })
            }
            (None, Some((condition, Otherwise::Null))) => Form::OnesOrNull(counted(Some(met(&condition)), all())?),
            (None, _) => return Ok(None),
        },
        ("avg" | "sum", flag) if flag.get_type(schema)? == DataType::Boolean => {
            if call.func.name() == "avg" {
                Form::Share(counted(Some(met(flag)), all())?, counted(filter.cloned(), flag.clone())?)
            } else {
                let when = vec![(Box::new(flag.clone()), Box::new(lit(1_i64)))];
                let ones = sum(Expr::Case(Case::new(None, when, Some(Box::new(lit(0_i64))))));
                // A sum of missing values alone is missing.
                let there = flag.nullable(schema)?.then(|| flag.clone().is_not_null());
                Form::Ones(match filter.cloned().into_iter().chain(there).reduce(Expr::and) {
                    Some(filter) => ones.filter(filter).build()?,
                    None => ones,
                })
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(form))
}

/// What rows give that do not meet a condition.
enum Otherwise {
    Null,
    Zero,
}

/// A CASE that gives 1 for a condition, and 0 for its opposite, with ELSE 0 instead. R writes `ifelse` in this way.
fn two_sided(case: &Case, schema: &DFSchema) -> Result<Option<Case>> {
    let (None, None, [(when, then), (opposite, zero)]) =
        (&case.expr, case.else_expr.as_deref(), case.when_then_expr.as_slice())
    else {
        return Ok(None);
    };
    let opposes = matches!(bare(opposite), Expr::Not(of) if bare(of) == bare(when));
    // An unknown condition gives NULL, which is not 0.
    if !opposes || !is_number(then, 1.0) || !is_number(zero, 0.0) || when.nullable(schema)? {
        return Ok(None);
    }
    let branch = vec![(when.clone(), Box::new(lit(1_i64)))];
    Ok(Some(Case::new(None, branch, Some(Box::new(lit(0_i64))))))
}

/// The condition of a CASE that gives 1.
fn ones(case: &Case) -> Option<(Expr, Otherwise)> {
    let (None, [(when, then)]) = (&case.expr, case.when_then_expr.as_slice()) else { return None };
    let otherwise = match case.else_expr.as_deref().map(bare) {
        None => Otherwise::Null,
        Some(Expr::Literal(literal, _)) if literal.is_null() => Otherwise::Null,
        Some(other) if is_number(other, 0.0) => Otherwise::Zero,
        Some(_) => return None,
    };
    is_number(then, 1.0).then(|| (when.as_ref().clone(), otherwise))
}

fn is_number(expr: &Expr, number: f64) -> bool {
    let Expr::Literal(literal, _) = bare(expr) else { return false };
    matches!(literal.cast_to(&DataType::Float64), Ok(datafusion::common::ScalarValue::Float64(Some(n))) if n == number)
}
