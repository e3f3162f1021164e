//! A `[[unit]]` of a contract.

use serde::Deserialize;

use super::name::check_name;
use crate::column::{Column, Role};
use crate::contract::Unit;

/// The domains that are always about people.
const PERSONAL: [&str; 6] = ["person", "household", "property", "tenancy", "child", "resident"];

/// A `[[unit]]`, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct UnitEntry {
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

impl UnitEntry {
    /// # Errors
    /// The first fault found, with the fix.
    pub(super) fn check(self, columns: &[Column]) -> Result<Unit, String> {
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
