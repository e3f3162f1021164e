//! Row domains, figures, and the table that they make with its columns.
//!
//! The fields are visible within [`crate::table`] alone, where `rules` is the only code that makes a table.

use std::sync::Arc;

use loda_contract::Contract;

use super::column::{Classes, ColumnRef, TableColumn};

/// The rows that a table counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowDomain {
    /// The register of a unit: a row a unit, over every dataset that holds it.
    Units(String),
    /// The rows of a dataset that may hold a unit several times.
    Rows(String),
}

/// A count or a sum in each cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Functional {
    /// The distinct units of a domain; of a register, its own.
    Units(String),
    /// The rows, of each unit at most the contract's `max-rows`.
    Rows,
    /// The rows with a value of a nullable measure.
    Present(ColumnRef),
    /// The sum of a measure, each value kept within its bounds.
    Sum(ColumnRef),
    /// The sum of the squares of a measure.
    Square(ColumnRef),
    /// The sum of the products of a declared pair.
    Product(ColumnRef, ColumnRef),
}

/// A table that the contracts allow. Made only by [`Table::new`] and [`Table::decode`].
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) domain: RowDomain,
    pub(super) columns: Vec<TableColumn>,
    pub(super) functionals: Vec<Functional>,
    pub(super) datasets: Vec<Arc<Contract>>,
    pub(super) threshold: u32,
}

impl Table {
    /// The rows that it counts.
    #[must_use]
    pub fn domain(&self) -> &RowDomain {
        &self.domain
    }

    /// K, in canonical order.
    #[must_use]
    pub fn columns(&self) -> &[TableColumn] {
        &self.columns
    }

    /// The figures, in canonical order.
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
    pub(super) fn coded(&self) -> u64 {
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

    /// Reads the name that [`RowDomain::table_name`] writes.
    pub(super) fn from_table_name(name: &str) -> Option<Self> {
        let units = name.strip_prefix(UNITS).map(|domain| Self::Units(domain.to_owned()));
        units.or_else(|| name.strip_prefix(ROWS).map(|dataset| Self::Rows(dataset.to_owned())))
    }
}

const UNITS: &str = "units of ";
const ROWS: &str = "rows of ";
