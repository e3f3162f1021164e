//! Conditions and keys over many cells.
//!
//! A value that follows from the classes of some columns is evaluated once for each combination of them, and looked up for
//! every other cell.

use std::collections::{BTreeSet, HashMap};

use loda_contract::Value;

use crate::draft::{Predicate, Scalar};
use crate::table::State;
use crate::table::lower::LoweredFigure;
use crate::table::possible::Cell;
use crate::table::readings::{ColumnReading, value_of};

/// Combinations that are kept at most; of more each cell is evaluated by itself.
const KEPT: usize = 1 << 20;

/// The classes of cells by number, column by column.
#[derive(Default)]
pub(super) struct Numbered {
    /// For each column the class of each cell, and how many classes there are.
    columns: Vec<(Vec<u32>, usize)>,
}

/// A value that follows from the classes of some columns.
pub(super) struct Known<T> {
    places: Vec<usize>,
    /// By the classes' numbers; empty where there are too many combinations.
    found: Vec<Option<T>>,
}

/// A condition, taken apart where its parts read other columns.
pub(super) enum Condition<'p> {
    Leaf(&'p Predicate, Known<Option<bool>>),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

/// A group key.
pub(super) struct Key<'p>(&'p Scalar, Known<Value>);

impl Numbered {
    pub(super) fn new<'c>(width: usize, cells: impl Iterator<Item = &'c Cell> + Clone) -> Self {
        let columns = (0..width).map(|place| {
            let mut numbers: HashMap<&(State, Value), u32> = HashMap::new();
            let of_cell = |cell: &'c Cell| {
                let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                cell.get(place).map_or(0, |class| *numbers.entry(class).or_insert(next))
            };
            let codes: Vec<u32> = cells.clone().map(of_cell).collect();
            (codes, numbers.len().max(1))
        });
        Self { columns: columns.collect() }
    }
}

impl<T: Clone> Known<T> {
    fn of(figure: &LoweredFigure, names: &BTreeSet<String>, numbered: &Numbered) -> Self {
        let mut places: Vec<usize> =
            names.iter().filter_map(|name| figure.readings.get(name)).flat_map(ColumnReading::places).collect();
        places.sort_unstable();
        places.dedup();
        let sizes = places.iter().filter_map(|place| numbered.columns.get(*place)).map(|(_, size)| *size);
        let combinations = sizes.fold(1, usize::saturating_mul);
        Self { places, found: if combinations <= KEPT { vec![None; combinations] } else { Vec::new() } }
    }

    /// Of the cell at a place.
    fn at(&mut self, cell: usize, numbered: &Numbered, evaluate: impl FnOnce() -> T) -> T {
        let mut combination = 0_usize;
        for (codes, size) in self.places.iter().filter_map(|place| numbered.columns.get(*place)) {
            let code = codes.get(cell).map_or(0, |code| usize::try_from(*code).unwrap_or(0));
            combination = combination.saturating_mul(*size).saturating_add(code);
        }
        match self.found.get_mut(combination) {
            Some(known) => known.get_or_insert_with(evaluate).clone(),
            None => evaluate(),
        }
    }
}

impl<'p> Condition<'p> {
    pub(super) fn of(predicate: &'p Predicate, figure: &LoweredFigure, numbered: &Numbered) -> Self {
        let all = |of: &'p [Predicate]| of.iter().map(|of| Self::of(of, figure, numbered)).collect();
        match predicate {
            Predicate::And(operands) => Self::And(all(operands)),
            Predicate::Or(operands) => Self::Or(all(operands)),
            Predicate::Not(of) => Self::Not(Box::new(Self::of(of, figure, numbered))),
            leaf => {
                let mut names = BTreeSet::new();
                leaf.columns(&mut names);
                Self::Leaf(leaf, Known::of(figure, &names, numbered))
            }
        }
    }

    /// Whether it holds in a cell; `None`: unknown.
    pub(super) fn holds(
        &mut self,
        figure: &LoweredFigure,
        place: usize,
        cell: &Cell,
        numbered: &Numbered,
    ) -> Option<bool> {
        match self {
            Self::Leaf(predicate, known) => {
                known.at(place, numbered, || predicate.evaluate(&|name: &str| value_of(&figure.readings, cell, name)))
            }
            Self::Not(of) => of.holds(figure, place, cell, numbered).map(|truth| !truth),
            Self::And(operands) => connected(operands, false, &mut |of| of.holds(figure, place, cell, numbered)),
            Self::Or(operands) => connected(operands, true, &mut |of| of.holds(figure, place, cell, numbered)),
        }
    }
}

/// One that is `decisive` decides; else one that is unknown leaves it unknown.
fn connected<'p>(
    operands: &mut [Condition<'p>],
    decisive: bool,
    holds: &mut dyn FnMut(&mut Condition<'p>) -> Option<bool>,
) -> Option<bool> {
    let mut all = Some(!decisive);
    for operand in operands {
        match holds(operand) {
            Some(truth) if truth == decisive => return Some(decisive),
            Some(_) => {}
            None => all = None,
        }
    }
    all
}

impl<'p> Key<'p> {
    pub(super) fn of(scalar: &'p Scalar, figure: &LoweredFigure, numbered: &Numbered) -> Self {
        let mut names = BTreeSet::new();
        scalar.columns(&mut names);
        Self(scalar, Known::of(figure, &names, numbered))
    }

    pub(super) fn at(&mut self, figure: &LoweredFigure, place: usize, cell: &Cell, numbered: &Numbered) -> Value {
        let Self(scalar, known) = self;
        known.at(place, numbered, || scalar.evaluate(&|name: &str| value_of(&figure.readings, cell, name)))
    }
}
