//! Formats of dates in the signs of other databases. The engine would print `YYYY-MM` for every date, and minutes for the
//! `%M` of MySQL, so that all months of a year became one.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, visit_expressions};
use loda_question::{Refusal, Rule};

/// The signs that say something of a date, and the same in most databases.
const SIGNS: &str = "YymbBdejF%";

/// Refuses a format of a date without a sign that is read here.
///
/// # Errors
/// Rule `function-not-allowed`.
pub(crate) fn check(parsed: &Parsed) -> Result<(), Refusal> {
    let statement = match parsed {
        Parsed::Statement(statement) => statement.as_ref(),
        Parsed::Explain(explain) => return check(&explain.statement),
        _ => return Ok(()),
    };
    let found = visit_expressions(statement, |expr| match format_of(expr) {
        Some(format) if !is_readable(&format) => ControlFlow::Break(format),
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(format) => Err(Refusal::new(
            Rule::Function,
            format!("'{format}' is no format of a date here"),
            "Write %Y for the year, %m for the month and %d for the day: TO_CHAR(month, '%Y-%m')",
        )),
    }
}

/// Whether a format has a sign, and each of its signs is read here.
fn is_readable(format: &str) -> bool {
    let mut signs = format.split('%').skip(1).peekable();
    signs.peek().is_some() && signs.all(|sign| sign.starts_with(|c| SIGNS.contains(c)) || sign.is_empty())
}

fn format_of(expr: &Expr) -> Option<String> {
    let Expr::Function(call) = expr else { return None };
    let name = call.name.to_string().to_lowercase();
    let FunctionArguments::List(list) = &call.args else { return None };
    match (name.as_str(), list.args.as_slice()) {
        ("to_char" | "date_format", [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(format)))]) => {
            format.value.clone().into_string()
        }
        _ => None,
    }
}
