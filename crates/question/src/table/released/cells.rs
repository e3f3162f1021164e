//! The cells that a borough released of a table.

use loda_contract::Value;

use crate::table::State;
use crate::table::lower::LoweredFigure;
use crate::table::possible::Cell;

/// One released cell of a table, or of one of fewer of its columns.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRow {
    /// For each column of K the cell's state and class; `None`: the table is without this column.
    pub cell: Vec<Option<(State, Value)>>,
    /// For each functional.
    pub figures: Vec<Option<i128>>,
}

/// The cells that a borough released of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableCells {
    /// The cells, of the table and of every table of fewer of its columns.
    pub rows: Vec<TableRow>,
    /// The variance of the noise on a count of units.
    pub noise: f64,
    /// For each column of K the classes that the borough lists of it; `None` where the contract does.
    pub lists: Vec<Option<Vec<Value>>>,
}

/// The cell of a row, where its table is that of exactly these columns of the figure.
pub(super) fn within(figure: &LoweredFigure, row: &TableRow, columns: &[usize]) -> Option<Cell> {
    let places: Vec<usize> = columns.iter().filter_map(|column| figure.places.get(*column).copied()).collect();
    let of_others = row.cell.iter().enumerate().any(|(place, value)| value.is_some() != places.contains(&place));
    if of_others {
        return None;
    }
    places.iter().map(|place| row.cell.get(*place).cloned().flatten()).collect()
}

/// A figure of a cell; `None`: it is not released.
pub(super) fn figure_of(row: &TableRow, functional: usize) -> Option<i128> {
    row.figures.get(functional).copied().flatten()
}

/// The sum of a figure over cells; `None`: nothing to add up.
pub(super) fn total<'a>(functional: usize, rows: impl Iterator<Item = &'a TableRow>) -> Option<i128> {
    rows.filter_map(|row| figure_of(row, functional)).reduce(i128::saturating_add)
}
