//! A contract: one dataset's columns, units and protection.

use crate::closure::{Closure, Period};
use crate::column::Column;
use crate::derived::Derived;
use crate::protection::Protection;

/// A parsed and checked contract. Only [`Contract::parse`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    /// The dataset's name.
    pub dataset: String,
    /// The contract's version.
    pub version: u32,
    /// A title for people to read.
    pub title: String,
    /// The protection of figures.
    pub protection: Protection,
    /// The unit domains, at least one.
    pub units: Vec<Unit>,
    /// The columns, in the contract's order.
    pub columns: Vec<Column>,
    /// Pairs of measures whose products may be summed, as COVAR and CORR need. Each pair is sorted.
    pub pairs: Vec<(String, String)>,
    /// The closed tables, if the dataset is about people.
    pub closure: Closure,
    /// SHA-256 of the contract's text, in hexadecimal. The manifest pins it.
    pub sha256: String,
}

/// One unit domain of a dataset. Figures count and protect its units.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// The domain's name, for example `person`, `household`, `incident`.
    pub domain: String,
    /// The column that names the unit; `None`: each row is a unit.
    pub column: Option<String>,
    /// Whether the unit is a person or describes persons.
    pub about_people: bool,
    /// Whether a unit has at most one row in this dataset. Ingest checks it.
    pub one_row: bool,
    /// The largest number of a unit's rows that count in a sum; `None`: not declared.
    pub max_rows: Option<u64>,
    /// Whether no unit can occur in two boroughs (a property, an incident).
    pub borough_exclusive: bool,
}

impl Contract {
    /// Finds a column by its name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The unit domain that a column names.
    #[must_use]
    pub fn unit_of_column(&self, name: &str) -> Option<&Unit> {
        self.units.iter().find(|u| u.column.as_deref() == Some(name))
    }

    /// The unit of a domain.
    #[must_use]
    pub fn unit(&self, domain: &str) -> Option<&Unit> {
        self.units.iter().find(|u| u.domain == domain)
    }

    /// The unit that a row describes: the unit with one row, else the first.
    #[must_use]
    pub fn main_unit(&self) -> Option<&Unit> {
        self.units.iter().find(|u| u.one_row).or_else(|| self.units.first())
    }

    /// The domain of the unit that a column describes; `None`: the column describes the row, and a unit may have several rows.
    #[must_use]
    pub fn unit_of_attribute<'a>(&'a self, column: &'a Column) -> Option<&'a str> {
        let one_row = self.units.iter().find(|u| u.one_row).map(|u| u.domain.as_str());
        column.attribute.of.as_deref().or(one_row)
    }

    /// The derived value of this name.
    #[must_use]
    pub fn derived(&self, name: &str) -> Option<&Derived> {
        self.closure.derived.iter().find(|d| d.name == name)
    }

    /// The periods by which rows come, and the column that dates a row.
    #[must_use]
    pub fn period(&self) -> Option<(&Period, &Column)> {
        self.closure.period.as_ref().and_then(|period| Some((period, self.column(&period.column)?)))
    }

    /// Whether each row is one unit. COUNT(*) then counts units.
    #[must_use]
    pub fn one_row_a_unit(&self) -> bool {
        self.units.iter().any(|u| u.one_row)
    }
}
