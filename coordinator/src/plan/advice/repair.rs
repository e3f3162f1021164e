//! A statement of another dialect, or with a slip, as it can be asked here.
//!
//! A repair is a guess from the words alone. The planner plans it before anybody sees it, so that advice that is pasted
//! back runs; what cannot be planned is never advised. Nothing is asked that was not written: the first refusal stands.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Select, SelectItem, SetExpr, Statement, Value, ValueWithSpan, VisitMut,
    VisitorMut, visit_expressions, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::parser::Parser;

use super::allowed::{banded, counted_units, percentiles, with_fewer_columns};
use super::clauses::{Clauses, Grouping};
use super::dialects::{dialects, translated};
use super::engine_errors::Cause;
use super::literals::{iso_date_month_first, typed, weeks_as_months};
use super::names::{Names, column_of, is_comparison, name_of, named, parsed};
use super::nearest::nearest_name;
use super::protected::{called, counted, within_boroughs};
use crate::plan::syntax::sql_bounds::readable_in;

/// A longer statement is not advised: nobody would find the change.
const MAX_ADVICE: usize = 2_000;

/// The statement with what can be mended mended, the likeliest first. None: nothing can be, or the result is too long to
/// read.
pub(crate) fn repaired(sql: &str, cause: &Cause, names: &Names) -> Vec<String> {
    attempts(sql, cause, names).unwrap_or_default()
}

fn attempts(sql: &str, cause: &Cause, names: &Names) -> Option<Vec<String>> {
    if sql.len() > MAX_ADVICE {
        return None;
    }
    let straight = straightened(sql);
    let parsed_in = |dialect: &dyn Dialect| {
        readable_in(dialect, &straight).ok()?;
        Parser::parse_sql(dialect, &straight).ok()
    };
    let mut statements = dialects(&straight).iter().find_map(|dialect| parsed_in(dialect.as_ref()))?;
    let (statement, None) = (statements.pop()?, statements.pop()) else { return None };
    let mut statement = statement;
    let before = statement.to_string();
    let _whole: ControlFlow<()> = statement.visit(&mut Clauses);
    let _whole: ControlFlow<()> = visit_expressions_mut(&mut statement, |expr| {
        if let Some(here) = translated(expr) {
            *expr = here;
        }
        ControlFlow::Continue(())
    });
    let _whole: ControlFlow<()> = statement.visit(&mut Grouping);
    let meant = match cause {
        Cause::Columns => with_fewer_columns(&statement),
        cause => {
            of_cause(&mut statement, cause, names);
            vec![statement]
        }
    };
    // A text that the generic dialect does not read has been changed by being read and written.
    let foreign = Parser::parse_sql(&GenericDialect {}, sql).is_err();
    let written = meant.into_iter().map(|mut statement| {
        let _whole: ControlFlow<()> = visit_expressions_mut(&mut statement, |expr| {
            typed(expr, names);
            ControlFlow::Continue(())
        });
        statement.to_string()
    });
    Some(written.filter(|after| (foreign || *after != before) && after.len() <= MAX_ADVICE).collect())
}

/// A text with straight quotes, and with the dates of Access as other databases write them.
fn straightened(sql: &str) -> String {
    let sql = sql.replace(['\u{2018}', '\u{2019}'], "'").replace(['\u{201c}', '\u{201d}'], "\"");
    let mut parts = sql.split('#');
    let mut out = parts.next().unwrap_or_default().to_owned();
    let mut rest: Vec<&str> = parts.collect();
    while rest.len() >= 2 {
        let (date, after) = (rest.remove(0), rest.remove(0));
        match iso_date_month_first(date) {
            Some(date) => out.push_str(&format!("'{date}'{after}")),
            None => out.push_str(&format!("#{date}#{after}")),
        }
    }
    rest.iter().for_each(|part| out.push_str(&format!("#{part}")));
    out
}

fn of_cause(statement: &mut Statement, cause: &Cause, names: &Names) {
    match cause {
        Cause::Table(wrong) => {
            let tables = names.tables();
            let Some(meant) = nearest_name(wrong, tables.iter().map(String::as_str)) else { return };
            let _whole: ControlFlow<()> = statement.visit(&mut Renamed { wrong, meant });
        }
        Cause::Column(wrong, known) => {
            // A text in double quotes is a name in SQL. Beside a column it is a text that was meant.
            if texts_for_names(statement, wrong, names) {
                return;
            }
            // WHERE knows no name of the SELECT list.
            let mut aliases = Aliases { wrong, found: false };
            let _whole: ControlFlow<()> = statement.visit(&mut aliases);
            if aliases.found {
                return;
            }
            let Some(meant) = nearest_name(wrong, known.iter().map(String::as_str)) else { return };
            let meant = meant.to_owned();
            each_name(statement, |ident| {
                if ident.value.eq_ignore_ascii_case(wrong) {
                    *ident = named(&meant);
                }
            });
        }
        Cause::Ambiguous(column) => {
            let Some(first) = first_table(statement) else { return };
            let _whole: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
                if let Expr::Identifier(ident) = expr
                    && ident.value.eq_ignore_ascii_case(column)
                {
                    *expr = Expr::CompoundIdentifier(vec![first.clone(), ident.clone()]);
                }
                ControlFlow::Continue(())
            });
        }
        Cause::Value { column, said, near: Some(near) } => {
            let Some(near) = parsed(near) else { return };
            let _whole: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
                beside(expr, column, &mut |literal| {
                    if is_said(literal, said) {
                        *literal = near.clone();
                    }
                });
                ControlFlow::Continue(())
            });
        }
        Cause::Function => {
            let _whole: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
                weeks_as_months(expr, names);
                ControlFlow::Continue(())
            });
        }
        Cause::Rows => counted(statement, names),
        Cause::Linkage => within_boroughs(statement, names),
        Cause::Units => counted_units(statement, names),
        Cause::Extreme => percentiles(statement, names),
        Cause::Bands => banded(statement, names),
        Cause::Value { near: None, .. } | Cause::Columns | Cause::Other => {}
    }
}

/// Expressions of the SELECT list in place of their names in WHERE.
struct Aliases<'a> {
    wrong: &'a str,
    found: bool,
}

impl VisitorMut for Aliases<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let named = select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if alias.value.eq_ignore_ascii_case(self.wrong) => Some(expr),
            _ => None,
        });
        let (Some(named), Some(condition)) = (named.cloned(), select.selection.as_mut()) else {
            return ControlFlow::Continue(());
        };
        visit_expressions_mut(condition, |expr| {
            if matches!(expr, Expr::Identifier(ident) if ident.value.eq_ignore_ascii_case(self.wrong)) {
                *expr = named.clone();
                self.found = true;
            }
            ControlFlow::Continue(())
        })
    }
}

fn is_said(literal: &Expr, said: &str) -> bool {
    match literal {
        Expr::UnaryOp { .. } => literal.to_string() == said,
        Expr::TypedString(date) => date.value.value.clone().into_string().as_deref() == Some(said),
        Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => number == said,
        Expr::Value(value) => value.value.clone().into_string().as_deref() == Some(said),
        _ => false,
    }
}

/// Calls a function with each operand that stands beside an expression over a column.
fn beside(expr: &mut Expr, column: &str, change: &mut dyn FnMut(&mut Expr)) {
    match expr {
        Expr::BinaryOp { left, op, right } if is_comparison(op) => {
            if reads(left, column) {
                change(right);
            } else if reads(right, column) {
                change(left);
            }
        }
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) if reads(left, column) => {
            change(right)
        }
        Expr::InList { expr, list, .. } if reads(expr, column) => list.iter_mut().for_each(change),
        Expr::Between { expr, low, high, .. } if reads(expr, column) => {
            change(low);
            change(high);
        }
        Expr::Like { expr, pattern, .. } | Expr::ILike { expr, pattern, .. } if reads(expr, column) => change(pattern),
        Expr::Case { operand: Some(of), conditions, .. } if reads(of, column) => {
            conditions.iter_mut().for_each(|when| change(&mut when.condition));
        }
        _ => {}
    }
}

fn reads(expr: &Expr, column: &str) -> bool {
    visit_expressions(expr, |e| match name_of(e) {
        Some(name) if name.eq_ignore_ascii_case(column) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// Makes texts of names that no column has and that stand beside a column. Whether there was one.
fn texts_for_names(statement: &mut Statement, wrong: &str, names: &Names) -> bool {
    let mut found = false;
    let mut text = |expr: &mut Expr| {
        if let Expr::Identifier(ident) = &*expr
            && ident.value.eq_ignore_ascii_case(wrong)
        {
            *expr = Expr::value(Value::SingleQuotedString(ident.value.clone()));
            found = true;
        }
    };
    let _whole: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
        match expr {
            Expr::BinaryOp { left, op, right } if is_comparison(op) => {
                if column_of(left, names).is_some() {
                    text(right);
                } else if column_of(right, names).is_some() {
                    text(left);
                }
            }
            Expr::InList { expr, list, .. } if column_of(expr, names).is_some() => list.iter_mut().for_each(&mut text),
            Expr::Like { expr, pattern, .. } | Expr::ILike { expr, pattern, .. }
                if column_of(expr, names).is_some() =>
            {
                text(pattern);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    if !found {
        // Elsewhere, such as in COALESCE, double quotes alone say that a text is meant.
        let _whole: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
            if let Expr::Identifier(ident) = &*expr
                && ident.value == wrong
                && ident.quote_style == Some('"')
            {
                *expr = Expr::value(Value::SingleQuotedString(ident.value.clone()));
                found = true;
            }
            ControlFlow::Continue(())
        });
    }
    found
}

fn each_name(statement: &mut Statement, mut change: impl FnMut(&mut Ident)) {
    let _whole: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
        match expr {
            Expr::Identifier(ident) => change(ident),
            Expr::CompoundIdentifier(parts) => {
                if let Some(last) = parts.last_mut() {
                    change(last);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
}

/// The name by which the first table of a statement is called.
fn first_table(statement: &Statement) -> Option<Ident> {
    let Statement::Query(query) = statement else { return None };
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    called(&select.from.first()?.relation)
}

/// One table under another name.
struct Renamed<'a> {
    wrong: &'a str,
    meant: &'a str,
}

impl VisitorMut for Renamed<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        // BigQuery quotes the whole path of a table.
        if let Some(ObjectNamePart::Identifier(last)) = relation.0.last()
            && last.value.rsplit('.').next().is_some_and(|name| name.eq_ignore_ascii_case(self.wrong))
        {
            *relation = ObjectName(vec![ObjectNamePart::Identifier(named(self.meant))]);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [table, _] = parts.as_mut_slice()
            && table.value.eq_ignore_ascii_case(self.wrong)
        {
            *table = named(self.meant);
        }
        ControlFlow::Continue(())
    }
}
