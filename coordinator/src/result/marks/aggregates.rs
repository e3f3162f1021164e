//! What an aggregate makes of marked rows.

use std::sync::Arc;

use datafusion::common::{Column, Result};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::AggregateFunctionParams;
use datafusion::logical_expr::{Aggregate, Case, Expr, LogicalPlan, lit};

use super::expressions::{first, none};
use super::words::{GROUPED, JUDGED, Tally, most};
use super::{Doubts, Marked, Marker, bare};

impl Marker {
    pub(super) async fn aggregate(&self, aggregate: &Aggregate) -> Result<Marked> {
        let input = self.plan(&aggregate.input).await?;
        let keys = self.without_subqueries(aggregate.group_expr.clone()).await?;
        let figures = self.without_subqueries(aggregate.aggr_expr.clone()).await?;
        let scope = input.scope();
        let of_keys = keys.iter().flat_map(plain_keys).map(|key| scope.mark_of(key)).collect::<Result<Vec<_>>>()?;
        let of_figures = figures.iter().map(|figure| mark_of_row(&input, figure)).collect::<Result<Vec<_>>>()?;
        // A row whose key is not known may belong to any group.
        let of_key = first(of_keys.clone());
        let grouped = self.any(&input.plan, of_key.clone()).await?.map(|_| GROUPED.to_owned());
        let all = input.doubts.missing.clone().or(grouped);
        let uncertain = first([input.row_mark(), of_key]);
        let (rows, plan) = (input.row_mark(), input.plan);
        let keys = keys.into_iter().map(bare).collect::<Result<Vec<_>>>()?;
        let figures = figures.into_iter().map(bare).collect::<Result<Vec<_>>>()?;

        let mut made = Made { aggr_expr: figures.clone(), first: figures.len(), columns: Vec::new() };
        let tallies: Vec<Option<Tally>> = of_figures
            .into_iter()
            .zip(&figures)
            .map(|(mark, figure)| mark.map(|mark| Tally::of(&mark, counted(figure))))
            .collect();
        tallies.iter().flatten().flat_map(Tally::aggregates).for_each(|expr| made.add(expr));
        let clean = uncertain.map(|mark| {
            let certain = Case::new(None, vec![(Box::new(mark.is_null()), Box::new(lit(1_i64)))], None);
            count(Expr::Case(certain))
        });
        let of_keys: Vec<Option<Expr>> = of_keys.into_iter().map(|mark| mark.map(most)).collect();
        let rows = rows.map(most);
        clean.iter().chain(of_keys.iter().flatten()).chain(&rows).for_each(|expr| made.add(expr));

        let with_marks = Aggregate::try_new(Arc::new(plan), keys, made.aggr_expr.clone())?;
        let columns = with_marks.schema.columns();
        let width = aggregate.schema.fields().len();
        let extra = columns.get(width..).unwrap_or_default();
        let column = |expr: &Expr| made.column(expr, extra);
        // A group is there, and its key is known, if one of its rows is there with a known key.
        let unless_clean = |mark: Expr| match &clean {
            Some(clean) => {
                let branch = (Box::new(column(clean).gt(lit(0_i64))), Box::new(none()));
                Expr::Case(Case::new(None, vec![branch], Some(Box::new(mark))))
            }
            None => mark,
        };
        let by_group = !aggregate.group_expr.is_empty();
        let keys_wide = width.saturating_sub(figures.len());
        let mut marks: Vec<Option<Expr>> =
            of_keys.iter().map(|mark| mark.as_ref().map(|mark| unless_clean(column(mark)))).collect();
        marks.resize(keys_wide, None);
        let everything = all.as_deref().map(lit);
        marks.extend(
            tallies.iter().map(|tally| first([everything.clone(), tally.as_ref().map(|tally| tally.mark(column))])),
        );
        let rows = match (&clean, by_group) {
            (Some(_), true) => {
                Some(unless_clean(first([rows.as_ref().map(column), Some(lit(JUDGED))]).unwrap_or_else(none)))
            }
            _ => None,
        };
        let shown: Vec<Expr> = columns.iter().take(width).cloned().map(Expr::Column).collect();
        let doubts = Doubts { missing: all.filter(|_| by_group), order: None };
        self.project(shown, LogicalPlan::Aggregate(with_marks), marks, rows, doubts)
    }
}

/// Aggregates over marks, each once, after those of the asker.
struct Made {
    aggr_expr: Vec<Expr>,
    /// The number of the asker's aggregates.
    first: usize,
    columns: Vec<Expr>,
}

impl Made {
    fn add(&mut self, expr: &Expr) {
        if !self.columns.contains(expr) {
            self.columns.push(expr.clone());
            let name = format!("{}a{}", crate::plan::federated_node::NOTE, self.columns.len());
            self.aggr_expr.push(expr.clone().alias(name));
        }
    }

    /// The column that holds an aggregate. `extra`: the columns after those of the asker.
    fn column(&self, expr: &Expr, extra: &[Column]) -> Expr {
        debug_assert_eq!(self.aggr_expr.len() - self.first, extra.len(), "each aggregate over marks has a column");
        let place = self.columns.iter().position(|of| of == expr);
        place.and_then(|place| extra.get(place)).cloned().map_or_else(none, Expr::Column)
    }
}

/// The keys of a grouping, each once, in the order of the columns.
fn plain_keys(key: &Expr) -> Vec<&Expr> {
    match key {
        Expr::GroupingSet(sets) => sets.distinct_expr(),
        other => vec![other],
    }
}

fn params(figure: &Expr) -> Option<&AggregateFunctionParams> {
    match figure {
        Expr::Alias(alias) => params(&alias.expr),
        Expr::AggregateFunction(function) => Some(&function.params),
        _ => None,
    }
}

/// The mark of one row's part in a figure.
fn mark_of_row(input: &Marked, figure: &Expr) -> Result<Option<Expr>> {
    let scope = input.scope();
    let Some(params) = params(figure) else { return Ok(first([scope.mark_of(figure)?, input.row_mark()])) };
    let read = params.args.iter().chain(params.order_by.iter().map(|key| &key.expr));
    let of_args = scope.mark_of_all(read)?;
    let Some(filter) = &params.filter else { return Ok(first([of_args, input.row_mark()])) };
    let of_args = of_args.map(|mark| {
        let branch = (filter.clone(), Box::new(mark));
        Expr::Case(Case::new(None, vec![branch], None))
    });
    Ok(first([scope.mark_of(filter)?, of_args, input.row_mark()]))
}

/// Something that is not NULL in the rows that a figure counts.
fn counted(figure: &Expr) -> Expr {
    match params(figure).and_then(|params| params.filter.clone()) {
        Some(filter) => Expr::Case(Case::new(None, vec![(filter, Box::new(lit(1_i64)))], None)),
        None => lit(1_i64),
    }
}
