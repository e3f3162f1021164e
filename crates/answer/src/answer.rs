//! A result with its statement.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Field, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::util::display::array_value_to_string;
use loda_proto::v1::Statement;

use crate::reason::{NAME, is_reason};

/// The metadata key of a field. Its value `1` says that a NULL in the column is a withheld value.
pub const PROTECTED: &str = "loda.protected";
/// The metadata key of a schema. Its value is the statement, as JSON.
pub const STATEMENT: &str = "loda.statement";

/// The bytes that end an Arrow IPC stream.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// A result and its statement.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The columns; the last is the [reason](crate::reason).
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// The boroughs that answered, the number of withheld values, and the units that the figures count.
    pub statement: Statement,
    /// The SHA-256 of what was fetched, in hexadecimal: the length of the statement in eight bytes, the statement, the rows.
    /// The coordinator's log names it. Empty if this was not fetched.
    pub sha256: String,
}

impl Answer {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The position of the reason column, or `None` if the last column is another one.
    pub fn reason_column(&self) -> Option<usize> {
        let last = self.schema.fields().len().checked_sub(1)?;
        let field = self.schema.fields().get(last)?;
        // An older coordinator gives the column no metadata.
        (is_reason(field) || field.name() == NAME).then_some(last)
    }
}

/// Whether a NULL in this column is a withheld value.
pub fn is_protected(field: &Field) -> bool {
    field.metadata().get(PROTECTED).is_some_and(|value| value == "1")
}

/// The text of the reason column in one row. `None` where it is NULL, empty or out of range.
pub fn reason_at(batch: &RecordBatch, column: Option<usize>, row: usize) -> Option<String> {
    let array = batch.columns().get(column?)?;
    if row >= array.len() || array.is_null(row) {
        return None;
    }
    array_value_to_string(array, row).ok().filter(|text| !text.is_empty())
}

/// The reason why bytes are not an answer.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// The bytes do not have the end of a stream. Arrow's reader would take an early end for the end, and a result must
    /// never lose rows silently.
    #[error("the result was cut short")]
    Short,
    /// The bytes are not a well-formed Arrow IPC stream.
    #[error("the result is not a well-formed Arrow stream: {0}")]
    Arrow(#[from] ArrowError),
}

impl Answer {
    /// Reads the answer from an Arrow IPC stream.
    ///
    /// # Errors
    /// [`Malformed`], if the stream was cut short or is not a well-formed one.
    pub fn read(ipc: &[u8], statement: Statement) -> Result<Self, Malformed> {
        if !ipc.ends_with(&END_OF_STREAM) {
            return Err(Malformed::Short);
        }
        let reader = StreamReader::try_new(ipc, None)?;
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { schema, batches, statement, sha256: String::new() })
    }

    /// At most `rows` rows from row `offset` on, with the whole statement.
    #[must_use]
    pub fn page(&self, offset: usize, rows: usize) -> Self {
        let (mut skip, mut left) = (offset, rows);
        let mut batches = Vec::new();
        for batch in &self.batches {
            let from = skip.min(batch.num_rows());
            let take = left.min(batch.num_rows() - from);
            (skip, left) = (skip - from, left - take);
            if take > 0 {
                batches.push(batch.slice(from, take));
            }
        }
        Self { schema: self.schema.clone(), batches, statement: self.statement.clone(), sha256: self.sha256.clone() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use arrow::ipc::writer::StreamWriter;

    use super::*;
    use crate::sample::sample;

    fn bytes(answer: &Answer) -> Vec<u8> {
        let mut writer = StreamWriter::try_new(Vec::new(), &answer.schema).unwrap();
        answer.batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.into_inner().unwrap()
    }

    #[test]
    fn an_answer_is_read_back() {
        let sent = sample([None, Some("c"), None, None]);
        let got = Answer::read(&bytes(&sent), sent.statement.clone()).unwrap();
        assert_eq!(got.batches, sent.batches);
        assert_eq!(got.reason_column(), Some(3));
        assert!(is_protected(got.schema.field(1)) && !is_protected(got.schema.field(2)));
    }

    #[test]
    fn half_an_answer_is_none() {
        let whole = bytes(&sample([None; 4]));
        for ipc in [&whole[..whole.len() / 2], &whole[..whole.len() - 8], b"nonsense", b""] {
            assert!(Answer::read(ipc, Statement::default()).is_err());
        }
    }

    #[test]
    fn pages_are_the_whole() {
        let mut answer = sample([None, Some("c"), None, None]);
        answer.batches.push(answer.batches[0].clone());
        for size in 1..10 {
            let pages: Vec<Answer> = (0..8).step_by(size).map(|offset| answer.page(offset, size)).collect();
            assert_eq!(pages.iter().map(Answer::rows).sum::<usize>(), 8);
            assert!(pages.iter().all(|page| page.rows() <= size));
            let last = pages.last().unwrap().batches.last().unwrap();
            assert_eq!(last.slice(last.num_rows() - 1, 1), answer.batches[1].slice(3, 1));
        }
        assert_eq!(answer.page(8, 5).rows() + answer.page(usize::MAX, 5).rows(), 0);
    }
}
