//! A stored answer that clients can fetch.

use loda_ledger::sha256_hex_of;
use loda_proto::v1::Statement;
use prost::Message;

/// The content that Fetch sends.
pub(crate) struct QueryResult {
    pub(crate) statement: Statement,
    pub(crate) arrow_ipc: Vec<u8>,
}

impl QueryResult {
    /// The hash of all content that Fetch sends. The statement holds the question's random id, so that nobody can find
    /// figures by trying hashes.
    pub(crate) fn sha256(&self) -> String {
        let statement = self.statement.encode_to_vec();
        let length = (statement.len() as u64).to_be_bytes();
        sha256_hex_of(&[&length, statement.as_slice(), &self.arrow_ipc])
    }
}
