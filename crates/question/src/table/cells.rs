//! Released cells of tables → the cells of a question.
//!
//! A figure is the sum of the released cells that satisfy its condition. What is empty and what is withheld look alike: a
//! figure lacks both, and says so.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use loda_contract::Value;

use super::column::Made;
use super::lower::{Figure, Lowered, beside, choices};
use super::{Classes, ColumnRef, Functional, State, TableColumn};

/// One released cell of a table, or of one of fewer of its columns.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRow {
    /// For each column of K what the cell has of it; `None`: the table is without this column.
    pub cell: Vec<Option<(State, Value)>>,
    /// For each functional.
    pub figures: Vec<Option<i128>>,
}

/// What a borough released of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableCells {
    pub rows: Vec<TableRow>,
    /// For each column of K the classes that the borough lists of it; `None` where the contract does.
    pub lists: Vec<Option<Vec<Value>>>,
}

/// A figure of the question in one of its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellFigure {
    /// `None`: all of it is withheld, or there is nothing to add up.
    pub value: Option<i128>,
    /// Whether cells that it would have are not released.
    pub lacks: bool,
}

impl Lowered {
    /// The question's cells from the tables' released ones, in the order of [`Lowered::tables`].
    ///
    /// `dense`: what is absent is withheld, or empty. Otherwise nothing is protected, and what is absent is empty.
    #[must_use]
    pub fn cells(&self, answers: &[TableCells], dense: bool) -> BTreeMap<Vec<Value>, Vec<CellFigure>> {
        let mut cells: BTreeMap<Vec<Value>, Vec<Option<CellFigure>>> = BTreeMap::new();
        for (place, figure) in self.figures.iter().enumerate() {
            let Some(answer) = answers.get(figure.table) else { continue };
            for (key, found) in self.figure(figure, answer, dense) {
                let row = cells.entry(key).or_insert_with(|| vec![None; self.figures.len()]);
                if let Some(slot) = row.get_mut(place) {
                    *slot = Some(found);
                }
            }
        }
        let finished = cells.into_iter().map(|(key, row)| {
            let figures = row.into_iter().zip(&self.figures).map(|(found, figure)| {
                // Of a group that another figure names, this one may have cells that only the borough knows.
                let open = figure.columns.iter().any(|column| column.classes == Classes::Open);
                let mut found = found.unwrap_or(CellFigure { value: None, lacks: dense && open });
                let functional = self.tables.get(figure.table).and_then(|t| t.functionals().get(figure.functional));
                let counts =
                    matches!(functional, Some(Functional::Units(_) | Functional::Rows | Functional::Present(_)));
                // Where nothing can be, there is nothing: no cell is missing.
                if counts && !found.lacks {
                    found.value = found.value.or(Some(0));
                }
                found
            });
            (key, figures.collect())
        });
        finished.collect()
    }

    fn figure(&self, figure: &Figure, answer: &TableCells, dense: bool) -> BTreeMap<Vec<Value>, CellFigure> {
        let mut found: BTreeMap<Vec<Value>, CellFigure> = BTreeMap::new();
        let mut released: HashMap<Vec<(State, Value)>, Option<i128>> = HashMap::new();
        for row in &answer.rows {
            // The cells of exactly the figure's own columns.
            let of_others =
                row.cell.iter().enumerate().any(|(place, value)| value.is_some() != figure.places.contains(&place));
            if of_others {
                continue;
            }
            let cell: Option<Vec<(State, Value)>> =
                figure.places.iter().map(|place| row.cell.get(*place).cloned().flatten()).collect();
            if let Some(cell) = cell {
                released.insert(cell, row.figures.get(figure.functional).copied().flatten());
            }
        }
        let mut take = |cell: &[(State, Value)], value: Option<i128>| {
            let row = |name: &str| value_of(&figure.readings, cell, name);
            if figure.rows.evaluate(&row) != Some(true) {
                return;
            }
            let key: Vec<Value> = figure.keys.iter().map(|key| key.evaluate(&row)).collect();
            let slot = found.entry(key).or_default();
            if figure.counts.evaluate(&row) != Some(true) {
                return;
            }
            match value {
                Some(value) => slot.value = Some(slot.value.unwrap_or(0).saturating_add(value)),
                None => slot.lacks |= dense,
            }
        };
        if !dense {
            for (cell, value) in &released {
                take(cell, *value);
            }
            return found;
        }
        let lists: Vec<Option<&Vec<Value>>> =
            figure.places.iter().map(|place| answer.lists.get(*place).and_then(Option::as_ref)).collect();
        let all = possible(&figure.columns, &lists);
        for cell in all.iter().flatten() {
            take(cell, released.remove(cell).flatten());
        }
        // Rows that disagree are in a class that the contract does not know.
        released.iter().for_each(|(cell, value)| take(cell, *value));
        if all.is_none() {
            found.values_mut().for_each(|figure| figure.lacks = true);
        }
        not_closed(figure, &lists, &mut found);
        found
    }
}

/// A condition that names periods may hold in such as no borough has closed: the figure lacks them.
fn not_closed(figure: &Figure, lists: &[Option<&Vec<Value>>], found: &mut BTreeMap<Vec<Value>, CellFigure>) {
    let of_period = figure.columns.iter().zip(lists).find(|(column, _)| column.period.is_some());
    let Some((column, Some(closed))) = of_period else { return };
    let mut names = BTreeSet::new();
    figure.rows.columns(&mut names);
    figure.counts.columns(&mut names);
    let says_when =
        |name: &String| ColumnRef::parse(name).is_some_and(|of| named(column, &of) || of == column.reference);
    if !names.iter().any(says_when) {
        return;
    }
    let open: Vec<Value> = choices(column)
        .into_iter()
        .flatten()
        .map(|(_, value)| value)
        .filter(|value| closed.last().is_none_or(|last| value > last))
        .collect();
    let open = figure.columns.iter().zip(lists).map(|(of, list)| if of.period.is_some() { Some(&open) } else { *list });
    for cell in possible(&figure.columns, &open.collect::<Vec<_>>()).iter().flatten() {
        let row = |name: &str| value_of(&figure.readings, cell, name);
        if figure.rows.evaluate(&row) != Some(true) || figure.counts.evaluate(&row) != Some(true) {
            continue;
        }
        let key: Vec<Value> = figure.keys.iter().map(|key| key.evaluate(&row)).collect();
        if key.is_empty() {
            found.entry(key).or_default().lacks = true;
        } else if let Some(figure) = found.get_mut(&key) {
            figure.lacks = true;
        }
    }
}

/// Cells that are looked at one by one at most.
const POSSIBLE: usize = 500_000;

/// Every cell that there can be. `None`: too many, or a borough does not say which classes it has.
fn possible(columns: &[TableColumn], lists: &[Option<&Vec<Value>>]) -> Option<Vec<Vec<(State, Value)>>> {
    let by_period = columns.iter().zip(lists).find(|(column, _)| follows(columns, column).is_some());
    let closed = by_period.and_then(|(column, list)| Some((column, (*list)?)));
    let all = columns.iter().zip(lists).map(|(column, list)| {
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
        list.as_ref().map(listed).or_else(|| choices(column))
    });
    let all: Vec<Vec<(State, Value)>> = all.collect::<Option<_>>()?;
    let total = all.iter().try_fold(1_usize, |n, of| n.checked_mul(of.len()));
    if total.is_none_or(|n| n > POSSIBLE) {
        return None;
    }
    let mut cells: Vec<Vec<(State, Value)>> = vec![Vec::new()];
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
fn somebody(columns: &[TableColumn], cell: &[(State, Value)]) -> bool {
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

/// Where the value of a name stands in a cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reading {
    /// The column at this place. `zero`: a unit without rows has 0 of them.
    Column {
        place: usize,
        zero: bool,
    },
    /// Presence that the column at this place tells: of its own dataset, or of the one that it is reached through.
    Presence {
        place: usize,
        through: bool,
    },
    /// A column that nothing depends on but whether it is there: some value where it is.
    Any {
        value: Value,
        presence: Option<Box<Self>>,
        zero: bool,
    },
    Nothing,
}

/// The readings of names by the columns of a cell. `dropped`: columns that are read by their presence alone.
pub(super) fn readings(
    columns: &[TableColumn],
    dropped: &BTreeMap<ColumnRef, TableColumn>,
    names: &BTreeSet<String>,
) -> BTreeMap<String, Reading> {
    let presence = |wanted: &ColumnRef| {
        let own = columns.iter().position(|c| c.reference.via == wanted.via && c.reference.dataset == wanted.dataset);
        let through = columns.iter().position(|c| {
            wanted.via.is_none() && c.reference.via.as_ref().is_some_and(|(dataset, _)| *dataset == wanted.dataset)
        });
        let own = own.map(|place| Reading::Presence { place, through: false });
        own.or_else(|| through.map(|place| Reading::Presence { place, through: true }))
    };
    let zero = |column: &TableColumn| column.made == (Made::Derived { counts: true });
    let reading = |name: &String| {
        let Some(wanted) = ColumnRef::parse(name) else { return Reading::Nothing };
        if wanted.column.is_none() {
            return presence(&wanted).unwrap_or(Reading::Nothing);
        }
        if let Some(place) = columns.iter().position(|c| c.reference == wanted) {
            return Reading::Column { place, zero: columns.get(place).is_some_and(zero) };
        }
        // What depends on a month by its quarter alone reads the quarter.
        let by_period = |c: &TableColumn| c.reference.dataset == wanted.dataset && named(c, &wanted);
        if let (Some(place), false) = (columns.iter().position(by_period), dropped.contains_key(&wanted)) {
            return Reading::Column { place, zero: false };
        }
        let Some(column) = dropped.get(&wanted) else { return Reading::Nothing };
        let value = column.class(0).unwrap_or_else(|| Value::Text(String::new()));
        let presence = presence(&wanted).map(Box::new);
        match (&presence, column.optional) {
            (None, true) => Reading::Nothing,
            _ => Reading::Any { value, presence, zero: zero(column) },
        }
    };
    names.iter().map(|name| (name.clone(), reading(name))).collect()
}

/// Whether a column holds the periods that another says when of.
fn named(column: &TableColumn, other: &ColumnRef) -> bool {
    column.period.as_ref().is_some_and(|period| Some(&period.column) == other.column.as_ref())
}

/// What a cell says of a name.
pub(super) fn value_of(readings: &BTreeMap<String, Reading>, cell: &[(State, Value)], name: &str) -> Value {
    readings.get(name).map_or(Value::Null, |reading| read(reading, cell))
}

fn read(reading: &Reading, cell: &[(State, Value)]) -> Value {
    match reading {
        Reading::Column { place, zero } => match cell.get(*place) {
            Some((State::Value, value)) => value.clone(),
            Some((State::Absent, _)) if *zero => Value::Integer(0),
            _ => Value::Null,
        },
        Reading::Presence { place, through } => {
            let state = cell.get(*place).map(|(state, _)| *state);
            Value::Boolean(match state {
                Some(State::Value) => true,
                Some(State::Absent) => *through,
                Some(State::Unreached) | None => false,
            })
        }
        Reading::Any { value, presence, zero } => match presence.as_ref().map(|presence| read(presence, cell)) {
            None | Some(Value::Boolean(true)) => value.clone(),
            _ if *zero => Value::Integer(0),
            _ => Value::Null,
        },
        Reading::Nothing => Value::Null,
    }
}

impl TableColumn {
    /// The value of a class by its number in the contract's order.
    #[must_use]
    pub fn class(&self, number: usize) -> Option<Value> {
        match &self.classes {
            Classes::Presence => (number == 0).then_some(Value::Boolean(true)),
            Classes::Coded(values) => values.get(number).cloned(),
            Classes::Open => None,
        }
    }
}
