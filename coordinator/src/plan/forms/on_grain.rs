//! Dates between the values of a column that is kept by month, quarter or year.
//!
//! `month >= DATE '2025-02-10'` holds for the same records as `month >= DATE '2025-03-01'`, and truncated to its day a month
//! is itself. Tools write both. What a condition comes to is told with the answer.
//!
//! *Attack: none.* An asker could have written the other form.

use std::cell::RefCell;
use std::collections::BTreeSet;

use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, LogicalPlan, Operator, binary_expr, lit};
use loda_question::plan::{bare, constant};

use super::over_records::over_records;
use crate::plan::domains::{Domains, Of, Sources};

/// A date in days since 1970-01-01.
type Day = i32;

/// Truncations that leave every date as it is.
const BELOW_DAYS: [&str; 6] = ["microsecond", "millisecond", "second", "minute", "hour", "day"];

/// A plan whose dates are values of their columns, and what conditions come to, in words.
///
/// # Errors
/// The engine's own, for a plan that it cannot type.
pub(crate) fn on_grain(
    plan: LogicalPlan,
    domains: &Domains<'_>,
    is_of_records: &dyn Fn(&LogicalPlan) -> bool,
) -> Result<(LogicalPlan, Vec<String>)> {
    let told = RefCell::new(BTreeSet::new());
    let plan = over_records(plan, domains, is_of_records, &|expr, sources| {
        let (other, note) = match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_order(*op) => match (moment(left), moment(right)) {
                (None, Some(at)) => compared(left, *op, at, sources)?,
                (Some(at), None) => compared(right, op.swap()?, at, sources)?,
                _ => return None,
            },
            Expr::Between(Between { expr, negated, low, high }) => {
                let (from, to) = if *negated { (Operator::Lt, Operator::Gt) } else { (Operator::GtEq, Operator::LtEq) };
                let side = |op, edge: &Expr| moment(edge).and_then(|at| compared(expr, op, at, sources));
                let (after, before) = (side(from, low), side(to, high));
                if after.is_none() && before.is_none() {
                    return None;
                }
                let whole = |found: Option<(Expr, String)>, op, edge: &Expr| {
                    found.unwrap_or_else(|| (binary_expr(expr.as_ref().clone(), op, edge.clone()), String::new()))
                };
                let (after, before) = (whole(after, from, low), whole(before, to, high));
                told.borrow_mut().extend([after.1, before.1]);
                let both = if *negated { after.0.or(before.0) } else { after.0.and(before.0) };
                (both, String::new())
            }
            Expr::ScalarFunction(call) if call.name() == "date_trunc" => (truncated(call, sources)?, String::new()),
            _ => return None,
        };
        told.borrow_mut().insert(note);
        Some(other)
    })?;
    let told = told.into_inner().into_iter().filter(|note| !note.is_empty()).collect();
    Ok((plan, told))
}

/// Whether an operator compares by order. *Attack: a long chain of AND*: each of its nodes would be searched for columns
/// down to its leaves.
fn is_order(op: Operator) -> bool {
    matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
}

/// A point in time: its day, and whether it is the day's beginning.
#[derive(Clone, Copy)]
struct Moment {
    day: Day,
    is_midnight: bool,
}

/// A date or a time that reads no column: a literal, a text that is compared with a date, a difference from today.
fn moment(expr: &Expr) -> Option<Moment> {
    const DAY: i64 = 24 * 60 * 60;
    let of = |time: i64, second: i64| {
        let day = Day::try_from(time.div_euclid(DAY.checked_mul(second)?)).ok()?;
        Some(Moment { day, is_midnight: time.rem_euclid(DAY.checked_mul(second)?) == 0 })
    };
    match constant(expr)? {
        ScalarValue::Date32(Some(day)) => Some(Moment { day, is_midnight: true }),
        ScalarValue::TimestampSecond(Some(time), _) => of(time, 1),
        ScalarValue::TimestampMillisecond(Some(time), _) => of(time, 1_000),
        ScalarValue::TimestampMicrosecond(Some(time), _) => of(time, 1_000_000),
        ScalarValue::TimestampNanosecond(Some(time), _) => of(time, 1_000_000_000),
        _ => None,
    }
}

/// The dates of a column, in order.
fn dates(expr: &Expr, sources: &Sources<'_>) -> Option<(String, Vec<Day>)> {
    if !matches!(expr, Expr::Column(_)) {
        return None;
    }
    let source = sources.of(expr).filter(|source| source.is_column() && source.known.of == Of::Range)?;
    let day = |value: &ScalarValue| match value {
        ScalarValue::Date32(day) => *day,
        _ => None,
    };
    let days = source.known.values.iter().map(day).collect::<Option<Vec<Day>>>()?;
    Some((source.column, days))
}

/// A comparison with a time between two values, as one with the next value. `None`: the time is a value itself, or lies
/// outside of them.
fn compared(expr: &Expr, op: Operator, at: Moment, sources: &Sources<'_>) -> Option<(Expr, String)> {
    let of = bare(expr);
    let (column, days) = dates(of, sources)?;
    if at.is_midnight && days.binary_search(&at.day).is_ok() {
        return None;
    }
    let place = days.partition_point(|day| *day <= at.day);
    let next = *days.get(place).filter(|_| place > 0)?;
    let (to, word) = match op {
        Operator::GtEq | Operator::Gt => (Operator::GtEq, "begins with"),
        Operator::Lt | Operator::LtEq => (Operator::Lt, "ends before"),
        _ => return None,
    };
    let date = |day: Day| ScalarValue::Date32(Some(day));
    let note = format!("{column} {op} {} {word} {}: {column} has no value between", date(at.day), date(next));
    Some((binary_expr(of.clone(), to, lit(date(next))), note))
}

/// A truncation to less than the column's own step, as one to that step.
fn truncated(call: &ScalarFunction, sources: &Sources<'_>) -> Option<Expr> {
    let [Expr::Literal(to, _), of] = call.args.as_slice() else { return None };
    let to = to.try_as_str().flatten()?.to_lowercase();
    let (_, days) = dates(bare(of), sources)?;
    let step = days.get(1)?.checked_sub(*days.first()?)?;
    let own = match step {
        28..=31 => "month",
        89..=92 => "quarter",
        365..=366 => "year",
        _ => return None,
    };
    let finer = BELOW_DAYS.contains(&to.as_str()) || (to == "month" && step > 31) || (to == "quarter" && step > 92);
    let args = vec![lit(own), of.clone()];
    finer.then(|| Expr::ScalarFunction(ScalarFunction { func: call.func.clone(), args }))
}
