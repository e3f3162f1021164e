//! A column of a row domain, as contracts define it.
//!
//! *Attack: a column that tells of several rows at once.* A column of a register has one value for each unit: of the unit's
//! one row, of an attribute that every row of it says the same of, or of a derived value that the contract names. A column
//! of one of several rows would count a unit by whichever row the asker chose.
//!
//! *Attack: the same attribute twice.* Two datasets may hold it with differences, and a table of both would show the units
//! in which they differ. A contract says which dataset has it, and the other name is refused.

use std::sync::Arc;

use loda_contract::{ColumnType, Contract, Domain, Role, Unit};

use super::column::{Classes, ColumnRef, Made, PERIOD, TableColumn, number, period_name};
use super::definition::RowDomain;
use crate::refusal::{Refusal, Rule};
use crate::scope::Contracts;

/// A column of a row domain, as contracts define it, and the contracts that it reads. The weight is 0: `rules` sets it.
///
/// # Errors
/// Where there is no such column.
pub(super) fn resolve(
    reference: &ColumnRef,
    domain: &RowDomain,
    contracts: Contracts<'_>,
) -> Result<(TableColumn, Vec<Arc<Contract>>), Refusal> {
    let contract = people(&reference.dataset, contracts)?;
    let mut read = vec![Arc::clone(&contract)];
    // The domain of the unit whose row the column stands in, and whether the dataset holds it once.
    let holder = match (domain, &reference.via) {
        (RowDomain::Rows(dataset), None) if *dataset == reference.dataset => None,
        (RowDomain::Rows(dataset), _) => {
            return Err(outside(reference, &format!("the rows of {dataset}")));
        }
        (RowDomain::Units(unit), None) => Some(unit.clone()),
        (RowDomain::Units(unit), Some((through, column))) => {
            let through = people(through, contracts)?;
            let other = through.unit_of_column(column).map(|u| u.domain.clone());
            let once = through.unit(unit).is_some_and(|u| u.one_row);
            read.push(Arc::clone(&through));
            match other {
                Some(other) if once && other != *unit => Some(other),
                _ => return Err(outside(reference, &format!("the register of {unit}"))),
            }
        }
    };
    let held = match &holder {
        None => None,
        Some(unit) => {
            // A row that is a unit of its own is counted in its period, and has no register beside.
            let of_rows = |unit: &&Unit| unit.column.is_none() && contract.period().is_some();
            let unit = contract.unit(unit).filter(|unit| !of_rows(unit));
            Some(unit.ok_or_else(|| outside(reference, "a register of units that the dataset does not hold"))?.clone())
        }
    };
    let own = |unit: &str| matches!(domain, RowDomain::Units(u) if u == unit);
    let Some(name) = &reference.column else {
        let Some(held) = held else { return Err(outside(reference, "the dataset's own rows")) };
        let unit = (!own(&held.domain)).then_some(held.domain);
        let column = TableColumn {
            reference: reference.clone(),
            kind: ColumnType::Boolean,
            classes: Classes::Presence,
            nullable: false,
            differs: false,
            optional: true,
            made: Made::Presence,
            weight: 0,
            period: None,
            unit,
        };
        return Ok((column, read));
    };
    if let Some(derived) = contract.derived(name) {
        let (RowDomain::Units(unit), None) = (domain, &reference.via) else {
            return Err(outside(
                reference,
                "figures of another unit: a derived value stands in those of its own alone",
            ));
        };
        if derived.unit != *unit {
            return Err(outside(reference, &format!("the register of {unit}: it is a value of each {}", derived.unit)));
        }
        let kind = derived.kind(&contract.columns);
        let counts = derived.reduction.measure().is_none();
        let column = TableColumn {
            reference: reference.clone(),
            kind,
            classes: Classes::Coded(derived.bands.iter().map(|band| number(*band, kind)).collect()),
            nullable: !counts,
            differs: false,
            optional: true,
            made: Made::Derived { counts },
            weight: 0,
            period: None,
            unit: None,
        };
        return Ok((column, read));
    }
    let (name, longer) = match name.strip_suffix(PERIOD) {
        Some(of) => (of, contract.closure.period.as_ref().filter(|period| period.column == of && held.is_none())),
        None => (name.as_str(), None),
    };
    let column = contract.column(name).filter(|_| longer.is_some() || name == reference.name());
    let column = column.ok_or_else(|| {
        Refusal::new(
            Rule::Unknown,
            format!("column '{reference}' is in no contract"),
            "See the catalogue for what there is",
        )
    })?;
    let of = contract.unit_of_attribute(column);
    if let Some(held) = &held {
        if !held.one_row && of != Some(held.domain.as_str()) {
            return Err(outside(reference, &format!("the register of {}, of which it has several", held.domain)));
        }
        if let Some((dataset, column)) = &column.attribute.same_as {
            return Err(Refusal::new(
                Rule::Table,
                format!("'{reference}' is the same attribute as {dataset}.{column}, and there is one column of it"),
                format!("Ask of {dataset}.{column}"),
            ));
        }
    }
    let period = contract.period().filter(|(of, column)| held.is_none() && reference.name() == period_name(of, column));
    let period = period.map(|(of, _)| of.clone());
    let (classes, made) = match &column.role {
        Role::Dimension(Domain::Dates { from, to, .. }) if let Some(longer) = longer => {
            let periods = Domain::Dates { from: *from, to: *to, grain: longer.every };
            (periods.values().map_or(Classes::Open, Classes::Coded), Made::Dimension)
        }
        Role::Dimension(domain) => (domain.values().map_or(Classes::Open, Classes::Coded), Made::Dimension),
        Role::Measure { lower, upper, edges, .. } => {
            let inner = edges.iter().filter(|edge| *lower < **edge && **edge <= *upper);
            let bands = std::iter::once(lower).chain(inner).map(|band| number(*band, column.kind));
            (Classes::Coded(bands.collect()), Made::Bands)
        }
        _ => return Err(outside(reference, "a table: it is no dimension, measure or derived value")),
    };
    let unit = match (&held, of) {
        (None, _) => None,
        (Some(held), _) if !own(&held.domain) => Some(held.domain.clone()),
        (Some(_), Some(of)) if !own(of) => Some(of.to_owned()),
        _ => None,
    };
    let several = held.as_ref().is_some_and(|held| !held.one_row);
    let column = TableColumn {
        reference: reference.clone(),
        kind: column.kind,
        classes,
        // Rows of one unit that disagree are of the class NULL.
        nullable: column.nullable || several || column.attribute.codes_from.is_some(),
        differs: !column.nullable,
        optional: held.is_some(),
        made,
        weight: 0,
        period,
        unit,
    };
    Ok((column, read))
}

/// The contract of a dataset about people.
///
/// # Errors
/// Rule `unknown-name`.
pub(super) fn people(dataset: &str, contracts: Contracts<'_>) -> Result<Arc<Contract>, Refusal> {
    let contract = contracts(dataset).filter(|c| c.protection.may_be_about_people());
    contract.ok_or_else(|| {
        Refusal::new(
            Rule::Unknown,
            format!("'{dataset}' is no dataset about people here"),
            "See the catalogue for what there is",
        )
    })
}

fn outside(reference: &ColumnRef, place: &str) -> Refusal {
    Refusal::new(
        Rule::Table,
        format!("'{reference}' is no column of {place}"),
        "Ask of the columns that the catalogue shows for the unit that is counted, and of its derived values",
    )
}
