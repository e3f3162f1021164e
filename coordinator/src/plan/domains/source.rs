//! Expressions over one column whose values are known.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use super::origin::{Steps, through};
use super::{Domains, Known};

/// The steps to find where one expression comes from.
const MOST_STEPS: usize = 2_000;

/// The stand-in for the column that an expression reads.
const VALUE: &str = "value";

/// An expression over one column of a table, written over a column `value`.
pub(crate) struct Source {
    pub(crate) expr: Expr,
    pub(crate) table: String,
    pub(crate) column: String,
    pub(crate) known: Known,
}

/// Finds the sources of an operator's expressions.
pub(crate) struct Sources<'a> {
    inputs: Vec<&'a LogicalPlan>,
    domains: &'a Domains<'a>,
}

impl<'a> Sources<'a> {
    pub(crate) fn of_node(node: &'a LogicalPlan, domains: &'a Domains<'a>) -> Self {
        let mut inputs = node.inputs();
        if inputs.is_empty() {
            inputs.push(node);
        }
        Self { inputs, domains }
    }

    /// Whether an expression reads a column of a dataset that its contract calls a dimension, or its borough, and nothing
    /// else.
    pub(crate) fn is_of_dimension(&self, expr: &Expr) -> bool {
        self.origin(expr).is_some_and(|over| {
            let refs = over.column_refs();
            !refs.is_empty()
                && refs.into_iter().all(|column| {
                    column.relation.as_ref().is_some_and(|table| self.domains.is_dimension(table.table(), &column.name))
                })
        })
    }

    /// An expression over columns of tables.
    fn origin(&self, expr: &Expr) -> Option<Expr> {
        let mut refs = expr.column_refs().into_iter();
        let (first, None) = (refs.next()?, refs.next()) else { return None };
        let input = self.inputs.iter().find(|input| input.schema().maybe_index_of_column(first).is_some())?;
        through(expr, input, &Steps::new(MOST_STEPS))
    }

    /// The source of an expression. `None`: it reads no column or several, or one whose values are not known.
    pub(crate) fn of(&self, expr: &Expr) -> Option<Source> {
        let over = self.origin(expr)?;
        let mut refs = over.column_refs().into_iter();
        let (column, None) = (refs.next()?.clone(), refs.next()) else { return None };
        let table = column.relation.as_ref()?.table().to_owned();
        let known = self.domains.known(&table, &column.name)?;
        let value = over.transform_up(|e| match e {
            Expr::Column(_) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(VALUE)))),
            other => Ok(Transformed::no(other)),
        });
        Some(Source { expr: value.ok()?.data, table, column: column.name, known })
    }
}

impl Source {
    /// Whether the expression is the column itself. A cast has values of another type.
    pub(crate) fn is_column(&self) -> bool {
        matches!(self.expr, Expr::Column(_))
    }

    /// As people write it.
    pub(crate) fn words(&self, written: &Expr) -> String {
        if self.is_column() { self.column.clone() } else { written.human_display().to_string() }
    }

    /// How many nodes are evaluated, for all values together.
    pub(crate) fn work(&self) -> Option<usize> {
        let mut nodes = 0_usize;
        let counted = self.expr.apply(|_| {
            nodes = nodes.saturating_add(1);
            Ok(TreeNodeRecursion::Continue)
        });
        counted.ok()?;
        nodes.checked_mul(self.known.values.len().checked_add(1)?)
    }

    /// The expression for each value of its column, and for NULL at the end.
    pub(crate) fn evaluated(&self, state: &SessionState) -> Option<ArrayRef> {
        let null = ScalarValue::try_from(&self.known.values.first()?.data_type()).ok()?;
        let values = ScalarValue::iter_to_array(self.known.values.iter().cloned().chain([null])).ok()?;
        evaluated(&self.expr, vec![(VALUE, values)], state)
    }
}

/// An expression over rows of some columns. `None`: it fails for one of them.
pub(crate) fn evaluated(expr: &Expr, columns: Vec<(&str, ArrayRef)>, state: &SessionState) -> Option<ArrayRef> {
    let fields = columns.iter().map(|(name, values)| Field::new(*name, values.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns.into_iter().map(|(_, values)| values).collect());
    let (batch, schema) = (batch.ok()?, Arc::new(DFSchema::try_from(schema).ok()?));
    // Some functions run in their simplified form alone.
    let context = SimplifyContext::builder().with_schema(Arc::clone(&schema)).with_current_time().build();
    let simple = ExprSimplifier::new(context).simplify(expr.clone()).ok()?;
    let physical = state.create_physical_expr(simple, &schema).ok()?;
    physical.evaluate(&batch).ok()?.into_array(batch.num_rows()).ok()
}
