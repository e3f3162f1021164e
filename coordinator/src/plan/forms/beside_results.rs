//! Records beside results: `records JOIN (SELECT … GROUP BY …)`, and `column IN (SELECT … GROUP BY …)`.
//!
//! Boroughs count the records of each value that the results are compared with. The comparison, and what is grouped by it,
//! follow the merge: an eager aggregation (Yan and Larson, 1995).
//!
//! *Attack: none.* Boroughs are asked one more GROUP BY, which the algebra judges by itself. They are not told the results.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, Result};
use datafusion::functions::core::expr_fn::{coalesce, nullif};
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, ExprFunctionExt, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Subquery,
    binary_expr, cast, lit,
};

use super::unnamed;
use crate::plan::federated_node::{NOTE, holds_results};

/// The relation of the counted records.
fn counted_records() -> String {
    // No statement can name it.
    format!("{NOTE}counted records")
}

/// An aggregate over records beside results, as one over records alone and what follows the merge.
pub(crate) struct BesideResults<'a> {
    written: &'a Aggregate,
    /// The aggregate over records alone.
    pub(crate) counted: Aggregate,
    joins: Vec<ResultJoin>,
    /// Over counted records and results.
    conditions: Vec<Expr>,
    keys: Vec<Expr>,
    figures: Vec<Expr>,
}

/// Results that are joined.
struct ResultJoin {
    results: LogicalPlan,
    /// Expressions over records, and over results, that are equal.
    on: Vec<(Expr, Expr)>,
    kind: JoinType,
}

/// Reads an aggregate over records beside results. `records`: whether a plan reads records. `None`: it is none, or has a
/// figure that does not add up.
///
/// # Errors
/// The engine's own, for a plan that it cannot type.
pub(crate) fn beside_results<'a>(
    written: &'a Aggregate,
    records: &dyn Fn(&LogicalPlan) -> Result<bool>,
) -> Result<Option<BesideResults<'a>>> {
    if written.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_))) {
        return Ok(None);
    }
    let exprs = written.group_expr.iter().chain(&written.aggr_expr).cloned().collect();
    let mut over = Over { exprs, ..Over::default() };
    let Some(base) = over.search(&written.input, records)? else { return Ok(None) };
    let Over { exprs, conditions, mut joins } = over;
    let subqueries: Vec<Subquery> = conditions.iter().chain(&exprs).flat_map(subqueries).collect();
    let beside = !joins.is_empty() || subqueries.iter().any(|subquery| holds_results(&subquery.subquery));
    // What is compared with each record, or is new for each, does not wait.
    let waits = subqueries.iter().all(|subquery| subquery.outer_ref_columns.is_empty())
        && !conditions.iter().chain(&exprs).any(Expr::is_volatile);
    // The engine reads IN and EXISTS in conditions alone.
    if !beside || !waits || exprs.iter().any(holds_membership) {
        return Ok(None);
    }
    let mut of_records = OfRecords { columns: base.schema().columns().into_iter().collect(), keys: Vec::new() };
    let (below, above): (Vec<Expr>, Vec<Expr>) =
        conditions.into_iter().partition(|condition| of_records.is_over(condition));
    // The join that stands deepest is made first.
    joins.reverse();
    for on in joins.iter_mut().flat_map(|join| &mut join.on) {
        if !of_records.is_over(&on.0) {
            return Ok(None);
        }
        on.0 = of_records.keyed(on.0.clone())?;
    }
    let conditions = above.into_iter().map(|condition| of_records.keyed(condition)).collect::<Result<Vec<_>>>()?;
    let (keys, aggregates) = exprs.split_at_checked(written.group_expr.len()).unwrap_or_default();
    let keys = keys.iter().map(|key| of_records.keyed(unnamed(key).clone())).collect::<Result<Vec<_>>>()?;
    let mut asked = Vec::new();
    let mut figures = Vec::new();
    for (aggregate, field) in aggregates.iter().zip(written.schema.fields().iter().skip(keys.len())) {
        match added_up(aggregate, field.data_type(), &mut asked, &of_records, keys.is_empty())? {
            Some(figure) => figures.push(cast(figure, field.data_type().clone())),
            None => return Ok(None),
        }
    }
    // Without a key there is one row, whether records are found or not.
    if of_records.keys.is_empty() && !written.group_expr.is_empty() {
        return Ok(None);
    }
    let mut input = LogicalPlanBuilder::from(base);
    if let Some(condition) = conjunction(below) {
        input = input.filter(condition)?;
    }
    let counted = Aggregate::try_new(Arc::new(input.build()?), of_records.keys, asked)?;
    Ok(Some(BesideResults { written, counted, joins, conditions, keys, figures }))
}

/// Expressions above the records, and the joins and conditions between.
#[derive(Default)]
struct Over {
    exprs: Vec<Expr>,
    conditions: Vec<Expr>,
    joins: Vec<ResultJoin>,
}

impl Over {
    /// The records below joins with results, conditions and columns. `None`: a step stands between that does not wait.
    fn search(
        &mut self,
        plan: &LogicalPlan,
        records: &dyn Fn(&LogicalPlan) -> Result<bool>,
    ) -> Result<Option<LogicalPlan>> {
        let mut plan = plan;
        loop {
            plan = match plan {
                LogicalPlan::Filter(Filter { predicate, input, .. }) => {
                    self.conditions.extend(split_conjunction(predicate).into_iter().cloned());
                    input
                }
                LogicalPlan::Projection(projection) => {
                    let under: Vec<Expr> = projection.expr.iter().map(|expr| unnamed(expr).clone()).collect();
                    self.substitute(plan, &under)?;
                    &projection.input
                }
                LogicalPlan::SubqueryAlias(alias) if holds_results(&alias.input) => {
                    let under: Vec<Expr> = alias.input.schema().columns().into_iter().map(Expr::Column).collect();
                    self.substitute(plan, &under)?;
                    &alias.input
                }
                LogicalPlan::Join(join) if holds_results(&join.left) || holds_results(&join.right) => {
                    let (of_records, results, outer) = match (records(&join.left)?, records(&join.right)?) {
                        (true, false) => (&join.left, &join.right, JoinType::Left),
                        (false, true) => (&join.right, &join.left, JoinType::Right),
                        _ => return Ok(None),
                    };
                    let known = join.join_type == JoinType::Inner || join.join_type == outer;
                    if !known || is_correlated(results) || !self.join(plan, join, results)? {
                        return Ok(None);
                    }
                    of_records
                }
                _ => return Ok(Some(plan.clone())),
            };
        }
    }

    /// Adds a join with results, if all that an outer join compares is equality. The results get names of their own: the
    /// names of records may be the same further down.
    fn join(&mut self, plan: &LogicalPlan, join: &Join, results: &Arc<LogicalPlan>) -> Result<bool> {
        let relation = format!("{NOTE}results {}", self.joins.len());
        let named: Vec<Expr> = (0..results.schema().fields().len())
            .map(|place| Expr::Column(Column::new(Some(relation.as_str()), format!("r{place}"))))
            .collect();
        let is_left = Arc::ptr_eq(&join.left, results);
        let side = |of_results: bool, side: &LogicalPlan| -> Vec<Expr> {
            match of_results {
                true => named.clone(),
                false => side.schema().columns().into_iter().map(Expr::Column).collect(),
            }
        };
        let under = [side(is_left, &join.left), side(!is_left, &join.right)].concat();
        self.substitute(plan, &under)?;
        let mut on = Vec::new();
        let equal = join.on.iter().map(|(a, b)| binary_expr(a.clone(), Operator::Eq, b.clone()));
        for mut condition in equal.chain(join.filter.iter().flat_map(split_conjunction).cloned()) {
            substituted(&mut condition, plan, &under)?;
            match pair(&condition, &named) {
                Some(pair) => on.push(pair),
                None if join.join_type == JoinType::Inner => self.conditions.push(condition),
                None => return Ok(false),
            }
        }
        let kind = if join.join_type == JoinType::Inner { JoinType::Inner } else { JoinType::Left };
        let renamed = results.schema().columns().into_iter().enumerate();
        let renamed = renamed.map(|(place, column)| Expr::Column(column).alias(format!("r{place}")));
        let results = LogicalPlanBuilder::from(Arc::clone(results)).project(renamed)?.alias(relation)?.build()?;
        self.joins.push(ResultJoin { results, on, kind });
        Ok(true)
    }

    /// Expressions over the output of a plan as ones over what is below. `under`: its columns.
    fn substitute(&mut self, plan: &LogicalPlan, under: &[Expr]) -> Result<()> {
        let on = self.joins.iter_mut().flat_map(|join| &mut join.on).map(|(of_records, _)| of_records);
        let mut all = self.exprs.iter_mut().chain(&mut self.conditions).chain(on);
        all.try_for_each(|expr| substituted(expr, plan, under))
    }
}

/// A condition that something of records equals something of results.
fn pair(condition: &Expr, results: &[Expr]) -> Option<(Expr, Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return None };
    let of_results = |expr: &Expr| {
        let refs = expr.column_refs();
        let within = refs.iter().filter(|column| results.contains(&Expr::Column((**column).clone()))).count();
        (!refs.is_empty() && subqueries(expr).is_empty() && (within == 0 || within == refs.len())).then_some(within > 0)
    };
    match (of_results(left)?, of_results(right)?) {
        (false, true) => Some((left.as_ref().clone(), right.as_ref().clone())),
        (true, false) => Some((right.as_ref().clone(), left.as_ref().clone())),
        _ => None,
    }
}

/// Whether results are found for each record by itself.
fn is_correlated(results: &LogicalPlan) -> bool {
    // The closure never fails.
    results.contains_outer_reference()
        || results.exists(|node| Ok(matches!(node, LogicalPlan::Subquery(_)))).unwrap_or(true)
}

fn substituted(expr: &mut Expr, plan: &LogicalPlan, under: &[Expr]) -> Result<()> {
    let other = expr.clone().transform_up(|e| {
        let place = match &e {
            // Results have names of their own by now.
            Expr::Column(column) => plan.schema().maybe_index_of_column(column),
            _ => None,
        };
        Ok(match place.and_then(|place| under.get(place)) {
            Some(of) => Transformed::yes(of.clone()),
            None => Transformed::no(e),
        })
    })?;
    *expr = other.data;
    Ok(())
}

/// The columns of records, and the keys that they are counted by.
struct OfRecords {
    columns: HashSet<Column>,
    keys: Vec<Expr>,
}

impl OfRecords {
    /// Whether an expression reads records and no results.
    fn is_over(&self, expr: &Expr) -> bool {
        let refs = expr.column_refs();
        !refs.is_empty()
            && refs.into_iter().all(|column| self.columns.contains(column))
            && !subqueries(expr).iter().any(|subquery| holds_results(&subquery.subquery))
    }

    /// An expression with the columns of counted records in place of what it reads of records.
    fn keyed(&mut self, expr: Expr) -> Result<Expr> {
        let keyed = expr.transform_down(|e| {
            // A cast can follow the merge.
            if matches!(e, Expr::Cast(_) | Expr::Alias(_)) || !self.is_over(&e) {
                return Ok(Transformed::no(e));
            }
            let place = self.keys.iter().position(|key| *key == e).unwrap_or_else(|| {
                self.keys.push(e);
                self.keys.len().saturating_sub(1)
            });
            Ok(Transformed::new(counted_column('k', place), true, TreeNodeRecursion::Jump))
        })?;
        Ok(keyed.data)
    }
}

fn counted_column(sign: char, place: usize) -> Expr {
    Expr::Column(Column::new(Some(counted_records()), format!("{sign}{place}")))
}

/// The subqueries in an expression.
fn subqueries(expr: &Expr) -> Vec<Subquery> {
    let mut found = Vec::new();
    // The closure never fails.
    let _walked = expr.apply(|e| {
        found.extend(
            match e {
                Expr::InSubquery(within) => Some(&within.subquery),
                Expr::Exists(exists) => Some(&exists.subquery),
                Expr::SetComparison(compared) => Some(&compared.subquery),
                Expr::ScalarSubquery(subquery) => Some(subquery),
                _ => None,
            }
            .cloned(),
        );
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

fn holds_membership(expr: &Expr) -> bool {
    let is = |e: &Expr| Ok(matches!(e, Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)));
    // The closure never fails.
    expr.exists(is).unwrap_or(true)
}

/// A figure over counted records, from figures that are asked of records. `whole`: there is no GROUP BY. `None`: the figure
/// does not add up, or is one of results. `kind`: its type.
fn added_up(
    figure: &Expr,
    kind: &DataType,
    asked: &mut Vec<Expr>,
    of_records: &OfRecords,
    whole: bool,
) -> Result<Option<Expr>> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = unnamed(figure) else { return Ok(None) };
    let ([of], false, true) = (params.args.as_slice(), params.distinct, params.order_by.is_empty()) else {
        return Ok(None);
    };
    let filter = params.filter.as_deref();
    let is_over = |expr: &Expr| expr.column_refs().is_empty() || of_records.is_over(expr);
    if !is_over(of) || !filter.is_none_or(is_over) {
        return Ok(None);
    }
    let mut ask = |figure: Expr| -> Result<Expr> {
        let figure = match filter {
            Some(filter) => figure.filter(filter.clone()).build()?,
            None => figure,
        };
        let place = asked.iter().position(|known| *known == figure).unwrap_or_else(|| {
            asked.push(figure);
            asked.len().saturating_sub(1)
        });
        Ok(counted_column('f', place))
    };
    Ok(Some(match func.name() {
        "count" if whole => coalesce(vec![sum(ask(count(of.clone()))?), lit(0_i64)]),
        "count" => sum(ask(count(of.clone()))?),
        "sum" => sum(ask(sum(of.clone()))?),
        // A decimal mean has more digits than a float.
        "avg" if kind == &DataType::Float64 => {
            let (over, under) = (ask(sum(of.clone()))?, ask(count(of.clone()))?);
            // Over cells that have both.
            let total = sum(over.clone()).filter(under.clone().is_not_null()).build()?;
            let number = sum(under).filter(over.is_not_null()).build()?;
            cast(total, DataType::Float64) / cast(nullif(number, lit(0_i64)), DataType::Float64)
        }
        _ => return Ok(None),
    }))
}

impl BesideResults<'_> {
    /// The aggregate as it was written, over the answer to [`BesideResults::counted`].
    ///
    /// # Errors
    /// The engine's own, for a plan that it cannot type.
    pub(crate) fn joined(self, counted: LogicalPlan) -> Result<LogicalPlan> {
        let keys = self.counted.group_expr.len();
        let renamed = counted.schema().columns().into_iter().enumerate().map(|(place, column)| {
            let (sign, place) = place.checked_sub(keys).map_or(('k', place), |figure| ('f', figure));
            Expr::Column(column).alias(format!("{sign}{place}"))
        });
        let renamed: Vec<Expr> = renamed.collect();
        let mut whole = LogicalPlanBuilder::from(counted).project(renamed)?.alias(counted_records())?;
        for join in self.joins {
            whole = match join.on.is_empty() {
                true => whole.cross_join(join.results)?,
                false => whole.join_with_expr_keys(join.results, join.kind, join.on.into_iter().unzip(), None)?,
            };
        }
        if let Some(condition) = conjunction(self.conditions) {
            whole = whole.filter(condition)?;
        }
        // The figures are cast after they are added up.
        let (mut adding, mut figures) = (Vec::new(), Vec::new());
        for figure in self.figures {
            let over = figure.transform_down(|e| {
                if !matches!(e, Expr::AggregateFunction(_)) {
                    return Ok(Transformed::no(e));
                }
                let name = format!("a{}", adding.len());
                adding.push(e.alias(&name));
                Ok(Transformed::new(Expr::Column(Column::new_unqualified(name)), true, TreeNodeRecursion::Jump))
            })?;
            figures.push(over.data);
        }
        let groups: Vec<Expr> =
            self.keys.into_iter().enumerate().map(|(place, key)| key.alias(format!("g{place}"))).collect();
        let group = (0..groups.len()).map(|place| Expr::Column(Column::new_unqualified(format!("g{place}"))));
        let shown: Vec<Expr> = group.chain(figures).collect();
        let columns = self.written.schema.columns();
        let shown =
            shown.into_iter().zip(columns).map(|(expr, column)| expr.alias_qualified(column.relation, column.name));
        whole.aggregate(groups, adding)?.project(shown.collect::<Vec<_>>())?.build()
    }
}
