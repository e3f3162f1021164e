//! Where a column of a plan comes from: an expression over columns of tables.

use std::cell::Cell;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, TableReference};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

/// How many steps one search may take: a column that is used twice on every level of a statement would double them.
pub(super) struct Steps(Cell<usize>);

impl Steps {
    pub(super) fn new(most: usize) -> Self {
        Self(Cell::new(most))
    }

    fn next(&self) -> Option<()> {
        self.0.set(self.0.get().checked_sub(1)?);
        Some(())
    }
}

/// A column of a plan as an expression over columns of its tables. Each scan has a relation of its own, so that a table
/// that is read twice is told apart. `None`: a figure, or of an operator that mixes rows.
pub(super) fn origin(plan: &LogicalPlan, column: &Column, steps: &Steps) -> Option<Expr> {
    steps.next()?;
    let place = plan.schema().maybe_index_of_column(column)?;
    let same = |input: &LogicalPlan| origin(input, input.schema().columns().get(place)?, steps);
    match plan {
        LogicalPlan::TableScan(scan) => {
            let relation = TableReference::partial(format!("{scan:p}"), scan.table_name.table());
            Some(Expr::Column(Column::new(Some(relation), column.name.clone())))
        }
        LogicalPlan::Projection(projection) => through(projection.expr.get(place)?, &projection.input, steps),
        LogicalPlan::Aggregate(aggregate) => {
            let mut keys = aggregate.group_expr.iter().flat_map(|key| match key {
                Expr::GroupingSet(sets) => sets.distinct_expr(),
                key => vec![key],
            });
            through(keys.nth(place)?, &aggregate.input, steps)
        }
        LogicalPlan::Window(window) => same(&window.input),
        LogicalPlan::Join(join) => {
            let (left, right) = (join.left.schema().columns(), join.right.schema().columns());
            match join.join_type {
                JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                    origin(&join.left, left.get(place)?, steps)
                }
                JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                    origin(&join.right, right.get(place)?, steps)
                }
                _ => match place.checked_sub(left.len()) {
                    None => origin(&join.left, left.get(place)?, steps),
                    Some(place) => origin(&join.right, right.get(place)?, steps),
                },
            }
        }
        LogicalPlan::SubqueryAlias(alias) => same(&alias.input),
        LogicalPlan::Filter(filter) => same(&filter.input),
        LogicalPlan::Sort(sort) => same(&sort.input),
        LogicalPlan::Limit(limit) => same(&limit.input),
        LogicalPlan::Distinct(Distinct::All(input)) => same(input),
        _ => None,
    }
}

/// An expression over a plan's columns as one over columns of its tables.
pub(super) fn through(expr: &Expr, input: &LogicalPlan, steps: &Steps) -> Option<Expr> {
    let mut whole = true;
    let over = expr.clone().unalias_nested().data.transform_up(|e| {
        whole &= steps.next().is_some() && is_of_one_row(&e);
        let Expr::Column(column) = &e else { return Ok(Transformed::no(e)) };
        let found = if whole { origin(input, column, steps) } else { None };
        whole &= found.is_some();
        Ok(found.map_or(Transformed::no(e), Transformed::yes))
    });
    over.ok().map(|over| over.data).filter(|_| whole)
}

/// Whether an expression reads one row alone, and gives the same for the same row.
fn is_of_one_row(expr: &Expr) -> bool {
    !expr.is_volatile_node()
        && !matches!(
            expr,
            Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
                | Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Unnest(_)
        )
}
