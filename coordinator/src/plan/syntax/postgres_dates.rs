//! Functions of dates as PostgreSQL and its tools write them.
//!
//! | written | read |
//! |---|---|
//! | `TO_CHAR(month, 'YYYY-MM')` | `TO_CHAR(month, '%Y-%m')` |
//! | `TO_DATE('2025-01-31', 'YYYY-MM-DD')` | `DATE '2025-01-31'` |
//! | `TO_TIMESTAMP('2025-01-31 00:00:00', 'YYYY-MM-DD HH24:MI:SS')` | `TIMESTAMP '2025-01-31 00:00:00'` |
//! | `DATE(month)` | `CAST(month AS DATE)` |
//!
//! The engine has other signs for formats, and no other format is read: PostgreSQL's `MON` gives capitals, and its `Month`
//! adds spaces.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, TimezoneInfo, TypedString, Value,
    ValueWithSpan, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

/// Signs of PostgreSQL's formats, and the same in C.
const SIGNS: [(&str, &str); 8] = [
    ("YYYY", "%Y"),
    ("yyyy", "%Y"),
    ("MM", "%m"),
    ("mm", "%m"),
    ("DD", "%d"),
    ("dd", "%d"),
    ("Mon", "%b"),
    ("FMMonth", "%B"),
];

/// Writes them as the engine reads them.
pub(super) struct PostgresDates;

impl VisitorMut for PostgresDates {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(read) = read(expr) {
            *expr = read;
        }
        ControlFlow::Continue(())
    }
}

fn read(expr: &Expr) -> Option<Expr> {
    let Expr::Function(call) = expr else { return None };
    let FunctionArguments::List(list) = &call.args else { return None };
    let plain = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    let plain_call = list.duplicate_treatment.is_none()
        && list.clauses.is_empty()
        && call.over.is_none()
        && call.filter.is_none()
        && call.within_group.is_empty();
    if !plain_call {
        return None;
    }
    let args = list.args.iter().map(plain).collect::<Option<Vec<Expr>>>()?;
    match (call.name.to_string().to_lowercase().as_str(), args.as_slice()) {
        ("to_char", [_, format]) => {
            let mut call = call.clone();
            let FunctionArguments::List(list) = &mut call.args else { return None };
            let signs = Value::SingleQuotedString(signs(&text(format)?)?);
            *list.args.last_mut()? = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::value(signs)));
            Some(Expr::Function(call))
        }
        ("to_date", [date, format @ ..]) => {
            let written = match format {
                [] => true,
                [format] => text(format)?.eq_ignore_ascii_case("YYYY-MM-DD"),
                _ => false,
            };
            let date = text(date)?;
            (written && is_shaped(&date, "0000-00-00")).then(|| typed(DataType::Date, date))
        }
        ("to_timestamp", [time, format]) => {
            let (time, format) = (text(time)?, text(format)?.to_uppercase());
            let shape = match format.strip_prefix("YYYY-MM-DD HH24:MI:SS")? {
                "" => "0000-00-00 00:00:00",
                ".MS" => "0000-00-00 00:00:00.000",
                ".US" => "0000-00-00 00:00:00.000000",
                _ => return None,
            };
            is_shaped(&time, shape).then(|| typed(DataType::Timestamp(None, TimezoneInfo::None), time))
        }
        ("date", [of]) if text(of).is_none() => Some(Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(of.clone()),
            data_type: DataType::Date,
            array: false,
            format: None,
        }),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => value.value.clone().into_string(),
        _ => None,
    }
}

fn typed(data_type: DataType, text: String) -> Expr {
    let value = ValueWithSpan { value: Value::SingleQuotedString(text), span: Span::empty() };
    Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false })
}

/// Whether a text has the digits of a shape at its places, and its other characters at theirs.
fn is_shaped(text: &str, shape: &str) -> bool {
    let same = |(c, s): (char, char)| if s == '0' { c.is_ascii_digit() } else { c == s };
    text.len() == shape.len() && text.chars().zip(shape.chars()).all(same)
}

/// A format in the signs of C. `None`: it has a letter that is no sign here.
fn signs(format: &str) -> Option<String> {
    let mut rest = format;
    let mut signs = String::new();
    while let Some(next) = rest.chars().next() {
        if let Some((there, here)) = SIGNS.iter().find(|(there, _)| rest.starts_with(there)) {
            signs.push_str(here);
            rest = rest.strip_prefix(there)?;
        } else if next.is_alphanumeric() || next == '%' || next == '"' {
            return None;
        } else {
            signs.push(next);
            rest = rest.strip_prefix(next)?;
        }
    }
    signs.contains('%').then_some(signs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_with_other_signs_stay_as_they_are() {
        assert_eq!(signs("YYYY-MM-DD").as_deref(), Some("%Y-%m-%d"));
        assert_eq!(signs("Mon YYYY").as_deref(), Some("%b %Y"));
        for other in ["MON", "Month", "HH24", "%Y", "", "-", "Q", "\"x\"YYYY"] {
            assert_eq!(signs(other), None, "{other}");
        }
    }
}
