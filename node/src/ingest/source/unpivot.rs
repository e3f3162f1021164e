//! Columns that become rows: spreadsheets with a column for each month.

use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::array::{Array, ArrayRef, AsArray, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

/// Every column except those of `keep` becomes a row. Its name is in one column, its value in another.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unpivot {
    pub(crate) keep: Vec<String>,
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Unpivot {
    /// The columns of the result.
    ///
    /// # Errors
    /// A column of `keep` is not there, or another column is not text.
    pub(crate) fn columns(&self, columns: &SchemaRef) -> anyhow::Result<SchemaRef> {
        let mut fields = Vec::new();
        for keep in &self.keep {
            let field = columns.field_with_name(keep).ok();
            fields.push(field.with_context(|| format!("unpivot keeps '{keep}', which is no column of it"))?.clone());
        }
        if columns.fields().len() == fields.len() {
            bail!("unpivot keeps every column: there is none to become rows");
        }
        let typed = |f: &&Arc<Field>| !self.keep.contains(f.name()) && f.data_type() != &DataType::Utf8;
        if let Some(typed) = columns.fields().iter().find(typed) {
            bail!("unpivot: column '{}' is {}, and not text", typed.name(), typed.data_type());
        }
        fields.push(Field::new(&self.name, DataType::Utf8, false));
        fields.push(Field::new(&self.value, DataType::Utf8, true));
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The rows of a batch. The columns after `columns` in `values` are the origin.
    pub(crate) fn rows(&self, columns: &SchemaRef, values: Vec<ArrayRef>) -> anyhow::Result<Vec<ArrayRef>> {
        let wide: Vec<(&str, &StringArray)> = columns
            .fields()
            .iter()
            .zip(&values)
            .filter(|(field, _)| !self.keep.contains(field.name()))
            .map(|(field, values)| Ok((field.name().as_str(), values.as_string_opt::<i32>().context("not text")?)))
            .collect::<anyhow::Result<_>>()?;
        let rows = values.first().map_or(0, |first| first.len());
        let count = u32::try_from(rows).context("a batch is too long")?;
        let places = (0..count).flat_map(|row| std::iter::repeat_n(row, wide.len()));
        let places = UInt32Array::from(places.collect::<Vec<u32>>());
        let mut long = Vec::new();
        for keep in &self.keep {
            let place = columns.index_of(keep)?;
            long.push(take(values.get(place).context("a column is missing")?, &places, None)?);
        }
        let names = (0..rows).flat_map(|_| wide.iter().map(|(name, _)| *name));
        long.push(Arc::new(names.map(Some).collect::<StringArray>()));
        let cells = (0..rows).flat_map(|r| wide.iter().map(move |(_, v)| v.is_valid(r).then(|| v.value(r))));
        long.push(Arc::new(cells.collect::<StringArray>()));
        for origin in values.iter().skip(columns.fields().len()) {
            long.push(take(origin, &places, None)?);
        }
        Ok(long)
    }
}
