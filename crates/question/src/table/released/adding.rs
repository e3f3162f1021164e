//! The figures of a question in each of its cells, from the released cells that satisfy its conditions.
//!
//! A figure of one cell is its released figure. Several cells are fitted to all that is released of the table
//! ([`super::fit`]), so that withheld ones are estimated.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use loda_contract::Value;

use super::cells::{TableCells, TableRow, total, within};
use super::estimate::{Adding, Fits};
use super::figure::{CellFigure, FoundCells};
use super::known::{Condition, Key, Numbered};
use crate::draft::Predicate;
use crate::table::lower::{Lowered, LoweredFigure};
use crate::table::possible::{Cell, beside, choices, possible};
use crate::table::readings::{ColumnReading, named, value_of};
use crate::table::{ColumnRef, State, TableColumn};

/// The places of the cells that each of the question's cells adds up.
pub(super) type Groups = BTreeMap<Vec<Value>, Vec<usize>>;

/// All cells that there can be of some columns of a table, laid out once for the figures that are of those columns.
pub(super) struct Laid<'a> {
    cells: Vec<(Cell, Option<&'a TableRow>)>,
    /// Whether these are all: otherwise they are those that are released.
    known: bool,
    numbered: Numbered,
    fits: Fits,
}

impl<'a> Laid<'a> {
    /// The cells of a figure's columns in a borough's answer. `dense`: whether all that there can be are wanted.
    pub(super) fn new(figure: &LoweredFigure, answer: &'a TableCells, dense: bool) -> Self {
        let mut released: HashMap<Cell, &TableRow> = HashMap::new();
        for row in &answer.rows {
            if let Some(cell) = within(figure, row, &all_places(figure)) {
                released.insert(cell, row);
            }
        }
        let all = dense.then(|| possible(&figure.columns, &lists(figure, answer), &unknown(figure, answer))).flatten();
        let known = all.is_some();
        let mut cells: Vec<(Cell, Option<&TableRow>)> = Vec::new();
        for cell in all.into_iter().flatten() {
            let row = released.remove(&cell);
            cells.push((cell, row));
        }
        let mut others: Vec<(Cell, Option<&TableRow>)> =
            released.into_iter().map(|(cell, row)| (cell, Some(row))).collect();
        others.sort_by(|a, b| a.0.cmp(&b.0));
        cells.append(&mut others);
        let numbered = Numbered::new(figure.columns.len(), cells.iter().map(|(cell, _)| cell));
        Self { cells, known, numbered, fits: Fits::new() }
    }
}

impl Lowered {
    /// A figure in each of the question's cells, and which cells these are. `dense`: an absent cell is withheld, or empty.
    /// `together`: whether one withheld cell is wanted too.
    pub(super) fn figure(
        &self,
        figure: &LoweredFigure,
        answer: &TableCells,
        laid: &mut Laid,
        dense: bool,
        together: bool,
    ) -> (FoundCells, Groups) {
        let Some(table) = self.tables.get(figure.table) else { return Default::default() };
        let Laid { cells, known, numbered, fits } = laid;
        let groups = groups(figure, cells, numbered);
        let mut found = match known {
            true => Adding::new(table, figure, answer, cells).figures(&groups, together, fits),
            false => groups
                .iter()
                .map(|(key, members)| {
                    let value = total(figure.functional, members.iter().filter_map(|place| cells.get(*place)?.1));
                    (key.clone(), CellFigure { value, lacks: dense, estimate: None })
                })
                .collect(),
        };
        if dense {
            not_closed(figure, &lists(figure, answer), &mut found);
        }
        (found, groups)
    }

    /// For each group that a figure and its whole have in common, the covariance of their errors.
    pub(super) fn with_whole<'g>(
        &self,
        answer: &TableCells,
        part: (&LoweredFigure, &Laid, &'g Groups),
        whole: (&LoweredFigure, &Laid, &Groups),
    ) -> Vec<(&'g Vec<Value>, f64)> {
        let Some(table) = self.tables.get(part.0.table).filter(|_| part.0.table == whole.0.table) else {
            return Vec::new();
        };
        let (keys, groups): (Vec<_>, Vec<_>) = part
            .2
            .iter()
            .filter_map(|(key, members)| Some((key, (members.as_slice(), whole.2.get(key)?.as_slice()))))
            .unzip();
        let found = Adding::new(table, part.0, answer, &part.1.cells).with_whole(
            &Adding::new(table, whole.0, answer, &whole.1.cells),
            &part.1.fits,
            &groups,
        );
        keys.into_iter().zip(found).collect()
    }
}

/// For each column of a figure the classes that the borough lists of it.
fn lists<'a>(figure: &LoweredFigure, answer: &'a TableCells) -> Vec<Option<&'a Vec<Value>>> {
    figure.places.iter().map(|place| answer.lists.get(*place).and_then(Option::as_ref)).collect()
}

/// Whether the classes of one column alone keep every cell out of the question: a ward that is another borough's.
pub(super) fn nobody(figure: &LoweredFigure, answer: &TableCells) -> bool {
    let conjuncts = match &figure.rows {
        Predicate::And(conjuncts) => conjuncts.as_slice(),
        one => std::slice::from_ref(one),
    };
    let lists = lists(figure, answer);
    let holds_nowhere = |conjunct: &Predicate| {
        let mut names = BTreeSet::new();
        conjunct.columns(&mut names);
        let places = names.iter().filter_map(|name| figure.readings.get(name)).flat_map(ColumnReading::places);
        let places: BTreeSet<usize> = places.collect();
        let (Some(place), None) = (places.first(), places.iter().nth(1)) else { return false };
        let Some(column) = figure.columns.get(*place) else { return false };
        let classes = match lists.get(*place).copied().flatten() {
            Some(list) => Some(list.iter().map(|value| (State::Value, value.clone())).chain(beside(column)).collect()),
            None => choices(column),
        };
        let mut cell: Cell = vec![(State::Value, Value::Null); figure.columns.len()];
        let holds = |class: (State, Value)| {
            cell.get_mut(*place).into_iter().for_each(|slot| *slot = class.clone());
            conjunct.evaluate(&|name: &str| value_of(&figure.readings, &cell, name)) == Some(true)
        };
        classes.is_some_and(|classes| !classes.into_iter().chain([(State::Value, Value::Null)]).any(holds))
    };
    // A period that no borough has closed yet is missing, and the figure has to say so.
    figure.columns.iter().all(|column| column.period.is_none()) && conjuncts.iter().any(holds_nowhere)
}

fn all_places(figure: &LoweredFigure) -> Vec<usize> {
    (0..figure.places.len()).collect()
}

/// For each column the classes that were released of it and that the contract does not know.
fn unknown(figure: &LoweredFigure, answer: &TableCells) -> Vec<BTreeSet<(State, Value)>> {
    let of_column = |(place, column): (&usize, &TableColumn)| {
        let null = (State::Value, Value::Null);
        let there = column.differs
            && answer.rows.iter().any(|row| row.cell.get(*place).is_some_and(|c| c.as_ref() == Some(&null)));
        if there { BTreeSet::from([null]) } else { BTreeSet::new() }
    };
    figure.places.iter().zip(&figure.columns).map(of_column).collect()
}

fn groups(figure: &LoweredFigure, cells: &[(Cell, Option<&TableRow>)], numbered: &Numbered) -> Groups {
    let mut rows = Condition::of(&figure.rows, figure, numbered);
    let mut counts = Condition::of(&figure.counts, figure, numbered);
    let mut keys: Vec<Key> = figure.keys.iter().map(|key| Key::of(key, figure, numbered)).collect();
    let mut groups = Groups::new();
    for (place, (cell, _)) in cells.iter().enumerate() {
        if rows.holds(figure, place, cell, numbered) != Some(true) {
            continue;
        }
        let key = keys.iter_mut().map(|key| key.at(figure, place, cell, numbered));
        let members = groups.entry(key.collect()).or_default();
        if counts.holds(figure, place, cell, numbered) == Some(true) {
            members.push(place);
        }
    }
    groups
}

/// A condition that names periods may hold in such as no borough has closed: the figure lacks them.
fn not_closed(figure: &LoweredFigure, lists: &[Option<&Vec<Value>>], found: &mut BTreeMap<Vec<Value>, CellFigure>) {
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
    for cell in possible(&figure.columns, &open.collect::<Vec<_>>(), &[]).iter().flatten() {
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
