//! A contract's file.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::closure::{ClosureEntry, TableEntry};
use super::column::ColumnEntry;
use super::derived::DerivedEntry;
use super::name::check_name;
use super::unit::UnitEntry;
use crate::column::{Column, Role};
use crate::contract::{Contract, Unit};
use crate::protection::Protection;

/// A fault in a contract, with the file and the fix.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct ContractError {
    origin: String,
    message: String,
}

/// A contract as it is written.
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
    table: Vec<TableEntry>,
    #[serde(default)]
    derived: Vec<DerivedEntry>,
    unit: Vec<UnitEntry>,
    column: Vec<ColumnEntry>,
}

impl Contract {
    /// Reads and checks a contract's file.
    ///
    /// # Errors
    /// If the file cannot be read, or as [`Contract::parse`].
    pub fn load(path: &std::path::Path) -> Result<Self, ContractError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ContractError { origin: origin.clone(), message: error.to_string() })?;
        Self::parse(&text, &origin)
    }

    /// Parses and checks a contract. `origin` names the file in errors.
    ///
    /// # Errors
    /// The first fault found, with its line (from the TOML reader) or its column, and the fix.
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
