//! The class numbers of each record of a row domain in its columns.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use loda_assessment::{Column, Population};
use loda_contract::Contract;
use loda_disclosure::table::{ABSENT, CLASSES, Code, NOBODY, Records, TableShape};
use loda_question::table::{ColumnRef, RowDomain, Table};

use super::closure;
use crate::snapshot::Snapshot;
use crate::tables::{Pinned, Tables, whole};

/// The records that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// The records that the dataset holds. Their values in its columns are assessed.
    Held,
    /// All records of the register. Whether they are in the dataset is assessed.
    All,
}

/// The records of a row domain.
pub(super) struct People {
    pub(super) domain: RowDomain,
    whom: Whom,
    /// In the order of the population's columns.
    pub(super) columns: Vec<ColumnRef>,
    pub(super) population: Population,
    /// The information of sums in addition to counts, in units of a count's information. It adds up, over the measures,
    /// the mean of (distance of a value from the middle / half-width)².
    pub(super) sums: f64,
}

/// Reads a domain from the snapshots. With [`Whom::All`], `None` means that the register holds nobody beyond the
/// dataset, or that the domain is one of rows.
pub(super) fn read(
    tables: &Tables,
    domain: RowDomain,
    whom: Whom,
    contract: &Arc<Contract>,
    snapshots: &[Snapshot],
) -> anyhow::Result<Option<People>> {
    let datasets: Vec<Arc<Contract>> = snapshots.iter().map(|s| Arc::clone(&s.contract)).collect();
    let held = |name: &str| datasets.iter().find(|contract| contract.dataset == name).cloned();
    // A single column may have a weight of two and form a table of its own.
    let wide = closure::at(snapshots, *closure::DIMENSIONS.end());
    let contracts = |name: &str| wide.get(name).cloned();
    let figure = closure::counted(&domain, contract);
    let one = |reference: &ColumnRef| {
        let table = Table::new(domain.clone(), [reference.clone()], [figure.clone()], &contracts);
        table.map_err(|refusal| anyhow::anyhow!("{}", refusal.message))
    };
    let records = |table: &Table| -> anyhow::Result<(TableShape, Records)> {
        let of_table = |of: &Arc<Contract>| snapshots.iter().find(|s| s.contract.dataset == of.dataset).cloned();
        let pinned: Vec<Snapshot> = table.datasets().iter().filter_map(of_table).collect();
        tables.records(table, &Pinned(&pinned))
    };
    let references = closure::columns(&domain, contract, &contracts, &datasets);
    let presence = ColumnRef { via: None, dataset: contract.dataset.clone(), column: None };
    let first = match &domain {
        RowDomain::Units(_) => presence,
        RowDomain::Rows(_) => references.first().cloned().context("rows without a column")?,
    };
    let (shape, there) = records(&one(&first)?)?;
    let mut members = Members::of(&domain, &shape, &there)?;
    if whom == Whom::All {
        let held = members.count;
        for reference in references.iter().filter(|of| of.column.is_none() && of.via.is_none()) {
            let (shape, there) = records(&one(reference)?)?;
            members.and(&Members::of(&domain, &shape, &there)?);
        }
        if members.count == held || matches!(domain, RowDomain::Rows(_)) {
            return Ok(None);
        }
    }
    let mut columns = Vec::with_capacity(references.len());
    for reference in &references {
        let (shape, records) = records(&one(reference)?)?;
        columns.push(members.column(reference, &shape, &records)?);
    }
    let sums = match held(&contract.dataset) {
        Some(_) => sums(&whole_of(&one(&first)?, snapshots), &records)?,
        None => 0.0,
    };
    let population = Population { records: members.count, columns };
    Ok(Some(People { domain, whom, columns: references, population, sums }))
}

fn whole_of(table: &Table, snapshots: &[Snapshot]) -> Table {
    whole(table, &Pinned(snapshots))
}

/// The information in the sums of a table, in units of a count's information.
fn sums(table: &Table, records: &dyn Fn(&Table) -> anyhow::Result<(TableShape, Records)>) -> anyhow::Result<f64> {
    let (shape, records) = records(table)?;
    let each = shape.measures.iter().zip(&records.measures).map(|(measure, values)| {
        let (lower, upper) = (measure.lower as f64, measure.upper as f64);
        let (middle, half) = ((upper + lower) / 2.0, ((upper - lower) / 2.0).max(0.5));
        let apart = |value: &i128| (((*value as f64).clamp(lower, upper) - middle) / half).powi(2);
        let apart: Vec<f64> = values.iter().flatten().map(apart).collect();
        apart.iter().sum::<f64>() / apart.len().max(1) as f64
    });
    Ok(each.sum())
}

/// The records that are looked at.
struct Members {
    count: usize,
    /// For a register: the place of each id.
    by_id: HashMap<u64, u32>,
    /// For rows: the places of the rows of one period, or of all rows if there are no periods.
    rows: Option<Vec<usize>>,
}

impl Members {
    fn of(domain: &RowDomain, shape: &TableShape, records: &Records) -> anyhow::Result<Self> {
        let ids = records.units.first().context("no unit")?;
        match domain {
            RowDomain::Units(_) => {
                let codes = records.columns.first().context("no column")?;
                let there = ids.iter().zip(codes).filter(|(_, code)| **code >= CLASSES);
                let by_id: HashMap<u64, u32> = there.map(|(id, _)| *id).zip(0..).collect();
                Ok(Self { count: by_id.len(), by_id, rows: None })
            }
            RowDomain::Rows(_) => {
                let rows: Vec<usize> = match &shape.period {
                    None => (0..ids.len()).collect(),
                    Some(period) => {
                        // Takes the last period, because it is as large as the periods to come.
                        let codes = records.columns.get(period.column).context("no period")?;
                        let last = codes.iter().copied().max();
                        (0..ids.len()).filter(|row| codes.get(*row).copied() == last).collect()
                    }
                };
                Ok(Self { count: rows.len(), by_id: HashMap::new(), rows: Some(rows) })
            }
        }
    }

    /// Adds the members of another dataset.
    fn and(&mut self, other: &Self) {
        let mut ids: Vec<&u64> = other.by_id.keys().collect();
        ids.sort_unstable();
        for id in ids {
            let next = self.by_id.len() as u32;
            self.by_id.entry(*id).or_insert(next);
        }
        self.count = self.by_id.len();
    }

    fn column(&self, reference: &ColumnRef, shape: &TableShape, records: &Records) -> anyhow::Result<Column> {
        let place = shape.period.as_ref().map_or(0, |period| usize::from(period.column == 0));
        // A table of the period's own column has only that column.
        let place = place.min(records.columns.len().saturating_sub(1));
        let codes = records.columns.get(place).context("no column")?;
        let ids = records.units.first().context("no unit")?;
        let other = shape.columns.get(place).and_then(|column| column.unit).and_then(|unit| records.units.get(unit));
        let (mut of, mut subjects): (Vec<Code>, Option<Vec<u64>>) = match &self.rows {
            Some(rows) => (rows.iter().map(|row| codes.get(*row).copied().unwrap_or(ABSENT)).collect(), None),
            None => (vec![ABSENT; self.count], other.map(|_| vec![NOBODY; self.count])),
        };
        if self.rows.is_none() {
            for (row, (id, code)) in ids.iter().zip(codes).enumerate() {
                let Some(slot) = self.by_id.get(id).and_then(|at| of.get_mut(*at as usize)) else { continue };
                *slot = *code;
                let at = self.by_id.get(id).map_or(0, |at| *at as usize);
                let pair = subjects.as_mut().and_then(|all| all.get_mut(at)).zip(other.and_then(|all| all.get(row)));
                pair.into_iter().for_each(|(slot, of)| *slot = *of);
            }
        }
        let mut numbers: HashMap<Code, u32> = HashMap::new();
        let codes = of.iter().map(|code| {
            let next = numbers.len() as u32;
            *numbers.entry(*code).or_insert(next)
        });
        let codes: Vec<u32> = codes.collect();
        Ok(Column {
            name: reference.to_string(),
            codes,
            classes: numbers.len().max(1) as u32,
            subjects: subjects.map(|all| numbered(&all)),
        })
    }
}

/// Gives each home, or other unit, a number from 0 on. A person without one gets a number of their own.
fn numbered(ids: &[u64]) -> Vec<u32> {
    let mut numbers: HashMap<u64, u32> = HashMap::new();
    let mut next = 0_u32;
    ids.iter()
        .map(|id| {
            let number = if *id == NOBODY { next } else { *numbers.entry(*id).or_insert(next) };
            next = next.max(number.saturating_add(1));
            number
        })
        .collect()
}

impl People {
    /// The columns of a dataset that are assessed: those about people, except for places. With [`Whom::All`], only
    /// whether people are in the dataset.
    pub(super) fn attributes<'a>(
        &'a self,
        contract: &'a Contract,
        only: Option<&'a str>,
    ) -> impl Iterator<Item = (usize, &'a ColumnRef)> {
        self.columns.iter().enumerate().filter(move |(place, reference)| {
            let own = reference.via.is_none() && reference.dataset == contract.dataset;
            if self.whom == Whom::All {
                return own && reference.column.is_none() && only.is_none();
            }
            let Some(name) = reference.column.as_deref().filter(|_| own) else { return false };
            let is_place = contract.column(name).is_some_and(|column| column.attribute.place);
            let classes = self.population.columns.get(*place).map_or(0, |column| column.classes);
            !is_place && classes > 1 && only.is_none_or(|only| only == name)
        })
    }

    /// How many records a subject with the attribute moves, on average and at most.
    pub(super) fn moved(&self, attribute: usize) -> (f64, f64) {
        let column = self.population.columns.get(attribute);
        let Some(subjects) = column.and_then(|column| column.subjects.as_ref()) else { return (1.0, 1.0) };
        let mut members: HashMap<u32, u32> = HashMap::new();
        subjects.iter().for_each(|subject| *members.entry(*subject).or_default() += 1);
        let most = members.values().copied().max().unwrap_or(1);
        (subjects.len() as f64 / members.len().max(1) as f64, f64::from(most))
    }
}
