//! DataFusion's literals and types, as contract values and types.
//!
//! A literal of a type that contracts do not know is none here, and the expression that holds it is refused.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int64Type};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use loda_contract::{ColumnType, Value};

/// Types that hold the same values for the algebra's purposes; a cast inside a family changes nothing.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub(super) enum Family {
    Text,
    Integer,
    Date,
    Boolean,
    Decimal(i8),
    Other,
}

/// The family of an Arrow type.
pub(super) fn family(kind: &DataType) -> Family {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Family::Text,
        kind if kind.is_integer() => Family::Integer,
        DataType::Date32 | DataType::Timestamp(_, None) => Family::Date,
        DataType::Boolean => Family::Boolean,
        DataType::Decimal128(_, scale) => Family::Decimal(*scale),
        _ => Family::Other,
    }
}

/// The contract type that holds the values of an Arrow type.
#[must_use]
pub fn column_type(kind: &DataType) -> Option<ColumnType> {
    match family(kind) {
        Family::Text => Some(ColumnType::Text),
        Family::Integer => Some(ColumnType::Integer),
        Family::Date => Some(ColumnType::Date),
        Family::Boolean => Some(ColumnType::Boolean),
        Family::Decimal(scale) => Some(ColumnType::Decimal(scale)),
        Family::Other => None,
    }
}

/// A literal that the algebra knows; timestamps only at midnight.
pub(super) fn value(literal: &ScalarValue) -> Option<(Value, ColumnType)> {
    let day = |ticks: i64, a_day: i64| {
        (ticks.rem_euclid(a_day) == 0).then(|| i32::try_from(ticks.div_euclid(a_day)).ok()).flatten()
    };
    if literal.is_null() {
        return Some((Value::Null, column_type(&literal.data_type()).unwrap_or(ColumnType::Text)));
    }
    let integer = |i: i64| Some((Value::Integer(i), ColumnType::Integer));
    match literal {
        ScalarValue::Utf8(Some(t)) | ScalarValue::LargeUtf8(Some(t)) | ScalarValue::Utf8View(Some(t)) => {
            Some((Value::Text(t.as_str().into()), ColumnType::Text))
        }
        ScalarValue::Boolean(Some(b)) => Some((Value::Boolean(*b), ColumnType::Boolean)),
        ScalarValue::Int8(Some(i)) => integer(i64::from(*i)),
        ScalarValue::Int16(Some(i)) => integer(i64::from(*i)),
        ScalarValue::Int32(Some(i)) => integer(i64::from(*i)),
        ScalarValue::Int64(Some(i)) => integer(*i),
        ScalarValue::UInt8(Some(i)) => integer(i64::from(*i)),
        ScalarValue::UInt16(Some(i)) => integer(i64::from(*i)),
        ScalarValue::UInt32(Some(i)) => integer(i64::from(*i)),
        ScalarValue::UInt64(Some(i)) => integer(i64::try_from(*i).ok()?),
        ScalarValue::Date32(Some(d)) => Some((Value::Date(*d), ColumnType::Date)),
        ScalarValue::TimestampSecond(Some(t), None) => day(*t, 86_400).map(|d| (Value::Date(d), ColumnType::Date)),
        ScalarValue::TimestampMillisecond(Some(t), None) => {
            day(*t, 86_400_000).map(|d| (Value::Date(d), ColumnType::Date))
        }
        ScalarValue::TimestampMicrosecond(Some(t), None) => {
            day(*t, 86_400_000_000).map(|d| (Value::Date(d), ColumnType::Date))
        }
        ScalarValue::TimestampNanosecond(Some(t), None) => {
            day(*t, 86_400_000_000_000).map(|d| (Value::Date(d), ColumnType::Date))
        }
        ScalarValue::Decimal128(Some(units), _, scale) => Some((Value::Decimal(*units), ColumnType::Decimal(*scale))),
        _ => None,
    }
}

/// The value in one row of a column of a contract type; `None` where the array has another type.
#[must_use]
pub fn value_at(values: &ArrayRef, kind: ColumnType, row: usize) -> Option<Value> {
    if values.is_null(row) {
        return Some(Value::Null);
    }
    match kind {
        ColumnType::Text => values.as_string_opt::<i32>().map(|a| Value::Text(a.value(row).into())),
        ColumnType::Integer => values.as_primitive_opt::<Int64Type>().map(|a| Value::Integer(a.value(row))),
        ColumnType::Date => values.as_primitive_opt::<Date32Type>().map(|a| Value::Date(a.value(row))),
        ColumnType::Boolean => values.as_boolean_opt().map(|a| Value::Boolean(a.value(row))),
        ColumnType::Decimal(_) => values.as_primitive_opt::<Decimal128Type>().map(|a| Value::Decimal(a.value(row))),
    }
}

/// The literal as a value of another number type, where that is exact.
pub(super) fn rescaled(value: Value, from: ColumnType, to: ColumnType) -> Option<Value> {
    let (units, from_scale) = match (&value, from) {
        (Value::Null, _) => return Some(Value::Null),
        (Value::Integer(i), _) => (i128::from(*i), 0),
        (Value::Decimal(d), ColumnType::Decimal(scale)) => (*d, scale),
        _ => return (from == to).then_some(value),
    };
    let to_scale = match to {
        ColumnType::Integer => 0,
        ColumnType::Decimal(scale) => scale,
        _ => return None,
    };
    let power = |n: i8| 10_i128.checked_pow(u32::try_from(n).ok()?);
    let units = if to_scale >= from_scale {
        units.checked_mul(power(to_scale - from_scale)?)?
    } else {
        let divisor = power(from_scale - to_scale)?;
        (units % divisor == 0).then_some(units / divisor)?
    };
    match to {
        ColumnType::Integer => i64::try_from(units).ok().map(Value::Integer),
        _ => Some(Value::Decimal(units)),
    }
}

/// Whether a cast from one family to another changes no value.
pub(super) fn keeps_values(from: Family, to: Family) -> bool {
    match (from, to) {
        (Family::Other, _) => false,
        (Family::Integer, Family::Decimal(_)) => true,
        (Family::Decimal(a), Family::Decimal(b)) => a <= b,
        (from, to) => from == to,
    }
}

/// The value of an expression that reads no column: literals under casts, date arithmetic, the clock. Evaluated
/// alone, never within a condition: the engine's rewriting of conditions does not keep NULLs. `None`: it reads one.
#[must_use]
pub fn constant(expr: &Expr) -> Option<ScalarValue> {
    if let Expr::Literal(literal, _) = expr {
        return Some(literal.clone());
    }
    let subquery = |e: &Expr| matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_));
    if !expr.column_refs().is_empty() || expr.exists(|e| Ok(subquery(e))).unwrap_or(true) {
        return None;
    }
    let context = SimplifyContext::builder().with_schema(Arc::new(DFSchema::empty())).with_current_time().build();
    match ExprSimplifier::new(context).simplify(expr.clone()).ok()? {
        Expr::Literal(literal, _) => Some(literal),
        _ => None,
    }
}

/// An expression without its outer casts and names.
#[must_use]
pub fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => bare(&cast.expr),
        Expr::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}
