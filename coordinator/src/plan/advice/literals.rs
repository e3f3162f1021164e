//! Literals in the type of the column beside them.

use datafusion::arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value, ValueWithSpan,
};

use super::names::{NamedColumn, Names, column_of, is_comparison, is_plain, parsed};

/// Literals in the type of the column beside them.
pub(super) fn typed(expr: &mut Expr, names: &Names) {
    match expr {
        Expr::BinaryOp { left, op, right } if is_comparison(op) => {
            let swapped = number_codes(right, &swapped(op), left, names);
            if let Some(codes) = number_codes(left, op, right, names).or(swapped) {
                *expr = codes;
                return;
            }
            // Texts have an order of letters, which nobody means by a number.
            let equal = matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq);
            if let Some(column) = column_of(left, names) {
                retyped(right, column, equal);
            } else if let Some(column) = column_of(right, names) {
                retyped(left, column, equal);
            }
        }
        // `tenure = 'A' OR 'B'`: one of the two is meant.
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } if is_text(right) => {
            if let Expr::BinaryOp { left: of, op: BinaryOperator::Eq, right: first } = left.as_ref() {
                let list = vec![first.as_ref().clone(), right.as_ref().clone()];
                *expr = Expr::InList { expr: of.clone(), list, negated: false };
            }
        }
        // SUM(flag) counts.
        Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("sum") => {
            if let FunctionArguments::List(list) = &call.args
                && is_plain(call, list)
                && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(flag))] = list.args.as_slice()
                && (is_condition(flag) || column_of(flag, names).is_some_and(|c| c.kind == DataType::Boolean))
                && let Some(counted) = parsed(&format!("COUNT(*) FILTER (WHERE {flag})"))
            {
                *expr = counted;
            }
        }
        Expr::InList { expr, list, .. } => {
            if let Some(column) = column_of(expr, names) {
                list.iter_mut().for_each(|item| retyped(item, column, true));
            }
        }
        Expr::Between { expr, low, high, .. } => {
            if let Some(column) = column_of(expr, names) {
                retyped(low, column, false);
                retyped(high, column, false);
            }
        }
        _ => {}
    }
}

/// `date_trunc('week', month)` by the month: no date of a dataset is finer.
pub(super) fn weeks_as_months(expr: &mut Expr, names: &Names) {
    let Expr::Function(call) = expr else { return };
    let FunctionArguments::List(list) = &mut call.args else { return };
    if call.name.to_string().eq_ignore_ascii_case("date_trunc")
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(part)), FunctionArg::Unnamed(FunctionArgExpr::Expr(of))] =
            list.args.as_mut_slice()
        && part.to_string().eq_ignore_ascii_case("'week'")
        && column_of(of, names).is_some_and(|column| column.kind == DataType::Date32)
    {
        *part = Expr::value(Value::SingleQuotedString("month".to_owned()));
    }
}

fn swapped(op: &BinaryOperator) -> BinaryOperator {
    match op {
        BinaryOperator::Lt => BinaryOperator::Gt,
        BinaryOperator::LtEq => BinaryOperator::GtEq,
        BinaryOperator::Gt => BinaryOperator::Lt,
        BinaryOperator::GtEq => BinaryOperator::LtEq,
        other => other.clone(),
    }
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.value.clone().into_string().is_some())
}

fn is_condition(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryOp { op, .. } => is_comparison(op),
        Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::InList { .. } | Expr::Between { .. } | Expr::Like { .. } => true,
        Expr::Nested(inner) => is_condition(inner),
        _ => false,
    }
}

fn retyped(literal: &mut Expr, column: &NamedColumn, equal: bool) {
    let Expr::Value(ValueWithSpan { value, .. }) = &*literal else { return };
    let text = match value {
        Value::Number(number, _) => number.clone(),
        Value::Boolean(truth) => truth.to_string(),
        other => match other.clone().into_string() {
            Some(text) => text,
            None => return,
        },
    };
    let is_text = !matches!(value, Value::Number(..) | Value::Boolean(_));
    let here = match (&column.kind, is_text) {
        (DataType::Utf8, false) if equal => Value::SingleQuotedString(text),
        (DataType::Boolean, _) => match text.to_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" => Value::Boolean(true),
            "false" | "f" | "no" | "n" | "0" => Value::Boolean(false),
            _ => return,
        },
        (DataType::Int64, true) if text.parse::<i64>().is_ok() => Value::Number(text, false),
        (DataType::Date32, true) => match iso_date(&text) {
            Some(date) if date != text => Value::SingleQuotedString(date),
            _ => return,
        },
        _ => return,
    };
    *literal = Expr::value(here);
}

/// A date as ISO 8601 writes it, from the orders of day, month and year that people write here.
pub(super) fn iso_date(text: &str) -> Option<String> {
    dated(text, false)
}

/// The same where a month stands before its day, as in Access.
pub(super) fn iso_date_month_first(text: &str) -> Option<String> {
    dated(text, true)
}

fn dated(text: &str, month_first: bool) -> Option<String> {
    let parts: Vec<&str> = text.split(['/', '.', '-', ' ']).collect();
    let number = |part: &str| part.parse::<u32>().ok();
    let month = |part: &str| match number(part) {
        Some(month) => Some(month),
        None => {
            const MONTHS: [&str; 12] =
                ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
            let place = MONTHS.iter().position(|name| part.to_lowercase().starts_with(name))?;
            u32::try_from(place + 1).ok()
        }
    };
    let (year, month, day) = match parts.as_slice() {
        [year, m] if year.len() == 4 => (number(year)?, month(m)?, 1),
        [m, year] if year.len() == 4 => (number(year)?, month(m)?, 1),
        [year] if year.len() == 4 => (number(year)?, 1, 1),
        [year, m, day] if year.len() == 4 => (number(year)?, month(m)?, number(day)?),
        [m, day, year] if year.len() == 4 && month_first => (number(year)?, month(m)?, number(day)?),
        [day, m, year] if year.len() == 4 => (number(year)?, month(m)?, number(day)?),
        _ => return None,
    };
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// `CAST(code AS INT) >= 3` and `code >= 3` as the list of the codes that are such numbers.
fn number_codes(left: &Expr, op: &BinaryOperator, right: &Expr, names: &Names) -> Option<Expr> {
    let of = match left {
        Expr::Cast { expr, .. } => expr,
        // Two equal texts are two equal numbers.
        _ if matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq) => return None,
        other => other,
    };
    let column = column_of(of, names).filter(|column| !column.codes.is_empty() && column.kind == DataType::Utf8)?;
    let (negative, number) = match right {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => (true, expr.as_ref()),
        other => (false, other),
    };
    let Expr::Value(ValueWithSpan { value, .. }) = number else { return None };
    let number: f64 = match value {
        Value::Number(number, _) => number.parse().ok()?,
        other if matches!(left, Expr::Cast { .. }) => other.clone().into_string()?.parse().ok()?,
        _ => return None,
    };
    let number = if negative { -number } else { number };
    let meets = |code: &&String| {
        code.parse::<f64>().is_ok_and(|code| match op {
            BinaryOperator::Eq => code == number,
            BinaryOperator::NotEq => code != number,
            BinaryOperator::Lt => code < number,
            BinaryOperator::LtEq => code <= number,
            BinaryOperator::Gt => code > number,
            _ => code >= number,
        })
    };
    let text = |code: &String| Expr::value(Value::SingleQuotedString(code.clone()));
    let list: Vec<Expr> = column.codes.iter().filter(meets).map(text).collect();
    (!list.is_empty()).then(|| Expr::InList { expr: Box::new(of.clone()), list, negated: false })
}
