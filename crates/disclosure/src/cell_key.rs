//! `cell-key`: the Office for National Statistics' cell-key perturbation.
//!
//! Each unit has a stable secret key. The keys of a set's units are added modulo M; count and sum
//! look up the noise in a fixed table. The same set of units gives the same answer however it is
//! asked; a set that differs by one unit gets fresh noise. Source: ONS, `cell-key-perturbation`
//! 3.1.0, against which the tests of this crate compare.
//!
//! A limit that follows from the method: a unit that is *not* in a set does not change the answer. An
//! asker who can form a set with and without one person, and sees a change, knows that the person is
//! in it. `examples/averaging.rs` measures that. Limits on granularity, quotas and the log must keep
//! such pairs of sets from being formed; this crate cannot.

use std::collections::HashMap;

use crate::error::DisclosureError;
use crate::method::CellKeyRules;
use crate::output::{OutputRow, withhold_together};
use crate::spec::{FigureKind, TableSpec};
use crate::stage::{Cell, Stage};

/// Refuses figures that cell keys cannot protect, from the specification alone.
pub(crate) fn check(spec: &TableSpec) -> Result<(), DisclosureError> {
    let one_row = spec.domains.iter().any(|domain| domain.one_row);
    for figure in &spec.figures {
        match figure.kind {
            FigureKind::Present { .. } | FigureKind::Sum { .. } => return Err(DisclosureError::SumOnPersonal),
            FigureKind::Rows if !one_row => return Err(DisclosureError::RowsOnPersonal),
            FigureKind::Rows | FigureKind::Units { .. } => {}
        }
    }
    Ok(())
}

/// The cells with at least one released figure, in key order.
pub(crate) fn release(
    spec: &TableSpec,
    stage: &Stage,
    rules: &CellKeyRules,
) -> Result<Vec<OutputRow>, DisclosureError> {
    let one_row_domain = spec.domains.iter().position(|domain| domain.one_row);
    let mut released = Vec::new();
    for (key, cell) in &stage.cells {
        // Figures of one set share their counts.
        let mut counts_of = HashMap::<u16, Vec<i64>>::new();
        let mut values = Vec::with_capacity(spec.figures.len());
        for figure in &spec.figures {
            let counts = match counts_of.get(&figure.requires) {
                Some(counts) => counts,
                None => {
                    let counts = perturbed_counts(stage, cell, figure.requires, rules)?;
                    counts_of.entry(figure.requires).or_insert(counts)
                }
            };
            let domain = match figure.kind {
                FigureKind::Units { domain } => domain,
                FigureKind::Rows => {
                    let domain = one_row_domain.ok_or(DisclosureError::RowsOnPersonal)?;
                    check_one_row(cell, domain, figure.requires)?;
                    domain
                }
                FigureKind::Present { .. } | FigureKind::Sum { .. } => return Err(DisclosureError::SumOnPersonal),
            };
            let passes = counts.iter().all(|count| *count >= rules.threshold);
            let count = counts.get(domain).copied().map(i128::from);
            values.push(count.filter(|_| passes));
        }
        withhold_together(&spec.figures, &mut values);
        if values.iter().any(Option::is_some) {
            released.push(OutputRow { key: key.clone(), figures: values });
        }
    }
    Ok(released)
}

/// For each domain, n + ptable(pcv(n), Σ record keys mod M) over the distinct units of a set.
fn perturbed_counts(
    stage: &Stage,
    cell: &Cell,
    requires: u16,
    rules: &CellKeyRules,
) -> Result<Vec<i64>, DisclosureError> {
    let modulus = u64::from(rules.table.modulus());
    let mut counts = Vec::with_capacity(stage.record_keys.len());
    for (domain, record_keys) in stage.record_keys.iter().enumerate() {
        let units = cell.units(domain, requires)?;
        let mut cell_key = 0_u64;
        for unit in &units {
            let key = record_keys.get(unit).ok_or(DisclosureError::Stage("no record key"))?;
            cell_key = (cell_key + u64::from(*key) % modulus) % modulus;
        }
        let cell_key = u32::try_from(cell_key).map_err(|_| DisclosureError::Overflow)?;
        let count = u64::try_from(units.len()).map_err(|_| DisclosureError::Overflow)?;
        let noise = i64::from(rules.table.lookup(count, cell_key));
        let count = i64::try_from(count).map_err(|_| DisclosureError::Overflow)?;
        counts.push(count.checked_add(noise).ok_or(DisclosureError::Overflow)?);
    }
    Ok(counts)
}

/// A count of units stands for the count of rows only while a unit has one row; a contract that the
/// data breaks must not give a total that is silently smaller.
fn check_one_row(cell: &Cell, domain: usize, requires: u16) -> Result<(), DisclosureError> {
    let units = i64::try_from(cell.units(domain, requires)?.len());
    if units != Ok(cell.row_count(requires)?) {
        return Err(DisclosureError::SeveralRows);
    }
    Ok(())
}
