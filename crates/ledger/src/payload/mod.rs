//! The words behind a log's entries: what was asked, and what was released.
//!
//! An entry holds a commitment to each text. The text and the key that opens the commitment are in a store beside the log.
//! So a text can be erased when its time is over, and every proof of the log still verifies.
//!
//! ```text
//! text ─► PayloadStore::keep ─► payloads.db (text, key)      commitment ─► entry ─► log
//! ```

mod commitment;
pub mod record;
mod retention;
mod store;

pub use commitment::{Commitment, Opening};
pub use retention::{Retention, RetentionFault};
pub use store::{PayloadFault, PayloadReader, PayloadStore, RecordClass};
