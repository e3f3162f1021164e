//! From a question to DataFusion expressions and plans.
//!
//! The plan is built from the derived question alone, and each construct has one form: nothing of an asker's plan is copied.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, DataFusionError, Result, ScalarValue};
use datafusion::functions::datetime::expr_fn::{date_part, date_trunc};
use datafusion::functions::string::expr_fn::{lower, upper};
use datafusion::functions_aggregate::expr_fn::{count, count_distinct, max, min, sum};
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{Case, Expr, ExprFunctionExt, JoinType, LogicalPlan, LogicalPlanBuilder, cast, lit};
use loda_contract::{ColumnType, Contract, Value};

use crate::derive::Question;
use crate::draft::column_name::{parts, qualified, relation};
use crate::draft::{Arithmetic, Comparison, Figure, JoinKind, Measure, Predicate, Rows, Scalar, Source};
use crate::rules::units::{self, UnitPlace};
use crate::scope::Scope;
use crate::wire::encode::{FIGURE, KEY, PRECISION, VALUE};

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
        (Value::Text(t), _) => ScalarValue::Utf8(Some(t.to_string())),
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
        Scalar::Column(name) => column_expr(name),
        Scalar::Literal(value, kind) => lit(value_scalar(value, *kind)),
        Scalar::DateTrunc(grain, of) => cast(date_trunc(lit(grain.name()), scalar_expr(of)), DataType::Date32),
        Scalar::DatePart(part, of) => cast(date_part(lit(part.name()), scalar_expr(of)), DataType::Int64),
        Scalar::Upper(of) => upper(scalar_expr(of)),
        Scalar::Lower(of) => lower(scalar_expr(of)),
        Scalar::Arithmetic(op, of, by) => {
            let (of, by) = (scalar_expr(of), lit(*by));
            match op {
                Arithmetic::Add => of + by,
                Arithmetic::Subtract => of - by,
                Arithmetic::Multiply => of * by,
                Arithmetic::Divide => of / by,
            }
        }
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

/// A column by its name in a question: `t0.name` is the column of a relation.
#[must_use]
pub fn column_expr(name: &str) -> Expr {
    let (relation, name) = parts(name);
    Expr::Column(match relation {
        Some(relation) => Column::new(Some(relation), name),
        None => Column::new_unqualified(name),
    })
}

/// Where the tables of a plan come from.
pub trait Tables {
    /// A dataset's records, with the contract's columns.
    ///
    /// # Errors
    /// Where it is not held.
    fn records(&self, dataset: &str) -> Result<LogicalPlan>;

    /// The column beside the contract's that has a unit's id, if the tables have one: it goes along through every level
    /// where no column of the contract names the unit.
    fn unit_id(&self, domain: &str) -> Option<String>;
}

/// The rows of a question, before they are grouped.
///
/// # Errors
/// Where DataFusion refuses the plan.
pub fn rows_plan(rows: &Rows, scope: &Scope, tables: &dyn Tables) -> Result<LogicalPlan> {
    let first = source_plan(&rows.first, scope, tables)?;
    let mut builder = LogicalPlanBuilder::from(first);
    if rows.dataset().is_none() {
        builder = builder.alias("t0")?;
    }
    for (place, join) in (1..).zip(&rows.joins) {
        let right = LogicalPlanBuilder::from(source_plan(&join.source, scope, tables)?);
        let right = right.alias(relation(place))?.build()?;
        let left: Vec<Expr> = join.on.iter().map(|(left, _)| column_expr(left)).collect();
        let keys: Vec<Expr> = join.on.iter().map(|(_, right)| column_expr(&qualified(place, right))).collect();
        let kind = match join.kind {
            JoinKind::Inner => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
            JoinKind::Semi => JoinType::LeftSemi,
            JoinKind::Anti => JoinType::LeftAnti,
        };
        builder = builder.join_with_expr_keys(right, kind, (left, keys), None)?;
    }
    if let Some(filter) = &rows.filter {
        builder = builder.filter(predicate_expr(filter))?;
    }
    builder.build()
}

fn source_plan(source: &Source, scope: &Scope, tables: &dyn Tables) -> Result<LogicalPlan> {
    match source {
        Source::Dataset { name, filter } => {
            let records = LogicalPlanBuilder::from(tables.records(name)?);
            match filter {
                Some(filter) => records.filter(predicate_expr(filter))?.build(),
                None => records.build(),
            }
        }
        Source::PerUnit(per_unit) => {
            let rows = rows_plan(&per_unit.rows, scope, tables)?;
            let mut keys: Vec<Expr> =
                std::iter::once(&per_unit.unit).chain(&per_unit.keys).map(|k| column_expr(k)).collect();
            let contracts = |name: &str| scope.datasets.iter().find(|c| c.dataset == name).cloned();
            let (_, inner) = Scope::build(per_unit.rows.clone(), &contracts)
                .map_err(|refusal| DataFusionError::External(Box::new(refusal)))?;
            let index = inner.unit_index(&per_unit.unit);
            // The unit has one row: a unit that goes along with it makes no more groups.
            let along = units::others(&inner, index).filter(|(_, _, place)| *place == UnitPlace::Along);
            for (_, other, _) in along {
                let Some(id) = tables.unit_id(&other.unit.domain) else { continue };
                let named = other.unit.column.clone().unwrap_or_else(|| per_unit.rows.name(other.source, &id));
                keys.push(column_expr(&named).alias(&id));
            }
            let values = per_unit.values.iter().enumerate();
            let values = values.map(|(i, v)| Ok(figure_expr(v)?.alias(format!("{VALUE}{i}"))));
            LogicalPlanBuilder::from(rows).aggregate(keys, values.collect::<Result<Vec<_>>>()?)?.build()
        }
    }
}

/// One figure as an aggregate.
fn figure_expr(figure: &Figure) -> Result<Expr> {
    let product = |a: &String, b: &String| sum(column_expr(a) * column_expr(b));
    let call = match &figure.measure {
        Measure::Rows => count(lit(1_i64)),
        Measure::Units(name) => count_distinct(column_expr(name)),
        Measure::Present(name) => count(column_expr(name)),
        Measure::Sum(name) => sum(column_expr(name)),
        Measure::Square(name) => product(name, name),
        Measure::Product(a, b) => product(a, b),
        Measure::Least(name) => min(column_expr(name)),
        Measure::Greatest(name) => max(column_expr(name)),
    };
    match &figure.condition {
        // The builder forgets DISTINCT unless it is told again.
        Some(condition) if matches!(figure.measure, Measure::Units(_)) => {
            call.filter(predicate_expr(condition)).distinct().build()
        }
        Some(condition) => call.filter(predicate_expr(condition)).build(),
        None => Ok(call),
    }
}

/// The question as one Aggregate over its rows: the plan that its bytes describe.
///
/// # Errors
/// Where DataFusion refuses the plan.
pub fn plan(question: &Question, tables: &dyn Tables) -> Result<LogicalPlan> {
    let draft = question.draft();
    let rows = rows_plan(&draft.rows, question.scope(), tables)?;
    let keys = draft.keys.iter().enumerate().map(|(i, k)| scalar_expr(k).alias(format!("{KEY}{i}")));
    let figures = draft.figures.iter().enumerate().map(|(i, f)| Ok(figure_expr(f)?.alias(format!("{FIGURE}{i}"))));
    let figures = figures.collect::<Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(rows).aggregate(keys.collect::<Vec<_>>(), figures)?.build()
}
