//! Tables that answer others: with every figure, and with as many columns as there can be.
//!
//! A node that keeps a released table answers others from it, without reading a record. Which table answers which follows
//! from contracts alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use loda_contract::{Contract, Role, Unit};

use super::rules::check_functional;
use super::{Classes, ColumnRef, Functional, RowDomain, Table, TableColumn};
use crate::scope::Contracts;

/// Tables that are looked for at most.
const LARGEST: usize = 20_000;

impl Table {
    /// The same columns with every count and sum that they tell of, and with the figures of this one.
    #[must_use]
    pub fn with_all_figures(&self, contracts: Contracts<'_>) -> Self {
        let told = |contract: &&Arc<Contract>| match &self.domain {
            RowDomain::Rows(dataset) => contract.dataset == *dataset,
            RowDomain::Units(_) => self.columns.iter().any(|column| match &column.reference.via {
                None => column.reference.dataset == contract.dataset,
                Some((through, _)) => *through == contract.dataset,
            }),
        };
        let mut figures: BTreeSet<Functional> = self.functionals.iter().cloned().collect();
        for contract in self.datasets.iter().filter(told) {
            let of = |name: &String| ColumnRef::own(&contract.dataset, name);
            let measures = contract.columns.iter().filter(|column| matches!(column.role, Role::Measure { .. }));
            let sums = measures.flat_map(|column| {
                let present = column.nullable.then(|| Functional::Present(of(&column.name)));
                present.into_iter().chain([Functional::Sum(of(&column.name))])
            });
            let units = contract.units.iter().map(|unit| Functional::Units(unit.domain.clone()));
            let all = sums.chain(units).chain([Functional::Rows]);
            figures.extend(all.filter(|figure| check_functional(figure, &self.domain, contracts).is_ok()));
        }
        let columns = self.columns.iter().map(|column| column.reference.clone());
        Self::new(self.domain.clone(), columns, figures, contracts).unwrap_or_else(|_| self.clone())
    }

    /// Where the columns and the figures of another table stand in this one, if this one answers it.
    #[must_use]
    pub fn answers(&self, other: &Self) -> Option<(Vec<usize>, Vec<usize>)> {
        if self.domain != other.domain || self.threshold != other.threshold {
            return None;
        }
        let column = |of: &TableColumn| self.columns.iter().position(|own| own == of);
        let figure = |of: &Functional| self.functionals.iter().position(|own| own == of);
        let columns = other.columns.iter().map(column).collect::<Option<_>>()?;
        Some((columns, other.functionals.iter().map(figure).collect::<Option<_>>()?))
    }

    /// How many cells it has at most, with all tables of fewer of its columns. `open`: how many classes a borough has of a
    /// column where the contract does not say.
    #[must_use]
    pub fn cells(&self, open: &dyn Fn(&TableColumn) -> u64) -> u64 {
        let of = |column: &TableColumn| match &column.classes {
            Classes::Presence => 3,
            _ if column.period.is_some() => open(column).saturating_add(1),
            Classes::Coded(values) => (values.len() as u64).saturating_add(4),
            Classes::Open => open(column).saturating_add(4),
        };
        self.columns.iter().map(of).fold(1, u64::saturating_mul)
    }

    /// The tables of one dataset's columns to which no column of it can be added, by every unit that it holds. `allowed`:
    /// the tables that a borough answers among those that contracts allow.
    #[must_use]
    pub fn largest(contract: &Contract, allowed: &dyn Fn(&Self) -> bool, contracts: Contracts<'_>) -> Vec<Self> {
        let of_unit = |unit: &Unit| (RowDomain::Units(unit.domain.clone()), Functional::Units(unit.domain.clone()));
        let mut domains: Vec<(RowDomain, Functional)> =
            contract.units.iter().filter(|u| u.about_people).map(of_unit).collect();
        let rows = RowDomain::Rows(contract.dataset.clone());
        let counted = contract.units.iter().find(|unit| unit.one_row);
        domains.push((rows, counted.map_or(Functional::Rows, |unit| Functional::Units(unit.domain.clone()))));
        let derived = contract.closure.derived.iter().map(|derived| &derived.name);
        let names: Vec<&String> = contract.columns.iter().map(|column| &column.name).chain(derived).collect();
        domains
            .into_iter()
            .flat_map(|(domain, figure)| {
                let table = |columns: &[ColumnRef]| {
                    Self::new(domain.clone(), columns.iter().cloned(), [figure.clone()], contracts).ok().filter(allowed)
                };
                // A column that is no table by itself is in none.
                let columns = names.iter().map(|name| ColumnRef::own(&contract.dataset, name));
                let columns: Vec<ColumnRef> = columns.filter(|of| table(std::slice::from_ref(of)).is_some()).collect();
                largest(&columns, &table)
            })
            .collect()
    }
}

fn largest(columns: &[ColumnRef], table: &dyn Fn(&[ColumnRef]) -> Option<Table>) -> Vec<Table> {
    let mut found = Vec::new();
    let mut sets: Vec<Vec<ColumnRef>> = vec![Vec::new()];
    while let Some(set) = sets.pop() {
        if found.len() >= LARGEST {
            break;
        }
        let from =
            set.last().and_then(|last| columns.iter().position(|of| of == last)).map_or(0, |at| at.saturating_add(1));
        let with = |column: &ColumnRef| [set.as_slice(), std::slice::from_ref(column)].concat();
        let mut more = false;
        for (at, column) in columns.iter().enumerate().filter(|(_, column)| !set.contains(column)) {
            let longer = with(column);
            if table(&longer).is_some() {
                more = true;
                // Each set by its columns in order.
                if at >= from {
                    sets.push(longer);
                }
            }
        }
        if !more {
            found.extend(table(&set));
        }
    }
    found
}
