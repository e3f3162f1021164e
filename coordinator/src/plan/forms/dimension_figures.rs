//! MIN, MAX and COUNT(DISTINCT …) of a dimension, from released cells.
//!
//! A table about people has no such figure. But the cells that are released say which values of a dimension occur, and the
//! least, the greatest and the number of these follow from them. They are asked as one more GROUP BY.
//!
//! *Attack: a value that one record has.* Its cell is withheld, and so is every figure that would rest on it.

use std::sync::Arc;

use datafusion::common::{Column, JoinType, Result};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Operator, binary_expr, lit};

use super::unnamed;

/// The column that counts the rows of a cell.
const ROWS: &str = "rows of a cell";

/// The relation of the other figures, where they are joined to those of dimensions.
const FIGURES: &str = "other figures";

/// The relation of the figures of dimensions, where they are joined to others.
const DIMENSIONS: &str = "values of dimensions";

/// An aggregate divided into what records give and what cells give.
pub(crate) struct Divided<'a> {
    written: &'a Aggregate,
    /// The figures of records; `None`: there are none.
    pub(crate) figures: Option<Aggregate>,
    /// A count for each value of the dimensions.
    pub(crate) cells: Aggregate,
    /// For each figure as written, whether it is one of a dimension.
    of_dimension: Vec<bool>,
}

/// Divides an aggregate that has figures of dimensions. `None`: it has none, or also GROUPING SETS.
///
/// # Errors
/// The engine's own, for an aggregate that it cannot type.
pub(crate) fn divided<'a>(written: &'a Aggregate, is_dimension: &dyn Fn(&Expr) -> bool) -> Result<Option<Divided<'a>>> {
    let dimension = |expr: &Expr| match unnamed(expr) {
        Expr::AggregateFunction(call) => {
            let params = &call.params;
            let named = matches!((call.func.name(), params.distinct), ("min" | "max", _) | ("count", true));
            match params.args.as_slice() {
                [of] if named && params.filter.is_none() && is_dimension(unnamed(of)) => Some(unnamed(of).clone()),
                _ => None,
            }
        }
        _ => None,
    };
    let found: Vec<Option<Expr>> = written.aggr_expr.iter().map(dimension).collect();
    let grouping_sets = written.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_)));
    if grouping_sets || found.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut keys = written.group_expr.clone();
    for of in found.iter().flatten() {
        if !keys.contains(of) {
            keys.push(of.clone());
        }
    }
    let cells = Aggregate::try_new(Arc::clone(&written.input), keys, vec![count(lit(1_i64)).alias(ROWS)])?;
    let others: Vec<Expr> =
        written.aggr_expr.iter().zip(&found).filter(|(_, of)| of.is_none()).map(|(expr, _)| expr.clone()).collect();
    let figures = match others.is_empty() {
        true => None,
        false => Some(Aggregate::try_new(Arc::clone(&written.input), written.group_expr.clone(), others)?),
    };
    let of_dimension = found.iter().map(Option::is_some).collect();
    Ok(Some(Divided { written, figures, cells, of_dimension }))
}

impl Divided<'_> {
    /// The aggregate as it was written, over the answers to its parts.
    ///
    /// # Errors
    /// The engine's own, for a plan that it cannot type.
    pub(crate) fn joined(&self, cells: LogicalPlan, figures: Option<LogicalPlan>) -> Result<LogicalPlan> {
        let keys = self.written.group_expr.len();
        let columns = self.written.schema.columns();
        let rows = Expr::Column(Column::new_unqualified(ROWS));
        let groups: Vec<Expr> = cells.schema().columns().into_iter().take(keys).map(Expr::Column).collect();
        let read = self.cells.group_expr.iter().zip(cells.schema().columns());
        let read: Vec<(Expr, Expr)> = read.map(|(key, column)| (key.clone(), Expr::Column(column))).collect();
        let mut over = Vec::new();
        for ((expr, column), of) in self.written.aggr_expr.iter().zip(columns.iter().skip(keys)).zip(&self.of_dimension)
        {
            let (Expr::AggregateFunction(call), true) = (unnamed(expr), of) else { continue };
            let mut call = call.clone();
            for arg in &mut call.params.args {
                if let Some((_, cell)) = read.iter().find(|(key, _)| key == unnamed(arg)) {
                    *arg = cell.clone();
                }
            }
            over.push(Expr::AggregateFunction(call).alias(column.name()));
        }
        let values = LogicalPlanBuilder::from(cells).filter(rows.gt(lit(0_i64)))?.aggregate(groups, over)?;
        let values = values.alias(DIMENSIONS)?.build()?;
        let of_values = values.schema().columns();
        let value = |place: usize| of_values.get(place).cloned().map(Expr::Column);
        let whole = match figures {
            None => LogicalPlanBuilder::from(values.clone()),
            Some(figures) => {
                // Both sides have the keys under their names.
                let figures = LogicalPlanBuilder::from(figures).alias(FIGURES)?.build()?;
                let same = figures.schema().columns().into_iter().take(keys).enumerate();
                let same = same.filter_map(|(place, column)| {
                    Some(binary_expr(Expr::Column(column), Operator::IsNotDistinctFrom, value(place)?))
                });
                let same: Vec<Expr> = same.collect();
                let builder = LogicalPlanBuilder::from(figures);
                if keys == 0 {
                    builder.cross_join(values.clone())?
                } else {
                    builder.join_on(values.clone(), JoinType::Left, same)?
                }
            }
        };
        let joined = self.figures.is_some();
        let (mut others, mut dimensions) = (0, keys);
        let mut shown = Vec::new();
        let from_figures: Vec<Column> =
            if joined { whole.schema().columns().into_iter().take(keys + self.others()).collect() } else { Vec::new() };
        for place in 0..keys {
            let from = if joined { from_figures.get(place).cloned().map(Expr::Column) } else { value(place) };
            let Some((column, from)) = columns.get(place).zip(from) else { continue };
            shown.push(from.alias_qualified(column.relation.clone(), column.name()));
        }
        for ((expr, column), is_dimension) in
            self.written.aggr_expr.iter().zip(columns.iter().skip(keys)).zip(&self.of_dimension)
        {
            let from = if *is_dimension {
                dimensions += 1;
                let figure = value(dimensions - 1);
                let counts = matches!(unnamed(expr), Expr::AggregateFunction(call) if call.func.name() == "count");
                // A group without a released cell has no value.
                if counts { figure.map(|figure| coalesce(vec![figure, lit(0_i64)])) } else { figure }
            } else {
                others += 1;
                from_figures.get(keys + others - 1).cloned().map(Expr::Column)
            };
            if let Some(from) = from {
                shown.push(from.alias_qualified(column.relation.clone(), column.name()));
            }
        }
        whole.project(shown)?.build()
    }

    fn others(&self) -> usize {
        self.of_dimension.iter().filter(|of| !**of).count()
    }
}
