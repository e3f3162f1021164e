//! Closed tables: the method `cell-key` for data about people.
//!
//! A node answers a table for its columns K and for every subset of K. Each cell has noise of its own, drawn from the
//! node's secret and from what the cell *is*: functional, row domain, columns, classes, and the epoch with the hash of the
//! data that are pinned for it. Who asks, how it is worded and which figures stand beside it play no part. Source: the Office
//! for National Statistics' cell-key perturbation, with keys of cells instead of records, because a key that follows from the
//! set of records redraws only the cells that changed, and so tells which those are.
//!
//! ```text
//! records (codes by column) ─ statistics ─► CellStatistics by cell ─ release ─► Released<RecordBatch>
//! ```
//!
//! | column of the result | type |
//! |---|---|
//! | for each of K: `k0`, `k1`, … | the column's; NULL where the state is not 0, and for the class NULL |
//! | for each of K: `s0`, `s1`, … | `Int8`: NULL, the table is without it; 0 a class; 1 not in its dataset; 2 not reached |
//! | of a column whose classes are the borough's own, the field's metadata `loda.codes`: the published list of them | text |
//! | for each functional: `f0`, `f1`, … | `Int64` for counts, `Decimal128(38, scale)` for sums |

mod release;
mod statistics;

use std::fmt;

use arrow::array::ArrayRef;

pub use release::{part_of, release_table};
pub use statistics::{CellStatistics, Grouped, Records, statistics};
pub(crate) use statistics::{is_value, there};

/// What a record has of a column: its class's number from [`CLASSES`] on, or one of the numbers below that.
pub type Code = u32;

/// The unit is not in the column's dataset.
pub const ABSENT: Code = 0;
/// The unit is not in the dataset through which the column is reached.
pub const UNREACHED: Code = 1;
/// The class NULL.
pub const NULL: Code = 2;
/// The first class of a column's dictionary.
pub const CLASSES: Code = 3;

/// The metadata of a column that has its classes, and what stands between two of them.
pub const CODES: &str = "loda.codes";
pub const CODE_END: char = '\u{1f}';

/// Columns of a table at most: each subset is a table.
pub const MAX_COLUMNS: usize = 8;

/// Stands for no unit.
pub const NOBODY: u64 = u64::MAX;

/// A table as disclosure control knows it. It follows from contracts and question alone, epochs aside.
#[derive(Clone, Debug)]
pub struct TableShape {
    /// The row domain.
    pub domain: Labelled,
    pub columns: Vec<ColumnShape>,
    /// The units that are counted and protected; the first is the one that is counted, or whose rows are.
    pub units: Vec<UnitShape>,
    pub measures: Vec<MeasureShape>,
    pub functionals: Vec<FunctionalShape>,
    /// The least perturbed number of units, of each kind that a cell needs enough of.
    pub threshold: u32,
    /// Whether each record is a unit: the first.
    pub register: bool,
    /// Of the rows of a dataset: presence in it.
    pub whole: Option<Labelled>,
    /// How many rows of the first unit count at most in a cell.
    pub max_rows: u64,
    /// Of each dataset the epoch and the hash of what is pinned for it, in words.
    pub epochs: Vec<String>,
    /// Of rows that come by period.
    pub period: Option<PeriodShape>,
}

/// The column that every table of a row domain has: a cell is of one period, and drawn in it alone.
#[derive(Clone, Debug)]
pub struct PeriodShape {
    /// The column's place in K.
    pub column: usize,
    /// By class, in words: the period, the hash of its rows, and whether they are restated. It stands for the dataset's epoch.
    pub epochs: Vec<String>,
}

/// A name in the keys of cells, and the datasets that it is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labelled {
    pub label: String,
    /// Places in [`TableShape::epochs`].
    pub datasets: Vec<usize>,
}

/// A column of K.
#[derive(Clone, Debug)]
pub struct ColumnShape {
    pub value: Labelled,
    /// Presence in its dataset: of who is not in it, all that there is to tell.
    pub presence: Labelled,
    /// Presence in the dataset through which it is reached.
    pub through: Option<Labelled>,
    /// Whether it is presence itself.
    pub is_presence: bool,
    /// The unit, beside the first, of which a cell with a value of it needs enough.
    pub unit: Option<usize>,
    /// Its classes, by number.
    pub classes: ArrayRef,
    /// Its classes in words, for the keys of cells.
    pub words: Vec<String>,
    /// Whether the classes are a published list of the borough's own, which goes along with the answer: who adds cells up has
    /// to know which there could be.
    pub listed: bool,
}

#[derive(Clone, Debug)]
pub struct UnitShape {
    pub label: String,
}

/// A measure with its bounds in scaled units; noise is scaled by half their width.
#[derive(Clone, Debug)]
pub struct MeasureShape {
    pub value: Labelled,
    /// Presence in its dataset: who is not in it has none.
    pub presence: Labelled,
    pub scale: i8,
    pub lower: i128,
    pub upper: i128,
    /// Whether some record has none.
    pub nullable: bool,
}

/// A figure of the table; places are those of units and measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionalShape {
    Units(usize),
    Rows,
    Present(usize),
    Sum(usize),
    Square(usize),
    Product(usize, usize),
}

impl ColumnShape {
    /// Whether a unit with this code is in a dataset of the column: its own, or the one that it is reached through.
    pub(crate) fn holds(&self, code: Code) -> bool {
        code == NULL || code >= CLASSES || (code == ABSENT && self.through.is_some())
    }
}

impl MeasureShape {
    /// The middle of the bounds, and how far a value can be from it.
    pub(crate) fn about(&self) -> Option<(i128, i128)> {
        let width = self.upper.checked_sub(self.lower)?;
        let half = width.checked_add(1)?.checked_div(2)?;
        Some((self.lower.checked_add(width.checked_div(2)?)?, half))
    }
}

impl fmt::Display for Labelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}
