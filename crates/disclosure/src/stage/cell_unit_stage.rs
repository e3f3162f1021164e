//! Reads the (cell, unit) stage: typed columns in, rows by cell out.
//!
//! Cells and units are small numbers, and rows are put in the order of their cells once. A method's question about a cell is
//! then a pass over a few slices.

use std::cell::RefCell;

use arrow::array::RecordBatch;

use super::cell::Cell;
use super::rows::{Columns, StageRows};
use super::units::{SeenUnits, Units};
use crate::error::DisclosureError;
use crate::keys::{CellKey, CellNumbers};
use crate::spec::TableSpec;

/// All cells of a table, in key order.
pub struct Stage {
    rows: StageRows,
    units: Vec<Units>,
    seen: RefCell<SeenUnits>,
    /// The key of each cell, and the places where its rows begin and end.
    cells: Vec<(CellKey, usize, usize)>,
}

impl Stage {
    /// Reads all batches.
    ///
    /// # Errors
    /// If a batch has wrong columns, a forbidden null, or a count out of range.
    pub(crate) fn read(spec: &TableSpec, batches: &[RecordBatch]) -> Result<Self, DisclosureError> {
        let mut rows = StageRows {
            units: vec![Vec::new(); spec.domains.len()],
            moments: vec![Vec::new(); spec.measures.len()],
            ..StageRows::default()
        };
        let all = batches.iter().map(RecordBatch::num_rows).sum();
        let mut units: Vec<Units> = spec.domains.iter().map(|_| Units::of_rows(all)).collect();
        let mut numbers = CellNumbers::new(&spec.keys)?;
        let mut cell_of: Vec<u32> = Vec::new();
        for batch in batches {
            let columns = Columns::of(spec, batch)?;
            rows.push(spec, &columns, &mut units)?;
            cell_of.extend(numbers.number(&columns.keys, batch.num_rows())?);
        }
        let keys = numbers.keys();
        let (order, ends) = by_cell(&cell_of, keys.len());
        let rows = if cell_of.is_sorted() { rows } else { rows.ordered(&order) };
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let mut cells: Vec<_> =
            keys.into_iter().zip(starts.zip(&ends)).map(|(key, (start, end))| (key, start, *end)).collect();
        cells.sort_unstable();
        Ok(Self { rows, units, seen: RefCell::default(), cells })
    }

    /// The cells in key order.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (&CellKey, Cell<'_>)> {
        let cells = self.cells.iter();
        cells.filter_map(move |(key, start, end)| {
            Some((key, Cell::of(&self.rows, *start..*end, &self.units, &self.seen)?))
        })
    }
}

/// The rows in the order of their cells, and the place where each cell's rows end.
fn by_cell(cell_of: &[u32], cells: usize) -> (Vec<usize>, Vec<usize>) {
    let mut ends = vec![0_usize; cells];
    for cell in cell_of {
        if let Some(count) = ends.get_mut(*cell as usize) {
            *count += 1;
        }
    }
    let mut total = 0;
    for end in &mut ends {
        let start = total;
        total += *end;
        *end = start;
    }
    // Each cell's place moves from its start to its end as its rows are placed.
    let mut order = vec![0_usize; cell_of.len()];
    for (row, cell) in cell_of.iter().enumerate() {
        if let Some(place) = ends.get_mut(*cell as usize) {
            if let Some(slot) = order.get_mut(*place) {
                *slot = row;
            }
            *place += 1;
        }
    }
    (order, ends)
}
