//! Which sources may meet, and which units the joined rows tell of.
//!
//! *Attack: a join as a selector.* Tables meet on a unit that both name, or on a declared reference key to published
//! records. On another key one record of the one side would decide over everybody on the other side who shares its value.
//! EXISTS, IN and their negations compare units alone.
//!
//! *Attack: published rows that tell of protected ones.* Rows of a published table are known one by one, so a figure that
//! picks them by protected records would tell of each whether it has a match. That is refused; the other way round is
//! allowed.
//!
//! *Attack: many draws for one figure.* Bounds scale noise, and they are those of contracts. A join that repeats rows
//! leaves a unit without a bound, unless the unit is the one joined on and has one row on a side. Rows about people of a
//! unit without a bound are not added up. How many joins may repeat rows is limited, because the rows multiply.
//!
//! *Attack: two methods in one question.* Exact figures and perturbed ones of the same records side by side would show the
//! noise: methods do not mix, and only published records join with any.

use std::sync::Arc;

use loda_contract::{Column, Protection, Role};

use crate::draft::column_name::qualified;
use crate::draft::{Join, JoinKind, bare_name};
use crate::refusal::{Checked, Refusal, Rule};
use crate::scope::{Scope, ScopeUnit};

/// Joins that may repeat records at most: each multiplies the rows that the node has to read.
const REPEAT_LIMIT: usize = 2;

impl Scope {
    /// The rows with one more source at a place.
    ///
    /// # Errors
    /// The rule that refuses the join.
    pub(super) fn joined(self, right: Self, place: usize, join: &Join) -> Checked<Self> {
        let right = right.placed(place);
        let mut equal = Vec::new();
        for (a, b) in &join.on {
            let b = qualified(place, b);
            if let Some(domain) = self.joins_on(a, &right, &b)? {
                equal.push((self.unit_index(a), right.unit_index(&b), domain));
            }
        }
        if join.on.is_empty() {
            return Err(Refusal::new(
                Rule::Join,
                "tables are joined without a key that both have",
                "Join on a unit that both sides name (person, household, property) or on a declared reference key",
            ));
        }
        if !join.kind.shows() && equal.len() < join.on.len() {
            return Err(Refusal::new(
                Rule::Join,
                "EXISTS, IN and their negations compare something other than a unit of both sides",
                "Compare the column that names the unit on both sides",
            ));
        }
        let mut datasets = self.datasets;
        for contract in &right.datasets {
            if !datasets.contains(contract) {
                datasets.push(Arc::clone(contract));
            }
        }
        let protection = mixed(self.protection, right.protection)?;
        let (mut columns, mut units, mut pairs, mut repeats) = (self.columns, self.units, self.pairs, self.repeats);
        if !join.kind.shows() && self.protection.is_public() && !right.protection.is_public() {
            return Err(Refusal::new(
                Rule::Join,
                "published records are picked by protected ones",
                "Count the protected records, by the same unit",
            ));
        }
        let published = |scope: Protection| scope.is_public() && !protection.is_public();
        let mut loose = self.loose.filter(|_| !published(self.protection));
        if !join.kind.shows() {
            return Ok(Self { datasets, columns, units, protection, pairs, repeats, loose });
        }
        loose = loose.or(right.loose.filter(|_| !published(right.protection)));
        // How many rows of the other side a row meets at most.
        let bound = |unit: Option<&ScopeUnit>| unit.and_then(|u| u.unit.max_rows);
        let of_right = equal.iter().filter_map(|(_, r, _)| bound(right.units.get((*r)?))).min();
        let of_left = equal.iter().filter_map(|(l, _, _)| bound(units.get((*l)?))).min();
        if of_right != Some(1) {
            repeats += 1;
        }
        if repeats > REPEAT_LIMIT {
            return Err(Refusal::new(
                Rule::Join,
                format!("more than {REPEAT_LIMIT} joins may repeat records, whose number then multiplies"),
                "Bring each table to one row a unit in a subquery (GROUP BY the unit), and join those",
            ));
        }
        // Bounds scale noise, so they are those of contracts: a join that repeats rows leaves a unit none, or an asker
        // could have any number of draws for one figure. The unit joined on keeps the greater of two where the
        // other is one.
        let bounded = |unit: &mut ScopeUnit, rows: Option<u64>| {
            unit.unit.max_rows = rows;
            unit.unit.one_row = rows == Some(1);
        };
        for (number, unit) in units.iter_mut().enumerate() {
            let own = unit.unit.max_rows;
            let joined_on = equal.iter().any(|(l, _, _)| *l == Some(number));
            bounded(
                unit,
                match (own, of_right) {
                    (own, Some(1)) => own,
                    (Some(1), right) if joined_on => right,
                    _ => None,
                },
            );
        }
        let unprotected = published(self.protection);
        if unprotected {
            units.clear();
        }
        let optional = join.kind == JoinKind::Left;
        if optional && units.is_empty() && !published(right.protection) {
            return Err(Refusal::new(
                Rule::Join,
                "published records without a match have nobody to protect them by",
                "Put the protected table on the left of LEFT JOIN",
            ));
        }
        for (number, mut unit) in right.units.into_iter().enumerate() {
            if published(right.protection) {
                continue;
            }
            // Places on the left are those of units that were there, and are not where that side is published.
            let joined_on = equal.iter().find(|(_, r, _)| *r == Some(number) && !unprotected);
            let same = joined_on.and_then(|(l, _, _)| *l);
            if let (Some(same), Some(column)) = (same, &unit.unit.column)
                && let Some(same) = units.get_mut(same)
            {
                same.equal.push(column.clone());
                same.equal.extend(unit.equal);
                same.alone.extend(unit.alone);
                continue;
            }
            let own = unit.unit.max_rows.filter(|_| of_left == Some(1));
            bounded(&mut unit, own);
            unit.stands_in = (optional || unit.stands_in.is_some()).then_some(0);
            units.push(unit);
        }
        columns.extend(right.columns.into_iter().map(|c| Column { nullable: c.nullable || optional, ..c }));
        pairs.extend(right.pairs);
        Ok(Self { datasets, columns, units, protection, pairs, repeats, loose })
    }

    /// Whether two columns may be joined; the unit domain that both name, if they do.
    fn joins_on(&self, left: &str, right: &Self, name: &str) -> Checked<Option<String>> {
        let missing = |name: &str| {
            let message = format!("column '{}' is in no contract", bare_name(name));
            Refusal::new(Rule::Unknown, message, "See the catalogue for what there is")
        };
        let a = self.column(left).ok_or_else(|| missing(left))?;
        let b = right.column(name).ok_or_else(|| missing(name))?;
        match (&a.role, &b.role) {
            (Role::Unit(x), Role::Unit(y)) if x == y => Ok(Some(x.clone())),
            (Role::Reference(x), Role::Reference(y)) if x == y && a.kind == b.kind => {
                let published = |scope: &Self| scope.protection.is_public();
                if published(self) || published(right) {
                    return Ok(None);
                }
                // One record there would decide over everybody here who shares the key.
                Err(Refusal::new(
                    Rule::Join,
                    format!("'{}' joins protected records to protected records", bare_name(left)),
                    "A reference key joins what is published of it; join protected records on a unit",
                ))
            }
            _ => Err(Refusal::new(
                Rule::Join,
                format!("'{}' and '{}' are not a key of both sides", bare_name(left), bare_name(name)),
                "Join on a unit that both sides name (person, household, property) or on a declared reference key",
            )),
        }
    }
}

/// One protection for both: methods are exclusive, and published records join with any.
fn mixed(a: Protection, b: Protection) -> Checked<Protection> {
    match (a, b) {
        (a, b) if a == b => Ok(a),
        (Protection::Public, other) | (other, Protection::Public) => Ok(other),
        (a, b) => Err(Refusal::new(
            Rule::MixedMethods,
            format!("records protected by {} are joined to records protected by {}", a.name(), b.name()),
            "Ask them one by one and join the results",
        )),
    }
}
