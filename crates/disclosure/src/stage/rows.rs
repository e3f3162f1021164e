//! The rows of a stage, in columns.
//!
//! A stage about a borough's residents has a row for each of them, so everything here is stored by column.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Int64Array, PrimitiveArray, RecordBatch,
    UInt16Array, UInt64Array,
};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, UInt16Type, UInt64Type};

use super::units::Units;
use crate::error::DisclosureError;
use crate::spec::TableSpec;

/// Rows in columns. All vectors have one value for each stage row.
#[derive(Default)]
pub(super) struct StageRows {
    pub(super) masks: Vec<u16>,
    /// The number of records that each row stands for.
    pub(super) counts: Vec<i64>,
    /// For each domain, units by number.
    pub(super) units: Vec<Vec<u32>>,
    /// For each measure, (sum, non-null count).
    pub(super) moments: Vec<Vec<(i128, i64)>>,
}

impl StageRows {
    /// Adds the rows of a batch.
    ///
    /// # Errors
    /// If a mask, a count or a unit is out of range.
    pub(super) fn push(
        &mut self,
        spec: &TableSpec,
        columns: &Columns<'_>,
        units: &mut [Units],
    ) -> Result<(), DisclosureError> {
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

    /// The rows in another order.
    pub(super) fn ordered(self, order: &[usize]) -> Self {
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
pub(super) struct Columns<'a> {
    pub(super) keys: Vec<ArrayRef>,
    domains: Vec<&'a UInt64Array>,
    mask: &'a UInt16Array,
    rows: &'a Int64Array,
    measures: Vec<(&'a Decimal128Array, &'a Int64Array)>,
}

impl<'a> Columns<'a> {
    /// # Errors
    /// If the columns are too few or too many, or have another type or a null.
    pub(super) fn of(spec: &TableSpec, batch: &'a RecordBatch) -> Result<Self, DisclosureError> {
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
