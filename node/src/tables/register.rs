//! The register of a unit: the values of each unit in a table's columns, side by side.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use loda_contract::{Contract, Derived, Reduction};
use loda_disclosure::table::{ABSENT, CLASSES, Code, NOBODY, NULL, Records, UNREACHED};
use loda_question::table::{ColumnRef, Made, Table, TableColumn};

use super::column_cache::{ColumnCache, ColumnKey};
use super::columns::{self, Codes, Dictionary};
use super::pinned::{Pinned, Unit, measures};
use crate::snapshot::Snapshot;

/// The share of units, in per cent, whose rows may disagree on a column of the unit.
const DISAGREEING: usize = 1;

/// Ids above this cannot be the dense numbers of a dictionary.
const MOST_UNITS: u64 = 1 << 32;

pub(super) struct Register {
    pub(super) units: Vec<Unit>,
    /// For each column, the place of the other unit that it describes.
    pub(super) of_columns: Vec<Option<usize>>,
    pub(super) records: Records,
}

pub(super) fn read(
    cache: &ColumnCache,
    unit: &str,
    table: &Table,
    snapshots: &Pinned<'_>,
    dictionaries: &[Dictionary],
) -> anyhow::Result<Register> {
    let mut columns: Vec<Arc<Codes>> = Vec::new();
    for (column, dictionary) in table.columns().iter().zip(dictionaries) {
        let files = files(column, snapshots)?;
        let key = ColumnKey { domain: unit.to_owned(), column: column.reference.to_string(), files };
        columns.push(cache.get_or_read(key, || column_of(unit, column, table, snapshots, dictionary))?);
    }
    let mut units = vec![Unit { domain: unit.to_owned(), label: unit.to_owned() }];
    let mut of_columns = Vec::new();
    let mut of_units: Vec<Option<usize>> = vec![None];
    for (place, column) in table.columns().iter().enumerate() {
        let Some(domain) = &column.unit else {
            of_columns.push(None);
            continue;
        };
        let through = column.reference.via.as_ref().map_or(&column.reference.dataset, |(dataset, _)| dataset);
        let label = format!("{domain} of {through}");
        let known = units.iter().position(|u| u.label == label);
        of_columns.push(Some(known.unwrap_or_else(|| {
            units.push(Unit { domain: domain.clone(), label });
            of_units.push(Some(place));
            units.len() - 1
        })));
    }
    let mut values: Vec<Vec<Option<i128>>> = Vec::new();
    for of in measures(table) {
        values.push(measure_of(unit, &of, table, snapshots)?);
    }
    let most = columns.iter().map(|c| c.codes.len()).max().unwrap_or(0);
    let code = |codes: &Codes, column: &TableColumn, id: usize| {
        let missing = if column.reference.via.is_some() { UNREACHED } else { ABSENT };
        codes.codes.get(id).copied().unwrap_or(missing)
    };
    // A column may be reached through another dataset. A unit that the column's own dataset lacks is still in that
    // other one.
    let is_there = |code: Code, column: &TableColumn| {
        code == NULL || code >= CLASSES || (code == ABSENT && column.reference.via.is_some())
    };
    // A unit that no dataset of the table holds is left out.
    let held: Vec<usize> = (0..most)
        .filter(|id| {
            columns.iter().zip(table.columns()).any(|(codes, column)| is_there(code(codes, column, *id), column))
        })
        .collect();
    let mut records = Records::default();
    for (codes, column) in columns.iter().zip(table.columns()) {
        records.columns.push(held.iter().map(|id| code(codes, column, *id)).collect());
    }
    for of in &of_units {
        let other = of.and_then(|place| columns.get(place)).and_then(|codes| codes.units.as_ref());
        records.units.push(match (of, other) {
            (None, _) => held.iter().map(|id| *id as u64).collect(),
            (Some(_), Some(ids)) => held.iter().map(|id| ids.get(*id).copied().unwrap_or(NOBODY)).collect(),
            (Some(_), None) => bail!("a column tells of a unit that it does not name"),
        });
    }
    for of in values {
        records.measures.push(held.iter().map(|id| of.get(*id).copied().flatten()).collect());
    }
    Ok(Register { units, of_columns, records })
}

fn files(column: &TableColumn, snapshots: &Pinned<'_>) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let through = column.reference.via.as_ref().map(|(dataset, _)| dataset.clone());
    let mut files = Vec::new();
    for dataset in std::iter::once(column.reference.dataset.clone()).chain(through) {
        files.extend(snapshots.of(&dataset)?.files.iter().cloned());
    }
    Ok(files)
}

/// The values of a column, for each unit of the register.
fn column_of(
    unit: &str,
    column: &TableColumn,
    table: &Table,
    snapshots: &Pinned<'_>,
    dictionary: &Dictionary,
) -> anyhow::Result<Codes> {
    let snapshot = snapshots.of(&column.reference.dataset)?;
    let contract = table.contract(&column.reference.dataset).context("a column of no dataset")?;
    let Some((through, by)) = &column.reference.via else {
        return held_column(unit, column, contract, snapshot, dictionary, column.unit.as_deref());
    };
    let other = column.unit.as_deref().context("a column is reached through no unit")?;
    let there = held_column(other, column, contract, snapshot, dictionary, None)?;
    let link = snapshots.of(through)?;
    let link_contract = table.contract(through).context("a column is reached through no dataset")?;
    ensure!(
        link_contract.unit_of_column(by).is_some_and(|u| u.domain == other),
        "a column is reached through another unit"
    );
    let (own, others) = (columns::id_column(unit), columns::id_column(other));
    let read = columns::read(link, &[&own, &others])?;
    let [own, others] = read.as_slice() else { bail!("unit ids are not there") };
    let (own, others) = (columns::ids(own)?, columns::ids(others)?);
    let size = size_for(&own)?;
    let mut codes = vec![UNREACHED; size];
    let mut units = vec![NOBODY; size];
    for (id, other) in own.iter().zip(&others) {
        let place = usize::try_from(*id)?;
        let of_other = usize::try_from(*other).ok().and_then(|other| there.codes.get(other)).copied().unwrap_or(ABSENT);
        let slots = codes.get_mut(place).zip(units.get_mut(place)).context("an id is out of bounds")?;
        ensure!(*slots.0 == UNREACHED, "a unit that has one row has several");
        *slots.0 = of_other;
        *slots.1 = *other;
    }
    Ok(Codes { codes, units: Some(units) })
}

fn size_for(ids: &[u64]) -> anyhow::Result<usize> {
    let most = ids.iter().copied().max().map_or(0, |most| most.saturating_add(1));
    ensure!(most <= MOST_UNITS, "unit ids are no dense numbers");
    Ok(usize::try_from(most)?)
}

/// The values of a column, for each unit of a domain, from a dataset that holds the units.
fn held_column(
    unit: &str,
    column: &TableColumn,
    contract: &Arc<Contract>,
    snapshot: &Snapshot,
    dictionary: &Dictionary,
    other: Option<&str>,
) -> anyhow::Result<Codes> {
    let once = contract.unit(unit).context("the dataset does not hold the unit")?.one_row;
    let own = columns::id_column(unit);
    let ids = columns::ids(columns::read(snapshot, &[&own])?.first().context("a unit has no ids")?)?;
    let size = size_for(&ids)?;
    let units = match other {
        None => None,
        Some(other) => {
            let name = columns::id_column(other);
            let others = columns::ids(columns::read(snapshot, &[&name])?.first().context("a unit has no ids")?)?;
            let mut units = vec![NOBODY; size];
            for (id, other) in ids.iter().zip(others) {
                if let Some(slot) = units.get_mut(usize::try_from(*id)?) {
                    *slot = other;
                }
            }
            Some(units)
        }
    };
    let mut codes = vec![ABSENT; size];
    match (&column.reference.column, column.made) {
        (None, _) => {
            for id in &ids {
                let slot = codes.get_mut(usize::try_from(*id)?).context("an id is out of bounds")?;
                ensure!(!once || *slot == ABSENT, "a unit that has one row has several");
                *slot = CLASSES;
            }
        }
        (Some(name), Made::Derived { counts }) => {
            let derived = contract.derived(name).context("no such derived value")?;
            derive(derived, counts, contract, snapshot, &ids, dictionary, &mut codes)?;
        }
        (Some(name), _) => {
            let read = columns::read(snapshot, &[name])?;
            let values = dictionary.codes(read.first().context("a column is not there")?, column.kind)?;
            let mut differ = vec![false; if once { 0 } else { size }];
            for (id, code) in ids.iter().zip(values) {
                let place = usize::try_from(*id)?;
                let slot = codes.get_mut(place).context("an id is out of bounds")?;
                ensure!(!once || *slot == ABSENT, "a unit that has one row has several");
                if *slot == ABSENT || *slot == code {
                    *slot = code;
                } else if let Some(differs) = differ.get_mut(place) {
                    *differs = true;
                }
            }
            let disagreeing = differ.iter().filter(|differs| **differs).count();
            let all = codes.iter().filter(|code| **code != ABSENT).count();
            ensure!(
                disagreeing.saturating_mul(100) <= all.saturating_mul(DISAGREEING),
                "rows of one {unit} disagree on {name} for more than {DISAGREEING} % of them: the column is no column of the {unit}"
            );
            for (slot, differs) in codes.iter_mut().zip(differ) {
                if differs {
                    *slot = NULL;
                }
            }
        }
    }
    Ok(Codes { codes, units })
}

fn derive(
    derived: &Derived,
    counts: bool,
    contract: &Contract,
    snapshot: &Snapshot,
    ids: &[u64],
    dictionary: &Dictionary,
    codes: &mut [Code],
) -> anyhow::Result<()> {
    let mut meets = vec![true; ids.len()];
    for condition in &derived.conditions {
        let column = contract.column(&condition.column).context("a condition on no column")?;
        let read = columns::read(snapshot, &[&condition.column])?;
        let tested = columns::tested(read.first().context("a column is not there")?, column, &condition.test)?;
        meets.iter_mut().zip(tested).for_each(|(meets, tested)| *meets &= tested);
    }
    let values = match derived.reduction.measure() {
        None => None,
        Some(name) => {
            let column = contract.column(name).context("a measure of no column")?;
            let read = columns::read(snapshot, &[name])?;
            Some(columns::numbers(read.first().context("a measure is not there")?, column)?)
        }
    };
    let mut totals: Vec<Option<i128>> = vec![None; codes.len()];
    for (row, (id, meets)) in ids.iter().zip(&meets).enumerate() {
        let place = usize::try_from(*id)?;
        // The unit is in the dataset, whether or not its rows count.
        *codes.get_mut(place).context("an id is out of bounds")? = NULL;
        if !meets {
            continue;
        }
        let value = match &values {
            None => Some(1),
            Some(values) => values.get(row).copied().flatten(),
        };
        let (Some(value), Some(total)) = (value, totals.get_mut(place)) else { continue };
        *total = Some(match (*total, &derived.reduction) {
            (None, _) => value,
            (Some(total), Reduction::Rows | Reduction::Sum(_)) => {
                total.checked_add(value).context("a sum overflows")?
            }
            (Some(total), Reduction::Least(_)) => total.min(value),
            (Some(total), Reduction::Greatest(_)) => total.max(value),
        });
    }
    for (code, total) in codes.iter_mut().zip(totals) {
        if *code == ABSENT {
            continue;
        }
        let value = if counts { Some(total.unwrap_or(0)) } else { total };
        let class = value.map(|value| derived.class(value));
        let value = class.and_then(|class| dictionary.values.iter().find(|v| columns::units_of(v) == Some(class)));
        *code = value.map_or(NULL, |value| dictionary.code(value));
    }
    Ok(())
}

/// The value of a measure, for each unit.
fn measure_of(unit: &str, of: &ColumnRef, table: &Table, snapshots: &Pinned<'_>) -> anyhow::Result<Vec<Option<i128>>> {
    let contract = table.contract(&of.dataset).context("a measure of no dataset")?;
    let name = of.column.as_deref().context("a measure without a name")?;
    let column = contract.column(name).context("a measure of no column")?;
    let own = columns::id_column(unit);
    let read = columns::read(snapshots.of(&of.dataset)?, &[&own, name])?;
    let [ids, values] = read.as_slice() else { bail!("a measure is not there") };
    let (ids, numbers) = (columns::ids(ids)?, columns::numbers(values, column)?);
    let mut values = vec![None; size_for(&ids)?];
    for (id, number) in ids.iter().zip(numbers) {
        if let Some(slot) = values.get_mut(usize::try_from(*id)?) {
            *slot = number;
        }
    }
    Ok(values)
}
