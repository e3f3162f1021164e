//! Which cells there can be, from contracts and from the classes that a borough lists.
//!
//! *Attack: an empty cell told from a withheld one.* Released cells alone do not say which is which. Cells that no unit can
//! be in (a month outside its quarter; in a dataset and not in it) follow from contracts and lists of classes, and are the
//! only ones that count as empty.

use std::collections::BTreeSet;

use loda_contract::Value;

use super::{Classes, ColumnRef, State, TableColumn};

/// Cells that are looked at one by one at most.
const POSSIBLE: usize = 500_000;

/// The state and class of a cell in each column.
pub(super) type Cell = Vec<(State, Value)>;

/// Every cell that there can be. `None`: too many, or a borough does not say which classes it has.
///
/// `found`: for each column classes that the contract does not know and that are there: of rows that disagree.
pub(super) fn possible(
    columns: &[TableColumn],
    lists: &[Option<&Vec<Value>>],
    found: &[BTreeSet<(State, Value)>],
) -> Option<Vec<Cell>> {
    let by_period = columns.iter().zip(lists).find(|(column, _)| follows(columns, column).is_some());
    let closed = by_period.and_then(|(column, list)| Some((column, (*list)?)));
    let all = columns.iter().enumerate().zip(lists).map(|((place, column), list)| {
        if follows(columns, column).is_some() {
            return Some(vec![(State::Value, Value::Null)]);
        }
        if let Some((period, closed)) = closed.filter(|(period, _)| period.within(column).is_some()) {
            let mut of_column = choices(column)?;
            of_column.retain(|(_, value)| closed.contains(&period.period_of(value)));
            return Some(of_column);
        }
        let listed = |list: &&Vec<Value>| {
            let listed = list.iter().map(|value| (State::Value, value.clone()));
            listed.chain(beside(column)).collect()
        };
        let mut of_column = list.as_ref().map(listed).or_else(|| choices(column))?;
        let more = found.get(place).into_iter().flatten().filter(|class| !of_column.contains(class));
        let more: Vec<(State, Value)> = more.cloned().collect();
        of_column.extend(more);
        Some(of_column)
    });
    let all: Vec<Cell> = all.collect::<Option<_>>()?;
    let total = all.iter().try_fold(1_usize, |n, of| n.checked_mul(of.len()));
    if total.is_none_or(|n| n > POSSIBLE) {
        return None;
    }
    let mut cells: Vec<Cell> = vec![Vec::new()];
    for of in &all {
        cells = cells
            .iter()
            .flat_map(|cell| of.iter().map(|value| [cell.as_slice(), std::slice::from_ref(value)].concat()))
            .collect();
    }
    cells.iter_mut().for_each(|cell| set_period(columns, cell));
    cells.retain(|cell| consistent(columns, cell) && somebody(columns, cell));
    Some(cells)
}

/// The place of the column whose value says which period a cell is in: a month is in one quarter.
pub(super) fn follows(columns: &[TableColumn], period: &TableColumn) -> Option<usize> {
    columns.iter().position(|other| period.within(other).is_some())
}

/// Gives a cell the period that another column of it says.
pub(super) fn set_period(columns: &[TableColumn], cell: &mut [(State, Value)]) {
    for (place, column) in columns.iter().enumerate() {
        let said = follows(columns, column).and_then(|other| cell.get(other)).map(|(_, value)| column.period_of(value));
        cell.get_mut(place).zip(said).into_iter().for_each(|(slot, period)| slot.1 = period);
    }
}

/// Whether a dataset holds the units of a cell: others are nobody.
pub(super) fn somebody(columns: &[TableColumn], cell: &[(State, Value)]) -> bool {
    columns.is_empty()
        || columns.iter().zip(cell).any(|(column, (state, _))| {
            let through = column.reference.via.is_some() && *state == State::Absent;
            !column.optional || *state == State::Value || through
        })
}

/// Whether a unit can be in and out of datasets as a cell says.
pub(super) fn consistent(columns: &[TableColumn], cell: &[(State, Value)]) -> bool {
    let of_period = columns.iter().zip(cell).find(|(column, _)| column.period.is_some());
    if let Some((period, (_, value))) = of_period
        && !columns.iter().zip(cell).all(|(other, (_, of_other))| period.agrees(value, other, of_other))
    {
        return false;
    }
    let mut known: Vec<(ColumnRef, bool)> = Vec::new();
    let mut holds = |presence: ColumnRef, present: bool| match known.iter().find(|(of, _)| *of == presence) {
        Some((_, before)) => *before == present,
        None => {
            known.push((presence, present));
            true
        }
    };
    for (column, (state, _)) in columns.iter().zip(cell) {
        if !column.optional {
            continue;
        }
        let fits = match &column.reference.via {
            None => holds(column.reference.presence(), *state == State::Value),
            Some((through, _)) => {
                let through = ColumnRef { via: None, dataset: through.clone(), column: None };
                holds(through, *state != State::Unreached)
                    && (*state == State::Unreached || holds(column.reference.presence(), *state == State::Value))
            }
        };
        if !fits {
            return false;
        }
    }
    true
}

/// The states and classes of a row in a column; `None`: only a borough knows them.
pub(super) fn choices(column: &TableColumn) -> Option<Vec<(State, Value)>> {
    let mut choices: Vec<(State, Value)> = match &column.classes {
        Classes::Presence => vec![(State::Value, Value::Boolean(true))],
        Classes::Coded(values) => values.iter().map(|value| (State::Value, value.clone())).collect(),
        Classes::Open => return None,
    };
    choices.extend(beside(column));
    Some(choices)
}

/// The states and classes of a row in a column beside its listed values.
pub(super) fn beside(column: &TableColumn) -> Vec<(State, Value)> {
    let mut beside = Vec::new();
    if column.nullable && !column.differs {
        beside.push((State::Value, Value::Null));
    }
    if column.optional {
        beside.push((State::Absent, Value::Null));
    }
    if column.reference.via.is_some() {
        beside.push((State::Unreached, Value::Null));
    }
    beside
}
