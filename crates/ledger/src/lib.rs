//! The query log, behind one trait.
//!
//! Without a log entry there is no answer: a party appends an entry before it runs a query and before it releases a result.
//! If the append fails, the query fails. [`SignedLines`] is today's [`Log`]: it writes each entry as one signed JSON line that
//! names the hash of the previous line. [`PublishedTree`] makes a Merkle tree of the lines, in files.
//!
//! ```text
//! entry ─► Log::append ─► signed_log ─► log.jsonl (one signed line an entry), log.head (number of entries, last hash)
//! other party's head ─► other_logs ─► Doubt, or a mark in the next entry
//! words ─► payload ─► payloads.db (entries hold commitments)
//! log.jsonl ─► tree::published: log/checkpoint, log/tile/… for anybody's tools
//! other party's checkpoint ─► tree::witness ─► cosignature, or a refusal
//! ```

#![deny(missing_docs)]

pub mod audit;
mod check;
mod entry;
mod event;
mod head_file;
mod hourly;
mod index;
mod log;
mod other_logs;
pub mod payload;
mod quota;
mod search;
mod seen;
mod sha256;
mod signed_log;
mod spool;
pub mod tree;

pub use check::verify_lines;
pub use entry::{Entry, fragment_id};
pub use event::{Asked, Change, End, Erased, Event, EventKind, FailReason, Opened, Refused, Span};
pub use hourly::Hourly;
pub use log::{Log, LogError};
pub use other_logs::{Judged, OtherLogs};
pub use quota::RefusalQuota;
pub use search::{ReadEntry, Search, SignedEntry, search};
pub use seen::{Doubt, Head, Mark, Seen, of_key, shows};
pub use sha256::{sha256_hex, sha256_hex_of};
pub use signed_log::SignedLines;
pub use spool::Spool;
pub use tree::published::{
    CHECKPOINT, CONFIRMED, COORDINATOR, Included, PublishedTree, checkpoint_key, coordinator_key,
};
pub use tree::witness::{Offered, Unconfirmed, Witness, witness_key, witness_keys};
