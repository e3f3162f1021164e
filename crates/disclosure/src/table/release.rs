//! From statistics to the released table: the cells that the method releases, as a batch.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Int8Array, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::compute::{filter, take};
use arrow::datatypes::{DataType, Field, Schema};

use super::shape::{ABSENT, CLASSES, CODE_END, CODES, Code, FunctionalShape, NULL, TableShape, UNREACHED, there};
use super::statistics::Grouped;
use crate::error::DisclosureError;
use crate::methods::Method;
use crate::released::Released;

/// The largest magnitude that 38 decimal digits can hold.
const MAX_DECIMAL: u128 = 10_u128.pow(38) - 1;

/// Protects the cells of a table about people, and builds the result.
///
/// # Errors
/// If the shape contradicts itself or the method, or a figure overflows. The error never contains a value of the data.
pub fn release_table(
    shape: &TableShape,
    cells: &Grouped,
    method: &dyn Method,
) -> Result<Released<RecordBatch>, DisclosureError> {
    let mut rows: Vec<Row> = Vec::new();
    for (subset, cells) in cells {
        for (codes, statistics) in cells {
            if shape.register && !there(*subset, &shape.columns).iter().zip(codes).any(|(of, code)| of.holds(*code)) {
                // No dataset of the table holds the cell's units.
                continue;
            }
            let figures = method.release_cell(shape, *subset, codes, statistics)?;
            if let Some(figures) = figures {
                rows.push(Row { subset: *subset, codes, figures });
            }
        }
    }
    batch(shape, &rows).map(Released::new)
}

/// The part of a released table with some of its columns and figures. `width` is the number of columns of the whole table. The
/// part is, to the byte, the table that would be released on its own under the same threshold. Its rows are the whole table's
/// rows without the other columns.
///
/// # Errors
/// If there are no such columns or figures.
pub fn part_of(
    table: &Released<RecordBatch>,
    width: usize,
    columns: &[usize],
    figures: &[usize],
) -> Result<Released<RecordBatch>, DisclosureError> {
    let batch = table.get();
    let absent = || DisclosureError::Spec("no such column of a released table");
    let at = |place: usize| batch.columns().get(place).ok_or_else(absent);
    let state =
        |column: usize| column.checked_mul(2).and_then(|place| place.checked_add(1)).ok_or(DisclosureError::Overflow);
    let mut kept = vec![true; batch.num_rows()];
    for other in (0..width).filter(|column| !columns.contains(column)) {
        let states = at(state(other)?)?;
        kept.iter_mut().enumerate().for_each(|(row, kept)| *kept &= states.is_null(row));
    }
    let kept = BooleanArray::from(kept);
    let schema = batch.schema();
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    let mut take = |name: String, place: usize| {
        let field = schema.fields().get(place).ok_or_else(absent)?;
        fields.push(field.as_ref().clone().with_name(name));
        arrays.push(filter(at(place)?.as_ref(), &kept)?);
        Ok::<(), DisclosureError>(())
    };
    for (place, column) in columns.iter().enumerate() {
        let of_state = state(*column)?;
        take(format!("k{place}"), of_state.saturating_sub(1))?;
        take(format!("s{place}"), of_state)?;
    }
    for (place, figure) in figures.iter().enumerate() {
        take(format!("f{place}"), width.saturating_mul(2).saturating_add(*figure))?;
    }
    let options = RecordBatchOptions::new().with_row_count(Some(kept.true_count()));
    Ok(Released::new(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?))
}

struct Row<'a> {
    subset: u32,
    codes: &'a [Code],
    figures: Vec<Option<i128>>,
}

fn batch(shape: &TableShape, rows: &[Row<'_>]) -> Result<RecordBatch, DisclosureError> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (place, column) in shape.columns.iter().enumerate() {
        // The code of each row; `None`: the row's table is without this column.
        let codes: Vec<Option<Code>> = rows
            .iter()
            .map(|row| {
                let before = row.subset & ((1_u32 << place) - 1);
                let position = usize::try_from(before.count_ones()).unwrap_or(usize::MAX);
                (row.subset >> place & 1 == 1).then(|| row.codes.get(position).copied().unwrap_or(NULL))
            })
            .collect();
        let class = |code: &Option<Code>| code.and_then(|code| code.checked_sub(CLASSES));
        let values = take(column.classes.as_ref(), &codes.iter().map(class).collect::<UInt32Array>(), None)?;
        let state = |code: &Option<Code>| {
            code.map(|code| match code {
                ABSENT => 1_i8,
                UNREACHED => 2,
                _ => 0,
            })
        };
        let field = Field::new(format!("k{place}"), values.data_type().clone(), true);
        fields.push(match column.listed {
            true => field.with_metadata([(CODES.to_owned(), ended(&column.words))].into()),
            false => field,
        });
        arrays.push(values);
        fields.push(Field::new(format!("s{place}"), DataType::Int8, true));
        arrays.push(Arc::new(codes.iter().map(state).collect::<Int8Array>()));
    }
    for (place, functional) in shape.functionals.iter().enumerate() {
        let values = rows.iter().map(|row| row.figures.get(place).copied().flatten());
        let array = match scale(shape, *functional)? {
            None => counts(values)?,
            Some(scale) => sums(values, scale)?,
        };
        fields.push(Field::new(format!("f{place}"), array.data_type().clone(), true));
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?)
}

/// Each class, followed by [`CODE_END`].
fn ended(words: &[String]) -> String {
    words.iter().flat_map(|word| word.chars().chain([CODE_END])).collect()
}

/// The decimals of a sum; `None`: a count.
fn scale(shape: &TableShape, functional: FunctionalShape) -> Result<Option<i8>, DisclosureError> {
    let of = |place: usize| shape.measures.get(place).map(|m| m.scale).ok_or(DisclosureError::Spec("no such measure"));
    Ok(match functional {
        FunctionalShape::Units(_) | FunctionalShape::Rows | FunctionalShape::Present(_) => None,
        FunctionalShape::Sum(measure) => Some(of(measure)?),
        FunctionalShape::Square(measure) => Some(of(measure)?.saturating_mul(2)),
        FunctionalShape::Product(a, b) => Some(of(a)?.saturating_add(of(b)?)),
    })
}

fn counts(values: impl Iterator<Item = Option<i128>>) -> Result<ArrayRef, DisclosureError> {
    let values = values.map(|value| value.map(i64::try_from).transpose().map_err(|_| DisclosureError::Overflow));
    Ok(Arc::new(values.collect::<Result<Int64Array, _>>()?))
}

fn sums(values: impl Iterator<Item = Option<i128>>, scale: i8) -> Result<ArrayRef, DisclosureError> {
    let values = values.map(|value| match value {
        Some(value) if value.unsigned_abs() > MAX_DECIMAL => Err(DisclosureError::Overflow),
        value => Ok(value),
    });
    let array = values.collect::<Result<Decimal128Array, _>>()?;
    Ok(Arc::new(array.with_data_type(DataType::Decimal128(38, scale))))
}
