//! Rows while an analyst's plan is read: how they are narrowed, joined, grouped by unit, and brought into drafts.

use std::collections::HashMap;

use datafusion::common::Column;
use loda_contract::{ColumnType, Role, Value};

use super::expr::function;
use super::from::{ReadAggregate, ReadFigure};
use super::rows::{BOROUGH, Input, Lookup, Read, Reader, operator};
use crate::draft::{Comparison, Figure, Join, PerUnit, Predicate, Rows, Scalar, Source, bare_name};
use crate::refusal::{Refusal, Rule};
use crate::scope::Scope;

/// The dataset that stands for a reference table while a subquery over it is read, and its row number.
const LOOKUP: &str = "#lookup";
const ROW: &str = "t0.#row";

impl Input {
    /// A reference table: each column as an expression over the row's number.
    pub(super) fn of_lookup(lookup: &Lookup, names: Vec<Column>) -> Self {
        let at = |row: usize| Predicate::Compare {
            left: Scalar::Column(ROW.to_owned()),
            op: Comparison::Equal,
            right: row_number(row),
        };
        let columns = names.into_iter().zip(&lookup.columns).enumerate().map(|(number, (name, (_, kind)))| {
            let Some(kind) = kind else { return (name, Err(function("a reference column of this type"))) };
            let branches = lookup.rows.iter().enumerate().map(|(row, cells)| {
                let cell = cells.get(number).cloned().unwrap_or(Value::Null);
                (at(row), Scalar::Literal(cell, *kind))
            });
            (name, Ok(Scalar::Case { branches: branches.collect(), otherwise: None }))
        });
        Self { columns: columns.collect(), rows: Rows::of(format!("{LOOKUP}{}", lookup.rows.len()), None) }
    }

    /// How many rows there are, where this is a reference table.
    pub(super) fn lookup_rows(&self) -> Option<usize> {
        self.rows.dataset()?.strip_prefix(LOOKUP)?.parse().ok()
    }

    /// Keeps the boroughs that a subquery over a reference table names, or does not.
    pub(super) fn among(&mut self, inner: &Self, rows: usize, equal: &[(Scalar, Scalar)], negated: bool) -> Read<()> {
        let [(left @ Scalar::Column(column), right)] = equal else { return Err(not_a_key()) };
        if !is_borough(column) {
            return Err(not_a_key());
        }
        let mut values = Vec::new();
        for row in 0..rows {
            let here = row_number(row);
            let kept = match &inner.rows.filter {
                Some(filter) => filter.fix(ROW, &here),
                None => Predicate::Constant(Some(true)),
            };
            if kept != Predicate::Constant(Some(true)) {
                continue;
            }
            match right.fix(ROW, &here).folded() {
                Scalar::Literal(value @ Value::Text(_), kind) => values.push((value, kind)),
                _ => return Err(not_a_key()),
            }
        }
        let named = Predicate::In { of: left.clone(), values };
        self.narrow(if negated { Predicate::Not(Box::new(named)) } else { named });
        Ok(())
    }

    pub(super) fn narrow(&mut self, predicate: Predicate) {
        self.rows.filter = Predicate::both(self.rows.filter.take(), Some(predicate));
    }

    /// The columns and units of the rows, whatever their conditions.
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
    pub(super) fn inner_rows(self, reader: &Reader<'_>) -> Read<Rows> {
        Ok(self.finished(reader, Vec::new(), Vec::new())?.rows)
    }

    /// The same input with its sources from a place on.
    pub(super) fn moved(self, by: usize) -> Self {
        let name = |name: String| match place_of(&name) {
            Some(place) => format!("t{}.{}", place + by, bare_name(&name)),
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

    /// What the source of a column has, by itself.
    fn source_scope(&self, reader: &Reader<'_>, column: &str) -> Option<Scope> {
        let (_, source) = self.rows.sources().nth(place_of(column)?)?;
        let rows = Rows { first: source.clone(), joins: Vec::new(), filter: None };
        Self { rows, columns: HashMap::new() }.scope(reader).ok()
    }

    /// Adds an equality to the join of the later source.
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
    fn is_exclusive(&self, reader: &Reader<'_>, column: &str) -> bool {
        let Some(scope) = self.source_scope(reader, column) else { return false };
        let name = format!("t0.{}", bare_name(column));
        scope.unit_index(&name).and_then(|i| scope.units.get(i)).is_some_and(|u| u.unit.borough_exclusive)
    }

    /// Where a left join found no match, its table's columns are NULL, also those that are computed.
    pub(super) fn show_only_matches(&mut self, place: usize, names: &[Column]) -> Read<()> {
        let join = place.checked_sub(1).and_then(|p| self.rows.joins.get(p));
        let key = join.and_then(|j| j.on.iter().find(|(_, right)| right != BOROUGH));
        let Some((_, key)) = key else { return Ok(()) };
        let matched = Predicate::Not(Box::new(Predicate::IsNull(Scalar::Column(format!("t{place}.{key}")))));
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

    /// One row for each unit among the keys.
    pub(super) fn by_unit(
        self,
        reader: &Reader<'_>,
        keys: &[Scalar],
        values: Vec<Figure>,
        shown: Vec<Scalar>,
        names: &[Column],
    ) -> Read<Self> {
        let scope = self.scope(reader)?;
        let (mut unit, mut dimensions, mut local) = (None, Vec::new(), false);
        for key in keys {
            let Scalar::Column(name) = key else {
                return Err(operator("a computed key beside a unit", "Group by the unit and by bare dimensions"));
            };
            if is_borough(name) {
                local = true;
            } else if scope.unit_index(name).is_some() && unit.is_none() {
                unit = Some(name.clone());
            } else {
                dimensions.push(name.clone());
            }
        }
        let unit = unit.ok_or_else(|| {
            operator(
                "an aggregate of records inside another, without a unit among its keys,",
                "Group the inner one by a unit (a person, a household, a property), or ask for one level of GROUP BY",
            )
        })?;
        if !local && !self.is_exclusive(reader, &unit) {
            return Err(linkage(&unit));
        }
        let mut columns = HashMap::new();
        let renamed = |name: &str| Scalar::Column(format!("t0.{}", bare_name(name)));
        let of_keys = keys.iter().map(|key| match key {
            Scalar::Column(name) => renamed(name),
            other => other.clone(),
        });
        for (name, scalar) in names.iter().zip(of_keys.chain(shown)) {
            columns.insert(name.clone(), Ok(scalar));
        }
        let bare_names = self.rows.dataset().is_some();
        let inside = |name: String| if bare_names { bare_name(&name).to_owned() } else { name };
        let values = values.into_iter().map(|v| v.renamed(&inside)).collect();
        let per_unit = PerUnit {
            unit: inside(unit),
            keys: dimensions.into_iter().map(inside).collect(),
            values,
            rows: self.inner_rows(reader)?,
        };
        let rows = Rows { first: Source::PerUnit(Box::new(per_unit)), joins: Vec::new(), filter: None };
        Ok(Self { rows, columns })
    }
}

impl Figure {
    fn renamed(self, name: &dyn Fn(String) -> String) -> Self {
        Self { measure: self.measure.renamed(name), condition: self.condition.map(|c| c.renamed(name)) }
    }
}

pub(super) fn row_number(row: usize) -> Scalar {
    Scalar::Literal(Value::Integer(i64::try_from(row).unwrap_or(i64::MAX)), ColumnType::Integer)
}

pub(super) fn place_of(name: &str) -> Option<usize> {
    name.strip_prefix('t')?.split_once('.')?.0.parse().ok()
}

pub(super) fn is_borough(name: &str) -> bool {
    bare_name(name) == BOROUGH
}

/// The rows without the equalities of boroughs: a node holds one.
pub(super) fn within_boroughs(rows: Rows) -> Rows {
    let joins = rows.joins.into_iter().map(|mut join| {
        join.on.retain(|(_, right)| right != BOROUGH);
        join
    });
    Rows { joins: joins.collect(), ..rows }
}

pub(super) fn not_a_key() -> Refusal {
    Refusal::new(
        Rule::Join,
        "records are compared with others by something other than one unit that both have",
        "Use column IN (SELECT …) or EXISTS with an equality of the unit on both sides",
    )
}

pub(super) fn linkage(column: &str) -> Refusal {
    let column = bare_name(column);
    Refusal::new(
        Rule::Linkage,
        format!("'{column}' may stand in several boroughs: recognising it over London needs linkage"),
        format!(
            "Add borough beside it (a.borough = b.borough, GROUP BY borough, {column}): within each borough it is exact"
        ),
    )
}
