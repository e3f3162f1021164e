//! Scalars and conditions over one row, under SQL's three-valued logic.
//!
//! The two types hold each other (a CASE has conditions, a comparison has scalars), so they share a file.

use std::collections::BTreeSet;

use loda_contract::{ColumnType, Grain, Value};

use super::operators::{Arithmetic, Comparison, DatePart};

/// A value computed from one row's dimensions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scalar {
    /// A column by its name in the question.
    Column(String),
    /// A value and its type; NULL has a type too.
    Literal(Value, ColumnType),
    /// The first day of the grain that a date is in.
    DateTrunc(Grain, Box<Self>),
    /// A part of a date.
    DatePart(DatePart, Box<Self>),
    /// The text in capitals.
    Upper(Box<Self>),
    /// The text in small letters.
    Lower(Box<Self>),
    /// An integer and a literal, to band: `age / 10 * 10`.
    Arithmetic(Arithmetic, Box<Self>, i64),
    /// The first of the operands that is not NULL.
    Coalesce(Vec<Self>),
    /// The first branch whose predicate is true; NULL without `otherwise`.
    Case {
        /// WHEN and THEN, in order.
        branches: Vec<(Predicate, Self)>,
        /// ELSE.
        otherwise: Option<Box<Self>>,
    },
}

/// A condition on one row, under SQL's three-valued logic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Predicate {
    /// TRUE, FALSE, or unknown.
    Constant(Option<bool>),
    /// A boolean dimension by itself.
    Truth(Scalar),
    /// Two scalars of one type; unknown where either is NULL.
    Compare {
        /// In normal form the side that reads a column.
        left: Scalar,
        /// How they compare.
        op: Comparison,
        /// In normal form a literal, or the column with the greater name.
        right: Scalar,
    },
    /// Whether the value is one of a list.
    In {
        /// The value.
        of: Scalar,
        /// The list, each literal with its type.
        values: Vec<(Value, ColumnType)>,
    },
    /// Never unknown.
    IsNull(Scalar),
    /// Unknown where the condition is.
    Not(Box<Self>),
    /// True without operands.
    And(Vec<Self>),
    /// False without operands.
    Or(Vec<Self>),
}

impl Scalar {
    /// The columns that the scalar reads.
    pub fn columns(&self, into: &mut BTreeSet<String>) {
        match self {
            Self::Column(name) => {
                into.insert(name.clone());
            }
            Self::Literal(..) => {}
            Self::DateTrunc(_, of)
            | Self::DatePart(_, of)
            | Self::Upper(of)
            | Self::Lower(of)
            | Self::Arithmetic(_, of, _) => of.columns(into),
            Self::Coalesce(operands) => operands.iter().for_each(|o| o.columns(into)),
            Self::Case { branches, otherwise } => {
                for (when, then) in branches {
                    when.columns(into);
                    then.columns(into);
                }
                if let Some(otherwise) = otherwise {
                    otherwise.columns(into);
                }
            }
        }
    }
}

impl Predicate {
    /// The columns that the predicate reads.
    pub fn columns(&self, into: &mut BTreeSet<String>) {
        match self {
            Self::Constant(_) => {}
            Self::Truth(of) | Self::IsNull(of) | Self::In { of, .. } => of.columns(into),
            Self::Compare { left, right, .. } => {
                left.columns(into);
                right.columns(into);
            }
            Self::Not(of) => of.columns(into),
            Self::And(operands) | Self::Or(operands) => operands.iter().for_each(|o| o.columns(into)),
        }
    }

    /// Both conditions, where either may be absent.
    #[must_use]
    pub fn both(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(Self::And(vec![a, b])),
            (a, b) => a.or(b),
        }
    }
}
