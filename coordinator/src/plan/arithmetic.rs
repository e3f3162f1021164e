//! Arithmetic on figures as people expect it: a share is a decimal, and a number that is too large is an error.
//!
//! SQL engines divide whole numbers to whole numbers: a share of counts is then 0. Their sums and products of whole
//! numbers may wrap around to a wrong number without a word.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, Datum};
use datafusion::arrow::compute::kernels::numeric::{add, mul, sub};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::functions::core::expr_fn::nullif;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF, Union, Volatility, cast,
    create_udf, lit,
};
use loda_question::{Refusal, Rule};

use crate::plan::lineage;

/// Rewrites the arithmetic of the steps after the merge. Types may change: the plan has to be coerced again.
///
/// # Errors
/// The engine's own, for a plan that it cannot type.
pub(crate) fn exact(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let inputs = node.inputs();
        if inputs.is_empty() || matches!(node, LogicalPlan::Limit(_)) {
            return Ok(Transformed::no(node));
        }
        let schema = merge_schema(&inputs);
        let figures: HashSet<Column> = inputs.into_iter().flat_map(lineage::figures).collect();
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|e| exactly(e, &schema, &figures))?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })?;
        let node = match node.data {
            LogicalPlan::Union(union) => LogicalPlan::Union(Union::try_new_with_loose_types(union.inputs)?),
            other => other.recompute_schema()?,
        };
        Ok(Transformed::yes(node))
    })?;
    Ok(rewritten.data)
}

fn exactly(expr: Expr, schema: &DFSchema, figures: &HashSet<Column>) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return Ok(Transformed::no(expr)) };
    let whole = |expr: &Expr| expr.get_type(schema).is_ok_and(|kind| kind.is_integer());
    let both = whole(&left) && whole(&right);
    let rests = |expr: &Expr| {
        expr.column_refs().into_iter().any(|column| figures.contains(column)) || lineage::rests_on_a_subquery(expr)
    };
    if both && op == Operator::Divide && (rests(&left) || rests(&right)) {
        let under = nullif(cast(*right, DataType::Float64), lit(0.0_f64));
        return Ok(Transformed::yes(cast(*left, DataType::Float64) / under));
    }
    let checked = match op {
        Operator::Plus => &ADD,
        Operator::Minus => &SUBTRACT,
        Operator::Multiply => &MULTIPLY,
        _ => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
    };
    let expr = Expr::BinaryExpr(BinaryExpr { left: left.clone(), op, right: right.clone() });
    // Ranks are unsigned: the difference of two of them may be negative.
    if !both || !expr.get_type(schema)?.is_integer() {
        return Ok(Transformed::no(expr));
    }
    let args = vec![cast(*left, DataType::Int64), cast(*right, DataType::Int64)];
    Ok(Transformed::yes(checked.call(args)))
}

static ADD: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| checked("add", add));
static SUBTRACT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| checked("subtract", sub));
static MULTIPLY: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| checked(PRODUCT, mul));

/// The name of the function that multiplies whole numbers.
pub(crate) const PRODUCT: &str = "multiply";

type Kernel = fn(&dyn Datum, &dyn Datum) -> std::result::Result<ArrayRef, ArrowError>;

/// A function of two whole numbers that fails where the result does not fit.
fn checked(name: &str, kernel: Kernel) -> Arc<ScalarUDF> {
    let fits = move |args: &[ColumnarValue]| {
        let [left, right] = args else {
            return Err(DataFusionError::Internal("arithmetic has two sides".to_owned()));
        };
        let of = |array: ArrayRef| match (left, right) {
            (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)) => {
                ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar)
            }
            _ => Ok(ColumnarValue::Array(array)),
        };
        let made = match (left, right) {
            (ColumnarValue::Array(a), ColumnarValue::Array(b)) => kernel(a, b),
            (ColumnarValue::Array(a), ColumnarValue::Scalar(b)) => kernel(a, &b.to_scalar()?),
            (ColumnarValue::Scalar(a), ColumnarValue::Array(b)) => kernel(&a.to_scalar()?, b),
            (ColumnarValue::Scalar(a), ColumnarValue::Scalar(b)) => kernel(&a.to_scalar()?, &b.to_scalar()?),
        };
        of(made.map_err(|_overflow| too_large())?)
    };
    let inputs = vec![DataType::Int64, DataType::Int64];
    Arc::new(create_udf(name, inputs, DataType::Int64, Volatility::Immutable, Arc::new(fits)))
}

fn too_large() -> DataFusionError {
    let message = "a whole number of the answer is larger than 9,223,372,036,854,775,807";
    DataFusionError::External(Box::new(Refusal::new(Rule::Sql, message, "Multiply by decimals, such as 1.0")))
}
