//! Statistical disclosure control: pure functions over Arrow batches.
//!
//! [`disclose`] takes the *(cell, unit) stage* of a question, that is one or more rows for each
//! group, protected unit and combination of conditions, and gives the table that may leave the node.
//! It holds no state, reads no clock and knows nothing of the asker, so that the answer depends on
//! the set of records alone. Its result is [`Released`], which only this crate can make: a node can
//! put a type bound on its outgoing messages and the compiler keeps raw rows at home.
//!
//! | method | modules beside `methods` | figures |
//! |---|---|---|
//! | `public` | `exact` | exact, for data already published |
//! | `threshold` | `atoms`, `dominance` | exact or withheld, for data that is not about people |
//! | `cell-key` | `table`, `ptable`, `noise` | closed tables of people: perturbed counts (Office for National Statistics), sums with keyed noise |
//! | `unprotected` | `exact` | exact; only with the feature `unprotected`, for tests |
//!
//! ```text
//! batches ─ stage::read ─► cells ─ one method's release ─► rows ─ output::build ─► Released<RecordBatch>
//! ```
//!
//! What this crate does not do: decide which method a dataset has, or combine methods. One dataset
//! has one method for an epoch; a mixture of exact and perturbed answers can be differenced.

mod atoms;
mod cell;
mod consequences;
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
mod total;
mod units;

use arrow::array::RecordBatch;

pub use consequences::{Consequence, consequences};
pub use error::DisclosureError;
#[cfg(feature = "unprotected")]
pub use methods::Unprotected;
pub use methods::{CellKey, Method, Public, Statistics, Threshold};
pub use noise::NoiseKey;
pub use ptable::{PTable, PTableError, Summary, TableParameters, default_table, pcv};
pub use released::Released;
pub use spec::{DomainSpec, FigureKind, FigureSpec, MAX_CONDITIONS, MeasureSpec, Moment, PossibleMasks, TableSpec};

/// Applies one method of disclosure control to the (cell, unit) stage of a question.
///
/// `batches` hold, in this order, the columns
///
/// 1. the group keys, with the types of `spec.keys`, or coded as a dictionary of them with `Int32` keys;
/// 2. for each domain: unit id `UInt64`, without nulls;
/// 3. mask `UInt16`: bit i is set where condition i holds;
/// 4. rows `Int64`, at least 1: how many records the row stands for;
/// 5. for each measure: sum `Decimal128(38, scale)`, null exactly where the next is 0, and the number
///    of non-null values `Int64`, between 0 and `rows`.
///
/// The same (cell, units, mask) may come many times, in any batch and any order; the result does not
/// change.
///
/// The result has the keys, then one nullable column for each figure: `Int64` for rows and units,
/// `Decimal128(38, scale)` for sums. Null means withheld (under `public` and `unprotected`: an SQL
/// NULL, the sum of nothing). Rows are sorted by key in Arrow's row order with nulls first, so that
/// their order says nothing about the data. Cells without a released figure are absent.
///
/// # Errors
/// [`DisclosureError`] where the specification contradicts itself or the method, where a batch does
/// not have the columns above, or where a figure overflows. The
/// error never contains a value of the data. An error after reading began may depend on the data: the
/// node must send one code for all of them.
pub fn disclose(
    spec: &TableSpec,
    batches: &[RecordBatch],
    method: &dyn Method,
) -> Result<Released<RecordBatch>, DisclosureError> {
    spec.check()?;
    method.check()?;
    let codec = keys::KeyCodec::new(&spec.keys)?;
    let cells = stage::Stage::read(spec, batches)?;
    let rows = method.release(spec, &codec, &cells)?;
    output::build(spec, &codec, &rows).map(Released::new)
}
