//! The mark of an expression's value.
//!
//! A value has a mark if any column in it has one. Two forms are followed closer, because people ask them often: of a
//! CASE, the branches that are not taken do not count; and of AND and OR, a side does not count where the other one
//! alone decides.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError, Result};
use datafusion::logical_expr::{
    BinaryExpr, Case, ColumnarValue, Expr, Operator, ScalarUDF, Volatility, create_udf, lit,
};

use super::{MARK, Marked};

/// The marks of the columns that an expression may use.
pub(super) struct Scope<'a>(Vec<&'a Marked>);

impl Marked {
    pub(super) fn scope(&self) -> Scope<'_> {
        Scope(vec![self])
    }

    /// The scope of both sides of a join.
    pub(super) fn scope_with<'a>(&'a self, other: &'a Self) -> Scope<'a> {
        Scope(vec![self, other])
    }
}

impl Scope<'_> {
    fn of_column(&self, column: &Column) -> Option<Expr> {
        let mark = |side: &&Marked| {
            let place = place(side.plan.schema(), column)?;
            Some(side.values.get(place).cloned().flatten().map(Expr::Column))
        };
        self.0.iter().find_map(mark).flatten()
    }

    /// The mark of an expression: a text expression. `None`: it never has one.
    ///
    /// # Errors
    /// The expression holds a subquery that the optimiser left in it.
    pub(super) fn mark_of(&self, expr: &Expr) -> Result<Option<Expr>> {
        Ok(match expr {
            Expr::Column(column) => self.of_column(column),
            Expr::Literal(_, metadata) => {
                let mark = metadata.as_ref().and_then(|metadata| metadata.inner().get(MARK));
                mark.map(|mark| lit(mark.as_str()))
            }
            Expr::Case(case) => self.of_case(case)?,
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
                let marks = [self.mark_of(left)?, self.mark_of(right)?];
                if marks.iter().all(Option::is_none) {
                    None
                } else if cannot_fail(left) && cannot_fail(right) {
                    let [a, b] = marks.map(|mark| mark.unwrap_or_else(none));
                    let decides = *op == Operator::Or;
                    Some(undecided(decides).call(vec![left.as_ref().clone(), a, right.as_ref().clone(), b]))
                } else {
                    first(marks)
                }
            }
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => {
                return Err(DataFusionError::NotImplemented("this form of a subquery cannot be run".to_owned()));
            }
            other => {
                let mut marks = Vec::new();
                other.apply_children(|child| {
                    marks.push(self.mark_of(child)?);
                    Ok(TreeNodeRecursion::Continue)
                })?;
                first(marks)
            }
        })
    }

    /// The first mark of several expressions.
    pub(super) fn mark_of_all<'e>(&self, exprs: impl IntoIterator<Item = &'e Expr>) -> Result<Option<Expr>> {
        Ok(first(exprs.into_iter().map(|expr| self.mark_of(expr)).collect::<Result<Vec<_>>>()?))
    }

    /// The marks of the conditions up to the branch that is taken, and the mark of that branch.
    fn of_case(&self, case: &Case) -> Result<Option<Expr>> {
        // The operand stands in each condition. A nested one would double in size with each level.
        let operand = match case.expr.as_deref() {
            Some(operand) if !matches!(operand, Expr::Column(_)) => {
                let branches = case.when_then_expr.iter().flat_map(|(when, then)| [when.as_ref(), then.as_ref()]);
                return self.mark_of_all(std::iter::once(operand).chain(branches).chain(case.else_expr.as_deref()));
            }
            Some(operand) => self.mark_of(operand)?,
            None => None,
        };
        let mut rest = case.else_expr.as_ref().map(|expr| self.mark_of(expr)).transpose()?.flatten();
        for (when, then) in case.when_then_expr.iter().rev() {
            let condition = match &case.expr {
                Some(operand) => operand.as_ref().clone().eq(when.as_ref().clone()),
                None => when.as_ref().clone(),
            };
            let (of_condition, of_branch) = (self.mark_of(when)?, self.mark_of(then)?);
            if of_branch.is_some() || rest.is_some() {
                let branch = (Box::new(condition), Box::new(of_branch.unwrap_or_else(none)));
                rest = Some(Expr::Case(Case::new(None, vec![branch], rest.map(Box::new))));
            }
            rest = first([of_condition, rest]);
        }
        Ok(first([operand, rest]))
    }
}

/// The place of a column in a schema.
fn place(schema: &DFSchema, column: &Column) -> Option<usize> {
    schema.maybe_index_of_column(column)
}

/// No mark.
pub(super) fn none() -> Expr {
    lit(datafusion::common::ScalarValue::Utf8(None))
}

/// The first of several marks that is there.
pub(super) fn first(marks: impl IntoIterator<Item = Option<Expr>>) -> Option<Expr> {
    let mut all: Vec<Expr> = Vec::new();
    for mark in marks.into_iter().flatten() {
        if !all.contains(&mark) {
            all.push(mark);
        }
    }
    match all.len() {
        0 | 1 => all.pop(),
        many => Some(first_mark(many).call(all)),
    }
}

/// Whether an expression gives a value for any row: then it may be evaluated for rows for which the engine would not
/// have done so.
fn cannot_fail(expr: &Expr) -> bool {
    let mut safe = true;
    // The closure never fails.
    let _walked = expr.apply(|e| {
        safe &= match e {
            Expr::BinaryExpr(BinaryExpr { op, .. }) => {
                op.supports_propagation() || matches!(op, Operator::And | Operator::Or | Operator::NotEq)
            }
            Expr::Column(_)
            | Expr::Literal(..)
            | Expr::Alias(_)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_)
            | Expr::Between(_)
            | Expr::InList(_)
            | Expr::Like(_) => true,
            _ => false,
        };
        Ok(if safe { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    safe
}

fn text(array: &ArrayRef) -> Result<&StringArray> {
    array.as_string_opt::<i32>().ok_or_else(|| DataFusionError::Internal("a mark is not a text".to_owned()))
}

/// The first text of a row that is not NULL. CASE would need each of them twice, so that nested ones double each time.
fn first_mark(many: usize) -> ScalarUDF {
    let first = |args: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let arrays = arrays.iter().map(text).collect::<Result<Vec<_>>>()?;
        let rows = arrays.first().map_or(0, |array| array.len());
        let of_row = |row: usize| arrays.iter().find(|array| array.is_valid(row)).map(|array| array.value(row));
        Ok(ColumnarValue::Array(Arc::new((0..rows).map(of_row).collect::<StringArray>())))
    };
    create_udf("first_mark", vec![DataType::Utf8; many], DataType::Utf8, Volatility::Immutable, Arc::new(first))
}

/// The mark of AND, or of OR: none where a side without a mark is FALSE, or TRUE, and decides.
fn undecided(deciding: bool) -> ScalarUDF {
    let of = move |args: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let [left, of_left, right, of_right] = arrays.as_slice() else {
            return Err(DataFusionError::Internal("a mark of two sides has four parts".to_owned()));
        };
        let truth = |array: &ArrayRef| -> Result<BooleanArray> {
            let array = arrow::compute::cast(array, &DataType::Boolean)?;
            Ok(array.as_boolean().clone())
        };
        let (left, right) = (truth(left)?, truth(right)?);
        let (of_left, of_right) = (text(of_left)?, text(of_right)?);
        let decides = |truth: &BooleanArray, mark: &StringArray, row: usize| {
            truth.is_valid(row) && truth.value(row) == deciding && mark.is_null(row)
        };
        let of_row = |row: usize| {
            if decides(&left, of_left, row) || decides(&right, of_right, row) {
                return None;
            }
            [of_left, of_right].into_iter().find(|mark| mark.is_valid(row)).map(|mark| mark.value(row))
        };
        Ok(ColumnarValue::Array(Arc::new((0..left.len()).map(of_row).collect::<StringArray>())))
    };
    let inputs = vec![DataType::Boolean, DataType::Utf8, DataType::Boolean, DataType::Utf8];
    let name = if deciding { "mark_of_or" } else { "mark_of_and" };
    create_udf(name, inputs, DataType::Utf8, Volatility::Immutable, Arc::new(of))
}
