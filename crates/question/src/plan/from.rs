//! From an analyst's Aggregate over one dataset to the parts of a draft.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, InList, ScalarFunction};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Aggregate, Between, BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use loda_contract::{ColumnType, Grain, Value};

use super::literal::{Family, column_type, family, rescaled, value};
use crate::draft::{Comparison, DatePart, Measure, Predicate, Scalar};
use crate::refusal::{Refusal, Rule};

/// An Aggregate over Projections, Filters and aliases of one scan, with projections folded in.
#[derive(Clone, Debug)]
pub struct ReadAggregate {
    pub dataset: String,
    pub filter: Option<Predicate>,
    pub keys: Vec<Scalar>,
    /// In the order of the aggregate's expressions.
    pub figures: Vec<ReadFigure>,
}

/// What one aggregate expression asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFigure {
    One {
        measure: Measure,
        condition: Option<Predicate>,
        reading: Reading,
    },
    /// SUM over COUNT of the values that are not NULL.
    Average {
        column: String,
        condition: Option<Predicate>,
    },
}

/// What SQL makes of a figure where there is nothing to add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As it is: COUNT gives 0, SUM gives NULL.
    Plain,
    /// A count written as SUM(CASE … 1 ELSE 0): NULL where there is no record at all.
    SummedOnes,
    /// A sum written with ELSE 0: 0 where no record meets its condition, NULL where there is no record at all.
    OrZero,
}

type Read<T> = Result<T, Refusal>;

/// Reads an Aggregate.
///
/// # Errors
/// The rule that its shape breaks.
pub fn read_aggregate(aggregate: &Aggregate) -> Read<ReadAggregate> {
    let input = Input::read(&aggregate.input)?;
    let schema = aggregate.input.schema();
    let keys = aggregate.group_expr.iter().map(|k| match k {
        Expr::GroupingSet(_) => Err(operator("GROUPING SETS, ROLLUP and CUBE", "Ask for each grouping by itself")),
        key => input.scalar(key, schema),
    });
    let keys = keys.collect::<Read<Vec<Scalar>>>()?;
    let figures = aggregate.aggr_expr.iter().map(|f| input.figure(f, schema)).collect::<Read<Vec<_>>>()?;
    Ok(ReadAggregate { dataset: input.dataset, filter: input.filter, keys, figures })
}

/// Rows of one dataset: what each column of a plan is, over the contract's columns.
struct Input {
    dataset: String,
    filter: Option<Predicate>,
    columns: HashMap<Column, Read<Scalar>>,
}

impl Input {
    fn read(plan: &LogicalPlan) -> Read<Self> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let dataset = scan.table_name.table().to_owned();
                let columns = plan.schema().columns().into_iter();
                let columns = columns.map(|c| (c.clone(), Ok(Scalar::Column(c.name)))).collect();
                let mut input = Self { dataset, filter: None, columns };
                if scan.fetch.is_some() {
                    return Err(limit());
                }
                for filter in &scan.filters {
                    let predicate = input.predicate(filter, plan.schema())?;
                    input.filter = Predicate::both(input.filter.take(), Some(predicate));
                }
                Ok(input)
            }
            LogicalPlan::Filter(filter) => {
                let mut input = Self::read(&filter.input)?;
                let predicate = input.predicate(&filter.predicate, filter.input.schema())?;
                input.filter = Predicate::both(input.filter.take(), Some(predicate));
                Ok(input)
            }
            LogicalPlan::Projection(projection) => {
                let input = Self::read(&projection.input)?;
                let named = plan.schema().columns().into_iter().zip(&projection.expr);
                let columns = named.map(|(c, e)| (c, input.scalar(e, projection.input.schema()))).collect();
                Ok(Self { columns, ..input })
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let mut input = Self::read(&alias.input)?;
                let inner = alias.input.schema().columns();
                let named = plan.schema().columns().into_iter().zip(inner);
                let columns = named.filter_map(|(outer, inner)| Some((outer, input.columns.remove(&inner)?)));
                Ok(Self { columns: columns.collect(), ..input })
            }
            // ORDER BY without LIMIT says nothing under an aggregate.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => Self::read(&sort.input),
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => Err(limit()),
            LogicalPlan::Join(_) => Err(Refusal::new(
                Rule::Join,
                "records are joined before they are counted",
                "Count each table in a subquery with GROUP BY, then join the results; reference tables can be \
                 joined to the results too",
            )),
            LogicalPlan::Union(_) => {
                Err(operator("UNION of records", "Count each table by itself, then UNION the results"))
            }
            LogicalPlan::Window(_) => Err(operator("a window over records", "Use windows over results of GROUP BY")),
            LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => {
                Err(operator("an aggregate of records inside another", "Ask for one level of GROUP BY"))
            }
            LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => {
                Err(operator("a table of the asker's own", "Ask of the catalogue's tables alone"))
            }
            _ => Err(operator("this operator", "Scan one dataset, filter it, and group it")),
        }
    }

    fn column(&self, column: &Column) -> Read<Scalar> {
        let found = self.columns.get(column).or_else(|| {
            let mut same = self.columns.iter().filter(|(c, _)| c.name == column.name);
            same.next().map(|(_, scalar)| scalar).filter(|_| same.next().is_none())
        });
        found.cloned().unwrap_or_else(|| Err(function(&format!("column '{}'", column.name))))
    }

    fn scalar(&self, expr: &Expr, schema: &DFSchema) -> Read<Scalar> {
        if let Some(constant) = constant(expr) {
            return value(&constant)
                .map(|(v, kind)| Scalar::Literal(v, kind))
                .ok_or_else(|| function("a constant of this type"));
        }
        match expr {
            Expr::Alias(alias) => self.scalar(&alias.expr, schema),
            Expr::Column(column) => self.column(column),
            Expr::Literal(literal, _) => value(literal)
                .map(|(v, kind)| Scalar::Literal(v, kind))
                .ok_or_else(|| function("a literal of this type")),
            Expr::Cast(cast) => self.cast(&cast.expr, cast.field.data_type(), schema),
            Expr::ScalarFunction(call) => self.call(call, schema),
            Expr::Case(case) => self.case(case, schema),
            Expr::BinaryExpr(b) if arithmetic(b.op) => Err(function("arithmetic")),
            Expr::BinaryExpr(_)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::InList(_)
            | Expr::Between(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_) => {
                let predicate = self.predicate(expr, schema)?;
                let truth = |b: bool| Scalar::Literal(Value::Boolean(b), ColumnType::Boolean);
                let negated = Predicate::Not(Box::new(predicate.clone()));
                let branches = vec![(predicate, truth(true)), (negated, truth(false))];
                Ok(Scalar::Case { branches, otherwise: None })
            }
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) => Err(subquery()),
            other => Err(function(other.variant_name())),
        }
    }

    fn cast(&self, inner: &Expr, to: &DataType, schema: &DFSchema) -> Read<Scalar> {
        let from = inner.get_type(schema).map(|t| family(&t)).unwrap_or(Family::Other);
        if keeps_values(from, family(to)) {
            return self.scalar(inner, schema);
        }
        if let (Ok(Scalar::Literal(v, kind)), Some(to)) = (self.scalar(inner, schema), column_type(to))
            && let Some(v) = rescaled(v, kind, to)
        {
            return Ok(Scalar::Literal(v, to));
        }
        Err(function(&format!("CAST to {to}")))
    }

    fn call(&self, call: &ScalarFunction, schema: &DFSchema) -> Read<Scalar> {
        let mut args = call.args.iter();
        let name = call.func.name();
        match (name, args.next(), args.next(), args.next()) {
            ("upper", Some(of), None, None) => Ok(Scalar::Upper(Box::new(self.scalar(of, schema)?))),
            ("lower", Some(of), None, None) => Ok(Scalar::Lower(Box::new(self.scalar(of, schema)?))),
            ("coalesce", ..) => {
                let operands = call.args.iter().map(|a| self.scalar(a, schema)).collect::<Read<Vec<_>>>()?;
                Ok(Scalar::Coalesce(operands))
            }
            ("date_trunc" | "date_part", Some(Expr::Literal(part, _)), Some(of), None) => {
                let of = Box::new(self.scalar(of, schema)?);
                let Some((Value::Text(part), _)) = value(part) else { return Err(function(name)) };
                let part = part.to_lowercase();
                let grain = Grain::from_name(&part).map(|grain| Scalar::DateTrunc(grain, of.clone()));
                let date_part = DatePart::ALL.into_iter().find(|p| p.name() == part);
                let date_part = date_part.map(|part| Scalar::DatePart(part, of));
                let chosen = if name == "date_trunc" { grain } else { date_part };
                chosen.ok_or_else(|| function(&format!("{name}('{part}')")))
            }
            _ => Err(function(name)),
        }
    }

    fn case(&self, case: &Case, schema: &DFSchema) -> Read<Scalar> {
        let branches = case
            .when_then_expr
            .iter()
            .map(|(when, then)| Ok((self.when(case, when, schema)?, self.scalar(then, schema)?)));
        let branches = branches.collect::<Read<Vec<(Predicate, Scalar)>>>()?;
        let otherwise = case.else_expr.as_ref().map(|e| self.scalar(e, schema)).transpose()?;
        // The simplifier writes coalesce(a, b) as CASE WHEN a IS NOT NULL THEN a ELSE b END.
        let present = |(when, then): &(Predicate, Scalar)| match when {
            Predicate::Not(of) => **of == Predicate::IsNull(then.clone()),
            _ => false,
        };
        if branches.iter().all(present)
            && let Some(last) = otherwise
        {
            return Ok(Scalar::Coalesce(branches.into_iter().map(|(_, then)| then).chain([last]).collect()));
        }
        Ok(Scalar::Case { branches, otherwise: otherwise.map(Box::new) })
    }

    fn when(&self, case: &Case, when: &Expr, schema: &DFSchema) -> Read<Predicate> {
        match &case.expr {
            Some(of) => self.compare(of, Comparison::Equal, when, schema),
            None => self.predicate(when, schema),
        }
    }

    fn predicate(&self, expr: &Expr, schema: &DFSchema) -> Read<Predicate> {
        match expr {
            Expr::Alias(alias) => self.predicate(&alias.expr, schema),
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
                let operands = vec![self.predicate(left, schema)?, self.predicate(right, schema)?];
                Ok(if *op == Operator::And { Predicate::And(operands) } else { Predicate::Or(operands) })
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let op = match op {
                    Operator::Eq => Comparison::Equal,
                    Operator::NotEq => Comparison::NotEqual,
                    Operator::Lt => Comparison::Less,
                    Operator::LtEq => Comparison::LessOrEqual,
                    Operator::Gt => Comparison::Greater,
                    Operator::GtEq => Comparison::GreaterOrEqual,
                    other => return Err(predicate_rule(&format!("the operator {other}"))),
                };
                self.compare(left, op, right, schema)
            }
            Expr::Not(of) => Ok(Predicate::Not(Box::new(self.predicate(of, schema)?))),
            Expr::IsNull(of) => Ok(Predicate::IsNull(self.scalar(of, schema)?)),
            Expr::IsNotNull(of) => Ok(Predicate::Not(Box::new(Predicate::IsNull(self.scalar(of, schema)?)))),
            Expr::InList(InList { expr, list, negated }) => {
                let options = list.iter().map(|item| self.compare(expr, Comparison::Equal, item, schema));
                let any = Predicate::Or(options.collect::<Read<Vec<_>>>()?);
                Ok(if *negated { Predicate::Not(Box::new(any)) } else { any })
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let within = Predicate::And(vec![
                    self.compare(expr, Comparison::GreaterOrEqual, low, schema)?,
                    self.compare(expr, Comparison::LessOrEqual, high, schema)?,
                ]);
                Ok(if *negated { Predicate::Not(Box::new(within)) } else { within })
            }
            Expr::Literal(literal, _) => match value(literal) {
                Some((Value::Boolean(truth), _)) => Ok(Predicate::Constant(Some(truth))),
                Some((Value::Null, _)) => Ok(Predicate::Constant(None)),
                _ => Err(predicate_rule("a literal that is not a condition")),
            },
            Expr::Like(_) | Expr::SimilarTo(_) => Err(predicate_rule("a pattern")),
            Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) => Err(subquery()),
            Expr::IsTrue(of) => {
                // Never unknown: false where the condition is.
                let truth = self.predicate(of, schema)?;
                Ok(Predicate::Truth(truth_of(truth, false)))
            }
            Expr::IsNotTrue(of) => {
                let truth = self.predicate(of, schema)?;
                Ok(Predicate::Not(Box::new(Predicate::Truth(truth_of(truth, false)))))
            }
            other => Ok(Predicate::Truth(self.scalar(other, schema)?)),
        }
    }

    fn compare(&self, left: &Expr, op: Comparison, right: &Expr, schema: &DFSchema) -> Read<Predicate> {
        let (mut a, mut b) = (self.scalar(left, schema)?, self.scalar(right, schema)?);
        // A literal takes the exact type of what it is compared with.
        let kind = |e: &Expr| bare(e).get_type(schema).ok().as_ref().and_then(column_type);
        let adapt = |literal: &mut Scalar, other: Option<ColumnType>| {
            if let (Scalar::Literal(v, from), Some(to)) = (&*literal, other)
                && let Some(v) = rescaled(v.clone(), *from, to)
            {
                *literal = Scalar::Literal(v, to);
            }
        };
        if !matches!(a, Scalar::Literal(..)) {
            adapt(&mut b, kind(left));
        } else {
            adapt(&mut a, kind(right));
        }
        Ok(Predicate::Compare { left: a, op, right: b })
    }

    fn figure(&self, expr: &Expr, schema: &DFSchema) -> Read<ReadFigure> {
        match expr {
            Expr::Alias(alias) => self.figure(&alias.expr, schema),
            Expr::AggregateFunction(call) => self.aggregate(call, schema),
            _ => Err(aggregate_rule("something that is not an aggregate")),
        }
    }

    fn aggregate(&self, call: &AggregateFunction, schema: &DFSchema) -> Read<ReadFigure> {
        let params = &call.params;
        let name = call.func.name();
        let condition = params.filter.as_ref().map(|f| self.predicate(f, schema)).transpose()?;
        if !matches!(name, "count" | "sum" | "avg") {
            return Err(aggregate_rule(&name.to_uppercase()));
        }
        let (Some(argument), true) = (params.args.first(), params.args.len() == 1) else {
            return Err(aggregate_rule(&format!("{} of several columns", name.to_uppercase())));
        };
        let one = |measure, condition, reading| Ok(ReadFigure::One { measure, condition, reading });
        match (name, params.distinct) {
            ("count", true) => {
                let (column, condition) = self.unit(argument, condition, schema)?;
                one(Measure::Units(column), condition, Reading::Plain)
            }
            ("count", false) => self.count(argument, condition, schema),
            (_, true) => Err(aggregate_rule(&format!("{}(DISTINCT …)", name.to_uppercase()))),
            (_, false) => {
                let (weight, condition) = self.weight(argument, condition, name == "sum", schema)?;
                match (name, weight) {
                    ("sum", Weight::One) => one(Measure::Rows, condition, Reading::SummedOnes),
                    ("sum", Weight::Column(column)) => one(Measure::Sum(column), condition, Reading::Plain),
                    ("sum", Weight::ColumnOrZero(column)) => one(Measure::Sum(column), condition, Reading::OrZero),
                    (_, Weight::Column(column)) => Ok(ReadFigure::Average { column, condition }),
                    (_, Weight::One | Weight::ColumnOrZero(_)) => Err(case_weight()),
                }
            }
        }
    }

    /// The column of COUNT(DISTINCT …), also inside CASE WHEN … THEN column END.
    fn unit(
        &self,
        argument: &Expr,
        condition: Option<Predicate>,
        schema: &DFSchema,
    ) -> Read<(String, Option<Predicate>)> {
        if let Expr::Case(case) = argument
            && let ([(when, then)], None, true) =
                (case.when_then_expr.as_slice(), &case.expr, is_null_or_absent(case.else_expr.as_deref()))
        {
            let when = self.predicate(when, schema)?;
            return self.unit(then, Predicate::both(condition, Some(when)), schema);
        }
        match self.scalar(argument, schema)? {
            Scalar::Column(column) => Ok((column, condition)),
            _ => Err(Refusal::new(
                Rule::UnitCount,
                "COUNT(DISTINCT …) of an expression",
                "Count the units of a column: COUNT(DISTINCT unit)",
            )),
        }
    }

    fn count(&self, argument: &Expr, condition: Option<Predicate>, schema: &DFSchema) -> Read<ReadFigure> {
        let rows = |condition| Ok(ReadFigure::One { measure: Measure::Rows, condition, reading: Reading::Plain });
        if let Expr::Literal(literal, _) = argument {
            return rows(if literal.is_null() {
                Predicate::both(condition, Some(Predicate::Constant(Some(false))))
            } else {
                condition
            });
        }
        if let Expr::Case(case) = argument
            && let ([(when, then)], None, true) =
                (case.when_then_expr.as_slice(), &case.expr, is_null_or_absent(case.else_expr.as_deref()))
        {
            let when = self.predicate(when, schema)?;
            return self.count(then, Predicate::both(condition, Some(when)), schema);
        }
        let counted = self.scalar(argument, schema)?;
        let nullable = argument.nullable(schema).unwrap_or(true);
        let present = nullable.then(|| Predicate::Not(Box::new(Predicate::IsNull(counted))));
        rows(Predicate::both(condition, present))
    }

    /// What SUM or AVG adds up for each row: a bare measure, or one for rows that meet a condition.
    fn weight(
        &self,
        argument: &Expr,
        condition: Option<Predicate>,
        zero_is_nothing: bool,
        schema: &DFSchema,
    ) -> Read<(Weight, Option<Predicate>)> {
        match argument {
            Expr::Alias(alias) => self.weight(&alias.expr, condition, zero_is_nothing, schema),
            // The analyser widens what is averaged; the node sums the bare measure exactly.
            Expr::Cast(cast) if widens(&cast.expr, cast.field.data_type(), schema) => {
                self.weight(&cast.expr, condition, zero_is_nothing, schema)
            }
            Expr::Column(column) => match self.column(column)? {
                Scalar::Column(name) => Ok((Weight::Column(name), condition)),
                Scalar::Case { .. } => Err(case_weight()),
                _ => Err(measure_expression()),
            },
            Expr::Case(case) => {
                let [(when, then)] = case.when_then_expr.as_slice() else { return Err(case_weight()) };
                let otherwise = case.else_expr.as_deref();
                let when = self.when(case, when, schema)?;
                let condition = Predicate::both(condition, Some(when));
                match then.as_ref() {
                    then if is_one(then) && is_zero(otherwise) => Ok((Weight::One, condition)),
                    // Only NULL leaves the other rows out of a mean; for a sum 0 does too.
                    then if is_null_or_absent(otherwise) || (zero_is_nothing && is_zero(otherwise)) => {
                        match self.weight(then, condition, zero_is_nothing, schema)? {
                            (Weight::Column(name), condition) if is_zero(otherwise) => {
                                Ok((Weight::ColumnOrZero(name), condition))
                            }
                            (Weight::Column(name), condition) => Ok((Weight::Column(name), condition)),
                            _ => Err(case_weight()),
                        }
                    }
                    _ => Err(case_weight()),
                }
            }
            // SUM(1) counts.
            one if is_one(one) => Ok((Weight::One, condition)),
            Expr::Literal(..) => Err(case_weight()),
            _ => Err(measure_expression()),
        }
    }
}

enum Weight {
    One,
    Column(String),
    /// 0 for the rows that do not meet the condition.
    ColumnOrZero(String),
}

/// The value of an expression that reads no column: literals under casts, date arithmetic, the clock. Evaluated
/// alone, never within a condition: the engine's rewriting of conditions does not keep NULLs.
fn constant(expr: &Expr) -> Option<ScalarValue> {
    if let Expr::Literal(literal, _) = expr {
        return Some(literal.clone());
    }
    let subquery = |e: &Expr| matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_));
    if !expr.column_refs().is_empty() || expr.exists(|e| Ok(subquery(e))).unwrap_or(true) {
        return None;
    }
    let context = SimplifyContext::builder().with_schema(Arc::new(DFSchema::empty())).with_current_time().build();
    match ExprSimplifier::new(context).simplify(expr.clone()).ok()? {
        Expr::Literal(literal, _) => Some(literal),
        _ => None,
    }
}

/// Whether a cast from one family to another changes no value.
fn keeps_values(from: Family, to: Family) -> bool {
    match (from, to) {
        (Family::Other, _) => false,
        (Family::Integer, Family::Decimal(_)) => true,
        (Family::Decimal(a), Family::Decimal(b)) => a <= b,
        (from, to) => from == to,
    }
}

/// Whether a cast keeps every number: the exact ones, and the float that AVG makes of them.
fn widens(inner: &Expr, to: &DataType, schema: &DFSchema) -> bool {
    let Ok(from) = inner.get_type(schema) else { return false };
    let exact = matches!(to, DataType::Int64 | DataType::Decimal128(..)) && keeps_values(family(&from), family(to));
    from == *to || exact || *to == DataType::Float64
}

/// An expression without its outer casts and names.
fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => bare(&cast.expr),
        Expr::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}

/// A condition as a value that is never NULL.
fn truth_of(condition: Predicate, otherwise: bool) -> Scalar {
    let truth = |b: bool| Scalar::Literal(Value::Boolean(b), ColumnType::Boolean);
    Scalar::Case { branches: vec![(condition, truth(true))], otherwise: Some(Box::new(truth(otherwise))) }
}

fn literal_integer(expr: &Expr) -> Option<i128> {
    match expr {
        Expr::Cast(cast) => literal_integer(&cast.expr),
        Expr::Literal(literal, _) => match value(literal)? {
            (Value::Integer(i), _) => Some(i128::from(i)),
            (v @ Value::Decimal(_), kind) => match rescaled(v, kind, ColumnType::Integer)? {
                Value::Integer(i) => Some(i128::from(i)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn is_one(expr: &Expr) -> bool {
    literal_integer(expr) == Some(1)
}

fn is_zero(expr: Option<&Expr>) -> bool {
    expr.is_some_and(|e| literal_integer(e) == Some(0))
}

fn is_null_or_absent(expr: Option<&Expr>) -> bool {
    match expr {
        None => true,
        Some(Expr::Cast(cast)) => is_null_or_absent(Some(&cast.expr)),
        Some(Expr::Literal(literal, _)) => literal.is_null(),
        Some(_) => false,
    }
}

fn arithmetic(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo)
}

fn function(what: &str) -> Refusal {
    Refusal::new(
        Rule::Function,
        format!("{what} is not on the list of functions"),
        "Use date_trunc, EXTRACT, upper, lower, coalesce or CASE over dimensions; compute on results freely",
    )
}

fn predicate_rule(what: &str) -> Refusal {
    Refusal::new(
        Rule::Predicate,
        format!("{what} stands in a condition"),
        "Use =, <>, <, <=, >, >=, IN, BETWEEN and IS NULL over dimensions",
    )
}

fn aggregate_rule(what: &str) -> Refusal {
    Refusal::new(
        Rule::Aggregate,
        format!("{what} can show one record and is not released"),
        "Use COUNT(*), COUNT(column), COUNT(DISTINCT unit), SUM or AVG of a measure",
    )
}

fn measure_expression() -> Refusal {
    Refusal::new(
        Rule::MeasureExpression,
        "SUM or AVG is given an expression",
        "Sum a bare measure; ratios and products of results are free",
    )
}

fn case_weight() -> Refusal {
    Refusal::new(
        Rule::CaseWeight,
        "CASE under an aggregate gives rows weights of the asker's choice",
        "Use one branch with 1 or a bare measure and ELSE 0 or NULL, or FILTER (WHERE …)",
    )
}

fn limit() -> Refusal {
    Refusal::new(
        Rule::Rows,
        "LIMIT over records picks some of them",
        "Put ORDER BY and LIMIT after GROUP BY: they run on results",
    )
}

fn subquery() -> Refusal {
    Refusal::new(
        Rule::Operator,
        "a subquery stands inside a condition on records",
        "Filter by literals, or join the results of two GROUP BY queries",
    )
}

fn operator(what: &str, advice: &str) -> Refusal {
    Refusal::new(Rule::Operator, format!("{what} is not in the algebra"), advice)
}
