//! Reference tables whose rows all stay: `boroughs LEFT JOIN records`, and `records RIGHT JOIN boroughs`.
//!
//! Boroughs answer the inner join. The groups of the reference table that it lacks are added after the merge. They have no
//! records: their counts are 0, and their other figures are NULL. Of a borough that is not asked, nothing is known: all of
//! its figures are NULL.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::{Column, JoinType, Result, ScalarValue};
use datafusion::functions_aggregate::expr_fn::bool_or;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Case, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, binary_expr, lit,
};
use loda_question::plan::bare;
use loda_question::{Refusal, Rule};

use crate::plan::advice::engine_errors::refuse;

/// The relations of the groups and of their figures, and the columns that are added to them.
const GROUPS: &str = "rows of a reference table";
const FIGURES: &str = "figures of records";
const KNOWN: &str = "is asked";
const FOUND: &str = "has records";

/// An aggregate over an outer join, as one over the inner join and the groups that stay.
pub(crate) struct OuterRows<'a> {
    written: &'a Aggregate,
    /// The aggregate over the inner join.
    pub(crate) matched: Aggregate,
    /// `None`: without GROUP BY there is one row in any case.
    groups: Option<LogicalPlan>,
    /// For each figure: whether it is 0 for a group without records. Otherwise it is NULL.
    zero: Vec<bool>,
}

/// What an expression gives for a row that has no records.
#[derive(Clone, Copy, PartialEq)]
enum Given {
    Null,
    Zero,
    False,
    Other,
}

/// Reads an aggregate over an outer join. `records`: whether a plan reads records; `boroughs`: codes and names of those
/// that are asked. `None`: it is none.
///
/// # Errors
/// A refusal, for a figure or a key that cannot be told for a row without records.
pub(crate) fn outer_rows<'a>(
    written: &'a Aggregate,
    records: &dyn Fn(&LogicalPlan) -> Result<bool>,
    boroughs: &[(String, String)],
) -> Result<Option<OuterRows<'a>>> {
    let (conditions, join) = match written.input.as_ref() {
        LogicalPlan::Filter(Filter { predicate, input, .. }) => (split_conjunction(predicate), input.as_ref()),
        other => (Vec::new(), other),
    };
    let LogicalPlan::Join(join) = join else { return Ok(None) };
    let (outer, inner) = match join.join_type {
        JoinType::Left => (&join.left, &join.right),
        JoinType::Right => (&join.right, &join.left),
        _ => return Ok(None),
    };
    if records(outer)? || !records(inner)? || written.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_))) {
        return Ok(None);
    }
    let of_records: HashSet<Column> = inner.schema().columns().into_iter().collect();
    let reads_records = |expr: &Expr| expr.column_refs().into_iter().any(|column| of_records.contains(column));
    let (of_pairs, of_rows): (Vec<&Expr>, Vec<&Expr>) = conditions.into_iter().partition(|expr| reads_records(expr));
    let mut rows = LogicalPlanBuilder::from(outer.as_ref().clone());
    if let Some(filter) = conjunction(of_rows.into_iter().cloned()) {
        rows = rows.filter(filter)?;
    }
    let rows = Arc::new(rows.build()?);
    let inner_join = inner_join(join, &rows)?;
    // A condition that rows without records do not meet makes the outer join an inner one.
    let all_stay = of_pairs.is_empty();
    if !all_stay && of_pairs.iter().all(|condition| given(condition, &of_records) == Given::Other) {
        return Ok(None);
    }
    let input = match conjunction(of_pairs.into_iter().cloned()) {
        Some(condition) => LogicalPlanBuilder::from(inner_join).filter(condition)?.build()?,
        None => inner_join,
    };
    let matched = Aggregate::try_new(Arc::new(input), written.group_expr.clone(), written.aggr_expr.clone())?;
    if !all_stay {
        return Ok(Some(OuterRows { written, matched, groups: None, zero: Vec::new() }));
    }
    if written.group_expr.iter().any(reads_records) {
        return refuse(Refusal::new(
            Rule::Join,
            "the rows of a reference table all stay, and are grouped by a column of records",
            "Group the records first, and join their figures: … LEFT JOIN (SELECT borough, tenure, COUNT(*) AS n FROM \
             residents GROUP BY borough, tenure) f ON f.borough = b.gss",
        ));
    }
    let zero = written.aggr_expr.iter().map(|figure| is_zero(figure, &of_records)).collect::<Result<Vec<_>>>()?;
    let groups = match written.group_expr.is_empty() {
        true => None,
        false => {
            let keys = written.group_expr.iter().enumerate().map(|(place, key)| key.clone().alias(format!("g{place}")));
            let known = bool_or(is_asked(join, &of_records, boroughs)).alias(KNOWN);
            let groups = LogicalPlanBuilder::from(Arc::unwrap_or_clone(rows));
            Some(groups.aggregate(keys.collect::<Vec<_>>(), vec![known])?.alias(GROUPS)?.build()?)
        }
    };
    Ok(Some(OuterRows { written, matched, groups, zero }))
}

/// The same join without the rows that find no record. `rows`: its outer side.
fn inner_join(join: &Join, rows: &Arc<LogicalPlan>) -> Result<LogicalPlan> {
    let (left, right) = match join.join_type {
        JoinType::Right => (&join.left, rows),
        _ => (rows, &join.right),
    };
    Ok(LogicalPlan::Join(Join::try_new(
        Arc::clone(left),
        Arc::clone(right),
        join.on.clone(),
        join.filter.clone(),
        JoinType::Inner,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?))
}

/// Whether a row of the outer side is of a borough that is asked. A row that names no borough by itself is.
fn is_asked(join: &Join, of_records: &HashSet<Column>, boroughs: &[(String, String)]) -> Expr {
    let on = join.on.iter().map(|(a, b)| (a.clone(), b.clone()));
    let filter = join.filter.iter().flat_map(split_conjunction).filter_map(|condition| match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            Some((left.as_ref().clone(), right.as_ref().clone()))
        }
        _ => None,
    });
    let both = on.chain(filter).flat_map(|(a, b)| [(a.clone(), b.clone()), (b, a)]);
    let listed = both.filter_map(|(of_row, of_record)| {
        let Expr::Column(column) = bare(&of_record) else { return None };
        let names: Vec<Expr> = match column.name() {
            _ if !of_records.contains(column) => return None,
            "borough" => boroughs.iter().map(|(code, _)| lit(code.as_str())).collect(),
            "borough_name" => boroughs.iter().map(|(_, name)| lit(name.as_str())).collect(),
            _ => return None,
        };
        Some(of_row.in_list(names, false))
    });
    conjunction(listed).unwrap_or_else(|| lit(true))
}

/// Whether a figure is 0 for a row without records, and not NULL.
fn is_zero(figure: &Expr, of_records: &HashSet<Column>) -> Result<bool> {
    let unclear = || {
        refuse(Refusal::new(
            Rule::Join,
            "a figure counts rows of the reference table that have no record: COUNT(*) would be 1 there",
            "Count a column of the records, as in COUNT(r.borough), which is 0 there; or use JOIN",
        ))
    };
    let call = match figure {
        Expr::Alias(alias) => return is_zero(&alias.expr, of_records),
        Expr::AggregateFunction(call) => call,
        _ => return unclear(),
    };
    let filtered = call.params.filter.as_ref().map(|filter| given(filter, of_records));
    let read: Vec<Given> = call.params.args.iter().map(|arg| given(arg, of_records)).collect();
    let left_out = filtered.is_some_and(|given| given != Given::Other) || read.contains(&Given::Null);
    match (call.func.name(), left_out, read.as_slice()) {
        ("count", true, _) => Ok(true),
        (_, true, _) => Ok(false),
        ("sum", false, [Given::Zero]) => Ok(true),
        _ => unclear(),
    }
}

/// What an expression gives where all columns of records are NULL.
fn given(expr: &Expr, of_records: &HashSet<Column>) -> Given {
    let of = |expr: &Expr| given(expr, of_records);
    let any_null =
        |exprs: &[&Expr]| if exprs.iter().any(|e| of(e) == Given::Null) { Given::Null } else { Given::Other };
    match expr {
        Expr::Column(column) if of_records.contains(column) => Given::Null,
        Expr::Literal(value, _) if value.is_null() => Given::Null,
        Expr::Literal(ScalarValue::Boolean(Some(false)), _) => Given::False,
        Expr::Literal(value, _) => match ScalarValue::new_zero(&value.data_type()) {
            Ok(zero) if zero == *value => Given::Zero,
            _ => Given::Other,
        },
        Expr::Alias(alias) => of(&alias.expr),
        Expr::Cast(cast) => of(&cast.expr),
        Expr::TryCast(cast) => of(&cast.expr),
        Expr::Not(inner) | Expr::Negative(inner) => any_null(&[inner.as_ref()]),
        Expr::IsNotNull(inner) if of(inner) == Given::Null => Given::False,
        Expr::IsTrue(inner) if of(inner) != Given::Other => Given::False,
        Expr::Like(like) => any_null(&[like.expr.as_ref(), like.pattern.as_ref()]),
        Expr::InList(list) => any_null(&[list.expr.as_ref()]),
        Expr::Between(between) => any_null(&[between.expr.as_ref()]),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => match (of(left), of(right)) {
            (Given::Other, Given::Other) => Given::Other,
            _ => Given::False,
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => match (of(left), of(right)) {
            (Given::Other, _) | (_, Given::Other) => Given::Other,
            _ => Given::False,
        },
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.returns_null_on_null() => any_null(&[left, right]),
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let skipped = |when: &Expr| match expr {
                Some(operand) => of(operand) == Given::Null,
                None => of(when) != Given::Other,
            };
            match when_then_expr.iter().all(|(when, _)| skipped(when)) {
                true => else_expr.as_ref().map_or(Given::Null, |other| of(other)),
                false => Given::Other,
            }
        }
        _ => Given::Other,
    }
}

impl OuterRows<'_> {
    /// The aggregate as it was written, over the answer to [`OuterRows::matched`].
    ///
    /// # Errors
    /// The engine's own, for a plan that it cannot type.
    pub(crate) fn joined(self, figures: LogicalPlan) -> Result<LogicalPlan> {
        let columns = self.written.schema.columns();
        let keys = self.written.group_expr.len();
        let Some(groups) = self.groups else { return Ok(figures) };
        let answered = figures.schema().columns().into_iter().enumerate();
        let renamed = answered.map(|(place, column)| Expr::Column(column).alias(format!("f{place}")));
        let renamed: Vec<Expr> = renamed.chain([lit(true).alias(FOUND)]).collect();
        let figures = LogicalPlanBuilder::from(figures).project(renamed)?.alias(FIGURES)?.build()?;
        let of = |relation: &str, name: String| Expr::Column(Column::new(Some(relation), name));
        let group = |place: usize| of(GROUPS, format!("g{place}"));
        let figure = |place: usize| of(FIGURES, format!("f{place}"));
        let same = (0..keys).map(|place| binary_expr(group(place), Operator::IsNotDistinctFrom, figure(place)));
        let joined = LogicalPlanBuilder::from(groups).join_on(figures, JoinType::Left, same.collect::<Vec<_>>())?;
        let mut shown = Vec::new();
        for (place, column) in columns.iter().enumerate() {
            let value = match place.checked_sub(keys).map(|place| self.zero.get(place)) {
                None => group(place),
                Some(Some(true)) => {
                    let none = of(FIGURES, FOUND.to_owned()).is_null().and(of(GROUPS, KNOWN.to_owned()));
                    let kind = self.written.schema.field(place).data_type();
                    let zero = lit(ScalarValue::new_zero(kind)?);
                    let branch = (Box::new(none), Box::new(zero));
                    Expr::Case(Case::new(None, vec![branch], Some(Box::new(figure(place)))))
                }
                Some(_) => figure(place),
            };
            shown.push(value.alias_qualified(column.relation.clone(), column.name()));
        }
        joined.project(shown)?.build()
    }
}
