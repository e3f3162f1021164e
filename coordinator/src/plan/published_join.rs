//! Joins released cells to published records, and adds them up.
//!
//! First each cell is brought to the groups of the question, so that a unit counts once however many records its class
//! has. Then the cells are added up over the classes.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema, JoinType, Result, ScalarValue};
use datafusion::functions_aggregate::expr_fn::{max, sum};
use datafusion::logical_expr::{Aggregate, Case, Expr, LogicalPlan, LogicalPlanBuilder, Projection, cast, lit};
use loda_contract::ColumnType;
use loda_question::plan::{
    Beside, BesideFigure, BesideValue, FigureReading, PEOPLE, PUBLISHED, arrow_type, predicate_expr, scalar_expr,
};
use loda_question::{JoinKind, Measure, Refusal, Rule, Scalar, bare_name, wire_schema};

use crate::plan::advice::engine_errors::refuse;
use crate::plan::federated_aggregate::{FederatedAggregate, Output, OutputKey};
use crate::plan::split::Split;

impl Split {
    /// Plans an aggregate over people joined to published records.
    pub(crate) fn beside(&self, beside: Beside, aggregate: &Aggregate) -> Result<LogicalPlan> {
        let empty = Arc::new(DFSchema::empty());
        let mut people = self.part_of(&beside.people, &empty).or_else(refuse)?;
        let mut published = self.part_of(&beside.published, &empty).or_else(refuse)?;
        adds_up(&people, &beside).or_else(refuse)?;
        for part in [&mut people, &mut published] {
            part.schema = Arc::new(schema(part)?);
        }
        let scales: Vec<i8> = (0..beside.people.figures.len()).map(|place| scale(&people, place)).collect();
        let (people_keys, published_keys) = (people.keys.len(), published.keys.len());
        let left = LogicalPlanBuilder::from(self.leaf(people, people_keys)?).alias(PEOPLE)?;
        let right = LogicalPlanBuilder::from(self.leaf(published, published_keys)?).alias(PUBLISHED)?.build()?;
        let equal = beside.on.iter().map(|(p, q)| key(PEOPLE, *p).eq(key(PUBLISHED, *q)));
        let (kind, shows) = match beside.kind {
            JoinKind::Inner => (JoinType::Inner, true),
            JoinKind::Left => (JoinType::Left, true),
            JoinKind::Semi => (JoinType::LeftSemi, false),
            JoinKind::Anti => (JoinType::LeftAnti, false),
        };
        let mut joined = left.join_on(right, kind, equal)?;
        if let Some(filter) = &beside.filter {
            joined = joined.filter(predicate_expr(filter))?;
        }
        let plain = |name: String| Expr::Column(Column::new_unqualified(name));
        // One row for each cell and group.
        let outputs = beside.keys.iter().enumerate().map(|(i, k)| scalar_expr(k).alias(format!("o{i}")));
        let keys = (0..people_keys).map(|place| key(PEOPLE, place)).chain(outputs);
        let mut figures = Vec::new();
        for (i, figure) in beside.figures.iter().enumerate() {
            let of = |place: usize| taken(figure, place, scales.get(place).copied().unwrap_or(0), shows);
            match figure.value {
                BesideValue::Each(place) => figures.push(sum(of(place)).alias(format!("a{i}"))),
                BesideValue::Once(place) => figures.push(max(of(place)).alias(format!("a{i}"))),
                BesideValue::Mean { sum: total, count: n } => {
                    figures.push(sum(of(total)).alias(format!("a{i}")));
                    figures.push(sum(of(n)).alias(format!("b{i}")));
                }
            }
        }
        let by_cell = joined.aggregate(keys.collect::<Vec<_>>(), figures)?.build()?;
        // One row for each group.
        let groups: Vec<Expr> = (0..beside.keys.len()).map(|i| plain(format!("o{i}"))).collect();
        let names = beside.figures.iter().enumerate().flat_map(|(i, figure)| match figure.value {
            BesideValue::Mean { .. } => vec![format!("a{i}"), format!("b{i}")],
            _ => vec![format!("a{i}")],
        });
        let totals: Vec<Expr> = names.map(|name| sum(plain(name.clone())).alias(name)).collect();
        let by_group = LogicalPlanBuilder::from(by_cell).aggregate(groups.clone(), totals)?.build()?;
        // Back to the aggregate's own columns.
        let fields: Vec<_> = aggregate.schema.iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        let wanted = fields.iter().skip(beside.keys.len()).map(|(_, field)| field.data_type());
        let figures = beside.figures.iter().zip(wanted).enumerate().map(|(i, (figure, wanted))| {
            let total = plain(format!("a{i}"));
            match figure.value {
                BesideValue::Mean { .. } => mean(total, plain(format!("b{i}")), wanted),
                BesideValue::Each(_) | BesideValue::Once(_) => total,
            }
        });
        let shown: Vec<Expr> = groups
            .into_iter()
            .chain(figures)
            .zip(&fields)
            .map(|(expr, (q, f))| cast(expr, f.data_type().clone()).alias_qualified(q.clone(), f.name()))
            .collect();
        Ok(LogicalPlan::Projection(Projection::try_new(shown, Arc::new(by_group))?))
    }
}

/// The contribution of a joined row to a figure: 0 if its condition does not hold, NULL if the cell is withheld.
fn taken(figure: &BesideFigure, place: usize, scale: i8, shows: bool) -> Expr {
    let kind = if scale == 0 { DataType::Int64 } else { DataType::Decimal128(38, scale) };
    let value = Expr::Column(Column::new(Some(PEOPLE), wire_schema::figure(place)));
    let value = match figure.value {
        BesideValue::Once(_) => value,
        _ if !shows => value,
        // The value counts once for each published record, or once if a LEFT JOIN found no record.
        _ => {
            let records = Expr::Column(Column::new(Some(PUBLISHED), wire_schema::figure(0)));
            let found = Box::new(records.clone().is_not_null());
            let times = Case::new(None, vec![(found, Box::new(records))], Some(Box::new(lit(1_i64))));
            let times = cast(Expr::Case(times), if scale == 0 { DataType::Int64 } else { DataType::Decimal128(38, 0) });
            cast(value * times, kind.clone())
        }
    };
    let Some(condition) = &figure.condition else { return value };
    let nothing = match scale {
        0 => ScalarValue::Int64(Some(0)),
        scale => ScalarValue::Decimal128(Some(0), 38, scale),
    };
    let branch = (Box::new(predicate_expr(condition)), Box::new(value));
    Expr::Case(Case::new(None, vec![branch], Some(Box::new(lit(nothing)))))
}

/// A mean cut off at its type's last digit, like the engine's own means. NULL if `n` is 0.
fn mean(total: Expr, n: Expr, wanted: &DataType) -> Expr {
    let n = cast(n, DataType::Float64);
    let some = Box::new(n.clone().not_eq(lit(0.0)));
    let mean = cast(total, DataType::Float64) / n;
    let mean = match wanted {
        // A cast to a decimal rounds to the nearest. Moving the value towards zero by nearly half of its last digit
        // makes the cast cut off instead.
        DataType::Decimal128(_, scale) => {
            let less = 0.4999 / 10_f64.powi(i32::from(*scale));
            let positive = (Box::new(mean.clone().gt_eq(lit(0.0))), Box::new(mean.clone() - lit(less)));
            Expr::Case(Case::new(None, vec![positive], Some(Box::new(mean + lit(less)))))
        }
        _ => mean,
    };
    Expr::Case(Case::new(None, vec![(some, Box::new(mean))], None))
}

fn key(side: &str, place: usize) -> Expr {
    Expr::Column(Column::new(Some(side), wire_schema::key(place)))
}

/// The number of decimals of a figure; 0 for counts.
fn scale(part: &FederatedAggregate, place: usize) -> i8 {
    match part.outputs.get(place) {
        Some(Output::Figure { figure, .. }) => part.scales.get(*figure).copied().unwrap_or(0),
        _ => 0,
    }
}

/// The columns of one side: keys `k0`, …, then figures `f0`, ….
fn schema(part: &FederatedAggregate) -> Result<DFSchema> {
    let keys = part.keys.iter().enumerate().map(|(i, key)| {
        let kind = match key {
            OutputKey::Borough(_) => ColumnType::Text,
            OutputKey::Node { kind, .. } => *kind,
        };
        Field::new(wire_schema::key(i), arrow_type(kind), true)
    });
    let figures = (0..part.outputs.len()).map(|i| {
        let kind = match scale(part, i) {
            0 => DataType::Int64,
            scale => DataType::Decimal128(38, scale),
        };
        Field::new(wire_schema::figure(i), kind, true)
    });
    let fields = keys.chain(figures).map(|field| (None, Arc::new(field)));
    DFSchema::new_with_metadata(fields.collect(), HashMap::new())
}

/// Checks that figures of cells can be added up over classes.
fn adds_up(people: &FederatedAggregate, beside: &Beside) -> std::result::Result<(), Refusal> {
    let by_borough = beside.keys.iter().any(|key| *key == Scalar::Column(format!("{PEOPLE}.k0")));
    for (figure, output) in people.outputs.iter().enumerate() {
        let Output::Figure { figure: of, reading } = output else { continue };
        let Some(Measure::Units(name)) = people.measures.get(*of) else { continue };
        if people.lowered.values().any(|lowered| !lowered.adds_up(*of)) {
            return Err(Refusal::new(
                Rule::UnitCount,
                format!("'{}' may stand in several classes: distinct ones do not add up over them", bare_name(name)),
                "Count rows, or units of a table that has one row for each",
            ));
        }
        let once = matches!(reading, FigureReading::EachBorough) || by_borough;
        if !once {
            people.exclusive(figure)?;
        }
    }
    Ok(())
}
