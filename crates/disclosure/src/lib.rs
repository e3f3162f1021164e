//! Statistical disclosure control: pure functions over Arrow batches.
//!
//! [`disclose()`] takes the *(cell, unit) stage* of a question: one or more rows for each group, protected unit and combination
//! of conditions. It returns the table that may leave the node. It holds no state, reads no clock and knows nothing of the
//! asker, so that the answer depends only on the set of records. Its result is [`Released`], and only this crate can make one.
//! A node can put this type bound on its outgoing messages, so that the compiler keeps raw rows inside.
//!
//! | method | modules beside `methods` | figures |
//! |---|---|---|
//! | `public` | `exact` | exact, for data already published |
//! | `threshold` | `atoms`, `dominance` | exact or withheld, for data that is not about people |
//! | `cell-key` | `table`, `ptable`, `noise` | closed tables of people: perturbed counts (Office for National Statistics), sums with keyed noise |
//! | `unprotected` | `exact` | exact; only with the feature `unprotected`, for tests |
//!
//! ```text
//! batches ─ Stage::read ─► cells ─ one method's release ─► rows ─ output::build ─► Released<RecordBatch>
//! ```
//!
//! This crate does not decide which method a dataset has, and does not combine methods. A dataset has one method for an epoch,
//! because a mixture of exact and perturbed answers can be differenced.

#![deny(missing_docs)]

mod atoms;
mod consequences;
mod disclose;
mod dominance;
mod error;
mod exact;
mod keys;
mod methods;
mod noise;
mod output;
mod ptable;
mod released;
mod spec;
mod stage;
pub mod table;

pub use consequences::{Consequence, consequences};
pub use disclose::disclose;
pub use error::DisclosureError;
#[cfg(feature = "unprotected")]
pub use methods::Unprotected;
pub use methods::{CellKey, Method, Public, Statistics, Threshold};
pub use noise::NoiseKey;
pub use ptable::{PTable, PTableError, Summary, TableParameters, default_table, pcv};
pub use released::Released;
pub use spec::{DomainSpec, FigureKind, FigureSpec, MAX_CONDITIONS, MeasureSpec, Moment, PossibleMasks, TableSpec};
