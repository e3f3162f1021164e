//! Derivations by unit in an analyst's plan: an inner GROUP BY, a DISTINCT, or a window whose keys have a unit.
//!
//! Every other aggregate below an aggregate is refused: its groups would be sets of records, and a count of them would
//! not be of units. A unit that may stand in several boroughs has to be grouped with its borough.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunctionDefinition};
use datafusion::logical_expr::{Aggregate, Expr, Window};
use loda_contract::{ColumnType, Value};

use super::figures::{FigureReading, ReadFigure};
use super::input::{BOROUGH, Input, Reader, is_borough};
use super::refusals::{Read, linkage, operator};
use crate::draft::column_name::qualified;
use crate::draft::{Figure, Join, JoinKind, PerUnit, Rows, Scalar, Source, bare_name};
use crate::refusal::{Refusal, Rule};

impl Input {
    /// GROUP BY a unit below another aggregate: one row for each unit of these rows, which are the aggregate's input.
    ///
    /// # Errors
    /// The rule that refuses a value or a key.
    pub(super) fn per_unit(self, reader: &Reader<'_>, aggregate: &Aggregate) -> Read<Self> {
        let schema = aggregate.input.schema();
        let mut values: Vec<Figure> = Vec::new();
        let mut shown = Vec::new();
        for expr in &aggregate.aggr_expr {
            let (figure, or_zero) = match self.figure(expr, schema)? {
                // A unit has a record at least: a count written as a sum is never NULL there.
                ReadFigure::One {
                    measure,
                    condition,
                    reading: FigureReading::Plain | FigureReading::SummedOnes | FigureReading::EachBorough,
                } => (Figure { measure, condition }, None),
                ReadFigure::One { measure, condition, reading: FigureReading::OrZero } => {
                    let scope = self.scope(reader)?;
                    let kind = measure.columns().first().and_then(|c| scope.column(c)).map(|c| c.kind);
                    (Figure { measure, condition }, kind)
                }
                _ => {
                    return Err(Refusal::new(
                        Rule::Aggregate,
                        "a mean, variance or quantile of each unit is not a value to filter by",
                        "Use COUNT, COUNT(DISTINCT unit), SUM, MIN or MAX for each unit, bare",
                    ));
                }
            };
            let number = values.iter().position(|v| *v == figure).unwrap_or_else(|| {
                values.push(figure);
                values.len() - 1
            });
            let column = Scalar::Column(format!("t0.d{number}"));
            shown.push(match or_zero {
                None => column,
                Some(ColumnType::Decimal(scale)) => {
                    Scalar::Coalesce(vec![column, Scalar::Literal(Value::Decimal(0), ColumnType::Decimal(scale))])
                }
                Some(kind) => Scalar::Coalesce(vec![column, Scalar::Literal(Value::Integer(0), kind)]),
            });
        }
        let keys = aggregate.group_expr.iter().map(|k| self.scalar(k, schema)).collect::<Read<Vec<_>>>()?;
        self.by_unit(reader, &keys, values, shown, &aggregate.schema.columns())
    }

    /// DISTINCT over records with a unit among its columns. `inner`: the schema of these rows.
    ///
    /// # Errors
    /// The rule that refuses a key.
    pub(super) fn distinct(self, reader: &Reader<'_>, inner: &DFSchema, schema: &DFSchema) -> Read<Self> {
        let keys = inner.columns().iter().map(|c| self.column(c)).collect::<Read<Vec<_>>>()?;
        self.by_unit(reader, &keys, Vec::new(), Vec::new(), &schema.columns())
    }

    /// `aggregate(…) OVER (PARTITION BY unit)`: these rows, joined to one row for each unit of theirs.
    ///
    /// # Errors
    /// Where the window is another, or the rule that refuses its value.
    pub(super) fn window(mut self, reader: &Reader<'_>, window: &Window, schema: &DFSchema) -> Read<Self> {
        let refused = || {
            operator("a window over records", "Use OVER (PARTITION BY unit) bare, or windows over results of GROUP BY")
        };
        let inner_schema = window.input.schema();
        let names = schema.columns();
        let names = names.get(inner_schema.fields().len()..).unwrap_or_default();
        for (expr, name) in window.window_expr.iter().zip(names) {
            let Expr::WindowFunction(call) = expr else { return Err(refused()) };
            let params = &call.params;
            if !params.order_by.is_empty() || params.distinct {
                return Err(refused());
            }
            let WindowFunctionDefinition::AggregateUDF(function) = &call.fun else { return Err(refused()) };
            let as_aggregate = Expr::AggregateFunction(AggregateFunction::new_udf(
                Arc::clone(function),
                params.args.clone(),
                false,
                params.filter.clone(),
                Vec::new(),
                None,
            ));
            let ReadFigure::One { measure, condition, reading: FigureReading::Plain | FigureReading::SummedOnes } =
                self.figure(&as_aggregate, inner_schema)?
            else {
                return Err(refused());
            };
            let keys = params.partition_by.iter().map(|k| self.scalar(k, inner_schema)).collect::<Read<Vec<_>>>()?;
            let before = Self { rows: self.rows.clone(), columns: HashMap::new() };
            let place = self.rows.joins.len() + 1;
            let unit = keys.iter().find_map(|k| match k {
                Scalar::Column(c) if !is_borough(c) => Some(c.clone()),
                _ => None,
            });
            let unit = unit.ok_or_else(refused)?;
            let figure = vec![Figure { measure, condition }];
            let columns: Vec<Column> = keys.iter().map(|_| Column::new_unqualified("key")).collect();
            let by_unit = before.by_unit(reader, &keys, figure, Vec::new(), &columns)?;
            let source = by_unit.rows.first;
            if !matches!(&source, Source::PerUnit(p) if p.keys.is_empty()) {
                return Err(refused());
            }
            let mut on = vec![(unit.clone(), bare_name(&unit).to_owned())];
            if keys.iter().any(|k| matches!(k, Scalar::Column(c) if is_borough(c))) {
                on.push((unit.clone(), BOROUGH.to_owned()));
            }
            self.rows.joins.push(Join { kind: JoinKind::Inner, source, on });
            self.columns.insert(name.clone(), Ok(Scalar::Column(qualified(place, "d0"))));
        }
        Ok(self)
    }

    /// One row for each unit among the keys.
    fn by_unit(
        self,
        reader: &Reader<'_>,
        keys: &[Scalar],
        values: Vec<Figure>,
        shown: Vec<Scalar>,
        names: &[Column],
    ) -> Read<Self> {
        let scope = self.scope(reader)?;
        let (mut unit, mut dimensions, mut local) = (None, Vec::new(), false);
        for key in keys {
            let Scalar::Column(name) = key else {
                return Err(operator("a computed key beside a unit", "Group by the unit and by bare dimensions"));
            };
            if is_borough(name) {
                local = true;
            } else if scope.unit_index(name).is_some() && unit.is_none() {
                unit = Some(name.clone());
            } else {
                dimensions.push(name.clone());
            }
        }
        let unit = unit.ok_or_else(|| {
            operator(
                "an aggregate of records inside another, without a unit among its keys,",
                "Group the inner one by a unit (a person, a household, a property), or ask for one level of GROUP BY",
            )
        })?;
        if !local && !self.is_exclusive(reader, &unit) {
            return Err(linkage(&unit));
        }
        let mut columns = HashMap::new();
        let renamed = |name: &str| Scalar::Column(format!("t0.{}", bare_name(name)));
        let of_keys = keys.iter().map(|key| match key {
            Scalar::Column(name) => renamed(name),
            other => other.clone(),
        });
        for (name, scalar) in names.iter().zip(of_keys.chain(shown)) {
            columns.insert(name.clone(), Ok(scalar));
        }
        let bare_names = self.rows.dataset().is_some();
        let inside = |name: String| if bare_names { bare_name(&name).to_owned() } else { name };
        let values = values.into_iter().map(|v| v.renamed(&inside)).collect();
        let per_unit = PerUnit {
            unit: inside(unit),
            keys: dimensions.into_iter().map(inside).collect(),
            values,
            rows: self.inner_rows(reader)?,
        };
        let rows = Rows { first: Source::PerUnit(Box::new(per_unit)), joins: Vec::new(), filter: None };
        Ok(Self { rows, columns })
    }
}

impl Figure {
    /// The figure with every column renamed.
    fn renamed(self, name: &dyn Fn(String) -> String) -> Self {
        Self { measure: self.measure.renamed(name), condition: self.condition.map(|c| c.renamed(name)) }
    }
}
