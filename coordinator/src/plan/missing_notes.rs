//! Notes on withheld or missing values stay with their row until the end. Each federated leaf has a hidden text column
//! for them. Operators that keep rows carry the column. Operators that combine rows drop it.
//!
//! A note is NULL (nothing is missing), `c` (withheld), `x: …` (a borough did not answer) or `lacks …`.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder, Projection, Subquery, Union};

use crate::plan::federated_node::NOTE;

/// Carries notes through one node. Its inputs carry them already.
pub(crate) fn carry(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let plan = plan.map_expressions(|expr| expr.transform_up(strip_subquery))?.data;
    let carried = match plan {
        LogicalPlan::Projection(projection) => {
            let mut exprs = projection.expr;
            for note in notes_of(projection.input.schema()) {
                if !exprs.iter().any(|e| matches!(e, Expr::Column(c) if *c == note)) {
                    exprs.push(Expr::Column(note));
                }
            }
            LogicalPlan::Projection(Projection::try_new(exprs, projection.input)?)
        }
        LogicalPlan::Distinct(Distinct::All(input)) => LogicalPlan::Distinct(Distinct::All(Arc::new(strip(&input)?))),
        LogicalPlan::Union(union) => LogicalPlan::Union(Union::try_new_with_loose_types(side_by_side(&union.inputs)?)?),
        other => other.recompute_schema()?,
    };
    Ok(Transformed::yes(carried))
}

/// The inputs of a UNION ALL, which keeps every row. Each input gets the same number of notes under the same names.
fn side_by_side(inputs: &[Arc<LogicalPlan>]) -> Result<Vec<Arc<LogicalPlan>>> {
    let notes: Vec<Vec<Column>> = inputs.iter().map(|input| notes_of(input.schema())).collect();
    let longest = notes.iter().max_by_key(|notes| notes.len()).map_or(&[][..], Vec::as_slice);
    let align = |(input, notes): (&Arc<LogicalPlan>, &Vec<Column>)| -> Result<Arc<LogicalPlan>> {
        let kept = input.schema().columns().into_iter().filter(|c| !is_note(c)).map(Expr::Column);
        let aligned = longest.iter().enumerate().map(|(number, name)| {
            let none = || Expr::Literal(ScalarValue::Utf8(None), None);
            notes.get(number).map_or_else(none, |note| Expr::Column(note.clone())).alias(&name.name)
        });
        let columns: Vec<Expr> = kept.chain(aligned).collect();
        Ok(Arc::new(LogicalPlanBuilder::from(Arc::clone(input)).project(columns)?.build()?))
    };
    inputs.iter().zip(&notes).map(align).collect()
}

/// A subquery inside an expression returns its own columns without notes.
fn strip_subquery(expr: Expr) -> Result<Transformed<Expr>> {
    let stripped =
        |subquery: &Subquery| -> Result<Subquery> { Ok(subquery.with_plan(Arc::new(strip(&subquery.subquery)?))) };
    Ok(match expr {
        Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(stripped(&subquery)?)),
        Expr::InSubquery(of) => {
            let subquery = stripped(&of.subquery)?;
            Transformed::yes(Expr::InSubquery(InSubquery { subquery, ..of }))
        }
        Expr::Exists(of) => {
            let subquery = stripped(&of.subquery)?;
            Transformed::yes(Expr::Exists(Exists { subquery, ..of }))
        }
        other => Transformed::no(other),
    })
}

fn strip(plan: &LogicalPlan) -> Result<LogicalPlan> {
    if notes_of(plan.schema()).is_empty() {
        return Ok(plan.clone());
    }
    let kept = plan.schema().columns().into_iter().filter(|c| !is_note(c)).map(Expr::Column);
    LogicalPlanBuilder::from(plan.clone()).project(kept.collect::<Vec<_>>())?.build()
}

fn notes_of(schema: &DFSchema) -> Vec<Column> {
    schema.columns().into_iter().filter(is_note).collect()
}

fn is_note(column: &Column) -> bool {
    column.name.starts_with(NOTE)
}
