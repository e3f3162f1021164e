//! An answer as it comes, chunk by chunk.

use loda_answer::Answer;
use loda_ledger::sha256_hex_of;
use loda_proto::v1;
use prost::Message;

use crate::error::ClientError;

/// The largest result that a client reads into memory, in bytes.
const LIMIT: usize = 1 << 30;

/// Collects the chunks of a Fetch.
#[derive(Default)]
pub(crate) struct Chunks {
    statement: Option<Vec<u8>>,
    ipc: Vec<u8>,
}

impl Chunks {
    pub(crate) fn add(&mut self, chunk: v1::ResultChunk) -> Result<(), ClientError> {
        if self.ipc.len().saturating_add(chunk.arrow_ipc.len()) > LIMIT {
            return Err(ClientError::Transport("the result is larger than 1 GiB; ask for fewer cells".into()));
        }
        self.statement = self.statement.take().or(chunk.statement);
        self.ipc.extend_from_slice(&chunk.arrow_ipc);
        Ok(())
    }

    /// The whole answer. An answer without a statement is refused, because it could be partial without notice.
    pub(crate) fn finish(self) -> Result<Answer, ClientError> {
        let Some(statement) = self.statement else {
            return Err(ClientError::Transport("the coordinator sent a result without its statement".into()));
        };
        let length = (statement.len() as u64).to_be_bytes();
        let sha256 = sha256_hex_of(&[&length, &statement, &self.ipc]);
        let statement = v1::Statement::decode(statement.as_slice());
        let statement = statement.map_err(|fault| ClientError::transport("the statement cannot be read", &fault))?;
        let answer = Answer::read(&self.ipc, statement).map_err(|fault| ClientError::Transport(fault.to_string()))?;
        Ok(Answer { sha256, ..answer })
    }
}
