//! Released cells of tables → the cells of a question.
//!
//! A figure is of the cells that satisfy its condition ([`adding`], [`estimate`], [`fit`]). What is empty and what is withheld look alike.

mod adding;
mod estimate;
mod fit;
mod known;
pub(super) mod possible;

use std::collections::{BTreeMap, BTreeSet};

use loda_contract::Value;

use self::adding::{Groups, Laid, nobody};
use super::column::Made;
use super::lower::Lowered;
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
    /// The variance of the noise on a count of units.
    pub noise: f64,
    /// For each column of K the classes that the borough lists of it; `None` where the contract does.
    pub lists: Vec<Option<Vec<Value>>>,
}

/// A figure of the question in one of its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CellFigure {
    /// `None`: all of it is withheld, or there is nothing to add up.
    pub value: Option<i128>,
    /// Whether cells that it would have are not released, and are not in the value.
    pub lacks: bool,
    /// Where something is known of all of its cells.
    pub estimate: Option<Estimate>,
}

/// What is known of a figure: also of one withheld cell, which has no value by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// In the figure's smallest units, as `variance` is in their squares.
    pub figure: i128,
    pub variance: f64,
    /// What it counts, or what is counted where it is summed; and the variance of that.
    pub units: f64,
    pub doubt: f64,
    /// Of the figure and what is counted; of it and the figure that it is divided by.
    pub covariance: f64,
    pub with_whole: f64,
    /// How many of these are estimated, for their cells are withheld; `None`: no cell is.
    pub withheld: Option<f64>,
    /// A figure of fewer units is not told.
    pub least: f64,
}

/// The average of how far a normal figure is off, in its standard deviations.
const TO_AVERAGE: f64 = 0.797_884_560_8;

/// A figure that holds estimates is told where it is off on average by no more than the larger of these: so many units, or so
/// large a share of it.
const OFF: f64 = 10.0;
const SHARE: f64 = 0.2;

impl Estimate {
    /// Adds what is known of another borough's figure.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        let withheld = match (self.withheld, other.withheld) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
        };
        Self {
            figure: self.figure.saturating_add(other.figure),
            variance: self.variance + other.variance,
            units: self.units + other.units,
            doubt: self.doubt + other.doubt,
            covariance: self.covariance + other.covariance,
            with_whole: self.with_whole + other.with_whole,
            withheld,
            least: self.least.max(other.least),
        }
    }

    /// How far a figure of such a variance is off on average.
    #[must_use]
    pub fn off(variance: f64) -> f64 {
        TO_AVERAGE * variance.max(0.0).sqrt()
    }

    /// Whether the figure may be told: what holds no estimate may, and what does where it is good enough.
    #[must_use]
    pub fn will_do(&self) -> bool {
        self.withheld.is_none() || Self::off(self.doubt) <= OFF.max(SHARE * self.units) && self.units >= self.least
    }
}

impl Lowered {
    /// The question's cells from the tables' released ones, in the order of [`Lowered::tables`].
    ///
    /// `dense`: what is absent is withheld, or empty. Otherwise nothing is protected, and what is absent is empty.
    /// `together`: whether figures of several boroughs are added up, so that a borough's one withheld cell is wanted too.
    /// `wholes`: figures that are divided by others.
    #[must_use]
    pub fn cells(
        &self,
        answers: &[TableCells],
        dense: bool,
        together: bool,
        wholes: &BTreeMap<usize, usize>,
    ) -> BTreeMap<Vec<Value>, Vec<CellFigure>> {
        let mut cells: BTreeMap<Vec<Value>, Vec<Option<CellFigure>>> = BTreeMap::new();
        // Figures of the same columns share their cells and fits: these cost more than all else.
        let mut laid: BTreeMap<(usize, &[usize]), Laid> = BTreeMap::new();
        let mut groups: BTreeMap<usize, Groups> = BTreeMap::new();
        for (place, figure) in self.figures.iter().enumerate() {
            let Some(answer) = answers.get(figure.table).filter(|answer| !nobody(figure, answer)) else { continue };
            let of_columns = (figure.table, figure.places.as_slice());
            let laid = laid.entry(of_columns).or_insert_with(|| Laid::new(figure, answer, dense));
            let (found, of_figure) = self.figure(figure, answer, laid, dense, together);
            groups.insert(place, of_figure);
            for (key, found) in found {
                let row = cells.entry(key).or_insert_with(|| vec![None; self.figures.len()]);
                if let Some(slot) = row.get_mut(place) {
                    *slot = Some(found);
                }
            }
        }
        for (part, whole) in wholes {
            let of = |place: &usize| {
                let figure = self.figures.get(*place)?;
                Some((figure, laid.get(&(figure.table, figure.places.as_slice()))?, groups.get(place)?))
            };
            let (Some(of_part), Some(of_whole)) = (of(part), of(whole)) else { continue };
            let Some(answer) = answers.get(of_part.0.table) else { continue };
            for (key, with_whole) in self.with_whole(answer, of_part, of_whole) {
                let slot = cells.get_mut(key).and_then(|row| row.get_mut(*part)?.as_mut()?.estimate.as_mut());
                slot.into_iter().for_each(|estimate| estimate.with_whole = with_whole);
            }
        }
        let finished = cells.into_iter().map(|(key, row)| {
            let figures = row.into_iter().zip(&self.figures).map(|(found, figure)| {
                // Of a group that another figure names, this one may have cells that only the borough knows.
                let open = figure.columns.iter().any(|column| column.classes == Classes::Open);
                let mut found = found.unwrap_or(CellFigure { lacks: dense && open, ..CellFigure::default() });
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

impl Reading {
    /// The columns that it reads.
    fn places(&self) -> Vec<usize> {
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
        let value = column.class(0).unwrap_or_else(|| Value::Text("".into()));
        let presence = presence(&wanted).map(Box::new);
        match (&presence, column.optional) {
            (None, true) => Reading::Nothing,
            _ => Reading::Any { value, presence, zero: zero(column) },
        }
    };
    names.iter().map(|name| (name.clone(), reading(name))).collect()
}

/// Whether a column holds the periods that another says when of.
pub(super) fn named(column: &TableColumn, other: &ColumnRef) -> bool {
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
