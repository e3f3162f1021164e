//! From released figures to one Arrow batch.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema};

use crate::error::DisclosureError;
use crate::keys::{CellKey, KeyCodec};
use crate::spec::{FigureKind, FigureSpec, TableSpec};

/// The largest magnitude that 38 decimal digits can hold.
const MAX_DECIMAL: u128 = 10_u128.pow(38) - 1;

/// One cell of the result, with one value for each figure of the table. `None`: the value is withheld or NULL.
#[derive(Debug)]
pub struct OutputRow {
    pub(crate) key: CellKey,
    pub(crate) figures: Vec<Option<i128>>,
}

/// Withholds all parts of a derived aggregate if one part is withheld.
pub(crate) fn withhold_together(figures: &[FigureSpec], values: &mut [Option<i128>]) {
    let withheld: Vec<usize> = figures
        .iter()
        .zip(values.iter())
        .filter(|(_, value)| value.is_none())
        .map(|(figure, _)| figure.together)
        .collect();
    for (figure, value) in figures.iter().zip(values) {
        if withheld.contains(&figure.together) {
            *value = None;
        }
    }
}

/// Builds the result. `rows` are in key order.
pub(crate) fn build(spec: &TableSpec, codec: &KeyCodec, rows: &[OutputRow]) -> Result<RecordBatch, DisclosureError> {
    let mut fields: Vec<Field> = spec.keys.iter().map(|key| key.as_ref().clone().with_nullable(true)).collect();
    let mut columns = codec.decode(rows.iter().map(|row| &row.key))?;
    for (index, figure) in spec.figures.iter().enumerate() {
        let values = rows.iter().map(|row| row.figures.get(index).copied().flatten());
        let column = match figure.kind {
            FigureKind::Rows | FigureKind::Units { .. } | FigureKind::Present { .. } => counts(values)?,
            FigureKind::Sum { measure } => {
                let measure = spec.measures.get(measure);
                let measure = measure.ok_or(DisclosureError::Spec("a measure does not exist"))?;
                sums(values, measure.scale)?
            }
        };
        fields.push(Field::new(&figure.name, column.data_type().clone(), true));
        columns.push(column);
    }
    // The row count is explicit, because a table may have neither keys nor figures.
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

fn counts(values: impl Iterator<Item = Option<i128>>) -> Result<ArrayRef, DisclosureError> {
    let array = values
        .map(|value| value.map(i64::try_from).transpose().map_err(|_| DisclosureError::Overflow))
        .collect::<Result<Int64Array, _>>()?;
    Ok(Arc::new(array))
}

fn sums(values: impl Iterator<Item = Option<i128>>, scale: i8) -> Result<ArrayRef, DisclosureError> {
    let array = values
        .map(|value| match value {
            Some(value) if value.unsigned_abs() > MAX_DECIMAL => Err(DisclosureError::Overflow),
            value => Ok(value),
        })
        .collect::<Result<Decimal128Array, _>>()?;
    Ok(Arc::new(array.with_data_type(DataType::Decimal128(38, scale))))
}
