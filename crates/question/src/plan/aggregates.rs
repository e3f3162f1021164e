//! An analyst's aggregate expressions over records, as figures.
//!
//! *Attack: weights of the asker's choice.* `SUM(CASE … THEN 1 … THEN 1000 END)` packs several counts into one figure. CASE
//! under an aggregate has one branch, with 1 or a bare measure, and NULL (or 0 for a sum) otherwise: it is a FILTER.
//! Expressions of measures are refused, and so is every aggregate beside COUNT, SUM, AVG, MIN, MAX, variances, covariances,
//! correlations and quantiles.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, ExprSchemable};
use loda_contract::{ColumnType, Value};

use super::figures::{FigureReading, ReadFigure, Spread};
use super::input::{BOROUGH, Input};
use super::literal::{family, keeps_values, rescaled, value};
use super::refusals::Read;
use crate::draft::{Measure, Predicate, Scalar, bare_name};
use crate::refusal::{Refusal, Rule};

impl Input {
    /// An aggregate expression as a figure.
    ///
    /// # Errors
    /// The rule that its shape breaks.
    pub(super) fn figure(&self, expr: &Expr, schema: &DFSchema) -> Read<ReadFigure> {
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
        if let Some(spread) = spread_of(name) {
            return self.spread(spread, call, condition, schema);
        }
        if matches!(name, "median" | "approx_median" | "approx_percentile_cont" | "percentile_cont") {
            return self.quantile(name, call, condition, schema);
        }
        if !matches!(name, "count" | "sum" | "avg" | "min" | "max") {
            return Err(aggregate_rule(&name.to_uppercase()));
        }
        let (Some(argument), true) = (params.args.first(), params.args.len() == 1) else {
            return Err(aggregate_rule(&format!("{} of several columns", name.to_uppercase())));
        };
        let one = |measure, condition, reading| Ok(ReadFigure::One { measure, condition, reading });
        match (name, params.distinct) {
            ("count", true) => {
                let (column, condition, reading) = self.unit(argument, condition, schema)?;
                one(Measure::Units(column), condition, reading)
            }
            ("count", false) => self.count(argument, condition, schema),
            ("min" | "max", _) => {
                let column = self.bare_column(argument, schema)?;
                let measure = if name == "min" { Measure::Least(column) } else { Measure::Greatest(column) };
                one(measure, condition, FigureReading::Plain)
            }
            (_, true) => Err(aggregate_rule(&format!("{}(DISTINCT …)", name.to_uppercase()))),
            (_, false) => {
                let (weight, condition) = self.weight(argument, condition, name == "sum", schema)?;
                match (name, weight) {
                    ("sum", Weight::One) => one(Measure::Rows, condition, FigureReading::SummedOnes),
                    ("sum", Weight::Column(column)) => one(Measure::Sum(column), condition, FigureReading::Plain),
                    ("sum", Weight::ColumnOrZero(column)) => {
                        one(Measure::Sum(column), condition, FigureReading::OrZero)
                    }
                    (_, Weight::Column(column)) => Ok(ReadFigure::Average { column, condition }),
                    (_, Weight::One | Weight::ColumnOrZero(_)) => Err(case_weight()),
                }
            }
        }
    }

    /// A bare column below the casts that the analyser adds.
    fn bare_column(&self, argument: &Expr, schema: &DFSchema) -> Read<String> {
        match self.weight(argument, None, false, schema)? {
            (Weight::Column(name), None) => Ok(name),
            _ => Err(measure_expression()),
        }
    }

    fn spread(
        &self,
        spread: Spread,
        call: &AggregateFunction,
        condition: Option<Predicate>,
        schema: &DFSchema,
    ) -> Read<ReadFigure> {
        let params = &call.params;
        let name = call.func.name().to_uppercase();
        let takes = if matches!(spread, Spread::Covariance { .. } | Spread::Correlation) { 2 } else { 1 };
        if params.distinct || params.args.len() != takes {
            return Err(aggregate_rule(&format!("{name} of other columns than {takes}")));
        }
        let columns = params.args.iter().map(|a| self.bare_column(a, schema)).collect::<Read<Vec<_>>>()?;
        // A pair counts where both are there.
        let both = (takes == 2).then(|| {
            let nullable = params.args.iter().zip(&columns).filter(|(a, _)| a.nullable(schema).unwrap_or(true));
            let present = nullable.map(|(_, c)| Predicate::Not(Box::new(Predicate::IsNull(Scalar::Column(c.clone())))));
            Predicate::And(present.collect())
        });
        Ok(ReadFigure::Spread { spread, columns, condition: Predicate::both(condition, both) })
    }

    fn quantile(
        &self,
        name: &str,
        call: &AggregateFunction,
        condition: Option<Predicate>,
        schema: &DFSchema,
    ) -> Read<ReadFigure> {
        let params = &call.params;
        // WITHIN GROUP (ORDER BY x) arrives as the first argument.
        let (argument, share) = match (name, params.args.as_slice()) {
            ("median" | "approx_median", [of]) => (of, 500),
            ("approx_percentile_cont" | "percentile_cont", [of, Expr::Literal(share, _)]) => {
                let share = match share {
                    ScalarValue::Float64(Some(share)) => *share,
                    ScalarValue::Float32(Some(share)) => f64::from(*share),
                    ScalarValue::Decimal128(Some(units), _, scale) => {
                        // Shares have few digits: a float holds them.
                        #[allow(clippy::cast_precision_loss)]
                        let units = *units as f64;
                        units / 10_f64.powi(i32::from(*scale))
                    }
                    ScalarValue::Int64(Some(share @ (0 | 1))) => {
                        if *share == 0 {
                            0.0
                        } else {
                            1.0
                        }
                    }
                    _ => return Err(aggregate_rule("a quantile whose share is no literal")),
                };
                let per_mille = (share * 1000.0).round();
                if !(0.0..=1000.0).contains(&per_mille) {
                    return Err(aggregate_rule("a quantile outside 0 to 1"));
                }
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0..=1000")]
                let per_mille = per_mille as u32;
                (of, per_mille)
            }
            _ => return Err(aggregate_rule(&format!("{} with these arguments", name.to_uppercase()))),
        };
        if params.distinct || params.order_by.len() > 1 || params.order_by.iter().any(|o| !o.asc) {
            return Err(aggregate_rule("a quantile of distinct or descending values"));
        }
        let column = self.bare_column(argument, schema)?;
        Ok(ReadFigure::Quantile { column, per_mille: share, condition })
    }

    /// The column of COUNT(DISTINCT …), also inside CASE WHEN … THEN column END.
    fn unit(
        &self,
        argument: &Expr,
        condition: Option<Predicate>,
        schema: &DFSchema,
    ) -> Read<(String, Option<Predicate>, FigureReading)> {
        if let Expr::Case(case) = argument
            && let ([(when, then)], None, true) =
                (case.when_then_expr.as_slice(), &case.expr, is_null_or_absent(case.else_expr.as_deref()))
        {
            let when = self.predicate(when, schema)?;
            return self.unit(then, Predicate::both(condition, Some(when)), schema);
        }
        // (borough, unit): the unit, once in each borough that holds it.
        if let Expr::ScalarFunction(call) = argument
            && matches!(call.func.name(), "struct" | "named_struct" | "row")
            && let [a, b] = call.args.as_slice()
            && let (Scalar::Column(a), Scalar::Column(b)) = (self.scalar(a, schema)?, self.scalar(b, schema)?)
        {
            let of_borough = |name: &str| bare_name(name) == BOROUGH;
            match (of_borough(&a), of_borough(&b)) {
                (true, false) => return Ok((b, condition, FigureReading::EachBorough)),
                (false, true) => return Ok((a, condition, FigureReading::EachBorough)),
                _ => {}
            }
        }
        match self.scalar(argument, schema)? {
            Scalar::Column(column) => Ok((column, condition, FigureReading::Plain)),
            _ => Err(Refusal::new(
                Rule::UnitCount,
                "COUNT(DISTINCT …) of an expression",
                "Count the units of a column: COUNT(DISTINCT unit)",
            )),
        }
    }

    fn count(&self, argument: &Expr, condition: Option<Predicate>, schema: &DFSchema) -> Read<ReadFigure> {
        let rows = |condition| Ok(ReadFigure::One { measure: Measure::Rows, condition, reading: FigureReading::Plain });
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

    /// The weight of each row in SUM or AVG: a bare measure, or one for rows that meet a condition.
    fn weight(
        &self,
        argument: &Expr,
        condition: Option<Predicate>,
        zero_is_nothing: bool,
        schema: &DFSchema,
    ) -> Read<(Weight, Option<Predicate>)> {
        match argument {
            Expr::Alias(alias) => self.weight(&alias.expr, condition, zero_is_nothing, schema),
            // The analyser widens the argument of AVG; the node sums the bare measure exactly.
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

/// The weight of a row in an aggregate.
enum Weight {
    /// 1: it counts.
    One,
    /// A bare measure.
    Column(String),
    /// 0 for the rows that do not meet the condition.
    ColumnOrZero(String),
}

fn spread_of(name: &str) -> Option<Spread> {
    Some(match name {
        "var" | "var_samp" | "var_sample" => Spread::Variance { sample: true },
        "var_pop" | "var_population" => Spread::Variance { sample: false },
        "stddev" | "stddev_samp" => Spread::Deviation { sample: true },
        "stddev_pop" => Spread::Deviation { sample: false },
        "covar" | "covar_samp" => Spread::Covariance { sample: true },
        "covar_pop" => Spread::Covariance { sample: false },
        "corr" => Spread::Correlation,
        _ => return None,
    })
}

/// Whether a cast keeps every number: the exact ones, and the float that AVG makes of them.
fn widens(inner: &Expr, to: &DataType, schema: &DFSchema) -> bool {
    let Ok(from) = inner.get_type(schema) else { return false };
    let exact = matches!(to, DataType::Int64 | DataType::Decimal128(..)) && keeps_values(family(&from), family(to));
    from == *to || exact || *to == DataType::Float64
}

fn literal_integer(expr: &Expr) -> Option<i128> {
    match expr {
        Expr::Cast(cast) => literal_integer(&cast.expr),
        // Tools write 1.0 and 0.0.
        Expr::Literal(ScalarValue::Float64(Some(number)), _) => match number {
            0.0 => Some(0),
            1.0 => Some(1),
            _ => None,
        },
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
