//! One column's sum or mean under several types in one SELECT.
//!
//! The engine names a figure without its casts, so `SUM(x)` and `SUM(CAST(x AS DOUBLE))` would have one name. They are one
//! figure, so the second is written as a cast of it: `CAST(SUM(x) AS DOUBLE)`. Tools ask for both.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Select, SelectItem, VisitorMut,
    visit_expressions, visit_expressions_mut,
};

pub(super) struct CastFigures;

impl VisitorMut for CastFigures {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        // The figures without their casts, and the ways in which each is written.
        let mut written: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for item in &select.projection {
            let _whole: ControlFlow<()> = visit_expressions(item, |expr| {
                if let Some((name, arg)) = figure(expr) {
                    written.entry(format!("{name}({})", bare(arg))).or_default().insert(expr.to_string());
                }
                ControlFlow::Continue(())
            });
        }
        written.retain(|_, ways| ways.len() > 1);
        if written.is_empty() {
            return ControlFlow::Continue(());
        }
        for item in &mut select.projection {
            let name = item.to_string();
            if cast_outside(item, &written)
                && let SelectItem::UnnamedExpr(expr) = item
            {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', name) };
            }
        }
        if let Some(having) = &mut select.having {
            cast_outside(having, &written);
        }
        ControlFlow::Continue(())
    }
}

/// Casts figures instead of what they add up. Returns whether there was one.
fn cast_outside(
    part: &mut impl datafusion::sql::sqlparser::ast::VisitMut,
    written: &BTreeMap<String, BTreeSet<String>>,
) -> bool {
    let mut changed = false;
    let _whole: ControlFlow<()> = visit_expressions_mut(part, |expr| {
        if let Some((name, arg)) = figure(expr)
            && written.contains_key(&format!("{name}({})", bare(arg)))
            && let Some(cast) = outside(expr)
        {
            *expr = cast;
            changed = true;
        }
        ControlFlow::Continue(())
    });
    changed
}

/// A plain SUM or AVG of one expression.
fn figure(expr: &Expr) -> Option<(String, &Expr)> {
    let Expr::Function(call) = expr else { return None };
    let name = call.name.to_string().to_lowercase();
    let FunctionArguments::List(list) = &call.args else { return None };
    let plain = list.duplicate_treatment.is_none() && list.clauses.is_empty();
    let alone = call.over.is_none() && call.filter.is_none() && call.within_group.is_empty();
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))]
            if plain && alone && ["sum", "avg"].contains(&name.as_str()) =>
        {
            Some((name, arg))
        }
        _ => None,
    }
}

/// An expression without the casts around it.
fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => bare(expr),
        other => other,
    }
}

/// The figure of the expression inside the cast, cast. Only to a floating-point number: other types would change what is
/// added up.
fn outside(figure: &Expr) -> Option<Expr> {
    let mut call = figure.clone();
    let Expr::Function(function) = &mut call else { return None };
    let FunctionArguments::List(list) = &mut function.args else { return None };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))) = list.args.first_mut() else { return None };
    let Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None } = arg else { return None };
    if !matches!(data_type, DataType::Double(_) | DataType::DoublePrecision | DataType::Float8) {
        return None;
    }
    let (inner, data_type) = (expr.as_ref().clone(), data_type.clone());
    *arg = inner;
    Some(Expr::Cast { kind: CastKind::Cast, expr: Box::new(call), data_type, array: false, format: None })
}
