//! Parquet files. Columns keep their types.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::ingest::source::config::SourceEntry;
use crate::ingest::source::header::{Rename, places};
use crate::ingest::source::kind::SourceKind;
use crate::ingest::source::reader::{FileFormat, Files, Paths, Reader, Sink, file_name};

/// Parquet files.
#[derive(Clone, Debug)]
pub(crate) struct ParquetSource {
    pub(crate) paths: Paths,
}

impl SourceKind for ParquetSource {
    fn from_entry(entry: &SourceEntry, base: &Path) -> Result<Self, String> {
        Ok(Self { paths: entry.paths(base, "parquet")? })
    }

    fn paths(&self) -> Option<&Paths> {
        Some(&self.paths)
    }

    fn paths_mut(&mut self) -> Option<&mut Paths> {
        Some(&mut self.paths)
    }

    fn open(&self, _rename: &Rename, read_before: &[PathBuf]) -> anyhow::Result<Box<dyn Reader>> {
        Ok(Box::new(open(self.paths.files()?)?.past(read_before)))
    }

    fn copy(&self) -> Box<dyn SourceKind> {
        Box::new(self.clone())
    }
}

struct Parquet;

fn open(files: Vec<PathBuf>) -> anyhow::Result<Files<Parquet>> {
    let first = files.first().context("no file")?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(first)?).with_context(|| file_name(first))?;
    // The mapping sees one type of text, however it is stored.
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
        let found: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        let order = places(columns, &found)?;
        for (field, place) in columns.fields().iter().zip(&order) {
            let kind = builder.schema().fields().get(*place).map(|found| plain(found.data_type()));
            if kind.as_ref() != Some(field.data_type()) {
                let kind = kind.unwrap_or(DataType::Null);
                bail!(
                    "its column '{}' is {kind}, and {} in the first file. Give it a source of its own, and cast it in the mapping",
                    field.name(),
                    field.data_type()
                );
            }
        }
        let mut row = 1_u64;
        for batch in builder.build()? {
            let batch = batch?;
            // Each column gets one type, however its texts are stored.
            let values = columns.fields().iter().zip(&order).map(|(field, place)| {
                let column = batch.columns().get(*place).context("a column is not there")?;
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
