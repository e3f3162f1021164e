//! A result with its statement.

use std::io::Cursor;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Field, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::util::display::array_value_to_string;
use loda_proto::v1::{ResultChunk, Statement};

use crate::error::ClientError;

/// A field's metadata key; the value `1` says that a NULL there is a withheld value.
pub const PROTECTED: &str = "loda.protected";
/// The name of the last column: why the row's NULLs are NULL.
pub const REASON: &str = "reason";

/// The most that a client reads into memory, in bytes.
const LIMIT: usize = 1 << 30;
/// What closes an Arrow IPC stream.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// A result and what it says of itself.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The columns; the last is [`REASON`].
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// Who answered, what was withheld and what the figures count.
    pub statement: Statement,
}

impl Answer {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The position of the reason column, if the last column is one.
    pub fn reason_column(&self) -> Option<usize> {
        let last = self.schema.fields().len().checked_sub(1)?;
        let field = self.schema.fields().get(last)?;
        (field.name() == REASON).then_some(last)
    }
}

/// Whether a NULL in this column is a withheld value.
pub fn is_protected(field: &Field) -> bool {
    field.metadata().get(PROTECTED).is_some_and(|value| value == "1")
}

/// The text of a row of the reason column; `None` where it is NULL.
pub(crate) fn reason_at(batch: &RecordBatch, column: Option<usize>, row: usize) -> Option<String> {
    let array = batch.columns().get(column?)?;
    if row >= array.len() || array.is_null(row) {
        return None;
    }
    array_value_to_string(array, row).ok().filter(|text| !text.is_empty())
}

/// Collects the chunks of a Fetch.
#[derive(Default)]
pub(crate) struct Chunks {
    statement: Option<Statement>,
    ipc: Vec<u8>,
}

impl Chunks {
    pub(crate) fn add(&mut self, chunk: ResultChunk) -> Result<(), ClientError> {
        if self.ipc.len().saturating_add(chunk.arrow_ipc.len()) > LIMIT {
            return Err(ClientError::Transport("the result is larger than 1 GiB; ask for fewer cells".into()));
        }
        self.statement = self.statement.take().or(chunk.statement);
        self.ipc.extend_from_slice(&chunk.arrow_ipc);
        Ok(())
    }

    /// The whole answer. One without a statement is refused: it could be partial and not say so.
    pub(crate) fn finish(self) -> Result<Answer, ClientError> {
        let Some(statement) = self.statement else {
            return Err(ClientError::Transport("the coordinator sent a result without its statement".into()));
        };
        // The reader takes an early end for the end; a result must never be silently smaller.
        if !self.ipc.ends_with(&END_OF_STREAM) {
            return Err(ClientError::Transport("the result was cut short".into()));
        }
        let malformed = |error| ClientError::transport("the result is not a well-formed Arrow stream", &error);
        let reader = StreamReader::try_new(Cursor::new(self.ipc), None).map_err(malformed)?;
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(malformed)?;
        Ok(Answer { schema, batches, statement })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Schema};
    use arrow::ipc::writer::StreamWriter;

    use super::*;

    /// outcome, people (protected), share, reason.
    pub(crate) fn sample(reasons: [Option<&str>; 4]) -> Answer {
        let protected = HashMap::from([(PROTECTED.to_owned(), "1".to_owned())]);
        let schema = Arc::new(Schema::new(vec![
            Field::new("outcome", DataType::Utf8, true),
            Field::new("people", DataType::Int64, true).with_metadata(protected),
            Field::new("share", DataType::Float64, true),
            Field::new(REASON, DataType::Utf8, true),
        ]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![Some("Arrest"), Some("=1+1"), None, Some("a,\"b\"")])),
            Arc::new(Int64Array::from(vec![Some(1_234_567), None, None, Some(-12)])),
            Arc::new(Float64Array::from(vec![Some(0.25), Some(1.0 / 3.0), None, Some(12_345.5)])),
            Arc::new(StringArray::from(reasons.to_vec())),
        ];
        let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
        Answer { schema, batches: vec![batch], statement: Statement { complete: true, ..Default::default() } }
    }

    fn bytes(answer: &Answer) -> Vec<u8> {
        let mut writer = StreamWriter::try_new(Vec::new(), &answer.schema).unwrap();
        answer.batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.into_inner().unwrap()
    }

    #[test]
    fn chunks_make_one_answer() {
        let sent = sample([None, Some("c"), None, None]);
        let mut chunks = Chunks::default();
        for (number, piece) in bytes(&sent).chunks(100).enumerate() {
            let statement = (number == 0).then(|| sent.statement.clone());
            chunks.add(ResultChunk { statement, arrow_ipc: piece.to_vec() }).unwrap();
        }
        let got = chunks.finish().unwrap();
        assert_eq!(got.batches, sent.batches);
        assert_eq!(got.reason_column(), Some(3));
        assert!(is_protected(got.schema.field(1)) && !is_protected(got.schema.field(2)));
    }

    #[test]
    fn half_an_answer_is_none() {
        let sent = sample([None; 4]);
        let whole = bytes(&sent);
        for (statement, ipc) in [
            (None, whole.clone()),
            (Some(Statement::default()), whole[..whole.len() / 2].to_vec()),
            (Some(Statement::default()), whole[..whole.len() - 8].to_vec()),
            (Some(Statement::default()), b"nonsense".to_vec()),
            (Some(Statement::default()), Vec::new()),
        ] {
            let mut chunks = Chunks::default();
            chunks.add(ResultChunk { statement, arrow_ipc: ipc }).unwrap();
            assert!(matches!(chunks.finish(), Err(ClientError::Transport(_))));
        }
    }
}
