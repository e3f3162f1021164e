//! The way of a question's (cell, unit) stage through one method.

use arrow::array::RecordBatch;

use crate::error::DisclosureError;
use crate::keys::KeyCodec;
use crate::methods::Method;
use crate::output;
use crate::released::Released;
use crate::spec::TableSpec;
use crate::stage::Stage;

/// Applies one method of disclosure control to the (cell, unit) stage of a question.
///
/// `batches` hold, in this order, the columns
///
/// 1. the group keys, with the types of `spec.keys`, or coded as a dictionary of them with `Int32` keys;
/// 2. for each domain: unit id `UInt64`, without nulls;
/// 3. mask `UInt16`: bit i is set if condition i holds;
/// 4. rows `Int64`, at least 1: the number of records that the row stands for;
/// 5. for each measure: sum `Decimal128(38, scale)`, null exactly if the next column is 0, and the number of non-null values
///    `Int64`, between 0 and `rows`.
///
/// The same (cell, units, mask) may occur many times, in any batch and any order, without an effect on the result.
///
/// The result has the keys, then one nullable column for each figure: `Int64` for rows and units, `Decimal128(38, scale)` for
/// sums. Null means withheld. Under `public` and `unprotected` it is an SQL NULL, the sum of nothing. Rows are sorted by key in
/// Arrow's row order with nulls first, so that their order reveals nothing about the data. Cells without a released figure are
/// absent.
///
/// # Errors
/// [`DisclosureError`] if the specification contradicts itself or the method, if a batch does not have the columns above, or if
/// a figure overflows. The error never contains a value of the data. An error after reading began may depend on the data: the
/// node must send one code for all of them.
pub fn disclose(
    spec: &TableSpec,
    batches: &[RecordBatch],
    method: &dyn Method,
) -> Result<Released<RecordBatch>, DisclosureError> {
    spec.check()?;
    method.check()?;
    let codec = KeyCodec::new(&spec.keys)?;
    let cells = Stage::read(spec, batches)?;
    let rows = method.release(spec, &codec, &cells)?;
    output::build(spec, &codec, &rows).map(Released::new)
}
