//! Closed tables: the method `cell-key` for data about people.
//!
//! A node answers a table for its columns K and for every subset of K. Each cell has noise of its own. The noise is drawn from
//! the node's secret and from the cell's identity: functional, row domain, columns, classes, and the epoch with the hash of the
//! data that are pinned for it. The draw does not depend on the asker, the wording or the other figures of the question.
//!
//! Source: the Office for National Statistics' cell-key perturbation, with keys of cells instead of records. A key that follows
//! from the set of records redraws only the cells that changed, and so reveals which cells those are.
//!
//! ```text
//! records (codes by column) ─ statistics ─► CellStatistics by cell ─ release ─► Released<RecordBatch>
//! ```
//!
//! | column of the result | type |
//! |---|---|
//! | for each of K: `k0`, `k1`, … | the column's; NULL if the state is not 0, and for the class NULL |
//! | for each of K: `s0`, `s1`, … | `Int8`: NULL, the table is without the column; 0 a class; 1 not in its dataset; 2 not reached |
//! | for a column with the borough's own classes, the field's metadata `loda.codes`: their published list | text |
//! | for each functional: `f0`, `f1`, … | `Int64` for counts, `Decimal128(38, scale)` for sums |

mod release;
mod shape;
mod statistics;

pub use release::{part_of, release_table};
pub use shape::{
    ABSENT, CLASSES, CODE_END, CODES, Code, ColumnShape, FunctionalShape, Labelled, MAX_COLUMNS, MeasureShape, NOBODY,
    NULL, PeriodShape, TableShape, UNREACHED, UnitShape,
};
pub(crate) use shape::{is_value, there};
pub use statistics::{CellStatistics, Grouped, Records, statistics};
