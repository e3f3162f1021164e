//! The columns of a register or of rows, and the tables that contracts allow at a number of dimensions.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use loda_contract::Contract;
use loda_question::Contracts;
use loda_question::table::{ColumnRef, Functional, RowDomain, Table};

use crate::snapshot::Snapshot;

/// The dimensions that are assessed. No contract may declare more.
pub(super) const DIMENSIONS: std::ops::RangeInclusive<u32> = 1..=4;

/// The number of sets of columns that are looked for at most. Further sets are like these.
const SETS: usize = 20_000;

/// The row domains of a dataset's tables: its units about people, and its own rows where a unit may have several.
pub(super) fn domains(contract: &Contract) -> Vec<RowDomain> {
    let units = contract.units.iter().filter(|unit| unit.about_people && unit.column.is_some());
    let mut domains: Vec<RowDomain> = units.map(|unit| RowDomain::Units(unit.domain.clone())).collect();
    if !contract.one_row_a_unit() || contract.period().is_some() {
        domains.push(RowDomain::Rows(contract.dataset.clone()));
    }
    domains
}

/// The contracts, as if each allowed this number of dimensions.
pub(super) fn at(snapshots: &[Snapshot], dimensions: u32) -> HashMap<String, Arc<Contract>> {
    let with = |snapshot: &Snapshot| {
        let mut contract = Contract::clone(&snapshot.contract);
        contract.closure.dimensions = dimensions;
        (contract.dataset.clone(), Arc::new(contract))
    };
    snapshots.iter().map(with).collect()
}

/// The figure that is counted in a domain.
pub(super) fn counted(domain: &RowDomain, contract: &Contract) -> Functional {
    match domain {
        RowDomain::Units(unit) => Functional::Units(unit.clone()),
        RowDomain::Rows(_) => match contract.units.iter().find(|unit| unit.about_people) {
            Some(unit) => Functional::Units(unit.domain.clone()),
            None => Functional::Rows,
        },
    }
}

/// Every column that a table of the domain may have.
pub(super) fn columns(
    domain: &RowDomain,
    contract: &Contract,
    contracts: Contracts<'_>,
    datasets: &[Arc<Contract>],
) -> Vec<ColumnRef> {
    let mut found: Vec<ColumnRef> = Vec::new();
    let names = |of: &Contract| -> Vec<Option<String>> {
        let columns = of.columns.iter().map(|column| column.name.clone());
        let derived = of.closure.derived.iter().map(|derived| derived.name.clone());
        std::iter::once(None).chain(columns.chain(derived).map(Some)).collect()
    };
    let mut add = |via: Option<(String, String)>, of: &Contract| {
        for column in names(of) {
            let reference = ColumnRef { via: via.clone(), dataset: of.dataset.clone(), column };
            let figure = counted(domain, contract);
            if Table::new(domain.clone(), [reference.clone()], [figure], contracts).is_ok() {
                found.push(reference);
            }
        }
    };
    match domain {
        RowDomain::Rows(_) => add(None, contract),
        RowDomain::Units(unit) => {
            for of in datasets {
                add(None, of);
                // Columns of the dataset's other units. Each record of the unit names one of them.
                let others = of.columns.iter().filter_map(|column| {
                    let other = of.unit_of_column(&column.name).filter(|other| other.domain != *unit)?;
                    Some((column.name.clone(), other.domain.clone()))
                });
                for (by, other) in others {
                    let held = datasets.iter().filter(|of| of.unit(&other).is_some());
                    held.for_each(|held| add(Some((of.dataset.clone(), by.clone())), held));
                }
            }
        }
    }
    found
}

/// The tables that hold a column, as sets of places among `columns`.
pub(super) fn tables(
    domain: &RowDomain,
    attribute: &ColumnRef,
    columns: &[ColumnRef],
    contracts: Contracts<'_>,
) -> loda_assessment::Tables {
    let figure = match domain {
        RowDomain::Units(unit) => Functional::Units(unit.clone()),
        RowDomain::Rows(dataset) => match contracts(dataset) {
            Some(contract) => counted(domain, &contract),
            None => return loda_assessment::Tables::default(),
        },
    };
    let allowed = |places: &[usize]| {
        let references: BTreeSet<ColumnRef> = places.iter().filter_map(|place| columns.get(*place).cloned()).collect();
        let table = Table::new(domain.clone(), references, [figure.clone()], contracts).ok()?;
        // If another column already tells a presence, the set is not a table of its own.
        (table.columns().iter().filter(|column| column.period.is_none()).count() == places.len()).then_some(())
    };
    let Some(own) = columns.iter().position(|column| column == attribute) else {
        return loda_assessment::Tables::default();
    };
    let mut found = Vec::new();
    let mut sets: Vec<Vec<usize>> = vec![vec![own]];
    while let Some(set) = sets.pop() {
        if found.len() >= SETS || allowed(&set).is_none() {
            continue;
        }
        let from = set.iter().skip(1).last().map_or(0, |last| last.saturating_add(1));
        let more = (from..columns.len()).filter(|place| *place != own);
        sets.extend(more.map(|place| [set.as_slice(), &[place]].concat()));
        found.push(set);
    }
    loda_assessment::Tables(found)
}
