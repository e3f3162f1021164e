//! Tables: the only thing that is asked about people.
//!
//! Whatever can be learnt about people is a finite collection of tables that contracts fix. A table has a *row domain*, a
//! set K of *columns* and *figures*; a node answers it for K and for every subset of K. It holds no predicate, literal or
//! function of an asker's: conditions are evaluated over released cells ([`Lowered`]).
//!
//! | module | what it does |
//! |---|---|
//! | `column` | what a column of a table is, and what contracts say of it |
//! | `rules` | which tables there are: weights, limits, alternatives |
//! | `whole` | tables that answer others |
//! | `wire` | the canonical bytes, a plan of `GROUP BY CUBE (K)` |
//! | `words` | rendering for people |
//! | `lower`, `depends` | question → tables, and what is added up from their cells; which columns that depends on |
//! | `attach`, `conditions`, `several` | how a question's sources hang on a register, and what its conditions are there |
//! | `proposal` | the derived value that a contract would need |
//! | `released` | released cells → the question's cells: which there can be, what each adds up, withheld ones estimated |

mod attach;
mod column;
mod conditions;
mod depends;
mod lower;
mod proposal;
mod released;
mod rules;
mod several;
#[cfg(test)]
mod tests;
mod whole;
mod wire;
mod words;

use std::sync::Arc;

use loda_contract::Contract;

pub use column::{Classes, ColumnRef, Made, State, TableColumn};
pub use lower::Lowered;
pub use released::{CellFigure, Estimate, TableCells, TableRow};

/// What a row of a table's domain is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowDomain {
    /// The register of a unit: a row a unit, over every dataset that holds it.
    Units(String),
    /// The rows of a dataset that may hold a unit several times.
    Rows(String),
}

/// What is counted or added up in each cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Functional {
    /// The distinct units of a domain; of a register, its own.
    Units(String),
    /// The rows, of each unit at most the contract's `max-rows`.
    Rows,
    /// The rows with a value of a nullable measure.
    Present(ColumnRef),
    Sum(ColumnRef),
    Square(ColumnRef),
    Product(ColumnRef, ColumnRef),
}

/// A table that the contracts allow. Made only by [`Table::new`] and [`Table::decode`].
#[derive(Clone, Debug)]
pub struct Table {
    domain: RowDomain,
    columns: Vec<TableColumn>,
    functionals: Vec<Functional>,
    datasets: Vec<Arc<Contract>>,
    threshold: u32,
}

impl Table {
    #[must_use]
    pub fn domain(&self) -> &RowDomain {
        &self.domain
    }

    /// K, in canonical order.
    #[must_use]
    pub fn columns(&self) -> &[TableColumn] {
        &self.columns
    }

    /// In canonical order.
    #[must_use]
    pub fn functionals(&self) -> &[Functional] {
        &self.functionals
    }

    /// The contracts of every dataset that is read, by name.
    #[must_use]
    pub fn datasets(&self) -> &[Arc<Contract>] {
        &self.datasets
    }

    /// The least perturbed number of units of a released cell: the highest of the datasets read.
    #[must_use]
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// The contract of a dataset that is read.
    #[must_use]
    pub fn contract(&self, dataset: &str) -> Option<&Arc<Contract>> {
        self.datasets.iter().find(|c| c.dataset == dataset)
    }

    /// The datasets' names, for logs and people.
    #[must_use]
    pub fn title(&self) -> String {
        self.datasets.iter().map(|c| c.dataset.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The place in K of the periods that its rows come by.
    #[must_use]
    pub fn period(&self) -> Option<usize> {
        self.columns.iter().position(|column| column.period.is_some())
    }

    /// The most cells that the columns of K with classes of the contract have.
    pub(crate) fn coded(&self) -> u64 {
        let cells = self.columns.iter().map(|column| match &column.classes {
            Classes::Presence => 2,
            _ if column.period.is_some() => 1,
            Classes::Coded(values) => values.len() as u64 + 2,
            Classes::Open => 1,
        });
        cells.fold(1, u64::saturating_mul)
    }

    /// The most cells that K has; `None` where a column's classes are a borough's own.
    #[must_use]
    pub fn grid(&self) -> Option<u64> {
        self.columns.iter().try_fold(1_u64, |cells, column| {
            let classes = match &column.classes {
                Classes::Presence => 2,
                _ if column.period.is_some() => return None,
                Classes::Coded(values) => values.len() as u64 + 2,
                Classes::Open => return None,
            };
            Some(cells.saturating_mul(classes))
        })
    }
}

impl RowDomain {
    /// The name of the table that a plan scans.
    #[must_use]
    pub fn table_name(&self) -> String {
        match self {
            Self::Units(domain) => format!("{UNITS}{domain}"),
            Self::Rows(dataset) => format!("{ROWS}{dataset}"),
        }
    }

    fn from_table_name(name: &str) -> Option<Self> {
        let units = name.strip_prefix(UNITS).map(|domain| Self::Units(domain.to_owned()));
        units.or_else(|| name.strip_prefix(ROWS).map(|dataset| Self::Rows(dataset.to_owned())))
    }
}

const UNITS: &str = "units of ";
const ROWS: &str = "rows of ";
