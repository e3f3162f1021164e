//! The shape of a question, before any rule has been applied.

use std::collections::BTreeSet;

use loda_contract::{ColumnType, Grain, Value};

/// Rows → Cells: records, group keys, and figures in each cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub rows: Rows,
    pub keys: Vec<Scalar>,
    pub figures: Vec<Figure>,
}

/// Where records come from: a source, others that are joined to it, and a condition on what results.
///
/// A column is named `tN.column`, where N is the place of its source; over one dataset alone it has its bare name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rows {
    pub first: Source,
    pub joins: Vec<Join>,
    pub filter: Option<Predicate>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The records of a dataset that meet a condition over its bare columns.
    Dataset {
        name: String,
        filter: Option<Predicate>,
    },
    PerUnit(Box<PerUnit>),
}

/// A source joined to those before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Join {
    pub kind: JoinKind,
    pub source: Source,
    /// A column of what stands before, and a bare column of the source: equal, and never NULL.
    pub on: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinKind {
    Inner,
    Left,
    /// Rows before it that have a match.
    Semi,
    /// Rows before it that have none.
    Anti,
}

/// Rows → Units: one row for each unit (and group). Its columns are the unit's and the keys' bare names, and
/// `d0`, `d1`, … for the values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PerUnit {
    pub rows: Rows,
    /// The column that names the unit.
    pub unit: String,
    /// Dimensions that rows are told apart by besides.
    pub keys: Vec<String>,
    pub values: Vec<Figure>,
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
    /// The sum of squares, as a part of variances.
    Square(String),
    /// The sum of products of a declared pair, as a part of covariances.
    Product(String, String),
    /// MIN(column): per unit alone.
    Least(String),
    /// MAX(column): per unit alone.
    Greatest(String),
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
    /// An integer and a literal, to band: `age / 10 * 10`.
    Arithmetic(Arithmetic, Box<Self>, i64),
    /// The first of the operands that is not NULL.
    Coalesce(Vec<Self>),
    /// The first branch whose predicate is true; NULL without `otherwise`.
    Case {
        branches: Vec<(Predicate, Self)>,
        otherwise: Option<Box<Self>>,
    },
}

/// What an integer dimension may be computed with; never modulo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    /// Towards zero, as SQL divides integers.
    Divide,
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

impl Arithmetic {
    pub const ALL: [Self; 4] = [Self::Add, Self::Subtract, Self::Multiply, Self::Divide];

    /// The operator as SQL writes it.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        }
    }

    /// The operator as DataFusion's encoding names it.
    pub(crate) const fn wire(self) -> &'static str {
        match self {
            Self::Add => "Plus",
            Self::Subtract => "Minus",
            Self::Multiply => "Multiply",
            Self::Divide => "Divide",
        }
    }

    pub(crate) const fn apply(self, value: i64, literal: i64) -> Option<i64> {
        match self {
            Self::Add => value.checked_add(literal),
            Self::Subtract => value.checked_sub(literal),
            Self::Multiply => value.checked_mul(literal),
            Self::Divide => value.checked_div(literal),
        }
    }
}

impl JoinKind {
    pub const ALL: [Self; 4] = [Self::Inner, Self::Left, Self::Semi, Self::Anti];

    /// Whether columns of the joined source can be read afterwards.
    #[must_use]
    pub const fn shows(self) -> bool {
        matches!(self, Self::Inner | Self::Left)
    }
}

impl Rows {
    /// The records of one dataset.
    #[must_use]
    pub fn of(name: impl Into<String>, filter: Option<Predicate>) -> Self {
        Self { first: Source::Dataset { name: name.into(), filter: None }, joins: Vec::new(), filter }
    }

    /// The dataset's name, where these are the records of one dataset: columns then have their bare names.
    #[must_use]
    pub fn dataset(&self) -> Option<&str> {
        match &self.first {
            Source::Dataset { name, .. } if self.joins.is_empty() => Some(name),
            _ => None,
        }
    }

    /// Each source with how it is joined; the first with `None`.
    pub fn sources(&self) -> impl Iterator<Item = (Option<&Join>, &Source)> {
        std::iter::once((None, &self.first)).chain(self.joins.iter().map(|j| (Some(j), &j.source)))
    }

    /// What a source's column is called here.
    #[must_use]
    pub fn name(&self, source: usize, column: &str) -> String {
        if self.dataset().is_some() { column.to_owned() } else { format!("t{source}.{column}") }
    }

    /// Every dataset that is read, in order, at every level.
    pub fn datasets(&self, into: &mut Vec<String>) {
        for (_, source) in self.sources() {
            match source {
                Source::Dataset { name, .. } if !into.contains(name) => into.push(name.clone()),
                Source::Dataset { .. } => {}
                Source::PerUnit(per_unit) => per_unit.rows.datasets(into),
            }
        }
    }

    /// The same rows with every condition changed, at every level.
    #[must_use]
    pub fn map_predicates(self, f: &dyn Fn(Predicate) -> Predicate) -> Self {
        Self {
            first: self.first.map_predicates(f),
            joins: self.joins.into_iter().map(|j| Join { source: j.source.map_predicates(f), ..j }).collect(),
            filter: self.filter.map(f),
        }
    }
}

impl Source {
    fn map_predicates(self, f: &dyn Fn(Predicate) -> Predicate) -> Self {
        match self {
            Self::Dataset { name, filter } => Self::Dataset { name, filter: filter.map(f) },
            Self::PerUnit(per_unit) => {
                let PerUnit { rows, unit, keys, values } = *per_unit;
                let values =
                    values.into_iter().map(|v| Figure { measure: v.measure, condition: v.condition.map(f) }).collect();
                Self::PerUnit(Box::new(PerUnit { rows: rows.map_predicates(f), unit, keys, values }))
            }
        }
    }
}

/// The column's name without its source.
#[must_use]
pub fn bare_name(column: &str) -> &str {
    column.split_once('.').map_or(column, |(_, bare)| bare)
}

impl Measure {
    /// The columns that the measure reads.
    #[must_use]
    pub fn columns(&self) -> Vec<&String> {
        match self {
            Self::Rows => Vec::new(),
            Self::Product(a, b) => vec![a, b],
            Self::Units(name)
            | Self::Present(name)
            | Self::Sum(name)
            | Self::Square(name)
            | Self::Least(name)
            | Self::Greatest(name) => vec![name],
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
