//! The figures of an Aggregate over records, as they were read and before they are a draft.

use crate::draft::{Measure, Predicate, Rows, Scalar};

/// An Aggregate over records of one or more datasets, with projections folded in. `borough` stands in it as a column.
#[derive(Clone, Debug)]
pub struct ReadAggregate {
    /// The records.
    pub rows: Rows,
    /// GROUP BY.
    pub keys: Vec<Scalar>,
    /// In the order of the aggregate's expressions.
    pub figures: Vec<ReadFigure>,
}

/// The figure of one aggregate expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFigure {
    /// A figure of a draft.
    One {
        /// The measure that is counted or added up.
        measure: Measure,
        /// FILTER or CASE; `None`: over every row.
        condition: Option<Predicate>,
        /// Its value where there is nothing to add up.
        reading: FigureReading,
    },
    /// SUM over COUNT of the values that are not NULL.
    Average {
        /// The measure.
        column: String,
        /// FILTER or CASE; `None`: over every row.
        condition: Option<Predicate>,
    },
    /// VAR, STDDEV, COVAR or CORR, from moments.
    Spread {
        /// Which of them.
        spread: Spread,
        /// One measure, or two.
        columns: Vec<String>,
        /// FILTER, and that both measures of a pair are there.
        condition: Option<Predicate>,
    },
    /// A quantile on the measure's declared band edges.
    Quantile {
        /// The measure.
        column: String,
        /// Of 1,000.
        per_mille: u32,
        /// FILTER; `None`: over every row.
        condition: Option<Predicate>,
    },
}

/// A figure that follows from moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// VAR.
    Variance {
        /// Whether it divides by n − 1.
        sample: bool,
    },
    /// STDDEV.
    Deviation {
        /// Whether it divides by n − 1.
        sample: bool,
    },
    /// COVAR.
    Covariance {
        /// Whether it divides by n − 1.
        sample: bool,
    },
    /// CORR.
    Correlation,
}

/// The value that SQL gives a figure where there is nothing to add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureReading {
    /// As it is: COUNT gives 0, SUM gives NULL.
    Plain,
    /// A count written as SUM(CASE … 1 ELSE 0): NULL where there is no record at all.
    SummedOnes,
    /// COUNT(DISTINCT (borough, unit)): a unit counts once in each borough that holds it.
    EachBorough,
    /// A sum written with ELSE 0: 0 where no record meets its condition, NULL where there is no record at all.
    OrZero,
}

impl ReadFigure {
    /// The same of all rows.
    pub(super) fn without_condition(mut self) -> Self {
        match &mut self {
            Self::One { condition, .. }
            | Self::Average { condition, .. }
            | Self::Spread { condition, .. }
            | Self::Quantile { condition, .. } => *condition = None,
        }
        self
    }

    /// The same with every column renamed.
    pub(super) fn renamed(self, name: &dyn Fn(String) -> String) -> Self {
        let all = |c: Option<Predicate>| c.map(|c| c.renamed(name));
        match self {
            Self::One { measure, condition, reading } => {
                Self::One { measure: measure.renamed(name), condition: all(condition), reading }
            }
            Self::Average { column, condition } => Self::Average { column: name(column), condition: all(condition) },
            Self::Spread { spread, columns, condition } => {
                let columns = columns.into_iter().map(name).collect();
                Self::Spread { spread, columns, condition: all(condition) }
            }
            Self::Quantile { column, per_mille, condition } => {
                Self::Quantile { column: name(column), per_mille, condition: all(condition) }
            }
        }
    }
}
