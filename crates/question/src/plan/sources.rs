//! Names, keys and boroughs of rows while a plan is read.
//!
//! *Attack: a person recognised over boroughs.* A node joins within its borough. A unit that may stand in several boroughs
//! meets itself only where the plan also compares the boroughs; without that the question is one of linkage, and is
//! refused.

use std::collections::HashMap;

use datafusion::common::Column;
use loda_contract::Role;

use super::figures::{ReadAggregate, ReadFigure};
use super::input::{BOROUGH, Input, Reader, is_borough, place_of};
use super::refusals::{Read, linkage, not_a_key};
use crate::draft::column_name::qualified;
use crate::draft::{Join, Predicate, Rows, Scalar, bare_name};
use crate::refusal::{Refusal, Rule};
use crate::scope::Scope;

impl Input {
    /// The columns and units of the rows, whatever their conditions.
    ///
    /// # Errors
    /// The rule that refuses the joins.
    pub(super) fn scope(&self, reader: &Reader<'_>) -> Read<Scope> {
        let open = within_boroughs(self.rows.clone()).map_predicates(&|_| Predicate::Constant(Some(true)));
        let mut scope = Scope::of(open.normal(), reader.contracts)?.1;
        if self.rows.dataset().is_some() {
            // While reading, one dataset's columns have the names they have among several.
            let named = |name: &str| format!("t0.{name}");
            for column in &mut scope.columns {
                column.name = named(&column.name);
            }
            for unit in &mut scope.units {
                unit.unit.column = unit.unit.column.as_deref().map(named);
            }
        }
        Ok(scope)
    }

    /// The rows one dataset's or several's, with the names that drafts have.
    ///
    /// # Errors
    /// Where units could only meet over boroughs.
    pub(super) fn finished(
        self,
        reader: &Reader<'_>,
        keys: Vec<Scalar>,
        figures: Vec<ReadFigure>,
    ) -> Read<ReadAggregate> {
        let rows = self.in_one_borough_each(reader)?.rows;
        if rows.dataset().is_none() {
            return Ok(ReadAggregate { rows, keys, figures });
        }
        let bare = |name: String| bare_name(&name).to_owned();
        Ok(ReadAggregate {
            rows: rows.map_predicates(&|p| p.renamed(&bare)),
            keys: keys.into_iter().map(|k| k.renamed(&bare)).collect(),
            figures: figures.into_iter().map(|f| f.renamed(&bare)).collect(),
        })
    }

    /// The rows as they stand inside a draft.
    ///
    /// # Errors
    /// Where units could only meet over boroughs.
    pub(super) fn inner_rows(self, reader: &Reader<'_>) -> Read<Rows> {
        Ok(self.finished(reader, Vec::new(), Vec::new())?.rows)
    }

    /// The same input with its sources from a place on.
    pub(super) fn moved(self, by: usize) -> Self {
        let name = |name: String| match place_of(&name) {
            Some(place) => qualified(place + by, bare_name(&name)),
            None => name,
        };
        let Rows { first, joins, filter } = self.rows;
        let joins = joins
            .into_iter()
            .map(|j| Join { on: j.on.into_iter().map(|(left, right)| (name(left), right)).collect(), ..j });
        let columns = self.columns.into_iter().map(|(c, s)| (c, s.map(|s| s.renamed(&name))));
        Self {
            rows: Rows { first, joins: joins.collect(), filter: filter.map(|f| f.renamed(&name)) },
            columns: columns.collect(),
        }
    }

    /// Whether two columns of different sources are a key that both have.
    pub(super) fn is_key_pair(&self, reader: &Reader<'_>, a: &str, b: &str) -> Read<bool> {
        if place_of(a) == place_of(b) || (is_borough(a) != is_borough(b)) {
            return Ok(false);
        }
        Ok((is_borough(a) && is_borough(b)) || (self.names_key(reader, a) && self.names_key(reader, b)))
    }

    /// Whether a column names a unit or is a reference key.
    fn names_key(&self, reader: &Reader<'_>, name: &str) -> bool {
        let column =
            self.source_scope(reader, name).and_then(|s| s.column(&format!("t0.{}", bare_name(name))).cloned());
        matches!(column.map(|c| c.role), Some(Role::Unit(_) | Role::Reference(_)))
    }

    /// The columns and units of a column's source, by itself.
    fn source_scope(&self, reader: &Reader<'_>, column: &str) -> Option<Scope> {
        let (_, source) = self.rows.sources().nth(place_of(column)?)?;
        let rows = Rows { first: source.clone(), joins: Vec::new(), filter: None };
        Self { rows, columns: HashMap::new() }.scope(reader).ok()
    }

    /// Adds an equality to the join of the later source.
    ///
    /// # Errors
    /// Where the later column is of the first source.
    pub(super) fn equate(&mut self, a: &str, b: &str) -> Read<()> {
        let (left, right) = if place_of(a) < place_of(b) { (a, b) } else { (b, a) };
        let place = place_of(right).and_then(|p| p.checked_sub(1));
        let join = place.and_then(|p| self.rows.joins.get_mut(p)).ok_or_else(not_a_key)?;
        // An equality of boroughs stays until the rows are finished: it says that units meet within one.
        join.on.push((left.to_owned(), bare_name(right).to_owned()));
        Ok(())
    }

    /// Takes the equalities of boroughs out of the joins, and holds that units cannot meet over boroughs.
    fn in_one_borough_each(mut self, reader: &Reader<'_>) -> Read<Self> {
        for join in &self.rows.joins {
            let local = join.on.iter().any(|(_, right)| right == BOROUGH);
            if !local && !join.on.iter().any(|(left, _)| self.is_exclusive(reader, left)) {
                let keys: Vec<&str> = join.on.iter().map(|(left, _)| bare_name(left)).collect();
                let names_key = join.on.iter().any(|(left, _)| self.names_key(reader, left));
                return Err(if names_key { linkage(&keys.join(", ")) } else { not_a_key() });
            }
        }
        self.rows = within_boroughs(self.rows);
        Ok(self)
    }

    /// Whether a unit that a column names can stand in one borough only.
    pub(super) fn is_exclusive(&self, reader: &Reader<'_>, column: &str) -> bool {
        let Some(scope) = self.source_scope(reader, column) else { return false };
        let name = format!("t0.{}", bare_name(column));
        scope.unit_index(&name).and_then(|i| scope.units.get(i)).is_some_and(|u| u.unit.borough_exclusive)
    }

    /// Where a left join found no match, its table's columns are NULL, also those that are computed.
    pub(super) fn show_only_matches(&mut self, place: usize, names: &[Column]) -> Read<()> {
        let join = place.checked_sub(1).and_then(|p| self.rows.joins.get(p));
        let key = join.and_then(|j| j.on.iter().find(|(_, right)| right != BOROUGH));
        let Some((_, key)) = key else { return Ok(()) };
        let matched = Predicate::Not(Box::new(Predicate::IsNull(Scalar::Column(qualified(place, key)))));
        for name in names {
            let Some(shown) = self.columns.get_mut(name) else { continue };
            *shown = match shown.clone() {
                Ok(Scalar::Column(column)) if is_borough(&column) => Err(Refusal::new(
                    Rule::Join,
                    "the borough of a LEFT JOIN's right table is read",
                    "Read the borough of the left table: it is the same where there is a match",
                )),
                Ok(Scalar::Column(column)) => Ok(Scalar::Column(column)),
                Ok(computed) => Ok(Scalar::Case { branches: vec![(matched.clone(), computed)], otherwise: None }),
                refused => refused,
            };
        }
        Ok(())
    }
}

/// The rows without the equalities of boroughs: a node holds one.
fn within_boroughs(rows: Rows) -> Rows {
    let joins = rows.joins.into_iter().map(|mut join| {
        join.on.retain(|(_, right)| right != BOROUGH);
        join
    });
    Rows { joins: joins.collect(), ..rows }
}
