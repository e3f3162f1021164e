//! A `[[column]]` of a contract.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::name::check_name;
use crate::column::{Attribute, Column, Role};
use crate::domain::{Domain, GRID_LIMIT, Grain};
use crate::value::{ColumnType, Value};

/// The names that the federation itself uses.
const RESERVED: [&str; 1] = ["borough"];

/// A `[[column]]`, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ColumnEntry {
    pub(super) name: String,
    #[serde(rename = "type")]
    kind: String,
    role: String,
    #[serde(default)]
    scale: Option<i8>,
    #[serde(default)]
    nullable: bool,
    #[serde(default)]
    description: String,
    codes: Option<Vec<String>>,
    min: Option<String>,
    max: Option<String>,
    grain: Option<String>,
    #[serde(default)]
    open: bool,
    #[serde(default)]
    edges: Vec<String>,
    clamp: Option<(String, String)>,
    to: Option<String>,
    of: Option<String>,
    #[serde(default)]
    place: bool,
    same_as: Option<String>,
    #[serde(default)]
    alternatives: Vec<String>,
    #[serde(default)]
    alone: bool,
    codes_from: Option<String>,
    stands_for: Option<String>,
}

impl ColumnEntry {
    /// # Errors
    /// The first fault found, with the fix.
    pub(super) fn check(self) -> Result<Column, String> {
        check_name("column", &self.name)?;
        if RESERVED.contains(&self.name.as_str()) {
            return Err("the federation adds this column itself: remove it".to_owned());
        }
        if self.description.starts_with('\u{2211}') {
            return Err("the description begins with ∑, which marks values of units: remove it".to_owned());
        }
        let kind = match (self.kind.as_str(), self.scale) {
            ("text", None) => ColumnType::Text,
            ("integer", None) => ColumnType::Integer,
            ("date", None) => ColumnType::Date,
            ("boolean", None) => ColumnType::Boolean,
            ("decimal", Some(scale @ 0..=18)) => ColumnType::Decimal(scale),
            ("decimal", _) => return Err("a decimal needs scale = 0 to 18".to_owned()),
            (other, None) => {
                return Err(format!("type '{other}' is not known: use text, integer, decimal, date or boolean"));
            }
            (_, Some(_)) => return Err("only a decimal has a scale: remove it".to_owned()),
        };
        let target = || self.to.clone().ok_or_else(|| "needs to = \"the domain it names\"".to_owned());
        let role = match self.role.as_str() {
            "unit" => Role::Unit(target()?),
            "reference" => Role::Reference(target()?),
            "identifier" => Role::Identifier,
            "text" => Role::Text,
            "dimension" => Role::Dimension(self.domain(kind)?),
            "measure" => self.measure(kind)?,
            other => {
                return Err(format!(
                    "role '{other}' is not known: use unit, identifier, reference, dimension, measure or text"
                ));
            }
        };
        let attribute = self.attribute()?;
        Ok(Column { name: self.name, kind, role, nullable: self.nullable, description: self.description, attribute })
    }

    fn attribute(&self) -> Result<Attribute, String> {
        Ok(Attribute {
            of: self.of.clone(),
            place: self.place,
            same_as: self.same_as.as_deref().map(column_of_dataset).transpose()?,
            alternatives: self.alternatives.iter().map(|text| column_of_dataset(text)).collect::<Result<_, _>>()?,
            alone: self.alone,
            codes_from: self.codes_from.as_deref().map(column_of_dataset).transpose()?,
            stands_for: self.stands_for.clone(),
        })
    }

    fn domain(&self, kind: ColumnType) -> Result<Domain, String> {
        if self.open {
            return Ok(Domain::Open);
        }
        match kind {
            ColumnType::Boolean => Ok(Domain::Booleans),
            ColumnType::Text => match &self.codes {
                Some(codes) if !codes.is_empty() => {
                    let distinct: BTreeSet<&String> = codes.iter().collect();
                    if distinct.len() < codes.len() {
                        return Err("a code stands twice in codes: remove one".to_owned());
                    }
                    Ok(Domain::Codes(codes.clone()))
                }
                _ => Err("a text dimension needs codes = [...] or open = true".to_owned()),
            },
            ColumnType::Integer => match (self.bound(kind, &self.min)?, self.bound(kind, &self.max)?) {
                (Some(Value::Integer(min)), Some(Value::Integer(max))) if min <= max => {
                    if max.abs_diff(min) >= GRID_LIMIT {
                        return Err(format!("the range is over {GRID_LIMIT} values: band it"));
                    }
                    Ok(Domain::Range { min, max })
                }
                _ => Err("an integer dimension needs min and max, min first".to_owned()),
            },
            ColumnType::Date => {
                let grain = self.grain.as_deref().and_then(Grain::from_name);
                match (self.bound(kind, &self.min)?, self.bound(kind, &self.max)?, grain) {
                    (Some(Value::Date(from)), Some(Value::Date(to)), Some(grain)) if from <= to => {
                        if to.abs_diff(from) > 200 * 366 {
                            return Err("the dates span more than 200 years: narrow min and max".to_owned());
                        }
                        Ok(Domain::Dates { from, to, grain })
                    }
                    _ => Err("a date dimension needs min, max and grain = day, month, quarter or year".to_owned()),
                }
            }
            ColumnType::Decimal(_) => Err("a decimal cannot be a dimension: make it a measure".to_owned()),
        }
    }

    fn measure(&self, kind: ColumnType) -> Result<Role, String> {
        if !matches!(kind, ColumnType::Integer | ColumnType::Decimal(_)) {
            return Err("a measure is an integer or a decimal".to_owned());
        }
        let units = |value: Value| match value {
            Value::Integer(i) => Ok(i128::from(i)),
            Value::Decimal(d) => Ok(d),
            _ => Err("a measure's bounds and edges are numbers".to_owned()),
        };
        let (Some(lower), Some(upper)) = (self.bound(kind, &self.min)?, self.bound(kind, &self.max)?) else {
            return Err("a measure needs min and max: its declared bounds".to_owned());
        };
        let (lower, upper) = (units(lower)?, units(upper)?);
        let edges = self.edges.iter().map(|edge| {
            let value = Value::parse(edge, kind).ok_or_else(|| format!("edge '{edge}' is not a {kind}"))?;
            units(value)
        });
        let edges = edges.collect::<Result<Vec<i128>, String>>()?;
        if lower >= upper || !edges.is_sorted_by(|a, b| a < b) {
            return Err("min must be below max, and edges must rise".to_owned());
        }
        let clamp = match &self.clamp {
            None => None,
            Some((from, to)) => {
                let bound = |text: &String| {
                    let value = Value::parse(text, kind).ok_or_else(|| format!("clamp '{text}' is not a {kind}"))?;
                    units(value)
                };
                let (from, to) = (bound(from)?, bound(to)?);
                if from >= to || from < lower || to > upper {
                    return Err("clamp must rise, and lie within min and max".to_owned());
                }
                Some((from, to))
            }
        };
        Ok(Role::Measure { lower, upper, edges, clamp })
    }

    fn bound(&self, kind: ColumnType, text: &Option<String>) -> Result<Option<Value>, String> {
        let Some(text) = text else { return Ok(None) };
        Value::parse(text, kind).map(Some).ok_or_else(|| format!("'{text}' is not a {kind}"))
    }
}

/// A column of a dataset, written `dataset.column`.
fn column_of_dataset(text: &str) -> Result<(String, String), String> {
    match text.split_once('.') {
        Some((dataset, column)) if !dataset.is_empty() && !column.is_empty() => {
            Ok((dataset.to_owned(), column.to_owned()))
        }
        _ => Err(format!("'{text}' names no column of a dataset: write dataset.column")),
    }
}
