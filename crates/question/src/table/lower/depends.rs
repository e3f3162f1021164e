//! Which columns a figure depends on, by trying their classes.
//!
//! A column that a condition names and that changes nothing (every class of it counts) is left out of K, or kept by its
//! presence alone: it would cost weight and split cells. Combinations of classes are tried up to a limit; beyond it no more
//! is left out, which asks for more columns and never for fewer.

use std::collections::{BTreeMap, BTreeSet};

use loda_contract::{Period, Value};

use crate::draft::{Predicate, Scalar, bare_name};
use crate::refusal::{Checked, Refusal, Rule};
use crate::scope::Contracts;
use crate::table::possible::{beside, choices, consistent};
use crate::table::readings::{self, value_of};
use crate::table::resolve::resolve;
use crate::table::{ColumnRef, Functional, RowDomain, State, TableColumn, rules};

/// Combinations of classes that are tried for whether a figure depends on a column.
pub(super) const ENUMERATED: usize = 30_000;

/// A figure before its table is known.
pub(super) struct FigureDraft {
    pub(super) domain: RowDomain,
    pub(super) columns: BTreeSet<ColumnRef>,
    /// Columns of which only presence is read, and those that are not read at all.
    pub(super) dropped: BTreeMap<ColumnRef, TableColumn>,
    pub(super) functional: Functional,
    pub(super) counted: Functional,
    pub(super) rows: Predicate,
    pub(super) counts: Predicate,
    pub(super) keys: Vec<Scalar>,
}

/// The part of a column's class that is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Its value, where it has one.
    Value,
    /// Whether the unit that it is reached through is in its dataset, where one is reached.
    Match,
    /// Whether it is there at all.
    There,
    /// Its value within its period, where there are tables by period: a month within its quarter.
    Within,
}

/// The literals that a column is compared with; whether it is read in no other way.
fn literals(predicate: &Predicate, name: &str, found: &mut Vec<Value>) -> bool {
    match predicate {
        Predicate::Constant(_) => true,
        Predicate::And(operands) | Predicate::Or(operands) => operands.iter().all(|o| literals(o, name, found)),
        Predicate::Not(of) => literals(of, name, found),
        Predicate::Compare { left: Scalar::Column(of), right: Scalar::Literal(value, _), .. } if of == name => {
            found.push(value.clone());
            true
        }
        Predicate::In { of: Scalar::Column(of), values } if of == name => {
            found.extend(values.iter().map(|(value, _)| value.clone()));
            true
        }
        Predicate::IsNull(Scalar::Column(of)) if of == name => true,
        other => {
            let mut columns = BTreeSet::new();
            other.columns(&mut columns);
            !columns.contains(name)
        }
    }
}

fn reads(scalar: &Scalar, name: &str) -> bool {
    let mut columns = BTreeSet::new();
    scalar.columns(&mut columns);
    columns.contains(name)
}

type Outcome = Option<(bool, bool, Vec<Value>)>;

impl FigureDraft {
    /// The names that rows, condition and keys read.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.rows.columns(&mut names);
        self.counts.columns(&mut names);
        self.keys.iter().for_each(|key| key.columns(&mut names));
        names
    }

    /// The columns that the figure depends on: where only presence matters, that alone. `any`: the column to ask for
    /// where nothing can hold.
    ///
    /// # Errors
    /// Where a name is no column of the row domain.
    pub(super) fn with_columns(mut self, any: Option<ColumnRef>, contracts: Contracts<'_>) -> Checked<Self> {
        self.rows = self.rows.normal();
        self.counts = self.counts.normal();
        for name in &self.names() {
            self.columns.insert(ColumnRef::parse(name).ok_or_else(|| {
                Refusal::new(Rule::Table, format!("'{}' is no column of a table", bare_name(name)), "See the catalogue")
            })?);
        }
        let period = rules::period(&self.domain, contracts);
        for told in [Told::Value, Told::Match, Told::There, Told::Within] {
            let columns = self.resolved(contracts)?;
            self.columns = columns.iter().map(|c| c.reference.clone()).collect();
            let periods = period.as_ref().map(|of| resolve(of, &self.domain, contracts)).transpose()?;
            let Some(read) = self.depends(&columns, told, periods.as_ref().map(|(column, _)| column)) else { break };
            for (column, _) in columns.into_iter().zip(read).filter(|(_, read)| !read) {
                let reference = column.reference.clone();
                let presence = reference.presence();
                let instead = match (told, &reference.via) {
                    (Told::Value, _) if column.optional && reference != presence => Some(presence),
                    (Told::Value, _) if column.optional => continue,
                    (Told::Match, Some((through, _))) => {
                        Some(ColumnRef { via: None, dataset: through.clone(), column: None })
                    }
                    (Told::Match, None) => continue,
                    // It is read by its period.
                    (Told::Within, _) => {
                        self.columns.remove(&reference);
                        continue;
                    }
                    (Told::Value | Told::There, _) => None,
                };
                self.columns.remove(&reference);
                self.columns.extend(instead);
                self.dropped.insert(reference, column);
            }
        }
        self.columns = self.resolved(contracts)?.into_iter().map(|c| c.reference).collect();
        self.columns.extend(period);
        if let (RowDomain::Units(_), true) = (&self.domain, self.columns.is_empty()) {
            self.columns.extend(any);
        }
        Ok(self)
    }

    /// The columns as contracts have them, without presence that others tell.
    ///
    /// # Errors
    /// Where one is no column of the row domain.
    pub(super) fn resolved(&self, contracts: Contracts<'_>) -> Checked<Vec<TableColumn>> {
        let kept = rules::without_told_presence(self.columns.clone());
        let resolved = kept.iter().map(|of| Ok(resolve(of, &self.domain, contracts)?.0));
        resolved.collect()
    }

    /// For each column, whether rows, condition or keys depend on that part of it; `None` where there are too many classes
    /// to try.
    fn depends(&self, columns: &[TableColumn], told: Told, periods: Option<&TableColumn>) -> Option<Vec<bool>> {
        let choices: Vec<Vec<(State, Value)>> =
            columns.iter().map(|column| choices(column).or_else(|| self.stretches(column))).collect::<Option<_>>()?;
        let total = choices.iter().try_fold(1_usize, |n, c| n.checked_mul(c.len()))?;
        if total > ENUMERATED {
            return None;
        }
        // Outcomes by the other columns' classes. A second outcome of one column tells that it matters.
        let mut seen: Vec<BTreeMap<Vec<usize>, Outcome>> = vec![BTreeMap::new(); columns.len()];
        let mut read = vec![false; columns.len()];
        let mut at = vec![0_usize; columns.len()];
        let readings = readings::readings(columns, &self.dropped, &self.names());
        let within: Vec<Option<&Period>> =
            columns.iter().map(|column| periods.and_then(|p| p.within(column))).collect();
        for _ in 0..total {
            let cell: Vec<(State, Value)> =
                choices.iter().zip(&at).filter_map(|(of, place)| of.get(*place).cloned()).collect();
            if consistent(columns, &cell) {
                let row = |name: &str| value_of(&readings, &cell, name);
                let outcome = (
                    self.rows.evaluate(&row) == Some(true),
                    self.counts.evaluate(&row) == Some(true),
                    self.keys.iter().map(|key| key.evaluate(&row)).collect::<Vec<Value>>(),
                );
                // Keys of cells that hold no rows say nothing.
                let outcome = if outcome.0 { Some(outcome) } else { None };
                for (((column, known), reads), (state, value)) in seen.iter_mut().enumerate().zip(&mut read).zip(&cell)
                {
                    let period = within.get(column).copied().flatten();
                    let compared = match told {
                        Told::Value => *state == State::Value,
                        Told::Match => *state != State::Unreached,
                        Told::There => true,
                        Told::Within => period.is_some(),
                    };
                    if !compared {
                        // A column that is not looked at stays.
                        *reads |= told == Told::Within;
                        continue;
                    }
                    let mut others = at.clone();
                    others.remove(column);
                    if let (Told::Within, Some(period), Value::Date(day)) = (told, period, value) {
                        others.push(usize::try_from(period.every.floor(*day)).unwrap_or(usize::MAX));
                    }
                    match known.get(&others) {
                        None => {
                            known.insert(others, outcome.clone());
                        }
                        Some(first) if *first != outcome => *reads = true,
                        Some(_) => {}
                    }
                }
            }
            for (place, of) in at.iter_mut().zip(&choices).rev() {
                *place += 1;
                if *place < of.len() {
                    break;
                }
                *place = 0;
            }
        }
        Some(read)
    }

    /// One value for each stretch of words that conditions tell apart, where they compare the column with literals alone.
    fn stretches(&self, column: &TableColumn) -> Option<Vec<(State, Value)>> {
        let name = column.reference.to_string();
        // Two at least, or a key of it would look as if it told nothing apart.
        let mut words = BTreeSet::from([String::new(), "\0".to_owned()]);
        let mut found = Vec::new();
        if ![&self.rows, &self.counts].into_iter().all(|predicate| literals(predicate, &name, &mut found)) {
            return None;
        }
        let bare = |key: &Scalar| matches!(key, Scalar::Column(_)) || !reads(key, &name);
        if !self.keys.iter().all(bare) {
            return None;
        }
        for value in found {
            let Value::Text(word) = value else { return None };
            // The next text after it in order.
            words.insert(format!("{word}\0"));
            words.insert(word.to_string());
        }
        let values = words.into_iter().map(|word| (State::Value, Value::Text(word.into())));
        Some(values.chain(beside(column)).collect())
    }
}
