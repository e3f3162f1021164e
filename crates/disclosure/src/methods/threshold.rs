//! `threshold`: exact figures of enough units, with all others withheld.
//!
//! It is for data that are not about people: exact figures give no protection against differencing between questions.

use std::collections::BTreeSet;

use super::method::{Method, NOT_OF_PEOPLE, Statistics, sealed};
use crate::atoms::AtomRule;
use crate::dominance::{self, DominanceRules};
use crate::error::DisclosureError;
use crate::exact;
use crate::keys::KeyCodec;
use crate::output::{OutputRow, withhold_together};
use crate::spec::{DomainSpec, FigureKind, FigureSpec, TableSpec};
use crate::stage::{Cell, Stage, holds};
use crate::table::{CellStatistics, Code, TableShape};

/// The method for data that are not about people: exact figures of enough units. It gives no protection against differencing
/// between questions. The defaults are those of the Office for National Statistics, ACRO and UK LLC: 10 units, (2, 90 %)
/// dominance, p 10 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// The least number of distinct units of every domain in each atom. At least 1.
    pub units: u64,
    /// k of the (n, k) rule with n = 2, in percent: a sum is withheld if the two largest contributions are k % of it or more. At
    /// most 100.
    pub dominance_n_k_percent: u8,
    /// p of the p % rule, in percent: a sum is withheld if all but the two largest contributions add up to less than p % of the
    /// largest. The second contributor could then estimate the largest too well.
    pub p_percent: u8,
}

impl Default for Threshold {
    fn default() -> Self {
        Self { units: 10, dominance_n_k_percent: 90, p_percent: 10 }
    }
}

impl Threshold {
    fn dominance(&self) -> DominanceRules {
        DominanceRules { contributors: self.units, n_k_percent: self.dominance_n_k_percent, p_percent: self.p_percent }
    }
}

impl sealed::Sealed for Threshold {}

impl Method for Threshold {
    fn name(&self) -> &'static str {
        "threshold"
    }

    fn parameters(&self) -> String {
        format!(
            "at least {} units, (2, {} %) dominance, p {} %",
            self.units, self.dominance_n_k_percent, self.p_percent
        )
    }

    fn expected_error(&self) -> f64 {
        0.0
    }

    fn variance(&self) -> f64 {
        0.0
    }

    fn draws_noise(&self) -> bool {
        false
    }

    fn absent_is_withheld(&self) -> bool {
        true
    }

    fn statistics(&self) -> Statistics {
        Statistics::Atoms
    }

    fn check(&self) -> Result<(), DisclosureError> {
        if self.units == 0 {
            return Err(DisclosureError::Spec("a threshold of zero units protects nothing"));
        }
        if self.dominance_n_k_percent > 100 {
            return Err(DisclosureError::Spec("a dominance share above 100 % protects nothing"));
        }
        Ok(())
    }

    fn release(&self, spec: &TableSpec, codec: &KeyCodec, stage: &Stage) -> Result<Vec<OutputRow>, DisclosureError> {
        let possible = spec.possible.as_ref().map(|possible| codec.possible(possible)).transpose()?;
        let mut released = Vec::new();
        for (key, cell) in stage.cells() {
            let possible_here = match &possible {
                None => None,
                // Data that contradict contract or logic are judged as if everything were possible, which withholds more. The
                // contradiction itself must not show.
                Some(masks_of) => {
                    masks_of.get(key).filter(|masks| cell.masks().iter().all(|mask| masks.contains(mask)))
                }
            };
            let rule = AtomRule {
                domains: spec.domains.len(),
                live: spec.live_conditions(),
                possible: possible_here,
                units: self.units,
            };
            let Some(kept) = rule.kept(&cell)? else {
                continue;
            };
            let figures = figures_of(spec, &cell, kept, self)?;
            if figures.iter().any(Option::is_some) {
                released.push(OutputRow { key: key.clone(), figures });
            }
        }
        Ok(released)
    }

    fn release_cell(
        &self,
        _shape: &TableShape,
        _subset: u32,
        _codes: &[Code],
        _statistics: &CellStatistics,
    ) -> Result<Option<Vec<Option<i128>>>, DisclosureError> {
        Err(NOT_OF_PEOPLE)
    }
}

fn figures_of(
    spec: &TableSpec,
    cell: &Cell<'_>,
    kept: u16,
    rules: &Threshold,
) -> Result<Vec<Option<i128>>, DisclosureError> {
    let mut values = Vec::with_capacity(spec.figures.len());
    let apart = measures_told_apart(spec, cell, kept, rules)?;
    for figure in &spec.figures {
        let conditional_sum = |measure: usize| {
            let told_apart = |value: &usize| apart.get(*value).copied().unwrap_or(false);
            figure.requires != 0 && !spec.judged(measure).iter().all(told_apart)
        };
        let passes = figure.requires & !kept == 0
            && !matches!(figure.kind, FigureKind::Sum { measure } if conditional_sum(measure))
            && match figure.kind {
                FigureKind::Rows => true,
                FigureKind::Units { domain } => units_pass(spec, cell, figure, domain, rules)?,
                FigureKind::Present { measure } => present_passes(spec, cell, figure, measure, rules)?,
                FigureKind::Sum { measure } => sum_passes(spec, cell, figure, measure, rules)?,
            };
        values.push(if passes { exact::figure(cell, figure)? } else { None });
    }
    withhold_together(&spec.figures, &mut values);
    Ok(values)
}

/// For each measure, whether its sums under conditions may be released side by side. The difference of two sums is a sum over
/// atoms, so each atom has to pass by itself.
fn measures_told_apart(
    spec: &TableSpec,
    cell: &Cell<'_>,
    kept: u16,
    rules: &Threshold,
) -> Result<Vec<bool>, DisclosureError> {
    let mut apart = Vec::with_capacity(spec.measures.len());
    for measure in 0..spec.measures.len() {
        let reads =
            |f: &&FigureSpec| matches!(f.kind, FigureKind::Sum { measure: sum } if spec.judged(sum).contains(&measure));
        let sums = spec.figures.iter().filter(reads).filter(|f| f.requires & !kept == 0);
        let live = sums.fold(0, |live, figure| live | figure.requires);
        let atoms: BTreeSet<u16> = cell.masks().iter().map(|mask| mask & live).collect();
        let mut passes = true;
        for atom in atoms.iter().filter(|_| live != 0) {
            let in_atom = |mask: u16| mask & live == *atom;
            // If every value is NULL, the sum adds nothing. The number of units is judged with the conditions.
            passes &= !cell.has_value(measure, in_atom)? || adds_up(spec, cell, measure, rules, in_atom)?;
        }
        apart.push(passes);
    }
    Ok(apart)
}

/// Whether a count of units may be released. The difference of rows and units reveals units with several rows (501 rows of 500
/// people: one person came twice). If a question asks for both counts of one set, the units with exactly one row and the units
/// with more must both be enough. Otherwise the count of units is withheld.
fn units_pass(
    spec: &TableSpec,
    cell: &Cell<'_>,
    figure: &FigureSpec,
    domain: usize,
    rules: &Threshold,
) -> Result<bool, DisclosureError> {
    // If every row has a value, the number of values is the number of rows.
    let rows = |kind: FigureKind| matches!(kind, FigureKind::Rows | FigureKind::Present { .. });
    let rows_too = spec.figures.iter().any(|other| rows(other.kind) && other.requires == figure.requires);
    if !rows_too {
        return Ok(true);
    }
    let rows_of = cell.rows_by_unit(domain, figure.requires)?;
    let several = rows_of.iter().filter(|(_, rows)| *rows > 1).count();
    let one = rows_of.len().saturating_sub(several);
    let by_contract_one = spec.domains.get(domain).is_some_and(DomainSpec::one_row);
    if by_contract_one && several == 0 {
        return Ok(true);
    }
    let enough = |count: usize| u64::try_from(count).is_ok_and(|count| count >= rules.units);
    Ok(enough(several) && enough(one))
}

/// Whether enough units of every domain have a value.
fn present_passes(
    spec: &TableSpec,
    cell: &Cell<'_>,
    figure: &FigureSpec,
    measure: usize,
    rules: &Threshold,
) -> Result<bool, DisclosureError> {
    for domain in 0..spec.domains.len() {
        let units = cell.units_with(domain, measure, figure.requires)?.len();
        if u64::try_from(units).is_ok_and(|units| units < rules.units) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn sum_passes(
    spec: &TableSpec,
    cell: &Cell<'_>,
    figure: &FigureSpec,
    measure: usize,
    rules: &Threshold,
) -> Result<bool, DisclosureError> {
    for judged in spec.judged(measure) {
        if !adds_up(spec, cell, judged, rules, |mask| holds(mask, figure.requires))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a measure's sum over a set has enough contributors of every domain, and none that dominates. A sum that is too large
/// to be judged does not pass.
fn adds_up(
    spec: &TableSpec,
    cell: &Cell<'_>,
    measure: usize,
    rules: &Threshold,
    in_set: impl Fn(u16) -> bool + Copy,
) -> Result<bool, DisclosureError> {
    let least = spec.least(measure)?;
    let limits = rules.dominance();
    for domain in 0..spec.domains.len() {
        let passes = cell.contributions(domain, measure, least, in_set).and_then(|of| dominance::passes(&of, &limits));
        match passes {
            Ok(true) => {}
            Ok(false) | Err(DisclosureError::Overflow) => return Ok(false),
            Err(other) => return Err(other),
        }
    }
    Ok(true)
}
