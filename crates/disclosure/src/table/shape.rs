//! The shape of a closed table: columns, units, measures and functionals, and the codes of its cells.

use std::fmt;

use arrow::array::ArrayRef;

/// A record's value in a column: the number of its class from [`CLASSES`] on, or one of the special numbers below that.
pub type Code = u32;

/// The unit is not in the column's dataset.
pub const ABSENT: Code = 0;
/// The unit is not in the dataset through which the column is reached.
pub const UNREACHED: Code = 1;
/// The class NULL.
pub const NULL: Code = 2;
/// The first class of a column's dictionary.
pub const CLASSES: Code = 3;

/// The metadata key of a column that lists its classes.
pub const CODES: &str = "loda.codes";
/// The end of each class in that list.
pub const CODE_END: char = '\u{1f}';

/// The largest number of columns of a table. Each subset of the columns is a table too.
pub const MAX_COLUMNS: usize = 8;

/// The id that means "no unit".
pub const NOBODY: u64 = u64::MAX;

/// The shape of a closed table. It follows from contracts and question only, except for the epochs.
#[derive(Clone, Debug)]
pub struct TableShape {
    /// The row domain.
    pub domain: Labelled,
    /// The columns K, at most [`MAX_COLUMNS`].
    pub columns: Vec<ColumnShape>,
    /// The units that are counted and protected. The table counts the first unit or its rows.
    pub units: Vec<UnitShape>,
    /// The measures.
    pub measures: Vec<MeasureShape>,
    /// The figures, in the order of the result.
    pub functionals: Vec<FunctionalShape>,
    /// The least perturbed number of units, for each kind of unit that a cell needs.
    pub threshold: u32,
    /// Whether each record is one unit of the first kind.
    pub register: bool,
    /// For the rows of a dataset, the presence in it.
    pub whole: Option<Labelled>,
    /// The largest number of rows of a first unit that count in a cell.
    pub max_rows: u64,
    /// For each dataset, the epoch and the hash of its pinned data, in words.
    pub epochs: Vec<String>,
    /// The period column, if rows come by period.
    pub period: Option<PeriodShape>,
}

/// The period column of a row domain. Every table has it: each cell belongs to one period, and its noise is drawn for this period
/// only.
#[derive(Clone, Debug)]
pub struct PeriodShape {
    /// The column's place in K.
    pub column: usize,
    /// For each class, in words: the period, the hash of its rows, and whether they are restated. It replaces the dataset's epoch.
    pub epochs: Vec<String>,
}

/// A name in the keys of cells, and the datasets that it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labelled {
    /// The name.
    pub label: String,
    /// The datasets, as places in [`TableShape::epochs`].
    pub datasets: Vec<usize>,
}

/// A column of K.
#[derive(Clone, Debug)]
pub struct ColumnShape {
    /// The column's name in the keys of cells.
    pub value: Labelled,
    /// The presence in the column's dataset. Units outside the dataset have no other property here.
    pub presence: Labelled,
    /// The presence in the dataset through which the column is reached.
    pub through: Option<Labelled>,
    /// Whether the column is the presence itself.
    pub is_presence: bool,
    /// A further unit, by place: a cell with a value of this column needs enough of these units too.
    pub unit: Option<usize>,
    /// The classes, by number.
    pub classes: ArrayRef,
    /// The classes in words, for the keys of cells.
    pub words: Vec<String>,
    /// Whether the classes are the borough's own published list. The list goes along with the answer, because a reader who adds up
    /// cells has to know all possible classes.
    pub listed: bool,
}

/// A kind of unit.
#[derive(Clone, Debug)]
pub struct UnitShape {
    /// The kind's name in the keys of cells.
    pub label: String,
}

/// A measure with its bounds. Noise is scaled by half the width of the bounds.
#[derive(Clone, Debug)]
pub struct MeasureShape {
    /// The measure's name in the keys of cells.
    pub value: Labelled,
    /// The presence in the measure's dataset. Units outside the dataset have no value.
    pub presence: Labelled,
    /// The number of decimal places.
    pub scale: i8,
    /// The lower bound, in scaled units.
    pub lower: i128,
    /// The upper bound, in scaled units.
    pub upper: i128,
    /// Whether a record may have no value.
    pub nullable: bool,
}

/// A figure of the table. Its numbers are places of units and measures in the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionalShape {
    /// The number of units of a kind.
    Units(usize),
    /// The number of rows.
    Rows,
    /// The number of records with a value of a measure.
    Present(usize),
    /// The sum of a measure.
    Sum(usize),
    /// The sum of a measure's squares.
    Square(usize),
    /// The sum of the products of two measures.
    Product(usize, usize),
}

impl ColumnShape {
    /// Whether a unit with this code is in a dataset of the column: its own, or the one through which it is reached.
    pub(crate) fn holds(&self, code: Code) -> bool {
        code == NULL || code >= CLASSES || (code == ABSENT && self.through.is_some())
    }
}

impl MeasureShape {
    /// The middle of the bounds, and the largest distance of a value from it, in scaled units; `None` on overflow.
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

/// Whether a code is a class or NULL.
pub(crate) fn is_value(code: Code) -> bool {
    code == NULL || code >= CLASSES
}

/// The elements of `all` whose bit is set in `subset`.
pub(crate) fn there<T>(subset: u32, all: &[T]) -> Vec<&T> {
    all.iter().enumerate().filter(|(place, _)| subset >> place & 1 == 1).map(|(_, of)| of).collect()
}
