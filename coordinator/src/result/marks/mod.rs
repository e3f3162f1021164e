//! Marks: why a value is not the one that complete figures would give.
//!
//! The steps after the merge run on released figures, and some of these are withheld, incomplete or estimated. A plan
//! is rewritten so that each value carries its mark through every step. For each plan and all figures that may be
//! missing this holds: a value without a mark, in a row without a mark, stands in the answer to the same plan over
//! complete figures, or it is NULL.
//!
//! ```text
//! leaf: figures and their marks ─► projection, filter, aggregate, window, join, … ─► values │ marks │ mark of the row
//! ```
//!
//! Three things are followed for each step: the marks of its values; the mark of a row that perhaps would not be there;
//! and whether rows may be missing. The last holds for the whole step: whatever combines its rows is marked.
//!
//! | module | what it marks |
//! |---|---|
//! | [`expressions`] | the value of an expression |
//! | [`rows`] | conditions, ranks, unions: which rows there are |
//! | [`aggregates`], [`windows`], [`joins`] | what these make of marked rows |
//! | [`words`] | the texts of marks |
//!
//! The method is that of tables with certain and uncertain answers (Feng, Glavic and others, "Uncertainty Annotated
//! Databases", SIGMOD 2019), for missing values in place of alternatives.

mod aggregates;
mod expressions;
mod joins;
mod rows;
mod windows;
mod words;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, exec_err};
use datafusion::execution::session_state::SessionState;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::expr::FieldMetadata;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, Projection};
use datafusion::physical_plan::collect;
use futures::FutureExt;
use futures::future::BoxFuture;
use loda_question::{Refusal, Rule};

pub(crate) use self::words::{MISSING, Value, words_of_row};
use crate::plan::advice::engine_errors::refuse;
use crate::plan::federated_node::{Federated, NOTE};
use crate::result::row_pairs::crossed;

/// The metadata key of a literal that stands for a subquery's value. Its text is the value's mark.
const MARK: &str = "loda.mark";

/// A plan whose values carry marks.
pub(crate) struct Marked {
    /// The columns of the plan before, in their order, and after them text columns with marks.
    pub(crate) plan: LogicalPlan,
    /// For each column of the plan before: the column with its marks. `None`: none of its values has a mark.
    pub(crate) values: Vec<Option<Column>>,
    /// The column that says why a row might not be there. `None`: every row is.
    pub(crate) rows: Option<Column>,
    /// What is true of all rows together.
    pub(crate) doubts: Doubts,
}

/// What is not known of the rows of a plan, all together.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Doubts {
    /// Why rows may be missing.
    pub(crate) missing: Option<String>,
    /// Why the order of the rows may be another one.
    order: Option<String>,
}

impl Marked {
    /// A plan whose values all are those of complete figures.
    fn whole(plan: LogicalPlan) -> Self {
        let values = vec![None; plan.schema().fields().len()];
        Self { plan, values, rows: None, doubts: Doubts::default() }
    }

    fn is_whole(&self) -> bool {
        self.values.iter().all(Option::is_none) && self.rows.is_none() && self.doubts == Doubts::default()
    }

    /// The columns of the plan before.
    fn columns(&self) -> Vec<Expr> {
        self.plan.schema().columns().into_iter().take(self.values.len()).map(Expr::Column).collect()
    }

    fn row_mark(&self) -> Option<Expr> {
        self.rows.clone().map(Expr::Column)
    }
}

/// Rewrites plans so that their values carry marks.
pub(crate) struct Marker {
    state: SessionState,
    /// The merged cells of each part: the columns of its leaf, then columns of marks.
    parts: BTreeMap<usize, SchemaRef>,
    /// Whether a step of the plan depends on the order of the rows below it.
    limits: bool,
    names: AtomicUsize,
    /// What a reader has to know of rows that are left out.
    notes: Mutex<Vec<String>>,
}

impl Marker {
    /// Rewrites a plan that the optimiser has left. `state` plans the leaves: `parts` are the schemas of their cells.
    ///
    /// # Errors
    /// A fault in the asker's expressions, or a step through which marks cannot be followed.
    pub(crate) async fn mark(
        state: SessionState,
        parts: BTreeMap<usize, SchemaRef>,
        plan: &LogicalPlan,
    ) -> Result<(Marked, Vec<String>)> {
        let is_whole = |schema: &SchemaRef| {
            schema.metadata().is_empty() && schema.fields().iter().all(|field| !field.name().starts_with(NOTE))
        };
        if parts.values().all(is_whole) {
            return Ok((Marked::whole(plan.clone()), Vec::new()));
        }
        let mut limits = false;
        plan.apply_with_subqueries(|node| {
            limits |= match node {
                LogicalPlan::Limit(_) => true,
                LogicalPlan::Window(window) => window.window_expr.iter().any(is_unordered),
                _ => false,
            };
            Ok(TreeNodeRecursion::Continue)
        })?;
        let marker = Self { state, parts, limits, names: AtomicUsize::new(0), notes: Mutex::default() };
        let marked = marker.plan(plan).await?;
        if let Some(note) = marked.doubts.missing.as_deref().and_then(words::rows_missing) {
            marker.note(note);
        }
        let mut notes = marker.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
        notes.sort();
        notes.dedup();
        Ok((marked, notes))
    }

    fn note(&self, note: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    fn plan<'a>(&'a self, plan: &'a LogicalPlan) -> BoxFuture<'a, Result<Marked>> {
        async move {
            match plan {
                LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<Federated>() {
                    Some(leaf) => self.leaf(leaf),
                    None => self.other(plan).await,
                },
                LogicalPlan::Projection(projection) => self.projection(projection).await,
                LogicalPlan::Filter(filter) => self.filter(filter).await,
                LogicalPlan::Sort(sort) => self.sort(sort).await,
                LogicalPlan::Limit(limit) => self.limit(limit).await,
                LogicalPlan::Union(union) => self.union(union).await,
                LogicalPlan::SubqueryAlias(alias) => self.alias(alias).await,
                LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate).await,
                LogicalPlan::Window(window) => self.window(window).await,
                LogicalPlan::Join(join) => self.join(join).await,
                LogicalPlan::Unnest(unnest) => self.unnest(unnest).await,
                other => self.other(other).await,
            }
        }
        .boxed()
    }

    /// The merged cells of a part, with the marks of its figures.
    fn leaf(&self, leaf: &Federated) -> Result<Marked> {
        let width = leaf.schema.fields().len();
        let merged = self.parts.get(&leaf.part);
        let merged: Vec<_> = merged.iter().flat_map(|schema| schema.fields().iter().skip(width)).cloned().collect();
        let mut values = vec![None; width];
        for field in &merged {
            let place = field.name().strip_prefix(NOTE).and_then(|place| place.parse::<usize>().ok());
            if let Some(value) = place.and_then(|place| values.get_mut(place)) {
                *value = Some(Column::new_unqualified(field.name()));
            }
        }
        let missing = self.parts.get(&leaf.part).and_then(|schema| schema.metadata().get(MISSING)).cloned();
        let doubts = Doubts { missing, order: None };
        let fields = leaf.schema.iter().map(|(q, f)| (q.cloned(), Arc::clone(f)));
        let fields = fields.chain(merged.into_iter().map(|field| (None, field))).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, leaf.schema.metadata().clone())?);
        let node = Arc::new(Federated { schema, ..leaf.clone() });
        let leaf = Marked { plan: LogicalPlan::Extension(Extension { node }), values, rows: None, doubts };
        // The same part may stand in a plan twice, and each mark needs a name of its own.
        let marks = leaf.values.iter().map(|mark| mark.clone().map(Expr::Column)).collect();
        if leaf.is_whole() { Ok(leaf) } else { self.project(leaf.columns(), leaf.plan, marks, None, leaf.doubts) }
    }

    /// Any other step: whole if all below it is.
    async fn other(&self, plan: &LogicalPlan) -> Result<Marked> {
        let mut inputs = Vec::new();
        for input in plan.inputs() {
            let marked = self.plan(input).await?;
            if !marked.is_whole() {
                return refuse(Refusal::new(
                    Rule::Operator,
                    "figures of which some are withheld or incomplete cannot be combined in this way",
                    "Ask for the figures themselves, and combine them where you read them",
                ));
            }
            inputs.push(marked.plan);
        }
        if inputs.is_empty() {
            return Ok(Marked::whole(plan.clone()));
        }
        Ok(Marked::whole(plan.with_new_exprs(plan.expressions(), inputs)?))
    }

    async fn projection(&self, projection: &Projection) -> Result<Marked> {
        let input = self.plan(&projection.input).await?;
        let (shown, marks) = {
            let exprs = self.without_subqueries(projection.expr.clone()).await?;
            let scope = input.scope();
            let marks = exprs.iter().map(|expr| scope.mark_of(expr)).collect::<Result<Vec<_>>>()?;
            (exprs, marks)
        };
        let rows = input.row_mark();
        self.project(shown, input.plan, marks, rows, input.doubts)
    }

    /// A projection to values and their marks.
    fn project(
        &self,
        shown: Vec<Expr>,
        input: LogicalPlan,
        marks: Vec<Option<Expr>>,
        rows: Option<Expr>,
        doubts: Doubts,
    ) -> Result<Marked> {
        let mut named: Vec<(Expr, Column)> = Vec::new();
        let mut column = |mark: Option<Expr>| {
            let mark = mark?;
            if let Some((_, column)) = named.iter().find(|(of, _)| *of == mark) {
                return Some(column.clone());
            }
            let column = self.fresh();
            named.push((mark, column.clone()));
            Some(column)
        };
        let values = marks.into_iter().map(&mut column).collect();
        let rows = column(rows);
        let mut shown = shown.into_iter().map(bare).collect::<Result<Vec<_>>>()?;
        shown.extend(named.into_iter().map(|(mark, column)| mark.alias(column.name)));
        let plan = LogicalPlan::Projection(Projection::try_new(shown, Arc::new(input))?);
        Ok(Marked { plan, values, rows, doubts })
    }

    /// A column name that no plan has yet.
    fn fresh(&self) -> Column {
        Column::new_unqualified(format!("{NOTE}m{}", self.names.fetch_add(1, Ordering::Relaxed)))
    }

    /// Runs a plan.
    async fn run(&self, plan: &LogicalPlan) -> Result<Vec<RecordBatch>> {
        let physical = self.state.query_planner().create_physical_plan(plan, &self.state).await?;
        crossed(physical.as_ref())?;
        collect(physical, self.state.task_ctx()).await
    }

    /// The largest mark of a plan's rows, if any row has one.
    async fn any(&self, input: &LogicalPlan, mark: Option<Expr>) -> Result<Option<String>> {
        let Some(mark) = mark else { return Ok(None) };
        let plan = LogicalPlanBuilder::from(input.clone()).aggregate(Vec::<Expr>::new(), vec![max(mark)])?.build()?;
        let batches = self.run(&plan).await?;
        Ok(batches.first().and_then(|batch| text_at(batch.columns().first()?, 0)))
    }

    /// Expressions with the values of their scalar subqueries in place of these, under the same names.
    async fn without_subqueries(&self, exprs: Vec<Expr>) -> Result<Vec<Expr>> {
        let mut settled = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let name = NamePreserver::new_for_projection().save(&expr);
            settled.push(name.restore(self.without_subquery(expr).await?));
        }
        Ok(settled)
    }

    /// As [`Marker::without_subqueries`], where the name does not matter.
    async fn without_subquery(&self, expr: Expr) -> Result<Expr> {
        let mut found = Vec::new();
        expr.apply(|e| {
            if let Expr::ScalarSubquery(subquery) = e
                && !found.contains(subquery)
            {
                found.push(subquery.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let mut values = Vec::new();
        for subquery in found {
            let value = self.scalar(&subquery.subquery).await?;
            values.push((subquery, value));
        }
        let settled = expr.transform_up(|e| {
            let Expr::ScalarSubquery(subquery) = &e else { return Ok(Transformed::no(e)) };
            let value = values.iter().find(|(of, _)| of == subquery).map(|(_, value)| value.clone());
            Ok(value.map_or_else(|| Transformed::no(e), Transformed::yes))
        })?;
        Ok(settled.data)
    }

    /// The value of a scalar subquery, as a literal that carries its mark.
    async fn scalar(&self, subquery: &LogicalPlan) -> Result<Expr> {
        let marked = self.plan(subquery).await?;
        let kind = subquery.schema().fields().first().map_or(DataType::Null, |field| field.data_type().clone());
        let place = |column: &Column| marked.plan.schema().maybe_index_of_column(column);
        let marks = [marked.values.first().cloned().flatten(), marked.rows.clone()];
        let marks: Vec<usize> = marks.iter().flatten().filter_map(place).collect();
        let batches = self.run(&marked.plan).await?;
        let mut found = batches.iter().filter(|batch| batch.num_rows() > 0);
        let (value, mark) = match (found.next(), found.next()) {
            (None, _) => (ScalarValue::try_from(&kind)?, None),
            (Some(batch), None) if batch.num_rows() == 1 => {
                let mark = marks.iter().filter_map(|mark| batch.columns().get(*mark));
                let first = batch.columns().first().map(|column| ScalarValue::try_from_array(column, 0)).transpose()?;
                (first.unwrap_or(ScalarValue::Null), mark.filter_map(|column| text_at(column, 0)).next())
            }
            _ => return exec_err!("a subquery in place of a value returned more than one row"),
        };
        let mark =
            mark.or(marked.doubts.missing).map(|mark| FieldMetadata::from(BTreeMap::from([(MARK.to_owned(), mark)])));
        Ok(Expr::Literal(value, mark))
    }
}

/// Whether a window has no order of its own: then it has that of the rows below it.
fn is_unordered(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_unordered(&alias.expr),
        Expr::WindowFunction(function) => function.params.order_by.is_empty(),
        _ => false,
    }
}

/// An expression without the marks of its literals: they are no part of the plan.
fn bare(expr: Expr) -> Result<Expr> {
    let bare = expr.transform_up(|e| match e {
        Expr::Literal(value, Some(metadata)) if metadata.inner().contains_key(MARK) => {
            Ok(Transformed::yes(Expr::Literal(value, None)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(bare.data)
}

/// The text in one row of a column of marks.
pub(crate) fn text_at(column: &ArrayRef, row: usize) -> Option<String> {
    let column = column.as_string_opt::<i32>()?;
    (row < column.len() && column.is_valid(row)).then(|| column.value(row).to_owned())
}

/// The field of the marks of a leaf's column.
pub(crate) fn mark_field(place: usize) -> FieldRef {
    text_field(&format!("{NOTE}{place}"))
}

fn text_field(name: &str) -> FieldRef {
    Arc::new(Field::new(name, DataType::Utf8, true))
}
