//! The columns and units of a question's rows, over all its sources: where the rules look names up.
//!
//! A scope lists every unit domain that contributes to rows, and how many rows of a unit count at most. Methods of
//! protection count these units and no others; [`crate::rules`] says how joins and subqueries change the list.

use std::sync::Arc;

use crate::draft::column_name::{ColumnName, qualified};
use loda_contract::{Column, ColumnType, Contract, Protection, Unit};

/// Finds a contract by its dataset's name.
pub type Contracts<'a> = &'a dyn Fn(&str) -> Option<Arc<Contract>>;

/// Stands for a bound that nothing declares.
pub(crate) const UNBOUNDED: i128 = i64::MAX as i128;

/// The columns that rows have, and the unit domains that contribute to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    /// Every dataset that is read, at every level, each once.
    pub datasets: Vec<Arc<Contract>>,
    /// The columns that conditions, keys and figures may name, under their names here.
    pub columns: Vec<Column>,
    /// The units that rows tell of: each is counted and protected.
    pub units: Vec<ScopeUnit>,
    /// The one method for all of its figures.
    pub protection: Protection,
    /// Pairs of measures whose products may be summed.
    pub pairs: Vec<(String, String)>,
    /// How many joins may repeat rows.
    pub(crate) repeats: usize,
    /// A domain that contributes to rows by unit, and that nobody could be protected by there.
    pub(crate) loose: Option<String>,
}

/// A unit domain that contributes.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeUnit {
    /// As the contract has it; `column` is the name here.
    pub unit: Unit,
    /// The place of the source that carries it.
    pub source: usize,
    /// Other columns that are equal to its column by a join.
    pub equal: Vec<String>,
    /// After a left join: which unit stands in this domain for a row without a match, as itself.
    pub stands_in: Option<usize>,
    /// Whether no column names it: it goes along with the one row of another unit.
    pub carried: bool,
    /// The sources in which it has one row, whatever joins repeat: there it says which other units that row is of.
    pub(crate) alone: Vec<usize>,
}

impl ScopeUnit {
    /// A unit that a source at a place carries by a column of its own.
    pub(crate) fn new(unit: Unit, source: usize) -> Self {
        let alone = if unit.max_rows == Some(1) { vec![source] } else { Vec::new() };
        Self { unit, source, equal: Vec::new(), stands_in: None, carried: false, alone }
    }

    /// Whether there is one of another unit for each of this.
    pub(crate) fn says(&self, other: &Self) -> bool {
        let place = |name: &String| ColumnName::of(name).source;
        let mut sources = other.equal.iter().filter_map(place).chain([other.source]);
        self.unit.max_rows == Some(1) || sources.any(|source| self.alone.contains(&source))
    }
}

impl Scope {
    /// The columns and units of one dataset, under their bare names.
    pub(crate) fn of_contract(contract: Arc<Contract>) -> Self {
        let units = contract.units.iter().map(|u| ScopeUnit::new(u.clone(), 0));
        Self {
            columns: contract.columns.clone(),
            units: units.collect(),
            protection: contract.protection,
            pairs: contract.pairs.clone(),
            repeats: 0,
            loose: None,
            datasets: vec![contract],
        }
    }

    /// The same columns under the names that a source among several has.
    pub(crate) fn placed(self, place: usize) -> Self {
        let named = |name: String| qualified(place, &name);
        let columns = self.columns.into_iter().map(|c| Column { name: named(c.name), ..c });
        let units = self.units.into_iter().map(|u| ScopeUnit {
            unit: Unit { column: u.unit.column.map(named), ..u.unit },
            source: place,
            alone: if u.alone.is_empty() { Vec::new() } else { vec![place] },
            ..u
        });
        Self {
            columns: columns.collect(),
            units: units.collect(),
            pairs: self.pairs.into_iter().map(|(a, b)| (named(a), named(b))).collect(),
            ..self
        }
    }

    /// Finds a column by its name here.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The unit that a column names.
    #[must_use]
    pub fn unit_of_column(&self, name: &str) -> Option<&ScopeUnit> {
        self.units.iter().find(|u| u.unit.column.as_deref() == Some(name))
    }

    /// The place of the unit that a column names, also where the column is equal to another that does.
    #[must_use]
    pub fn unit_index(&self, name: &str) -> Option<usize> {
        let names = |u: &ScopeUnit| u.unit.column.as_deref() == Some(name) || u.equal.iter().any(|n| n == name);
        self.units.iter().position(names)
    }

    /// The unit whose rows COUNT(*) and SUM add up: one row each where there is such a domain, otherwise one
    /// with a declared number of rows. Its place, and how many rows of a unit count at most.
    #[must_use]
    pub fn counted(&self) -> Option<(usize, u64)> {
        let bounds = self.units.iter().enumerate().filter(|(_, u)| u.stands_in.is_none());
        let bounds = bounds.filter_map(|(i, u)| Some((i, u.unit.max_rows?)));
        bounds.min_by_key(|(place, rows)| (*rows, *place))
    }

    /// The unit whose values a column holds: one of its own source, with its place and how many rows of it count. Where a
    /// join repeats the values of a unit any number of times, there is none.
    #[must_use]
    pub fn counted_for(&self, column: &str) -> Option<(usize, u64)> {
        let place = |name: &str| ColumnName::of(name).source;
        let of = place(column);
        let own = |u: &ScopeUnit| {
            let here = of.is_none_or(|source| source == u.source);
            here || u.equal.iter().any(|name| place(name) == of)
        };
        let bounds = self.units.iter().enumerate().filter(|(_, u)| own(u) && u.stands_in.is_none());
        let bounds = bounds.filter_map(|(i, u)| Some((i, u.unit.max_rows?)));
        bounds.min_by_key(|(place, rows)| (*rows, *place))
    }

    /// The datasets' names, for logs and people.
    #[must_use]
    pub fn title(&self) -> String {
        self.datasets.iter().map(|c| c.dataset.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// The scale of a column's type: its decimals; 0 for a type without decimals.
#[must_use]
pub fn scale(kind: ColumnType) -> i8 {
    match kind {
        ColumnType::Decimal(scale) => scale,
        _ => 0,
    }
}
