//! A question about people as tables, and how its figures follow from their cells.

use std::collections::BTreeMap;

use crate::draft::{Predicate, Scalar};
use crate::table::readings::ColumnReading;
use crate::table::{Functional, RowDomain, Table, TableColumn};

/// A question about people as tables, and how its figures follow from their cells.
#[derive(Clone, Debug)]
pub struct Lowered {
    pub(in crate::table) tables: Vec<Table>,
    pub(in crate::table) figures: Vec<LoweredFigure>,
}

/// One figure of the question.
#[derive(Clone, Debug)]
pub(in crate::table) struct LoweredFigure {
    /// The place of its table, and of its functional there.
    pub(in crate::table) table: usize,
    pub(in crate::table) functional: usize,
    /// Of a sum the functional that counts its values; of a count itself.
    pub(in crate::table) counted: usize,
    /// The places in the table's K of the columns that it reads, and those columns.
    pub(in crate::table) places: Vec<usize>,
    pub(in crate::table) columns: Vec<TableColumn>,
    /// Where the names of rows, counts and keys stand in a cell of those columns.
    pub(in crate::table) readings: BTreeMap<String, ColumnReading>,
    /// Which cells hold rows of the question, and which of those count here.
    pub(in crate::table) rows: Predicate,
    pub(in crate::table) counts: Predicate,
    pub(in crate::table) keys: Vec<Scalar>,
}

impl Lowered {
    /// The tables to ask for.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Whether a figure adds up over cells: each unit that it counts stands in one cell.
    #[must_use]
    pub fn adds_up(&self, figure: usize) -> bool {
        let figure = self.figures.get(figure).and_then(|f| Some((self.tables.get(f.table)?, f.functional)));
        figure.is_some_and(|(table, functional)| match (table.domain(), table.functionals().get(functional)) {
            (RowDomain::Units(_), _) => true,
            (RowDomain::Rows(of), Some(Functional::Units(_))) => {
                table.contract(of).is_some_and(|contract| contract.one_row_a_unit())
            }
            (RowDomain::Rows(_), functional) => functional.is_some(),
        })
    }
}
