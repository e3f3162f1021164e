//! Derived values: one value of each unit, made from several of its rows.

use crate::column::Column;
use crate::value::{ColumnType, Value};

/// A value of each unit of a domain, made from the unit's rows in this dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// The name, used like a column's.
    pub name: String,
    /// The unit's domain.
    pub unit: String,
    /// The reduction of the unit's rows to one value.
    pub reduction: Reduction,
    /// A row counts if it meets every condition.
    pub conditions: Vec<Condition>,
    /// The lower bounds of the classes, in rising order, in scaled units. Values below the first bound belong to its class.
    pub bands: Vec<i128>,
}

/// The reduction of a unit's rows to one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// The number of rows.
    Rows,
    /// The sum of a measure, by its column name.
    Sum(String),
    /// The least value of a measure, by its column name.
    Least(String),
    /// The greatest value of a measure, by its column name.
    Greatest(String),
}

/// A condition on one column. A row counts only if it passes the test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The column's name.
    pub column: String,
    /// The test of the column's value.
    pub test: Test,
}

/// The test of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// The value is in the list. The list is sorted.
    OneOf(Vec<Value>),
    /// The value lies between two bounds.
    Between {
        /// The lower bound, included; `None`: no lower bound.
        from: Option<Value>,
        /// The upper bound, not included; `None`: no upper bound.
        below: Option<Value>,
    },
}

impl Reduction {
    /// The name of the measure that is reduced; `None` for the number of rows.
    #[must_use]
    pub fn measure(&self) -> Option<&str> {
        match self {
            Self::Rows => None,
            Self::Sum(name) | Self::Least(name) | Self::Greatest(name) => Some(name),
        }
    }
}

impl Derived {
    /// The class of a unit's value, as the lower bound of its band, in scaled units.
    #[must_use]
    pub fn class(&self, value: i128) -> i128 {
        let below = self.bands.partition_point(|band| *band <= value);
        let place = below.saturating_sub(1);
        self.bands.get(place).copied().unwrap_or(value)
    }

    /// The type of the classes.
    #[must_use]
    pub fn kind(&self, columns: &[Column]) -> ColumnType {
        let of = self.reduction.measure().and_then(|name| columns.iter().find(|c| c.name == name));
        of.map_or(ColumnType::Integer, |c| c.kind)
    }
}
