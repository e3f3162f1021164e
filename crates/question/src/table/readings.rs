//! The value of a name that conditions and keys read, in a cell.
//!
//! A cell has a state and a class for each column of its table. Presence may follow from another column of the same
//! dataset, and a column that nothing depends on may be missing: a reading says once for each name where its value stands.

use std::collections::{BTreeMap, BTreeSet};

use loda_contract::Value;

use super::{ColumnRef, Made, State, TableColumn};

/// Where the value of a name stands in a cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ColumnReading {
    /// The column at this place. `zero`: a unit without rows has 0 of them.
    Column { place: usize, zero: bool },
    /// Presence that the column at this place tells: of its own dataset, or of the one that it is reached through.
    Presence { place: usize, through: bool },
    /// A column that nothing depends on but whether it is there: some value where it is.
    Any { value: Value, presence: Option<Box<Self>>, zero: bool },
    /// NULL.
    Nothing,
}

impl ColumnReading {
    /// The columns that it reads.
    pub(super) fn places(&self) -> Vec<usize> {
        match self {
            Self::Column { place, .. } | Self::Presence { place, .. } => vec![*place],
            Self::Any { presence, .. } => presence.as_ref().map_or_else(Vec::new, |presence| presence.places()),
            Self::Nothing => Vec::new(),
        }
    }
}

/// The readings of names by the columns of a cell. `dropped`: columns that are read by their presence alone.
pub(super) fn readings(
    columns: &[TableColumn],
    dropped: &BTreeMap<ColumnRef, TableColumn>,
    names: &BTreeSet<String>,
) -> BTreeMap<String, ColumnReading> {
    let presence = |wanted: &ColumnRef| {
        let own = columns.iter().position(|c| c.reference.via == wanted.via && c.reference.dataset == wanted.dataset);
        let through = columns.iter().position(|c| {
            wanted.via.is_none() && c.reference.via.as_ref().is_some_and(|(dataset, _)| *dataset == wanted.dataset)
        });
        let own = own.map(|place| ColumnReading::Presence { place, through: false });
        own.or_else(|| through.map(|place| ColumnReading::Presence { place, through: true }))
    };
    let zero = |column: &TableColumn| column.made == (Made::Derived { counts: true });
    let reading = |name: &String| {
        let Some(wanted) = ColumnRef::parse(name) else { return ColumnReading::Nothing };
        if wanted.column.is_none() {
            return presence(&wanted).unwrap_or(ColumnReading::Nothing);
        }
        if let Some(place) = columns.iter().position(|c| c.reference == wanted) {
            return ColumnReading::Column { place, zero: columns.get(place).is_some_and(zero) };
        }
        // A figure that depends on a month by its quarter alone reads the quarter.
        let by_period = |c: &TableColumn| c.reference.dataset == wanted.dataset && named(c, &wanted);
        if let (Some(place), false) = (columns.iter().position(by_period), dropped.contains_key(&wanted)) {
            return ColumnReading::Column { place, zero: false };
        }
        let Some(column) = dropped.get(&wanted) else { return ColumnReading::Nothing };
        let value = column.class(0).unwrap_or_else(|| Value::Text("".into()));
        let presence = presence(&wanted).map(Box::new);
        match (&presence, column.optional) {
            (None, true) => ColumnReading::Nothing,
            _ => ColumnReading::Any { value, presence, zero: zero(column) },
        }
    };
    names.iter().map(|name| (name.clone(), reading(name))).collect()
}

/// Whether a column holds the periods that another says when of.
pub(super) fn named(column: &TableColumn, other: &ColumnRef) -> bool {
    column.period.as_ref().is_some_and(|period| Some(&period.column) == other.column.as_ref())
}

/// The value of a name in a cell.
pub(super) fn value_of(readings: &BTreeMap<String, ColumnReading>, cell: &[(State, Value)], name: &str) -> Value {
    readings.get(name).map_or(Value::Null, |reading| read(reading, cell))
}

fn read(reading: &ColumnReading, cell: &[(State, Value)]) -> Value {
    match reading {
        ColumnReading::Column { place, zero } => match cell.get(*place) {
            Some((State::Value, value)) => value.clone(),
            Some((State::Absent, _)) if *zero => Value::Integer(0),
            _ => Value::Null,
        },
        ColumnReading::Presence { place, through } => {
            let state = cell.get(*place).map(|(state, _)| *state);
            Value::Boolean(match state {
                Some(State::Value) => true,
                Some(State::Absent) => *through,
                Some(State::Unreached) | None => false,
            })
        }
        ColumnReading::Any { value, presence, zero } => match presence.as_ref().map(|presence| read(presence, cell)) {
            None | Some(Value::Boolean(true)) => value.clone(),
            _ if *zero => Value::Integer(0),
            _ => Value::Null,
        },
        ColumnReading::Nothing => Value::Null,
    }
}
