//! Which cells of a question lie outside the period that a borough's data cover.
//!
//! A cell of a later month holds no record because nobody has sent it yet, not because nothing happened. Such a cell
//! has no data. It is neither empty nor withheld. This follows from the question, the contract and the declared period;
//! no record takes part.
//!
//! *Attack: a long condition over many days.* The work is counted before it begins, and beyond the limit no cell is
//! judged: the answer is then what it is without a declared period.

use std::collections::BTreeSet;

use loda_contract::{ColumnType, Domain, Role, Value};

use crate::derive::Question;
use crate::draft::{JoinKind, Predicate, Scalar, Source};
use crate::enumerate::ENUMERATION_LIMIT;

/// The most work for one question: days times the nodes evaluated for each. Each of 33 boroughs may declare a period.
const LIMIT: usize = ENUMERATION_LIMIT / 32;

/// The first and the last day that a date column can have in a borough's data, in days since 1970-01-01. `None`: that
/// side is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// The first day.
    pub from: Option<i32>,
    /// The last day.
    pub until: Option<i32>,
}

/// The side of a period on which a cell without data lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// Before the first day.
    Before,
    /// After the last day.
    After,
    /// Its days are on both sides.
    Both,
}

/// The cells of a question that a period reaches.
#[derive(Clone, Debug)]
pub struct Covered {
    /// The keys that follow from the date alone.
    keys: Vec<usize>,
    rows: Sides,
    /// For each figure with a condition: the cells in which it can count a row.
    figures: Vec<Option<Sides>>,
}

/// Values of the keys with rows before, within and after the period.
#[derive(Clone, Debug, Default)]
struct Sides {
    before: BTreeSet<Vec<Value>>,
    within: BTreeSet<Vec<Value>>,
    after: BTreeSet<Vec<Value>>,
}

impl Sides {
    fn beyond(&self, cell: &[Value]) -> Option<Beyond> {
        if self.within.contains(cell) {
            return None;
        }
        match (self.before.contains(cell), self.after.contains(cell)) {
            (true, true) => Some(Beyond::Both),
            (true, false) => Some(Beyond::Before),
            (false, true) => Some(Beyond::After),
            // No record can be in it anywhere.
            (false, false) => None,
        }
    }
}

impl Covered {
    /// The side of the period on which a figure of a cell lies, if it lies outside.
    #[must_use]
    pub fn beyond(&self, cell: &[Value], figure: usize) -> Option<Beyond> {
        let of_date: Vec<Value> = self.keys.iter().map(|key| cell.get(*key).cloned().unwrap_or(Value::Null)).collect();
        self.figures.get(figure).and_then(Option::as_ref).unwrap_or(&self.rows).beyond(&of_date)
    }
}

impl Question {
    /// The cells that a period of a dataset's date column reaches. `None`: the question reads the dataset in a form in
    /// which this is not known, or not at all, or the column has no list of dates.
    #[must_use]
    pub fn covered(&self, dataset: &str, column: &str, period: &Period) -> Option<Covered> {
        let draft = self.draft();
        let is_it = |source: &Source| matches!(source, Source::Dataset { name, .. } if name == dataset);
        let mut places = draft.rows.sources().enumerate().filter(|(_, (_, source))| is_it(source));
        let (place, (join, source)) = places.next()?;
        // Read twice, or where rows without a match stand beside it, a day outside does not take the row away.
        if places.next().is_some() || join.is_some_and(|join| join.kind != JoinKind::Inner) {
            return None;
        }
        let Source::Dataset { filter: of_source, .. } = source else { return None };
        let name = draft.rows.name(place, column);
        let described = self.scope().column(&name)?;
        let Role::Dimension(domain @ Domain::Dates { grain, .. }) = &described.role else { return None };
        let mut days = domain.values()?;
        let conditions: Vec<Option<&Predicate>> = draft.figures.iter().map(|f| f.condition.as_ref()).collect();
        let rows = [of_source.as_ref(), draft.rows.filter.as_ref()];
        let read = rows.iter().chain(&conditions).flatten().map(|condition| condition.size());
        let size = read.chain(draft.keys.iter().map(Scalar::size)).fold(1, usize::saturating_add);
        if days.len().saturating_mul(size) > LIMIT {
            return None;
        }
        if described.nullable {
            days.push(Value::Null);
        }
        let keys: Vec<usize> = (0..draft.keys.len())
            .filter(|key| {
                let mut columns = BTreeSet::new();
                if let Some(key) = draft.keys.get(*key) {
                    key.columns(&mut columns);
                }
                columns.iter().eq([&name])
            })
            .collect();
        let mut rows = Sides::default();
        let mut figures: Vec<Option<Sides>> =
            conditions.iter().map(|condition| condition.map(|_| Sides::default())).collect();
        for day in days {
            let literal = Scalar::Literal(day.clone(), ColumnType::Date);
            let can = |condition: Option<&Predicate>, name: &str| {
                let fixed = condition.map(|condition| condition.fix(name, &literal));
                !matches!(fixed, Some(Predicate::Constant(Some(false) | None)))
            };
            if !can(of_source.as_ref(), column) || !can(draft.rows.filter.as_ref(), &name) {
                continue;
            }
            let of_key = |key: &usize| {
                let at = |of: &str| if of == name { day.clone() } else { Value::Null };
                draft.keys.get(*key).map_or(Value::Null, |key| key.evaluate(&at))
            };
            let cell: Vec<Value> = keys.iter().map(of_key).collect();
            let (is_before, is_after) = match day {
                Value::Date(first) => (
                    // The last day of its grain is before the period.
                    period.from.is_some_and(|from| grain.next(first) <= from),
                    period.until.is_some_and(|until| first > until),
                ),
                _ => (false, false),
            };
            let note = |sides: &mut Sides| {
                let side = match (is_before, is_after) {
                    (true, _) => &mut sides.before,
                    (_, true) => &mut sides.after,
                    _ => &mut sides.within,
                };
                side.insert(cell.clone());
            };
            note(&mut rows);
            for (condition, sides) in conditions.iter().zip(&mut figures) {
                if let Some(sides) = sides.as_mut().filter(|_| can(*condition, &name)) {
                    note(sides);
                }
            }
        }
        Some(Covered { keys, rows, figures })
    }
}
