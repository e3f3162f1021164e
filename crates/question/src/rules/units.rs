//! Rows → Units: one row for each unit, that others may filter, band and join on. It never leaves.
//!
//! *Attack: an exact value by bisection.* A value of each unit is a measure: a count may be cut at every number up to 20
//! and at the usual bands beyond, a sum, least or greatest at the edges of its measure. It has no arithmetic.
//!
//! *Attack: a unit that nothing protects.* Rows tell of other units beside the one that they are derived by. One that goes
//! along with the deriving unit (an elector's home) stays in the scope. One of which several make up the deriving unit (a
//! home's electors) drops out, and the deriving unit stands for it. Any other leaves the rows *loose*, and `sources`
//! refuses them.
//!
//! After a left join a unit may be missing, and rows without one would make a unit of their own: such a column is no unit
//! here.

use loda_contract::{Attribute, Column, ColumnType, Role, Unit};

use super::conditions::Rules;
use super::figures::CONDITION_LIMIT;
use super::spelling::spelled;
use crate::draft::{Figure, Measure, PerUnit, bare_name};
use crate::refusal::{Checked, Refusal, Rule};
use crate::scope::{Scope, ScopeUnit, UNBOUNDED};
use crate::text::{VALUE_OF, heading};

/// Where the counts of a unit's rows may be cut: every number up to 20, then the usual bands.
const COUNT_EDGES: [i128; 8] = [21, 50, 100, 200, 500, 1_000, 2_000, 5_000];

/// A derivation by unit, judged, and the scope of its rows. `inner`: the scope of the rows that it is derived from, which
/// are checked already.
///
/// # Errors
/// The rule that refuses it.
pub(super) fn derive(per_unit: PerUnit, inner: Scope) -> Checked<(PerUnit, Scope)> {
    let PerUnit { rows, unit, keys, values } = per_unit;
    let rules = Rules { scope: &inner };
    // After a left join a unit may be missing: rows without one would make a unit of their own.
    let everywhere = !rules.column(&unit)?.nullable;
    let index = inner.unit_index(&unit);
    let counted = index.and_then(|index| inner.units.get(index));
    let Some(counted) = counted.filter(|u| u.stands_in.is_none() && everywhere) else {
        return Err(Refusal::new(
            Rule::UnitCount,
            format!("'{}' does not name a unit that every row has", bare_name(&unit)),
            "Group the subquery by the column that names the unit",
        ));
    };
    let mut columns = vec![Column {
        name: bare_name(&unit).to_owned(),
        kind: ColumnType::Text,
        role: Role::Unit(counted.unit.domain.clone()),
        nullable: false,
        description: String::new(),
        attribute: Attribute::default(),
    }];
    for key in &keys {
        let column = rules.column(key)?;
        if !matches!(column.role, Role::Dimension(_)) {
            return Err(Refusal::new(
                Rule::Operator,
                format!("a subquery by unit is also grouped by '{}', which is no dimension", bare_name(key)),
                "Group it by one unit, and by bare dimensions",
            ));
        }
        columns.push(Column { name: bare_name(key).to_owned(), ..column.clone() });
    }
    let distinct: std::collections::BTreeSet<&str> = columns.iter().map(|c| c.name.as_str()).collect();
    if distinct.len() < columns.len() {
        return Err(Refusal::new(
            Rule::Operator,
            "two keys of a subquery by unit have the same name",
            "Group it by one of them",
        ));
    }
    if values.len() > CONDITION_LIMIT {
        return Err(Refusal::new(
            Rule::Conditions,
            format!("a subquery by unit has {} values; the limit is {CONDITION_LIMIT}", values.len()),
            "Use several subqueries, or fewer values",
        ));
    }
    let mut checked = Vec::with_capacity(values.len());
    for (number, value) in values.into_iter().enumerate() {
        let condition = value.condition.and_then(|c| spelled(c, &inner));
        if let Some(condition) = &condition {
            rules.predicate(condition)?;
        }
        let of = derived(&rules, &value.measure, counted.unit.max_rows)?;
        let value = Figure { measure: value.measure, condition };
        let words = heading(&value);
        let description = format!("{VALUE_OF}{words} of each {}", bare_name(&unit));
        columns.push(Column { name: format!("d{number}"), description, ..of });
        checked.push(value);
    }
    let one_row = keys.is_empty();
    let unit_of_rows = Unit {
        domain: counted.unit.domain.clone(),
        column: Some(bare_name(&unit).to_owned()),
        about_people: counted.unit.about_people,
        one_row,
        max_rows: if one_row { Some(1) } else { counted.unit.max_rows },
        borough_exclusive: counted.unit.borough_exclusive,
    };
    let mut units = vec![ScopeUnit::new(unit_of_rows, 0)];
    let mut loose = inner.loose.clone();
    for (_, other, place) in others(&inner, index) {
        match place {
            UnitPlace::Along => units.push(ScopeUnit {
                stands_in: other.stands_in.map(|_| 0),
                carried: true,
                ..ScopeUnit::new(Unit { column: None, ..other.unit.clone() }, 0)
            }),
            UnitPlace::Below => {}
            UnitPlace::Loose => loose = Some(other.unit.domain.clone()),
        }
    }
    let scope = Scope {
        datasets: inner.datasets.clone(),
        columns,
        units,
        protection: inner.protection,
        pairs: Vec::new(),
        repeats: 0,
        loose,
    };
    Ok((PerUnit { rows, unit, keys, values: checked }, scope))
}

/// Where another unit of the rows is, seen from the unit that they are derived by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnitPlace {
    /// There is one of it for each unit: an elector has one home. It contributes still.
    Along,
    /// There is one unit for each of it: it is one of those that make up the unit, as electors a home.
    Below,
    /// Neither.
    Loose,
}

/// The other units of rows that are derived by one.
pub(crate) fn others(inner: &Scope, unit: Option<usize>) -> impl Iterator<Item = (usize, &ScopeUnit, UnitPlace)> {
    let counted = unit.and_then(|unit| inner.units.get(unit));
    let others = inner.units.iter().enumerate().filter(move |(place, _)| Some(*place) != unit);
    others.map(move |(place, other)| {
        let same = inner.units.iter().filter(|u| u.unit.domain == other.unit.domain);
        let place_of = match counted {
            // The columns that it goes along in are called by its domain.
            Some(counted) if counted.says(other) && same.count() == 1 => UnitPlace::Along,
            Some(counted) if counted.says(other) => UnitPlace::Loose,
            Some(counted) if other.says(counted) => UnitPlace::Below,
            _ => UnitPlace::Loose,
        };
        (place, other, place_of)
    })
}

/// A value of each unit as a column: a measure with edges and, where rows are bounded, bounds.
fn derived(rules: &Rules<'_>, measure: &Measure, max_rows: Option<u64>) -> Checked<Column> {
    let rows = max_rows.map_or(UNBOUNDED, i128::from);
    let times = |bound: i128| bound.checked_mul(rows).map_or(UNBOUNDED, |b| b.clamp(-UNBOUNDED, UNBOUNDED));
    let unbounded = max_rows.is_none();
    let column = |kind, role, nullable| Column {
        name: String::new(),
        kind,
        role,
        nullable,
        description: String::new(),
        attribute: Attribute::default(),
    };
    match measure {
        Measure::Rows | Measure::Units(_) | Measure::Present(_) => {
            match measure {
                Measure::Units(name) if rules.scope.unit_index(name).is_none() => {
                    return Err(Refusal::new(
                        Rule::UnitCount,
                        format!("'{}' does not name a unit that is counted here", bare_name(name)),
                        "Count rows with COUNT(*), or the different units of a column that names one",
                    ));
                }
                Measure::Present(name) => drop(rules.measure_column(name)?),
                _ => {}
            }
            let edges = (0..21).chain(COUNT_EDGES).collect();
            let role = Role::Measure { lower: 0, upper: rows, edges, clamp: None };
            Ok(column(ColumnType::Integer, role, false))
        }
        Measure::Sum(name) => {
            let of = rules.measure_column(name)?;
            let Role::Measure { lower, upper, edges, clamp, .. } = &of.role else { return Err(no_value()) };
            let clamp = clamp.filter(|_| !unbounded).map(|(from, to)| (times(from.min(0)), times(to.max(0))));
            let (lower, upper) = if unbounded {
                (if *lower < 0 { -UNBOUNDED } else { 0 }, UNBOUNDED)
            } else {
                (times((*lower).min(0)), times((*upper).max(0)))
            };
            let role = Role::Measure { lower, upper, edges: edges.clone(), clamp };
            Ok(column(of.kind, role, true))
        }
        Measure::Least(name) | Measure::Greatest(name) => {
            let of = rules.measure_column(name)?;
            Ok(column(of.kind, of.role.clone(), true))
        }
        Measure::Square(_) | Measure::Product(..) => Err(no_value()),
    }
}

fn no_value() -> Refusal {
    Refusal::new(
        Rule::Aggregate,
        "this aggregate is not a value of a unit",
        "Use COUNT, COUNT(DISTINCT unit), SUM, MIN or MAX for each unit, bare",
    )
}
