//! Questions about records, and about units that may stand in several boroughs, as ones that can be asked.

use std::iter::once;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, DuplicateTreatment, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, Statement,
    TableFactor, TableWithJoins, VisitMut, VisitorMut, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::clauses::has_figure;
use super::names::{Names, parsed};

const BOROUGH: &str = "borough";

/// Makes a list of records a count of them: of each value where the values are asked for, else of each borough.
pub(super) fn counted(statement: &mut Statement, names: &Names) {
    let Statement::Query(query) = statement else { return };
    let Query { body, order_by, limit_clause, fetch, .. } = query.as_mut();
    let SetExpr::Select(select) = body.as_mut() else { return };
    if select.projection.iter().any(has_figure) || select.having.is_some() || select.qualify.is_some() {
        return;
    }
    let GroupByExpr::Expressions(grouped, modifiers) = &mut select.group_by else { return };
    let sets = |key: &Expr| matches!(key, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_));
    if !modifiers.is_empty() || grouped.iter().any(sets) || matches!(select.distinct, Some(Distinct::On(_))) {
        return;
    }
    let of_values = select.distinct.take().is_some();
    if !grouped.is_empty() {
        // The count of each group is what is missing.
    } else if of_values {
        let Some(columns) = select.projection.iter().map(column).collect::<Option<Vec<Expr>>>() else { return };
        *grouped = columns;
    } else {
        let Some(borough) = borough_of_tables(&select.from, names) else { return };
        *grouped = vec![borough.clone()];
        select.projection = vec![SelectItem::UnnamedExpr(borough)];
        (*order_by, *limit_clause, *fetch) = (None, None, None);
    }
    let is_n = |item: &SelectItem| item.to_string().to_lowercase().split([' ', '.', '"']).next_back() == Some("n");
    let name = if select.projection.iter().any(is_n) { "records" } else { "n" };
    if let Some(count) = parsed("COUNT(*)") {
        select.projection.push(SelectItem::ExprWithAlias { expr: count, alias: Ident::new(name) });
    }
}

/// The borough of the first table that has one.
pub(super) fn borough_of_tables(from: &[TableWithJoins], names: &Names) -> Option<Expr> {
    let tables =
        || from.iter().flat_map(|from| once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    let first = tables().find(|table| match table {
        TableFactor::Table { name, .. } => match name.0.last() {
            Some(ObjectNamePart::Identifier(name)) => names.has(&name.value, BOROUGH),
            _ => false,
        },
        _ => false,
    })?;
    Some(in_table(called(first).filter(|_| tables().count() > 1), BOROUGH))
}

fn column(item: &SelectItem) -> Option<Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)).then(|| expr.clone())
        }
        _ => None,
    }
}

/// Recognises units within their boroughs: beside each, its borough.
pub(super) fn within_boroughs(statement: &mut Statement, names: &Names) {
    let written = statement.to_string();
    let _whole: ControlFlow<()> = statement.visit(&mut Beside(names));
    let _whole: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
        if let Some(within) = counted_within(expr, names).or_else(|| equal_within(expr, names, &written)) {
            *expr = within;
        }
        ControlFlow::Continue(())
    });
}

/// `COUNT(DISTINCT person_key)` and `COUNT(DISTINCT CASE WHEN … THEN person_key END)`.
fn counted_within(expr: &Expr, names: &Names) -> Option<Expr> {
    let Expr::Function(call) = expr else { return None };
    let FunctionArguments::List(list) = &call.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(of))] = list.args.as_slice() else { return None };
    let counts = call.name.to_string().eq_ignore_ascii_case("count") && call.over.is_none();
    if !counts || !list.clauses.is_empty() || list.duplicate_treatment? != DuplicateTreatment::Distinct {
        return None;
    }
    let (unit, condition) = match of {
        Expr::Case { operand: None, conditions, else_result: None, .. } => match conditions.as_slice() {
            [only] if call.filter.is_none() => (&only.result, Some(&only.condition)),
            _ => return None,
        },
        other => (other, call.filter.as_deref()),
    };
    let borough = borough_of(unit, names)?;
    let filter = condition.map(|condition| format!(" FILTER (WHERE {condition})")).unwrap_or_default();
    parsed(&format!("COUNT(DISTINCT ({borough}, {unit})){filter}"))
}

/// `a.person_key = b.person_key`, and `a.person_key IN (SELECT person_key FROM …)`. `written`: the statement.
fn equal_within(expr: &Expr, names: &Names, written: &str) -> Option<Expr> {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            let (a, b) = (borough_of(left, names)?, borough_of(right, names)?);
            let known = [format!("{a} = {b}"), format!("{b} = {a}")].iter().any(|same| written.contains(same));
            (a != b && !known).then(|| parsed(&format!("({expr} AND {a} = {b})")))?
        }
        // NOT IN has another meaning where a value is missing.
        Expr::InSubquery { expr: unit, subquery, negated: false } => {
            let SetExpr::Select(select) = subquery.body.as_ref() else { return None };
            let plain = Select {
                projection: select.projection.clone(),
                from: select.from.clone(),
                selection: select.selection.clone(),
                ..no_clauses()?
            };
            if subquery.to_string() != plain.to_string() {
                return None;
            }
            let ([item], [from]) = (select.projection.as_slice(), select.from.as_slice()) else { return None };
            let (Expr::CompoundIdentifier(_), Expr::Identifier(of)) = (unit.as_ref(), &column(item)?) else {
                return None;
            };
            let table = called(&from.relation).filter(|_| from.joins.is_empty())?;
            let borough = borough_of(unit, names)?;
            // The inner of two tables of one name would be compared with itself.
            if borough == in_table(Some(table.clone()), BOROUGH) {
                return None;
            }
            let condition = select.selection.as_ref().map(|c| format!(" AND ({c})")).unwrap_or_default();
            parsed(&format!(
                "EXISTS (SELECT 1 FROM {from} WHERE {table}.{of} = {unit} AND {table}.borough = {borough}{condition})"
            ))
        }
        _ => None,
    }
}

/// A SELECT without any clause.
fn no_clauses() -> Option<Select> {
    let statement = Parser::parse_sql(&GenericDialect {}, "SELECT 1").ok()?.pop()?;
    let Statement::Query(query) = statement else { return None };
    match *query.body {
        SetExpr::Select(select) => Some(*select),
        _ => None,
    }
}

/// The borough beside a unit that may stand in several.
fn borough_of(unit: &Expr, names: &Names) -> Option<Expr> {
    let (table, name) = match unit {
        Expr::Identifier(name) => (None, name),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [table, name] => (Some(table.clone()), name),
            _ => return None,
        },
        _ => return None,
    };
    names.may_be_in_several(&name.value).then(|| in_table(table, BOROUGH))
}

fn in_table(table: Option<Ident>, name: &str) -> Expr {
    match table {
        Some(table) => Expr::CompoundIdentifier(vec![table, Ident::new(name)]),
        None => Expr::Identifier(Ident::new(name)),
    }
}

/// The name by which a table is called.
pub(super) fn called(table: &TableFactor) -> Option<Ident> {
    match table {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, .. } => match name.0.last()? {
            ObjectNamePart::Identifier(ident) => Some(ident.clone()),
            ObjectNamePart::Function(_) => None,
        },
        _ => None,
    }
}

/// The borough in GROUP BY and USING, and the table before a unit that a subquery is compared with.
struct Beside<'a>(&'a Names);

impl VisitorMut for Beside<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let names = self.0;
        if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
            let boroughs: Vec<Expr> = keys.iter().filter_map(|key| borough_of(key, names)).collect();
            for borough in boroughs {
                if !keys.contains(&borough) {
                    keys.insert(0, borough);
                }
            }
        }
        for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
            let (JoinOperator::Join(on)
            | JoinOperator::Inner(on)
            | JoinOperator::Left(on)
            | JoinOperator::LeftOuter(on)
            | JoinOperator::Right(on)
            | JoinOperator::RightOuter(on)) = &mut join.join_operator
            else {
                continue;
            };
            if let JoinConstraint::Using(columns) = on
                && columns.iter().any(|column| names.may_be_in_several(&column.to_string()))
                && !columns.iter().any(|column| column.to_string() == BOROUGH)
            {
                columns.push(ObjectName(vec![ObjectNamePart::Identifier(Ident::new(BOROUGH))]));
            }
        }
        if let ([from], Some(condition)) = (select.from.as_slice(), select.selection.as_mut())
            && let Some(table) = called(&from.relation)
        {
            named_table(condition, &table, names);
        }
        ControlFlow::Continue(())
    }
}

/// The table before a unit that stands bare beside IN (SELECT …).
fn named_table(condition: &mut Expr, table: &Ident, names: &Names) {
    match condition {
        Expr::InSubquery { expr, .. } => {
            if let Expr::Identifier(unit) = expr.as_ref()
                && names.may_be_in_several(&unit.value)
            {
                **expr = Expr::CompoundIdentifier(vec![table.clone(), unit.clone()]);
            }
        }
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            named_table(left, table, names);
            named_table(right, table, names);
        }
        Expr::Nested(inner) => named_table(inner, table, names),
        _ => {}
    }
}
