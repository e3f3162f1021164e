//! Clauses that stand elsewhere in other dialects, or that were written in the wrong place.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, GroupByWithModifier, Ident, LimitClause, ObjectNamePart, OrderBy, OrderByKind,
    Query, Select, SelectFlavor, SelectItem, SetExpr, TableFactor, TopQuantity, Value, VisitorMut, visit_expressions,
};

use super::names::named;

/// Clauses that stand elsewhere here.
pub(super) struct Clauses;

impl VisitorMut for Clauses {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let by_all = |order: &OrderBy| match &order.kind {
            OrderByKind::All(_) => true,
            OrderByKind::Expressions(keys) => keys.iter().any(|key| key.expr.to_string() == "ALL"),
        };
        if query.order_by.as_ref().is_some_and(by_all) {
            query.order_by = None;
        }
        if let SetExpr::Select(select) = query.body.as_mut()
            && query.limit_clause.is_none()
            && let Some(top) = select.top.take_if(|top| !top.percent && !top.with_ties)
            && let Some(quantity) = top.quantity
        {
            let limit = match quantity {
                TopQuantity::Expr(expr) => expr,
                TopQuantity::Constant(number) => Expr::value(Value::Number(number.to_string(), false)),
            };
            query.limit_clause =
                Some(LimitClause::LimitOffset { limit: Some(limit), offset: None, limit_by: Vec::new() });
        }
        // Oracle counts rows before it groups and orders them.
        if let SetExpr::Select(select) = query.body.as_mut()
            && query.order_by.is_none()
            && matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty())
            && !select.projection.iter().any(has_figure)
        {
            let rownum = select.selection.take().map(without_rownum);
            if let Some((rest, limit)) = rownum {
                select.selection = rest;
                if let (Some(limit), None) = (limit, &query.limit_clause) {
                    query.limit_clause =
                        Some(LimitClause::LimitOffset { limit: Some(limit), offset: None, limit_by: Vec::new() });
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, with_hints, index_hints, .. } = factor {
            with_hints.clear();
            index_hints.clear();
            name.0.iter_mut().for_each(|part| {
                if let ObjectNamePart::Identifier(ident) = part {
                    requoted(ident);
                }
            });
            alias.iter_mut().for_each(|alias| requoted(&mut alias.name));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => requoted(ident),
            Expr::CompoundIdentifier(parts) => parts.iter_mut().for_each(requoted),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        select.optimizer_hints.clear();
        select.flavor = SelectFlavor::Standard;
        if let GroupByExpr::Expressions(keys, modifiers) = &mut select.group_by
            && modifiers.contains(&GroupByWithModifier::Rollup)
        {
            modifiers.clear();
            let sets = std::mem::take(keys).into_iter().map(|key| vec![key]).collect();
            keys.push(Expr::Rollup(sets));
        }
        for item in &mut select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                requoted(alias);
            }
        }
        ControlFlow::Continue(())
    }
}

/// Conditions and keys in the clause where they belong, once functions have the names that they have here.
pub(super) struct Grouping;

impl VisitorMut for Grouping {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        grouped(select);
        ControlFlow::Continue(())
    }
}

/// Backticks and square brackets as double quotes, and none where none is needed.
fn requoted(ident: &mut Ident) {
    if matches!(ident.quote_style, Some('`' | '[')) {
        *ident = named(&ident.value.clone());
    }
}

/// A condition without Oracle's ROWNUM, and the number of rows that it asked for.
fn without_rownum(condition: Expr) -> (Option<Expr>, Option<Expr>) {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            let ((a, m), (b, n)) = (without_rownum(*left), without_rownum(*right));
            (both(a, b), m.or(n))
        }
        Expr::BinaryOp { left, op: BinaryOperator::LtEq, right } if left.to_string().eq_ignore_ascii_case("rownum") => {
            (None, Some(*right))
        }
        other => (Some(other), None),
    }
}

fn both(a: Option<Expr>, b: Option<Expr>) -> Option<Expr> {
    match (a, b) {
        (Some(a), Some(b)) => Some(Expr::BinaryOp { left: Box::new(a), op: BinaryOperator::And, right: Box::new(b) }),
        (a, b) => a.or(b),
    }
}

/// Conditions on figures in HAVING, those on records in WHERE, and columns beside figures in GROUP BY.
fn grouped(select: &mut Select) {
    let (figures, records) = divided(select.selection.take());
    let (of_figures, of_records) = divided(select.having.take());
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else {
        (select.selection, select.having) = (both(figures, records), both(of_figures, of_records));
        return;
    };
    let is_key = |expr: &Expr| keys.iter().any(|key| expr.to_string().contains(&key.to_string()));
    let stays =
        of_records.as_ref().is_some_and(|condition| is_key(condition) || !select.projection.iter().any(has_figure));
    let (stay, move_up) = if stays { (of_records, None) } else { (None, of_records) };
    select.selection = both(records, move_up);
    select.having = both(both(of_figures, stay), figures);
    let sets = |key: &Expr| matches!(key, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_));
    if !select.projection.iter().any(has_figure) || keys.iter().any(sets) {
        return;
    }
    for item in &select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        let alias = match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            _ => None,
        };
        let there = |key: &Expr| {
            let key = key.to_string();
            key == expr.to_string() || alias.as_ref() == Some(&key) || key.parse::<usize>().is_ok()
        };
        if reads_a_column(expr) && !calls_figure(expr) && !keys.iter().any(there) && !is_of_keys(expr, keys) {
            keys.push(expr.clone());
        }
    }
}

/// The parts of a condition that name figures, and the others.
fn divided(condition: Option<Expr>) -> (Option<Expr>, Option<Expr>) {
    match condition {
        Some(Expr::BinaryOp { left, op: BinaryOperator::And, right }) => {
            let ((a, b), (c, d)) = (divided(Some(*left)), divided(Some(*right)));
            (both(a, c), both(b, d))
        }
        Some(expr) if calls_figure(&expr) => (Some(expr), None),
        other => (None, other),
    }
}

pub(super) fn has_figure(item: &SelectItem) -> bool {
    matches!(item, SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } if calls_figure(expr))
}

fn calls_figure(expr: &Expr) -> bool {
    const FIGURES: [&str; 11] =
        ["count", "sum", "avg", "median", "stddev", "var", "percentile_cont", "min", "max", "stddev_pop", "var_samp"];
    visit_expressions(expr, |e| match e {
        Expr::Function(call) if FIGURES.contains(&call.name.to_string().to_lowercase().as_str()) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// Whether an expression reads columns of GROUP BY alone.
fn is_of_keys(expr: &Expr, keys: &[Expr]) -> bool {
    visit_expressions(expr, |e| match e {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) if !keys.contains(e) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_continue()
}

fn reads_a_column(expr: &Expr) -> bool {
    visit_expressions(expr, |e| match e {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}
