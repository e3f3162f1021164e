//! The records and figures of a question: sources, joins, derivations by unit, measures.

use super::column_name::qualified;
use super::expression::{Predicate, Scalar};

/// Rows → Cells: records, group keys, and figures in each cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The records.
    pub rows: Rows,
    /// GROUP BY, in the order of the result's columns.
    pub keys: Vec<Scalar>,
    /// The counts and sums of each cell, in the order of the result's columns.
    pub figures: Vec<Figure>,
}

/// Where records come from: a source, others that are joined to it, and a condition on the joined rows.
///
/// A column is named `tN.column`, where N is the place of its source; over one dataset alone it has its bare name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rows {
    /// The source at place 0.
    pub first: Source,
    /// The sources at places 1, 2, …
    pub joins: Vec<Join>,
    /// WHERE.
    pub filter: Option<Predicate>,
}

/// One of the tables that rows are joined from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The records of a dataset that meet a condition over its bare columns.
    Dataset {
        /// The dataset's name.
        name: String,
        /// Which of its records; `None`: all.
        filter: Option<Predicate>,
    },
    /// One row for each unit.
    PerUnit(Box<PerUnit>),
}

/// A source joined to those before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Join {
    /// Which rows come out.
    pub kind: JoinKind,
    /// The table that is joined.
    pub source: Source,
    /// A column of the sources before it, and a bare column of the source: equal, and never NULL.
    pub on: Vec<(String, String)>,
}

/// How a source is joined to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinKind {
    /// Each pair of rows that match.
    Inner,
    /// The same, and rows before it without a match, with NULL beside them.
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
    /// The records of the units.
    pub rows: Rows,
    /// The column that names the unit.
    pub unit: String,
    /// Dimensions that rows are told apart by besides.
    pub keys: Vec<String>,
    /// The counts, sums and extremes of each unit: `d0`, `d1`, …
    pub values: Vec<Figure>,
}

/// One figure in each cell: a measure over the rows that meet a condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Figure {
    /// The measure that is counted or added up.
    pub measure: Measure,
    /// FILTER; `None`: over every row.
    pub condition: Option<Predicate>,
}

/// A count, sum or extreme over rows.
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

impl JoinKind {
    /// Every kind, for decoders and tests.
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

    /// The name of a source's column here.
    #[must_use]
    pub fn name(&self, source: usize, column: &str) -> String {
        if self.dataset().is_some() { column.to_owned() } else { qualified(source, column) }
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
