//! From statistics to what may leave: the cells that the method releases, as a batch.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int8Array, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema};

use super::{ABSENT, CLASSES, CODE_END, CODES, Code, FunctionalShape, Grouped, NULL, TableShape, UNREACHED, there};
use crate::error::DisclosureError;
use crate::methods::Method;
use crate::released::Released;

/// The largest magnitude that 38 decimal digits can hold.
const MAX_DECIMAL: u128 = 10_u128.pow(38) - 1;

/// Protects the cells of a table about people.
///
/// # Errors
/// Where the shape contradicts itself or the method, or a figure overflows; never with a value of the data.
pub fn release_table(
    shape: &TableShape,
    cells: &Grouped,
    method: &dyn Method,
) -> Result<Released<RecordBatch>, DisclosureError> {
    let mut rows: Vec<Row> = Vec::new();
    for (subset, cells) in cells {
        for (codes, statistics) in cells {
            if shape.register && !there(*subset, &shape.columns).iter().zip(codes).any(|(of, code)| of.holds(*code)) {
                // No dataset of the table holds them.
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

struct Row<'a> {
    subset: u32,
    codes: &'a [Code],
    figures: Vec<Option<i128>>,
}

fn batch(shape: &TableShape, rows: &[Row<'_>]) -> Result<RecordBatch, DisclosureError> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (place, column) in shape.columns.iter().enumerate() {
        // The code of each row; `None`: the table is without this column.
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

/// Each class and its end.
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
