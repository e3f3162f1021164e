//! Reads the (cell, unit) stage: typed columns in, rows by cell out.
//!
//! A stage of a borough's residents has a row for each of them. So everything here is in columns, cells and units are small
//! numbers, and rows are put in the order of their cells once: what a method asks of a cell is then a pass over a few slices.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Int64Array, PrimitiveArray, RecordBatch,
    UInt16Array, UInt64Array,
};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, UInt16Type, UInt64Type};

use crate::cell::Cell;
use crate::error::DisclosureError;
use crate::keys::{CellKey, CellNumbers};
use crate::spec::TableSpec;
use crate::units::{Seen, Units};

/// All cells of a table, in key order.
pub struct Stage {
    rows: Rows,
    pub(crate) units: Vec<Units>,
    pub(crate) seen: RefCell<Seen>,
    /// Of each cell its key, where its rows begin and where they end.
    cells: Vec<(CellKey, usize, usize)>,
}

/// Rows in columns; all vectors have one value a stage row.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) masks: Vec<u16>,
    pub(crate) counts: Vec<i64>,
    /// For each domain, units by number.
    pub(crate) units: Vec<Vec<u32>>,
    /// For each measure, (sum, non-null count).
    pub(crate) moments: Vec<Vec<(i128, i64)>>,
}

impl Stage {
    /// Accumulates all batches.
    ///
    /// # Errors
    /// Wrong columns, a null where none may be, or a count out of range.
    pub(crate) fn read(spec: &TableSpec, batches: &[RecordBatch]) -> Result<Self, DisclosureError> {
        let mut rows = Rows {
            units: vec![Vec::new(); spec.domains.len()],
            moments: vec![Vec::new(); spec.measures.len()],
            ..Rows::default()
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

    pub(crate) fn cells(&self) -> impl Iterator<Item = (&CellKey, Cell<'_>)> {
        self.cells.iter().filter_map(|(key, start, end)| Some((key, Cell::of(self, &self.rows, *start..*end)?)))
    }
}

/// The rows in the order of their cells, and where each cell's rows end.
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
    // Each cell's place moves from its start to its end as its rows are laid down.
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

impl Rows {
    fn push(&mut self, spec: &TableSpec, columns: &Columns<'_>, units: &mut [Units]) -> Result<(), DisclosureError> {
        if columns.mask.values().iter().any(|mask| !spec.mask_is_known(*mask)) {
            return Err(DisclosureError::Stage("a mask has an unknown condition"));
        }
        if columns.rows.values().iter().any(|rows| *rows < 1) {
            return Err(DisclosureError::Stage("a row stands for no record"));
        }
        self.masks.extend_from_slice(columns.mask.values());
        self.counts.extend_from_slice(columns.rows.values());
        for ((ids, known), numbers) in columns.domains.iter().zip(units).zip(&mut self.units) {
            known.number(ids.values(), numbers)?;
        }
        for ((sums, counts), column) in columns.measures.iter().zip(&mut self.moments) {
            for (index, (count, rows)) in counts.values().iter().zip(columns.rows.values()).enumerate() {
                if !(0..=*rows).contains(count) || sums.is_null(index) != (*count == 0) {
                    return Err(DisclosureError::Stage("a sum and its count disagree"));
                }
                column.push((if *count == 0 { 0 } else { sums.value(index) }, *count));
            }
        }
        Ok(())
    }

    fn ordered(self, order: &[usize]) -> Self {
        fn take<T: Copy>(values: &[T], order: &[usize]) -> Vec<T> {
            order.iter().filter_map(|row| values.get(*row).copied()).collect()
        }
        Self {
            masks: take(&self.masks, order),
            counts: take(&self.counts, order),
            units: self.units.iter().map(|units| take(units, order)).collect(),
            moments: self.moments.iter().map(|moments| take(moments, order)).collect(),
        }
    }
}

/// The typed columns of one batch, checked.
struct Columns<'a> {
    keys: Vec<ArrayRef>,
    domains: Vec<&'a UInt64Array>,
    mask: &'a UInt16Array,
    rows: &'a Int64Array,
    measures: Vec<(&'a Decimal128Array, &'a Int64Array)>,
}

impl<'a> Columns<'a> {
    fn of(spec: &TableSpec, batch: &'a RecordBatch) -> Result<Self, DisclosureError> {
        let mut rest = batch.columns().iter();
        let mut keys = Vec::with_capacity(spec.keys.len());
        for _ in &spec.keys {
            let column = next(&mut rest)?;
            keys.push(Arc::clone(column));
        }
        let mut domains = Vec::with_capacity(spec.domains.len());
        for _ in &spec.domains {
            domains.push(complete::<UInt64Type>(next(&mut rest)?)?);
        }
        let mask = complete::<UInt16Type>(next(&mut rest)?)?;
        let rows = complete::<Int64Type>(next(&mut rest)?)?;
        let mut measures = Vec::with_capacity(spec.measures.len());
        for measure in &spec.measures {
            let sums = next(&mut rest)?;
            if sums.data_type() != &DataType::Decimal128(38, measure.scale) {
                return Err(DisclosureError::Stage("a sum has another type"));
            }
            let sums = typed::<Decimal128Type>(sums)?;
            measures.push((sums, complete::<Int64Type>(next(&mut rest)?)?));
        }
        if rest.next().is_some() {
            return Err(DisclosureError::Stage("too many columns"));
        }
        Ok(Self { keys, domains, mask, rows, measures })
    }
}

fn next<'a>(columns: &mut impl Iterator<Item = &'a ArrayRef>) -> Result<&'a ArrayRef, DisclosureError> {
    columns.next().ok_or(DisclosureError::Stage("too few columns"))
}

fn typed<T: ArrowPrimitiveType>(column: &ArrayRef) -> Result<&PrimitiveArray<T>, DisclosureError> {
    column.as_primitive_opt::<T>().ok_or(DisclosureError::Stage("a column has another type"))
}

fn complete<T: ArrowPrimitiveType>(column: &ArrayRef) -> Result<&PrimitiveArray<T>, DisclosureError> {
    let column = typed::<T>(column)?;
    if column.null_count() > 0 {
        return Err(DisclosureError::Stage("a column has a null that may not have one"));
    }
    Ok(column)
}
