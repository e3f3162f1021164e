//! From a contract's TOML text to a checked [`Contract`].

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::closure::{AttributeEntry, ClosureEntry};
use crate::{Column, ColumnType, Contract, Domain, Grain, Protection, Role, Unit, Value};

/// Domains that are always about people, whatever a contract says.
const PERSONAL: [&str; 6] = ["person", "household", "property", "tenancy", "child", "resident"];

/// Names that the federation itself uses.
const RESERVED: [&str; 1] = ["borough"];

/// A fault in a contract, with the file and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct ContractError {
    origin: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    dataset: String,
    version: u32,
    title: String,
    #[serde(default)]
    protection: Option<String>,
    #[serde(default)]
    pairs: Vec<(String, String)>,
    #[serde(default)]
    dimensions: Option<u32>,
    #[serde(default)]
    threshold: Option<u32>,
    #[serde(default)]
    epoch: Option<String>,
    period: Option<String>,
    every: Option<String>,
    settle_days: Option<u32>,
    #[serde(default)]
    table: Vec<crate::closure::TableEntry>,
    #[serde(default)]
    derived: Vec<crate::closure::DerivedEntry>,
    unit: Vec<UnitEntry>,
    column: Vec<ColumnEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct UnitEntry {
    domain: String,
    column: Option<String>,
    about: About,
    #[serde(default)]
    one_row: bool,
    max_rows: Option<u64>,
    #[serde(default)]
    borough_exclusive: bool,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum About {
    People,
    Things,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ColumnEntry {
    name: String,
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

impl Contract {
    /// Reads and checks a contract's file.
    ///
    /// # Errors
    /// Where it cannot be read, or as [`Contract::parse`].
    pub fn load(path: &std::path::Path) -> Result<Self, ContractError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ContractError { origin: origin.clone(), message: error.to_string() })?;
        Self::parse(&text, &origin)
    }

    /// Parses and checks a contract. `origin` names the file in errors.
    ///
    /// # Errors
    /// The first fault found, with the line (from the TOML reader) or the column it stands at, and the fix.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ContractError> {
        let fault = |message: String| ContractError { origin: origin.to_owned(), message };
        let file: File = toml::from_str(text).map_err(|e| fault(e.to_string()))?;
        let sha256 = hex::encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()));
        file.check(sha256).map_err(fault)
    }
}

impl File {
    fn check(self, sha256: String) -> Result<Contract, String> {
        check_name("dataset", &self.dataset)?;
        let protection = match self.protection.as_deref() {
            None | Some("cell-key") => Protection::CellKey,
            Some("threshold") => Protection::Threshold,
            Some("public") => Protection::Public,
            Some(other) => {
                return Err(format!("protection '{other}' is not known: use public, threshold or cell-key"));
            }
        };
        let mut names = BTreeSet::new();
        let columns = self.column.into_iter().map(|entry| {
            let name = entry.name.clone();
            if !names.insert(name.clone()) {
                return Err(format!("column '{name}' stands twice: remove one"));
            }
            entry.check().map_err(|why| format!("column '{name}': {why}"))
        });
        let columns = columns.collect::<Result<Vec<Column>, String>>()?;
        let units = self.unit.into_iter().map(|u| u.check(&columns)).collect::<Result<Vec<Unit>, _>>()?;
        if units.is_empty() {
            return Err("a dataset needs at least one [[unit]]: say whom or what a row is about".to_owned());
        }
        let domains: BTreeSet<&str> = units.iter().map(|u| u.domain.as_str()).collect();
        if domains.len() < units.len() {
            return Err("two [[unit]] entries have the same domain: remove one".to_owned());
        }
        for column in &columns {
            if let Role::Unit(domain) = &column.role
                && !units.iter().any(|u| &u.domain == domain && u.column.as_ref() == Some(&column.name))
            {
                return Err(format!("column '{}' has role unit but no [[unit]] names it: add one", column.name));
            }
        }
        let exact = !protection.may_be_about_people() && !protection.is_public();
        if let Some(unit) = units.iter().find(|u| u.about_people && exact) {
            return Err(format!(
                "protection '{protection}' is exact, and '{}' is about people: use cell-key \
                 (three crossing exact counts give away one person)",
                unit.domain
            ));
        }
        let mut pairs = Vec::new();
        for (a, b) in self.pairs {
            let is_measure =
                |name: &String| columns.iter().any(|c| c.name == *name && matches!(c.role, Role::Measure { .. }));
            if a == b || !is_measure(&a) || !is_measure(&b) {
                return Err(format!("pairs names '{a}' and '{b}': name two different measures"));
            }
            pairs.push(if a < b { (a, b) } else { (b, a) });
        }
        let entry = ClosureEntry {
            dimensions: self.dimensions,
            threshold: self.threshold,
            epoch: self.epoch,
            tables: self.table,
            derived: self.derived,
            period: self.period,
            every: self.every,
            settle_days: self.settle_days,
        };
        let closure = entry.check(protection, &units, &columns)?;
        Ok(Contract {
            dataset: self.dataset,
            version: self.version,
            title: self.title,
            protection,
            units,
            columns,
            pairs,
            closure,
            sha256,
        })
    }
}

impl UnitEntry {
    fn check(self, columns: &[Column]) -> Result<Unit, String> {
        check_name("unit domain", &self.domain)?;
        let about_people = self.about == About::People;
        if !about_people && PERSONAL.contains(&self.domain.as_str()) {
            return Err(format!("unit domain '{}' is about people: write about = \"people\"", self.domain));
        }
        if let Some(name) = &self.column {
            let column = columns.iter().find(|c| &c.name == name);
            match column.map(|c| (&c.role, c.nullable)) {
                Some((Role::Unit(domain), false)) if *domain == self.domain => {}
                Some((Role::Unit(_), true)) => {
                    return Err(format!("unit column '{name}' cannot be nullable: a row without a unit is rejected"));
                }
                _ => {
                    return Err(format!(
                        "unit '{}' names column '{name}': give that column role = \"unit\" and to = \"{}\"",
                        self.domain, self.domain
                    ));
                }
            }
        }
        let positional = self.column.is_none();
        let one_row = self.one_row || positional;
        let max_rows = match (self.max_rows, one_row) {
            (None | Some(1), true) => Some(1),
            (None, false) => None,
            (Some(n @ 1..=1_000_000), false) => Some(n),
            _ => {
                return Err(format!(
                    "unit '{}': max-rows is 1 to 1,000,000, and 1 where a unit has one row: correct or remove it",
                    self.domain
                ));
            }
        };
        Ok(Unit {
            domain: self.domain,
            one_row,
            max_rows,
            borough_exclusive: self.borough_exclusive || positional,
            column: self.column,
            about_people,
        })
    }
}

impl ColumnEntry {
    fn check(self) -> Result<Column, String> {
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
        let attribute = AttributeEntry {
            of: self.of,
            place: self.place,
            same_as: self.same_as,
            alternatives: self.alternatives,
            alone: self.alone,
            codes_from: self.codes_from,
            stands_for: self.stands_for,
        };
        let attribute = attribute.check()?;
        Ok(Column { name: self.name, kind, role, nullable: self.nullable, description: self.description, attribute })
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
                    if max.abs_diff(min) >= crate::GRID_LIMIT {
                        return Err(format!("the range is over {} values: band it", crate::GRID_LIMIT));
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

/// Names are SQL identifiers in lower case that need no quotes, so that one name has one spelling everywhere.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), String> {
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    if starts && name.len() <= 64 && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Ok(());
    }
    Err(format!("{what} '{name}' must begin with a–z and hold only a–z, 0–9 and _, at most 64"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FIRES: &str = r#"
        dataset = "fires"
        version = 1
        title = "Fires"
        protection = "threshold"
        [[unit]]
        domain = "incident"
        about = "things"
        [[column]]
        name = "year"
        type = "integer"
        role = "dimension"
        min = "2009"
        max = "2024"
    "#;

    #[test]
    fn a_contract_parses_and_a_row_is_a_unit() {
        let contract = Contract::parse(FIRES, "fires.toml").unwrap();
        assert!(contract.one_row_a_unit());
        assert_eq!(contract.sha256.len(), 64);
    }

    #[test]
    fn faults_name_the_file_and_the_fix() {
        let cases = [
            ("about = \"things\"", "about = \"people\"", "about people: use cell-key"),
            ("domain = \"incident\"", "domain = \"person\"", "write about = \"people\""),
            ("max = \"2024\"", "", "needs min and max"),
            ("name = \"year\"", "name = \"borough\"", "adds this column itself"),
            ("name = \"year\"", "name = \"Year\"", "must begin with a–z"),
            ("version = 1", "version = 1\ncolour = 2", "colour"),
            ("protection = \"threshold\"", "protection = \"none\"", "not known"),
        ];
        for (from, to, expected) in cases {
            let error = Contract::parse(&FIRES.replacen(from, to, 1), "fires.toml").unwrap_err().to_string();
            assert!(error.starts_with("fires.toml: ") && error.contains(expected), "{error}");
        }
    }
}
