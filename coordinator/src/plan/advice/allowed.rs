//! Figures that protection refuses, as the nearest that it allows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident,
    OrderByKind, Query, Select, SelectItem, SetExpr, Statement, VisitMut, VisitorMut, visit_expressions_mut,
};

use super::clauses::has_figure;
use super::names::{Names, name_of, parsed};
use super::protected::borough_of_tables;

/// The most statements that are tried in place of one that combines too many columns.
const MOST_TRIED: usize = 12;

/// The statement with fewer columns: without one key of GROUP BY, then without two.
pub(super) fn with_fewer_columns(statement: &Statement) -> Vec<Statement> {
    let keys = in_grouped(&mut statement.clone(), &mut |query| keys_of(select_of(query)?)).unwrap_or_default();
    let mut left_out: Vec<Vec<Expr>> = Vec::new();
    if keys.len() > 1 {
        left_out.extend(keys.iter().rev().map(|key| vec![key.clone()]));
    }
    if keys.len() > 2 {
        let pairs = keys.iter().rev().enumerate().flat_map(|(at, one)| {
            let others = keys.iter().rev().skip(at.saturating_add(1));
            others.map(move |other| vec![one.clone(), other.clone()])
        });
        left_out.extend(pairs);
    }
    let without = |keys: Vec<Expr>| {
        let mut fewer = statement.clone();
        in_grouped(&mut fewer, &mut |query| leave_out(query, &keys))?;
        Some(fewer)
    };
    left_out.into_iter().take(MOST_TRIED).filter_map(without).collect()
}

/// Counts units in place of a row for each of them.
pub(super) fn counted_units(statement: &mut Statement, names: &Names) {
    in_grouped(statement, &mut |query| {
        let keys = keys_of(select_of(query)?)?;
        let units: Vec<Expr> =
            keys.into_iter().filter(|key| name_of(key).is_some_and(|name| names.is_unit(name))).collect();
        let unit = units.first()?.clone();
        leave_out(query, &units)?;
        let select = select_of(query)?;
        if keys_of(select)?.is_empty()
            && let Some(borough) = borough_of_tables(&select.from, names)
        {
            let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return None };
            keys.push(borough);
        }
        let shown: Vec<String> = select.projection.iter().map(ToString::to_string).collect();
        let hidden: Vec<Expr> = keys_of(select)?.into_iter().filter(|key| !shown.contains(&key.to_string())).collect();
        if hidden.len() == keys_of(select)?.len() {
            select.projection.splice(0..0, hidden.into_iter().map(SelectItem::UnnamedExpr));
        }
        let expr = parsed(&format!("COUNT(DISTINCT {unit})"))?;
        select.projection.push(SelectItem::ExprWithAlias { expr, alias: Ident::new("units") });
        // What is left out may be named by conditions on groups.
        select.having = None;
        Some(())
    });
}

/// The highest and the lowest percentile in place of the greatest and the least value.
pub(super) fn percentiles(statement: &mut Statement, names: &Names) {
    let _whole: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
        if let Some(percentile) = percentile(expr, names) {
            *expr = percentile;
        }
        ControlFlow::Continue(())
    });
}

fn percentile(expr: &Expr, names: &Names) -> Option<Expr> {
    let Expr::Function(call) = expr else { return None };
    let FunctionArguments::List(list) = &call.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(of))] = list.args.as_slice() else { return None };
    let share = match call.name.to_string().to_lowercase().as_str() {
        "max" => "0.99",
        "min" => "0.01",
        _ => return None,
    };
    let plain = call.over.is_none() && list.clauses.is_empty();
    let all = !matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct));
    names.edges(name_of(of)?).filter(|_| plain && all)?;
    let filter = call.filter.as_ref().map(|condition| format!(" FILTER (WHERE {condition})")).unwrap_or_default();
    parsed(&format!("PERCENTILE_CONT({share}) WITHIN GROUP (ORDER BY {of}){filter}"))
}

/// Bands at the declared edges in place of a measure's own values as a key, and the nearest edge beside one in a
/// condition.
pub(super) fn banded(statement: &mut Statement, names: &Names) {
    let _whole: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
        if let Some(at_edge) = at_edge(expr, names) {
            *expr = at_edge;
        }
        ControlFlow::Continue(())
    });
    in_grouped(statement, &mut |query| {
        let select = select_of(query)?;
        let keys = keys_of(select)?;
        let measure = keys.iter().find(|key| name_of(key).is_some_and(|name| names.edges(name).is_some()))?.clone();
        let edges = names.edges(name_of(&measure)?)?;
        let mut cases = Vec::new();
        let mut from: Option<&str> = None;
        for edge in edges {
            let band = from.map_or_else(|| format!("below {edge}"), |from| format!("{from} to below {edge}"));
            cases.push(format!("WHEN {measure} < {edge} THEN '{band}'"));
            from = Some(edge);
        }
        let bands = parsed(&format!("CASE {} ELSE '{} or more' END", cases.join(" "), from?))?;
        let name = Ident::new(format!("{}_band", name_of(&measure)?));
        let is_measure = |expr: &Expr| *expr == measure;
        for item in &mut select.projection {
            if matches!(item, SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } if is_measure(expr))
            {
                *item = SelectItem::ExprWithAlias { expr: bands.clone(), alias: name.clone() };
            }
        }
        let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return None };
        *keys = keys.iter().map(|key| if is_measure(key) { bands.clone() } else { key.clone() }).collect();
        query.order_by = None;
        Some(())
    });
}

/// `cost >= 500.00` for `cost > 300`: at or above an edge, or below one.
fn at_edge(expr: &Expr, names: &Names) -> Option<Expr> {
    use BinaryOperator::{Gt, GtEq, Lt, LtEq};
    let Expr::BinaryOp { left, op: op @ (Gt | GtEq | Lt | LtEq), right } = expr else { return None };
    let edges = names.edges(name_of(left)?)?;
    let number: f64 = right.to_string().parse().ok()?;
    let off = |edge: &&String| edge.parse().map_or(f64::INFINITY, |edge: f64| (edge - number).abs());
    let nearest = edges.iter().min_by(|a, b| off(a).total_cmp(&off(b)))?;
    let above = matches!(op, Gt | GtEq);
    parsed(&format!("{left} {} {nearest}", if above { ">=" } else { "<" }))
}

/// Calls a function with the first query, from the outside in, whose SELECT groups by plain keys and has a figure.
/// GROUP BY names the keys there, and not their places.
fn in_grouped<T>(statement: &mut Statement, call: &mut dyn FnMut(&mut Query) -> Option<T>) -> Option<T> {
    struct Grouped<'a, T>(&'a mut dyn FnMut(&mut Query) -> Option<T>);
    impl<T> VisitorMut for Grouped<'_, T> {
        type Break = Option<T>;

        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
            let Some(select) = select_of(query) else { return ControlFlow::Continue(()) };
            if !select.projection.iter().any(has_figure) || !name_keys(select) {
                return ControlFlow::Continue(());
            }
            ControlFlow::Break((self.0)(query))
        }
    }
    match statement.visit(&mut Grouped(call)) {
        ControlFlow::Break(found) => found,
        ControlFlow::Continue(()) => None,
    }
}

fn select_of(query: &mut Query) -> Option<&mut Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

/// Puts expressions of the SELECT list in place of their numbers and names in GROUP BY. Whether there are keys, and all
/// are plain.
fn name_keys(select: &mut Select) -> bool {
    let Select { projection, group_by: GroupByExpr::Expressions(keys, modifiers), .. } = select else { return false };
    let sets = |key: &Expr| matches!(key, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_));
    if keys.is_empty() || !modifiers.is_empty() || keys.iter().any(sets) {
        return false;
    }
    for key in keys.iter_mut() {
        let text = key.to_string();
        let place = text.parse::<usize>().ok().and_then(|number| projection.get(number.checked_sub(1)?));
        let is_named = |item: &&SelectItem| match item {
            SelectItem::ExprWithAlias { alias, .. } => alias.value == text && !has_figure(item),
            _ => false,
        };
        let meant = place.or_else(|| projection.iter().find(is_named));
        if let Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = meant {
            *key = expr.clone();
        }
    }
    true
}

fn keys_of(select: &Select) -> Option<Vec<Expr>> {
    match &select.group_by {
        GroupByExpr::Expressions(keys, _) => Some(keys.clone()),
        GroupByExpr::All(_) => None,
    }
}

/// Leaves keys out of GROUP BY, of the SELECT list and of ORDER BY.
fn leave_out(query: &mut Query, left_out: &[Expr]) -> Option<()> {
    let select = select_of(query)?;
    let mut names: Vec<String> = left_out.iter().map(ToString::to_string).collect();
    select.projection.retain(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } if left_out.contains(expr) => {
            names.push(alias.to_string());
            false
        }
        SelectItem::UnnamedExpr(expr) => !left_out.contains(expr),
        _ => true,
    });
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return None };
    keys.retain(|key| !left_out.contains(key));
    if let Some(order) = &mut query.order_by {
        // A place in the SELECT list may be another now.
        let OrderByKind::Expressions(by) = &mut order.kind else { return None };
        by.retain(|key| {
            let text = key.expr.to_string();
            text.parse::<usize>().is_err() && !names.contains(&text)
        });
        if by.is_empty() {
            query.order_by = None;
        }
    }
    Some(())
}
