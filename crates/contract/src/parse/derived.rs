//! A `[[derived]]` value of a contract.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::name::check_name;
use crate::column::{Column, Role};
use crate::contract::Unit;
use crate::derived::{Condition, Derived, Reduction, Test};
use crate::value::{ColumnType, Value};

/// The largest number of classes of a derived value.
const MAX_BANDS: usize = 32;

/// A `[[derived]]` value, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DerivedEntry {
    pub(super) name: String,
    unit: String,
    /// `rows`, or the reduction of a measure: `sum`, `least`, `greatest`.
    of: String,
    measure: Option<String>,
    #[serde(default, rename = "where")]
    conditions: BTreeMap<String, toml::Value>,
    bands: Vec<String>,
}

impl DerivedEntry {
    /// # Errors
    /// The first fault found, with the fix.
    pub(super) fn check(self, units: &[Unit], columns: &[Column]) -> Result<Derived, String> {
        check_name("derived value", &self.name)?;
        if !units.iter().any(|u| u.domain == self.unit) {
            return Err(format!("unit = '{}' is the domain of no [[unit]] here: name one", self.unit));
        }
        let measure = |name: Option<String>| {
            let name = name.ok_or("it needs measure = \"…\"")?;
            let found = columns.iter().find(|c| c.name == name && matches!(c.role, Role::Measure { .. }));
            found.map(|_| name.clone()).ok_or_else(|| format!("measure '{name}' is no measure here: name one"))
        };
        let reduction = match (self.of.as_str(), self.measure) {
            ("rows", None) => Reduction::Rows,
            ("sum", name) => Reduction::Sum(measure(name)?),
            ("least", name) => Reduction::Least(measure(name)?),
            ("greatest", name) => Reduction::Greatest(measure(name)?),
            (other, _) => {
                return Err(format!("of = '{other}' is not known: use rows (without measure), sum, least or greatest"));
            }
        };
        let of = reduction.measure().and_then(|name| columns.iter().find(|c| c.name == name));
        let kind = of.map_or(ColumnType::Integer, |c| c.kind);
        let bands = self.bands.iter().map(|band| match Value::parse(band, kind) {
            Some(Value::Integer(i)) => Ok(i128::from(i)),
            Some(Value::Decimal(d)) => Ok(d),
            _ => Err(format!("band '{band}' is not a {kind}")),
        });
        let bands = bands.collect::<Result<Vec<i128>, String>>()?;
        if bands.is_empty() || bands.len() > MAX_BANDS || !bands.is_sorted_by(|a, b| a < b) {
            return Err(format!("bands are 1 to {MAX_BANDS} rising lower bounds"));
        }
        let mut conditions = Vec::new();
        for (name, test) in self.conditions {
            let column = columns.iter().find(|c| c.name == name);
            let column = column.ok_or_else(|| format!("where names '{name}', which is no column here"))?;
            if !matches!(column.role, Role::Dimension(_) | Role::Measure { .. }) {
                return Err(format!("where names '{name}', a {}: name a dimension or a measure", column.role.name()));
            }
            conditions.push(Condition { test: tested(&test, column)?, column: name });
        }
        Ok(Derived { name: self.name, unit: self.unit, reduction, conditions, bands })
    }
}

/// The test of one condition: a value, a list of values, or bounds.
fn tested(test: &toml::Value, column: &Column) -> Result<Test, String> {
    let value = |of: &toml::Value| {
        let text = match of {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let value = Value::parse(&text, column.kind);
        value.ok_or_else(|| format!("where {} = {text}: that is not a {}", column.name, column.kind))
    };
    match test {
        toml::Value::Array(values) if !values.is_empty() => {
            let mut values = values.iter().map(value).collect::<Result<Vec<_>, _>>()?;
            values.sort();
            values.dedup();
            Ok(Test::OneOf(values))
        }
        toml::Value::Table(bounds) => {
            if bounds.is_empty() || bounds.keys().any(|key| key != "from" && key != "below") {
                return Err(format!("where {}: bounds are from (included) and below", column.name));
            }
            let bound = |key| bounds.get(key).map(value).transpose();
            Ok(Test::Between { from: bound("from")?, below: bound("below")? })
        }
        one => Ok(Test::OneOf(vec![value(one)?])),
    }
}
