//! Reference tables of the coordinator's own, as expressions over `borough`.
//!
//! A table has one row a borough, so that each of its columns is a CASE over the borough's code, and a join with it picks
//! boroughs and no records.

use std::collections::BTreeMap;

use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use loda_contract::{ColumnType, Value};

use super::input::{Input, Lookup, is_borough};
use super::refusals::{Read, function, not_a_key};
use crate::draft::{Comparison, JoinKind, Predicate, Rows, Scalar};
use crate::refusal::{Refusal, Rule};

/// The dataset that stands for a reference table while a subquery over it is read, and its row number.
const LOOKUP: &str = "#lookup";
const ROW: &str = "t0.#row";

impl Input {
    /// A reference table: each column as an expression over the row's number.
    pub(super) fn of_lookup(lookup: &Lookup, names: Vec<Column>) -> Self {
        let at = |row: usize| Predicate::Compare {
            left: Scalar::Column(ROW.to_owned()),
            op: Comparison::Equal,
            right: row_number(row),
        };
        let columns = names.into_iter().zip(&lookup.columns).enumerate().map(|(number, (name, (_, kind)))| {
            let Some(kind) = kind else { return (name, Err(function("a reference column of this type"))) };
            let branches = lookup.rows.iter().enumerate().map(|(row, cells)| {
                let cell = cells.get(number).cloned().unwrap_or(Value::Null);
                (at(row), Scalar::Literal(cell, *kind))
            });
            (name, Ok(Scalar::Case { branches: branches.collect(), otherwise: None }))
        });
        Self { columns: columns.collect(), rows: Rows::of(format!("{LOOKUP}{}", lookup.rows.len()), None) }
    }

    /// How many rows there are, where this is a reference table.
    pub(super) fn lookup_rows(&self) -> Option<usize> {
        self.rows.dataset()?.strip_prefix(LOOKUP)?.parse().ok()
    }

    /// Keeps the boroughs that a subquery over a reference table names, or does not.
    ///
    /// # Errors
    /// Where something other than the borough is compared.
    pub(super) fn among(&mut self, inner: &Self, rows: usize, equal: &[(Scalar, Scalar)], negated: bool) -> Read<()> {
        let [(left @ Scalar::Column(column), right)] = equal else { return Err(not_a_key()) };
        if !is_borough(column) {
            return Err(not_a_key());
        }
        let mut values = Vec::new();
        for row in 0..rows {
            let here = row_number(row);
            let kept = match &inner.rows.filter {
                Some(filter) => filter.fix(ROW, &here),
                None => Predicate::Constant(Some(true)),
            };
            if kept != Predicate::Constant(Some(true)) {
                continue;
            }
            match right.fix(ROW, &here).folded() {
                Scalar::Literal(value @ Value::Text(_), kind) => values.push((value, kind)),
                _ => return Err(not_a_key()),
            }
        }
        let named = Predicate::In { of: left.clone(), values };
        self.narrow(if negated { Predicate::Not(Box::new(named)) } else { named });
        Ok(())
    }

    /// Rows with a reference table joined by borough: each of its columns is an expression over `borough`. Returns the
    /// conditions that remain beside the key.
    ///
    /// # Errors
    /// Where the key is not the borough, or a left join has another condition.
    pub(super) fn looked_up<'e>(
        mut self,
        lookup: &Lookup,
        names: Vec<Column>,
        kind: JoinKind,
        conditions: &'e [Expr],
        schema: &DFSchema,
    ) -> Read<(Self, Vec<&'e Expr>)> {
        let refused = || {
            Refusal::new(
                Rule::Join,
                "a reference table is joined to records by something other than its borough code",
                "Join it ON table.borough = reference.gss, or join it to the results",
            )
        };
        let is_name = |e: &Expr| match e {
            Expr::Column(c) => names.iter().position(|n| n == c),
            _ => None,
        };
        let mut key = None;
        let mut others = Vec::new();
        for condition in conditions {
            if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition
                && key.is_none()
            {
                let found = match (is_name(left), is_name(right)) {
                    (Some(of), None) => Some((of, right)),
                    (None, Some(of)) => Some((of, left)),
                    _ => None,
                };
                if let Some((of, other)) = found
                    && let Ok(Scalar::Column(column)) = self.scalar(other, schema)
                    && is_borough(&column)
                {
                    key = Some((of, column));
                    continue;
                }
            }
            others.push(condition);
        }
        let (key, borough) = key.ok_or_else(refused)?;
        let mut by_key: BTreeMap<&Value, &Vec<Value>> = BTreeMap::new();
        for row in &lookup.rows {
            let value = row.get(key).filter(|v| matches!(v, Value::Text(_))).ok_or_else(refused)?;
            if by_key.insert(value, row).is_some() {
                return Err(refused());
            }
        }
        let of_borough = Scalar::Column(borough);
        let at = |value: &Value| Predicate::Compare {
            left: of_borough.clone(),
            op: Comparison::Equal,
            right: Scalar::Literal(value.clone(), ColumnType::Text),
        };
        for (number, (name, (_, column_kind))) in names.into_iter().zip(&lookup.columns).enumerate() {
            let Some(column_kind) = column_kind else {
                self.columns.insert(name, Err(function("a reference column of this type")));
                continue;
            };
            let branches = by_key.iter().map(|(value, row)| {
                let cell = row.get(number).cloned().unwrap_or(Value::Null);
                (at(value), Scalar::Literal(cell, *column_kind))
            });
            self.columns.insert(name, Ok(Scalar::Case { branches: branches.collect(), otherwise: None }));
        }
        if kind == JoinKind::Inner {
            self.narrow(Predicate::Or(by_key.keys().map(|value| at(value)).collect()));
        } else if !others.is_empty() {
            return Err(refused());
        }
        Ok((self, others))
    }
}

fn row_number(row: usize) -> Scalar {
    Scalar::Literal(Value::Integer(i64::try_from(row).unwrap_or(i64::MAX)), ColumnType::Integer)
}
