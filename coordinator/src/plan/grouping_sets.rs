//! GROUPING SETS, ROLLUP and CUBE, and the list of groups for DISTINCT.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::utils::powerset;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Projection, Union, lit};
use loda_question::plan::FigureReading;
use loda_question::{Measure, Refusal, Rule};

use crate::plan::advice::engine_errors::refuse;
use crate::plan::federated_aggregate::{FederatedAggregate, Output};
use crate::plan::split::Split;

/// The most grouping sets in one statement.
const SET_LIMIT: usize = 8;

impl Split {
    /// Plans each set of keys as its own question, so that each total has its own noise. Exact totals are sums of the
    /// released cells of the finest set: totals from the records would reveal the withheld cells.
    pub(crate) fn grouping_sets(&self, aggregate: &Aggregate, sets: &GroupingSet) -> Result<LogicalPlan> {
        let all: Vec<Expr> = sets.distinct_expr().into_iter().cloned().collect();
        let sets = sets_of(sets)?;
        if sets.len() > SET_LIMIT {
            return refuse(Refusal::new(
                Rule::Operator,
                format!("GROUPING SETS, ROLLUP or CUBE makes {} groupings; the limit is {SET_LIMIT}", sets.len()),
                "Name the groupings that you need with GROUPING SETS",
            ));
        }
        let input = &aggregate.input;
        let figures = &aggregate.aggr_expr;
        let finest = Aggregate::try_new(Arc::clone(input), all.clone(), figures.clone())?;
        let read = self.read(&finest).or_else(refuse)?;
        let released = match self.sides(&read) {
            Some(_) => None,
            None => {
                let part = self.part_of(&read, &finest.schema).or_else(refuse)?;
                let exact = part.scope.protection.totals_from_cells();
                exact.then(|| Ok::<_, DataFusionError>((self.leaf(part.clone(), all.len())?, part))).transpose()?
            }
        };
        let mut inputs = Vec::with_capacity(sets.len());
        for (ordinal, set) in ordinals(&sets) {
            // The positions, among all keys, of the keys in this set, in the order of its columns.
            let mut order: Vec<usize> = set.iter().filter_map(|key| all.iter().position(|k| k == key)).collect();
            let plan = match &released {
                None => self.aggregate(&Aggregate::try_new(Arc::clone(input), set.clone(), figures.clone())?)?,
                Some((cells, part)) => {
                    order.sort_unstable();
                    if order.len() == all.len() { cells.clone() } else { total(cells, part, &order, all.len())? }
                }
            };
            inputs.push(Arc::new(under(plan, aggregate, &order, all.len(), ordinal)?));
        }
        let union = match inputs.as_slice() {
            [one] => one.as_ref().clone(),
            _ => LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?),
        };
        // A union drops the table names that the plan above refers to.
        let qualifiers = aggregate.schema.iter().map(|(q, f)| (q.cloned(), f.name().clone()));
        let columns = union.schema().columns().into_iter().zip(qualifiers);
        let shown =
            columns.map(|(column, (qualifier, name))| Expr::Column(column).alias_qualified(qualifier, name)).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(shown, Arc::new(union))?))
    }

    /// The groups that exist: the groups with a released count above zero.
    pub(crate) fn groups(&self, input: &Arc<LogicalPlan>, keys: Vec<Expr>) -> Result<LogicalPlan> {
        let lists = || {
            Refusal::new(
                Rule::Rows,
                "DISTINCT, or GROUP BY without a figure, over these columns lists records",
                "Group by the columns and ask for COUNT(*)",
            )
        };
        let counted = Aggregate::try_new(Arc::clone(input), keys.clone(), vec![count(lit(1_i64)).alias("__groups")])?;
        let part = match self.part(&counted) {
            Ok(part) => part,
            Err(refusal) if refusal.rule == Rule::Rows => return refuse(lists()),
            Err(refusal) => return refuse(refusal),
        };
        let leaf = self.leaf(part, keys.len())?;
        let columns = leaf.schema().columns();
        let count_of = columns.get(keys.len()).cloned().map(Expr::Column);
        let shown = columns.into_iter().enumerate().filter(|(i, _)| *i != keys.len()).map(|(_, c)| Expr::Column(c));
        let shown: Vec<Expr> = shown.collect();
        let builder = LogicalPlanBuilder::from(leaf);
        let builder = match count_of {
            Some(count) => builder.filter(count.gt(lit(0_i64)))?,
            None => builder,
        };
        builder.project(shown)?.build()
    }
}

/// Each set, with the number of equal sets before it.
fn ordinals(sets: &[Vec<Expr>]) -> Vec<(usize, &Vec<Expr>)> {
    let before = |i: usize, set: &Vec<Expr>| sets.iter().take(i).filter(|s| *s == set).count();
    sets.iter().enumerate().map(|(i, set)| (before(i, set), set)).collect()
}

fn sets_of(sets: &GroupingSet) -> Result<Vec<Vec<Expr>>> {
    Ok(match sets {
        GroupingSet::GroupingSets(sets) => sets.clone(),
        GroupingSet::Rollup(keys) => (0..=keys.len()).rev().map(|n| keys.iter().take(n).cloned().collect()).collect(),
        GroupingSet::Cube(keys) if keys.len() <= 3 => {
            powerset(keys)?.into_iter().map(|set| set.into_iter().cloned().collect()).collect()
        }
        GroupingSet::Cube(keys) => {
            return refuse(Refusal::new(
                Rule::Operator,
                format!("CUBE of {} keys makes {} groupings", keys.len(), 1_u64 << keys.len().min(40)),
                "Name the groupings that you need with GROUPING SETS",
            ));
        }
    })
}

/// A total of released cells, grouped by the keys in `order`.
fn total(cells: &LogicalPlan, part: &FederatedAggregate, order: &[usize], all: usize) -> Result<LogicalPlan> {
    let columns = cells.schema().columns();
    let keys = order.iter().filter_map(|place| columns.get(*place)).map(|c| Expr::Column(c.clone()));
    let mut figures = Vec::new();
    for (output, column) in part.outputs.iter().zip(columns.iter().skip(all)) {
        let measure = match output {
            Output::Figure { figure, reading: FigureReading::Plain | FigureReading::SummedOnes } => {
                part.measures.get(*figure)
            }
            _ => None,
        };
        if !matches!(measure, Some(Measure::Rows | Measure::Sum(_) | Measure::Present(_))) {
            return refuse(Refusal::new(
                Rule::Operator,
                "a total of exact figures is the sum of released cells, and this figure does not add up",
                "Use COUNT(*) or SUM with ROLLUP, or ask for each grouping by itself",
            ));
        }
        figures.push(sum(Expr::Column(column.clone())).alias_qualified(column.relation.clone(), column.name.clone()));
    }
    LogicalPlanBuilder::from(cells.clone()).aggregate(keys.collect::<Vec<_>>(), figures)?.build()
}

/// Puts one grouping into the columns of the whole aggregate. Keys outside the set are NULL, and the grouping id says
/// which.
fn under(plan: LogicalPlan, aggregate: &Aggregate, order: &[usize], all: usize, ordinal: usize) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let fields: Vec<_> = aggregate.schema.iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
    let mut shown = Vec::with_capacity(fields.len() + 1);
    let mut mask = 0_u64;
    for (place, (qualifier, field)) in fields.iter().take(all).enumerate() {
        let column = order.iter().position(|p| *p == place).and_then(|at| columns.get(at));
        let expr = match column {
            Some(column) => Expr::Column(column.clone()),
            None => {
                mask |= 1_u64 << all.saturating_sub(place + 1);
                lit(ScalarValue::try_from(field.data_type())?)
            }
        };
        shown.push(expr.alias_qualified(qualifier.clone(), field.name()));
    }
    let id = fields.get(all).map(|(_, f)| f.data_type().clone()).unwrap_or(DataType::UInt8);
    let number = mask | (u64::try_from(ordinal).unwrap_or(0) << all);
    shown.push(lit(ScalarValue::UInt64(Some(number)).cast_to(&id)?).alias(Aggregate::INTERNAL_GROUPING_ID));
    for (column, (qualifier, field)) in columns.iter().skip(order.len()).zip(fields.iter().skip(all + 1)) {
        shown.push(Expr::Column(column.clone()).alias_qualified(qualifier.clone(), field.name()));
    }
    Ok(LogicalPlan::Projection(Projection::try_new(shown, Arc::new(plan))?))
}
