//! From a question to DataFusion expressions and plans.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::functions::datetime::expr_fn::{date_part, date_trunc};
use datafusion::functions::string::expr_fn::{lower, upper};
use datafusion::functions_aggregate::expr_fn::{count, count_distinct, sum};
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{Case, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, TableSource, cast, lit};
use loda_contract::{ColumnType, Contract, Value};

use crate::derive::Question;
use crate::draft::{Comparison, Measure, Predicate, Scalar};
use crate::encode::{FIGURE, KEY, PRECISION};

/// The Arrow type of a contract type.
#[must_use]
pub fn arrow_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Text => DataType::Utf8,
        ColumnType::Integer => DataType::Int64,
        ColumnType::Date => DataType::Date32,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Decimal(scale) => DataType::Decimal128(PRECISION, scale),
    }
}

/// The contract's columns as an Arrow schema.
#[must_use]
pub fn arrow_schema(contract: &Contract) -> SchemaRef {
    let fields = contract.columns.iter().map(|c| Field::new(&c.name, arrow_type(c.kind), c.nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A contract value as a DataFusion literal.
#[must_use]
pub fn value_scalar(value: &Value, kind: ColumnType) -> ScalarValue {
    match (value, kind) {
        (Value::Text(t), _) => ScalarValue::Utf8(Some(t.clone())),
        (Value::Integer(i), _) => ScalarValue::Int64(Some(*i)),
        (Value::Date(d), _) => ScalarValue::Date32(Some(*d)),
        (Value::Boolean(b), _) => ScalarValue::Boolean(Some(*b)),
        (Value::Decimal(d), ColumnType::Decimal(scale)) => ScalarValue::Decimal128(Some(*d), PRECISION, scale),
        (Value::Decimal(d), _) => ScalarValue::Decimal128(Some(*d), PRECISION, 0),
        (Value::Null, kind) => ScalarValue::try_from(&arrow_type(kind)).unwrap_or(ScalarValue::Null),
    }
}

/// A scalar over the contract's columns, unqualified.
#[must_use]
pub fn scalar_expr(scalar: &Scalar) -> Expr {
    match scalar {
        Scalar::Column(name) => Expr::Column(Column::new_unqualified(name)),
        Scalar::Literal(value, kind) => lit(value_scalar(value, *kind)),
        Scalar::DateTrunc(grain, of) => cast(date_trunc(lit(grain.name()), scalar_expr(of)), DataType::Date32),
        Scalar::DatePart(part, of) => cast(date_part(lit(part.name()), scalar_expr(of)), DataType::Int64),
        Scalar::Upper(of) => upper(scalar_expr(of)),
        Scalar::Lower(of) => lower(scalar_expr(of)),
        Scalar::Coalesce(operands) => {
            // The engine's own coalesce only runs after its simplifier, which the nodes do without.
            let (last, firsts) = match operands.split_last() {
                Some((last, firsts)) => (scalar_expr(last), firsts),
                None => return lit(ScalarValue::Null),
            };
            let present = |of: &Scalar| (Box::new(scalar_expr(of).is_not_null()), Box::new(scalar_expr(of)));
            if firsts.is_empty() {
                return last;
            }
            Expr::Case(Case::new(None, firsts.iter().map(present).collect(), Some(Box::new(last))))
        }
        Scalar::Case { branches, otherwise } => {
            let pairs = branches.iter().map(|(w, t)| (Box::new(predicate_expr(w)), Box::new(scalar_expr(t))));
            Expr::Case(Case::new(None, pairs.collect(), otherwise.as_ref().map(|o| Box::new(scalar_expr(o)))))
        }
    }
}

/// A predicate over the contract's columns, unqualified.
#[must_use]
pub fn predicate_expr(predicate: &Predicate) -> Expr {
    match predicate {
        Predicate::Constant(truth) => lit(ScalarValue::Boolean(*truth)),
        Predicate::Truth(of) => scalar_expr(of),
        Predicate::Compare { left, op, right } => {
            let (left, right) = (scalar_expr(left), scalar_expr(right));
            match op {
                Comparison::Equal => left.eq(right),
                Comparison::NotEqual => left.not_eq(right),
                Comparison::Less => left.lt(right),
                Comparison::LessOrEqual => left.lt_eq(right),
                Comparison::Greater => left.gt(right),
                Comparison::GreaterOrEqual => left.gt_eq(right),
            }
        }
        Predicate::In { of, values } => {
            scalar_expr(of).in_list(values.iter().map(|(v, kind)| lit(value_scalar(v, *kind))).collect(), false)
        }
        Predicate::IsNull(of) => scalar_expr(of).is_null(),
        Predicate::Not(of) => match of.as_ref() {
            Predicate::IsNull(of) => scalar_expr(of).is_not_null(),
            other => !predicate_expr(other),
        },
        Predicate::And(operands) => conjunction(operands.iter().map(predicate_expr)).unwrap_or_else(|| lit(true)),
        Predicate::Or(operands) => disjunction(operands.iter().map(predicate_expr)).unwrap_or_else(|| lit(false)),
    }
}

/// The question as one Aggregate over a Selection over a scan of `source`: what its bytes decode to.
///
/// # Errors
/// Where DataFusion refuses the plan.
pub fn plan(question: &Question, source: Arc<dyn TableSource>) -> Result<LogicalPlan> {
    let draft = question.draft();
    let mut builder = LogicalPlanBuilder::scan(draft.dataset.as_str(), source, None)?;
    if let Some(filter) = &draft.filter {
        builder = builder.filter(predicate_expr(filter))?;
    }
    let keys = draft.keys.iter().enumerate().map(|(i, k)| scalar_expr(k).alias(format!("{KEY}{i}")));
    let keys: Vec<Expr> = keys.collect();
    let mut figures = Vec::new();
    for (i, figure) in draft.figures.iter().enumerate() {
        let call = match &figure.measure {
            Measure::Rows => count(lit(1_i64)),
            Measure::Units(name) => count_distinct(Expr::Column(Column::new_unqualified(name))),
            Measure::Present(name) => count(Expr::Column(Column::new_unqualified(name))),
            Measure::Sum(name) => sum(Expr::Column(Column::new_unqualified(name))),
        };
        let call = match &figure.condition {
            Some(condition) => call.filter(predicate_expr(condition)).build()?,
            None => call,
        };
        figures.push(call.alias(format!("{FIGURE}{i}")));
    }
    builder.aggregate(keys, figures)?.build()
}
