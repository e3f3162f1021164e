//! An answer as Arrow or Parquet, with its statement inside. A file on its own still tells how much was withheld and
//! which boroughs did not answer.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::answer::{Answer, STATEMENT};
use crate::json::statement_json;

/// An Arrow IPC stream. The statement is in the schema's metadata as `loda.statement`.
///
/// # Errors
/// A type cannot be written.
pub fn arrow(answer: &Answer) -> Result<Vec<u8>, ArrowError> {
    let schema = with_statement(answer);
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    for batch in &answer.batches {
        writer.write(&RecordBatch::try_new(schema.clone(), batch.columns().to_vec())?)?;
    }
    writer.into_inner()
}

/// A Parquet file. The statement is in the file's metadata as `loda.statement`.
///
/// # Errors
/// A type cannot be written.
pub fn parquet(answer: &Answer) -> Result<Vec<u8>, ParquetError> {
    let statement = statement_json(&answer.statement).to_string();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(vec![KeyValue::new(STATEMENT.to_owned(), statement)]))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), answer.schema.clone(), Some(properties))?;
    for batch in &answer.batches {
        writer.write(batch)?;
    }
    writer.into_inner()
}

fn with_statement(answer: &Answer) -> SchemaRef {
    let mut schema = answer.schema.as_ref().clone();
    schema.metadata.insert(STATEMENT.into(), statement_json(&answer.statement).to_string());
    Arc::new(schema)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use arrow::ipc::reader::StreamReader;

    use super::*;
    use crate::answer::{is_protected, reason_at};
    use crate::sample::sample;

    #[test]
    fn arrow_keeps_nulls_reasons_and_the_statement() {
        let bytes = arrow(&sample([None, Some("c"), None, None])).unwrap();
        let mut reader = StreamReader::try_new(bytes.as_slice(), None).unwrap();
        let schema = reader.schema();
        assert!(schema.metadata()[STATEMENT].contains("\"complete\":true"));
        assert!(is_protected(schema.field(1)));
        let batch = reader.next().unwrap().unwrap();
        assert_eq!(batch.column(1).null_count(), 2);
        assert_eq!(reason_at(&batch, Some(3), 1).as_deref(), Some("c"));
    }

    #[test]
    fn parquet_is_a_parquet_file() {
        let bytes = parquet(&sample([None; 4])).unwrap();
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
        assert!(String::from_utf8_lossy(&bytes).contains(STATEMENT));
    }
}
