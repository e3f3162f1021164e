//! Parquet: columns keep their types.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{FileFormat, Files, Sink, file_name};

pub(super) struct Parquet;

pub(super) fn open(files: Vec<PathBuf>) -> anyhow::Result<Files<Parquet>> {
    let first = files.first().context("no file")?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(first)?).with_context(|| file_name(first))?;
    // Text is one type for the mapping, however it was stored.
    let fields = builder.schema().fields().iter().map(|f| Field::new(f.name(), plain(f.data_type()), true));
    Ok(Files { columns: Arc::new(Schema::new(fields.collect::<Vec<_>>())), paths: files, format: Parquet })
}

fn plain(kind: &DataType) -> DataType {
    match kind {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, values) => plain(values),
        other => other.clone(),
    }
}

impl FileFormat for Parquet {
    fn read_file(&self, path: &Path, columns: &SchemaRef, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
        sink.file(&file_name(path), "Parquet".to_owned());
        let mut row = 1_u64;
        for batch in builder.build()? {
            let batch = batch?;
            let values = columns.fields().iter().map(|field| {
                let Some(column) = batch.column_by_name(field.name()) else {
                    bail!("it lacks the column '{}' of the first file", field.name());
                };
                Ok(cast(column, field.data_type())?)
            });
            let values = values.collect::<anyhow::Result<Vec<ArrayRef>>>()?;
            let rows = batch.num_rows() as u64;
            sink.batch(row, RecordBatch::try_new(Arc::clone(columns), values)?)?;
            row = row.saturating_add(rows);
        }
        Ok(())
    }
}
