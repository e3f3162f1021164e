//! The shape of a question, before any rule has been applied.

use std::collections::BTreeSet;

use loda_contract::{ColumnType, Grain, Value};

/// Filter, keys and figures over one dataset: Scan → Filter → Cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub dataset: String,
    pub filter: Option<Predicate>,
    pub keys: Vec<Scalar>,
    pub figures: Vec<Figure>,
}

/// One figure in each cell: a measure over the rows that meet a condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Figure {
    pub measure: Measure,
    pub condition: Option<Predicate>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// COUNT(*).
    Rows,
    /// COUNT(DISTINCT column), where the column names a unit.
    Units(String),
    /// COUNT(column) of a measure, as the lower part of a mean.
    Present(String),
    /// SUM(column).
    Sum(String),
}

/// A value computed from one row's dimensions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scalar {
    Column(String),
    Literal(Value, ColumnType),
    DateTrunc(Grain, Box<Self>),
    DatePart(DatePart, Box<Self>),
    Upper(Box<Self>),
    Lower(Box<Self>),
    /// The first of the operands that is not NULL.
    Coalesce(Vec<Self>),
    /// The first branch whose predicate is true; NULL without `otherwise`.
    Case {
        branches: Vec<(Predicate, Self)>,
        otherwise: Option<Box<Self>>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DatePart {
    Year,
    Quarter,
    Month,
}

/// A condition on one row, under SQL's three-valued logic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Predicate {
    /// TRUE, FALSE, or unknown.
    Constant(Option<bool>),
    /// A boolean dimension by itself.
    Truth(Scalar),
    Compare {
        left: Scalar,
        op: Comparison,
        right: Scalar,
    },
    In {
        of: Scalar,
        values: Vec<(Value, ColumnType)>,
    },
    IsNull(Scalar),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Scalar {
    /// The columns that the scalar reads.
    pub fn columns(&self, into: &mut BTreeSet<String>) {
        match self {
            Self::Column(name) => {
                into.insert(name.clone());
            }
            Self::Literal(..) => {}
            Self::DateTrunc(_, of) | Self::DatePart(_, of) | Self::Upper(of) | Self::Lower(of) => of.columns(into),
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

impl Comparison {
    pub const ALL: [Self; 6] =
        [Self::Equal, Self::NotEqual, Self::Less, Self::LessOrEqual, Self::Greater, Self::GreaterOrEqual];

    /// The operator as SQL and DataFusion's encoding of operators in SQL write it.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// The operator that holds exactly when this one, on known values, does not.
    #[must_use]
    pub const fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// The operator with its operands exchanged.
    #[must_use]
    pub const fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }
}

impl DatePart {
    pub const ALL: [Self; 3] = [Self::Year, Self::Quarter, Self::Month];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Quarter => "quarter",
            Self::Month => "month",
        }
    }
}
