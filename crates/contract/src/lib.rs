//! Dataset contracts.
//!
//! A contract says what a dataset means in every borough: its columns with type and role, the
//! values that can occur, whom its rows are about (unit domains), and how figures from it are
//! protected. Everything that an asker can learn without reading data follows from contracts alone.

mod closure;
mod domain;
mod parse;
mod value;

pub use closure::{Attribute, Closure, Condition, Derived, Epoch, Period, Reduction, Test, check_together};
pub use domain::{Domain, Grain};
pub use parse::ContractError;
pub use value::Value;

use std::fmt;

/// The limit on the product of all group-key domains at one node (`borough` aside).
pub const GRID_LIMIT: u64 = 100_000;

/// A parsed and checked contract. Made only by [`Contract::parse`].
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    pub dataset: String,
    pub version: u32,
    pub title: String,
    pub protection: Protection,
    pub units: Vec<Unit>,
    pub columns: Vec<Column>,
    /// Pairs of measures whose products may be summed: what COVAR and CORR need.
    pub pairs: Vec<(String, String)>,
    /// Which tables there are, where the dataset is about people.
    pub closure: Closure,
    /// SHA-256 of the contract's text, in hexadecimal: what the manifest pins.
    pub sha256: String,
}

/// How figures from a dataset are protected: one method a dataset and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protection {
    /// Already published: no protection.
    Public,
    /// Exact figures of at least ten units; only for data that is not about people.
    Threshold,
    /// ONS cell-key perturbation, then a threshold on the perturbed count.
    CellKey,
}

/// One unit domain of a dataset: what a figure counts and protects.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// For example `person`, `household`, `incident`.
    pub domain: String,
    /// The column that names the unit; `None`: each row is a unit of its own.
    pub column: Option<String>,
    /// Whether the unit is a person, or tells of persons.
    pub about_people: bool,
    /// Whether a unit has at most one row in this dataset (checked at ingest).
    pub one_row: bool,
    /// How many rows of one unit count at most, where sums over its rows are asked; `None`: not declared.
    pub max_rows: Option<u64>,
    /// Whether no unit can stand in two boroughs (a property, an incident).
    pub borough_exclusive: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    pub kind: ColumnType,
    pub role: Role,
    pub nullable: bool,
    pub description: String,
    /// What it is as a column of tables about people.
    pub attribute: Attribute,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ColumnType {
    Text,
    Integer,
    /// Fixed point with this many decimals, at most 38 digits in all.
    Decimal(i8),
    Date,
    Boolean,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Role {
    /// Names a unit of this domain; counts distinct, joins, and nothing else.
    Unit(String),
    /// Never leaves, never compared with a literal.
    Identifier,
    /// A key into public data; joins, is never compared with a literal.
    Reference(String),
    /// Groups and filters.
    Dimension(Domain),
    /// Sums and averages between declared bounds, in scaled units; compared at its band edges only.
    /// In sums about people a value counts as the nearest within `clamp` (its bounds, where there is none): a narrow
    /// clamp makes for little noise.
    Measure { lower: i128, upper: i128, edges: Vec<i128>, clamp: Option<(i128, i128)> },
    /// Free text: coverage only.
    Text,
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

    /// The unit that a row describes: the one that has one row, else the first.
    #[must_use]
    pub fn main_unit(&self) -> Option<&Unit> {
        self.units.iter().find(|u| u.one_row).or_else(|| self.units.first())
    }

    /// The domain of the unit that a column is an attribute of; `None`: of the row, where a unit may have several.
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

    /// How rows come by period, and the column that says when.
    #[must_use]
    pub fn period(&self) -> Option<(&Period, &Column)> {
        self.closure.period.as_ref().and_then(|period| Some((period, self.column(&period.column)?)))
    }

    /// Whether rows and units are the same thing: COUNT(*) then counts units.
    #[must_use]
    pub fn one_row_a_unit(&self) -> bool {
        self.units.iter().any(|u| u.one_row)
    }
}

impl Protection {
    /// Whether the units may be people. What may be is asked by closed tables alone.
    #[must_use]
    pub const fn may_be_about_people(self) -> bool {
        match self {
            Self::Public | Self::Threshold => false,
            Self::CellKey => true,
        }
    }

    /// Whether figures are of data that is published already, and need no protection.
    #[must_use]
    pub const fn is_public(self) -> bool {
        match self {
            Self::Public => true,
            Self::Threshold | Self::CellKey => false,
        }
    }

    /// Whether a NULL of a nullable measure is judged as a condition: exact figures side by side tell how many there are.
    #[must_use]
    pub const fn judges_nulls(self) -> bool {
        match self {
            Self::Public | Self::CellKey => false,
            Self::Threshold => true,
        }
    }

    /// Whether what a unit adds to a figure is bounded by the contract.
    #[must_use]
    pub const fn bounds_contributions(self) -> bool {
        match self {
            Self::Public | Self::Threshold => false,
            Self::CellKey => true,
        }
    }

    /// Whether a total is the sum of released cells instead of a figure of its own.
    #[must_use]
    pub const fn totals_from_cells(self) -> bool {
        match self {
            Self::Public | Self::CellKey => false,
            Self::Threshold => true,
        }
    }

    /// The name that contracts, manifests and statements use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Threshold => "threshold",
            Self::CellKey => "cell-key",
        }
    }
}

impl Role {
    /// The word for this role in messages and catalogues.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unit(_) => "unit",
            Self::Identifier => "identifier",
            Self::Reference(_) => "reference key",
            Self::Dimension(_) => "dimension",
            Self::Measure { .. } => "measure",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Integer => f.write_str("integer"),
            Self::Decimal(scale) => write!(f, "decimal({scale})"),
            Self::Date => f.write_str("date"),
            Self::Boolean => f.write_str("boolean"),
        }
    }
}
