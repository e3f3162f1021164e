//! The closed tables about people that a contract allows: a fixed list, the same for every asker.

use std::collections::BTreeSet;

use crate::derived::Derived;
use crate::domain::Grain;

/// The closed tables about the people of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// The limit on the total weight of a table's columns.
    pub dimensions: u32,
    /// A cell is released if the perturbed number of its units is at least this.
    pub threshold: u32,
    /// The time for which pinned data are served.
    pub epoch: Epoch,
    /// Sets of this dataset's columns that form a table although they exceed `dimensions`.
    pub tables: Vec<BTreeSet<String>>,
    /// Values of each unit, made from several of its rows.
    pub derived: Vec<Derived>,
    /// The periods by which rows come; `None` if rows are not appended.
    pub period: Option<Period>,
}

/// The periods of a dataset to which rows are appended. The period is part of every table, as the borough is. Each period
/// closes some days after its end and does not change from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// The dimension that dates a row, at the first day of its own grain.
    pub column: String,
    /// The length of a period: the column's grain, or longer.
    pub every: Grain,
    /// The number of days between a period's end and its closing. Later rows count in the period that closes next.
    pub settle_days: u32,
}

/// The time for which a register stays unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    /// A calendar month.
    Month,
    /// A calendar quarter.
    Quarter,
    /// A calendar year.
    Year,
}

impl Epoch {
    /// The name that contracts use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }
}
