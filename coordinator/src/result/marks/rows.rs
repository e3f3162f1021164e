//! Conditions, ranks, unions and names: which rows there are.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::common::{DFSchema, Result};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{
    Case, Expr, Filter, Limit, LogicalPlan, LogicalPlanBuilder, Projection, Sort, SubqueryAlias, Union, Unnest, lit,
};

use super::expressions::{first, none};
use super::words::{JUDGED, RANKED, UNDECIDED, undecided};
use super::{Doubts, Marked, Marker, bare};

impl Marker {
    /// The rows that meet a condition. Rows of which this is not known are counted, and left out as SQL does.
    pub(super) async fn filter(&self, filter: &Filter) -> Result<Marked> {
        let input = self.plan(&filter.input).await?;
        let predicate = self.without_subquery(filter.predicate.clone()).await?;
        self.keep(input, predicate).await
    }

    pub(super) async fn keep(&self, input: Marked, predicate: Expr) -> Result<Marked> {
        let mark = input.scope().mark_of(&predicate)?;
        let predicate = bare(predicate)?;
        let Marked { plan, values, rows, mut doubts } = input;
        let Some(mark) = mark else {
            let plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?);
            return Ok(Marked { plan, values, rows, doubts });
        };
        let unknown = predicate.clone().is_not_true().and(mark.clone().is_not_null());
        let left_out = self.count(&plan, unknown).await?;
        if left_out > 0 {
            self.note(undecided(left_out));
            doubts.missing = Some(UNDECIDED.to_owned());
        }
        let plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?);
        let judged = Case::new(None, vec![(Box::new(mark.is_not_null()), Box::new(lit(JUDGED)))], None);
        let kept = Marked { plan, values, rows, doubts };
        let rows = first([kept.row_mark(), Some(Expr::Case(judged))]);
        self.with_rows(kept, rows)
    }

    /// The same values with another mark of the rows.
    pub(super) fn with_rows(&self, marked: Marked, rows: Option<Expr>) -> Result<Marked> {
        let columns = marked.columns();
        let marks = marked.values.iter().map(|mark| mark.clone().map(Expr::Column)).collect();
        self.project(columns, marked.plan, marks, rows, marked.doubts)
    }

    async fn count(&self, input: &LogicalPlan, condition: Expr) -> Result<i64> {
        let counted = LogicalPlanBuilder::from(input.clone()).filter(condition)?;
        let plan = counted.aggregate(Vec::<Expr>::new(), vec![count(lit(1_i64))])?.build()?;
        let batches = self.run(&plan).await?;
        let number = batches.first().and_then(|batch| batch.columns().first()?.as_primitive_opt::<Int64Type>());
        Ok(number.and_then(|number| number.values().first().copied()).unwrap_or(0))
    }

    /// An order changes no value. The first rows of an order do: they depend on every row.
    pub(super) async fn sort(&self, sort: &Sort) -> Result<Marked> {
        let input = self.plan(&sort.input).await?;
        let keys = sort.expr.iter().map(|key| &key.expr);
        let keys = self.without_subqueries(keys.cloned().collect()).await?;
        let mut doubt = None;
        if sort.fetch.is_some() || self.limits {
            let marks = first([input.scope().mark_of_all(&keys)?, input.row_mark()]);
            let found = self.any(&input.plan, marks).await?.is_some() || input.doubts.missing.is_some();
            doubt = found.then(|| RANKED.to_owned());
        }
        let expr =
            sort.expr.iter().zip(keys).map(|(key, expr)| Ok(key.with_expr(bare(expr)?))).collect::<Result<_>>()?;
        let plan = LogicalPlan::Sort(Sort { expr, input: Arc::new(input.plan), fetch: sort.fetch });
        let doubts = Doubts { order: doubt.clone(), ..input.doubts };
        self.ranked(Marked { plan, doubts, ..input }, doubt.filter(|_| sort.fetch.is_some()))
    }

    /// A limit takes the first rows. Their order is that of the sort below it.
    pub(super) async fn limit(&self, limit: &Limit) -> Result<Marked> {
        let input = self.plan(&limit.input).await?;
        let uncertain = self.any(&input.plan, input.row_mark()).await?.is_some() || input.doubts.missing.is_some();
        let doubt = input.doubts.order.clone().or_else(|| uncertain.then(|| RANKED.to_owned()));
        let plan = LogicalPlan::Limit(Limit { input: Arc::new(input.plan), ..limit.clone() });
        self.ranked(Marked { plan, ..input }, doubt)
    }

    /// Marks the first rows of an order that may be another one: other rows may come first.
    fn ranked(&self, marked: Marked, doubt: Option<String>) -> Result<Marked> {
        let Some(doubt) = doubt else { return Ok(marked) };
        let rows = first([marked.row_mark(), Some(lit(doubt.as_str()))]);
        let doubts = Doubts { missing: Some(doubt), ..marked.doubts };
        self.with_rows(Marked { doubts, ..marked }, rows)
    }

    pub(super) async fn union(&self, union: &Union) -> Result<Marked> {
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            inputs.push(self.plan(input).await?);
        }
        if inputs.iter().all(Marked::is_whole) {
            let inputs = inputs.into_iter().map(|input| Arc::new(input.plan)).collect();
            return Ok(Marked::whole(LogicalPlan::Union(Union { inputs, schema: Arc::clone(&union.schema) })));
        }
        let width = union.schema.fields().len();
        let of = |input: &Marked, place: usize| input.values.get(place).cloned().flatten();
        let values: Vec<_> = (0..width)
            .map(|place| inputs.iter().any(|input| of(input, place).is_some()).then(|| self.fresh()))
            .collect();
        let rows = inputs.iter().any(|input| input.rows.is_some()).then(|| self.fresh());
        let doubts = Doubts { missing: inputs.iter().find_map(|input| input.doubts.missing.clone()), order: None };
        let mut sides = Vec::with_capacity(inputs.len());
        for input in inputs {
            let mut shown = input.columns();
            for (place, column) in values.iter().enumerate() {
                let Some(column) = column else { continue };
                shown.push(of(&input, place).map_or_else(none, Expr::Column).alias(&column.name));
            }
            if let Some(column) = &rows {
                shown.push(input.row_mark().unwrap_or_else(none).alias(&column.name));
            }
            sides.push(Arc::new(LogicalPlan::Projection(Projection::try_new(shown, Arc::new(input.plan))?)));
        }
        let marks = values.iter().flatten().chain(&rows).map(|column| (None, super::text_field(&column.name)));
        let fields = union.schema.iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).chain(marks).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, union.schema.metadata().clone())?);
        Ok(Marked { plan: LogicalPlan::Union(Union { inputs: sides, schema }), values, rows, doubts })
    }

    /// A row as often as a list of it says: each has the marks of the one.
    pub(super) async fn unnest(&self, unnest: &Unnest) -> Result<Marked> {
        let input = self.plan(&unnest.input).await?;
        let columns = unnest.exec_columns.clone();
        let plan = LogicalPlanBuilder::from(input.plan);
        let plan = plan.unnest_columns_with_options(columns, unnest.options.clone())?.build()?;
        Ok(Marked { plan, ..input })
    }

    pub(super) async fn alias(&self, alias: &SubqueryAlias) -> Result<Marked> {
        let input = self.plan(&alias.input).await?;
        let plan = SubqueryAlias::try_new(Arc::new(input.plan), alias.alias.clone())?;
        Ok(Marked { plan: LogicalPlan::SubqueryAlias(plan), ..input })
    }
}
