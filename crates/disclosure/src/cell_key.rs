//! `cell-key`: the Office for National Statistics' cell-key perturbation, and keyed noise for sums.
//!
//! Each unit has a stable secret key. The keys of a set's units are added modulo M; count and sum
//! look up the noise in a fixed table. The same set of units gives the same answer however it is
//! asked; a set that differs by one unit gets fresh noise. Source: ONS, `cell-key-perturbation`
//! 3.1.0, against which the tests of this crate compare.
//!
//! Sums are taken about the middle of the measure's declared bounds, what a unit adds is kept between those bounds,
//! and noise (`noise`) is scaled by half their width; the middle times the perturbed count is then added back. So an
//! answer tells less of one unit than its bounds allow, and a mean is off by about as many half-widths as there are
//! units under it.
//!
//! A limit that follows from the method: a unit that is *not* in a set does not change the answer. An
//! asker who can form a set with and without one person, and sees a change, knows that the person is
//! in it. `examples/averaging.rs` measures that. Limits on granularity, quotas and the log must keep
//! such pairs of sets from being formed; this crate cannot.

use std::collections::HashMap;

use crate::cell::{Cell, UnitMoments};
use crate::error::DisclosureError;
use crate::method::CellKeyRules;
use crate::noise::Functional;
use crate::output::{OutputRow, withhold_together};
use crate::spec::{FigureKind, FigureSpec, Moment, TableSpec};
use crate::stage::Stage;

/// Refuses figures that cell keys cannot protect, from the specification alone.
pub(crate) fn check(spec: &TableSpec, rules: &CellKeyRules) -> Result<(), DisclosureError> {
    let sums = spec.figures.iter().any(|figure| matches!(figure.kind, FigureKind::Sum { .. }));
    if sums && rules.noise.is_none() {
        return Err(DisclosureError::Spec("sums about people need the node's noise key"));
    }
    let bounded = |domain: usize| spec.domains.get(domain).is_some_and(|domain| domain.max_rows.is_some());
    let counts = |figure: &FigureSpec| match figure.kind {
        FigureKind::Units { .. } => true,
        FigureKind::Rows => bounded(spec.counted),
        FigureKind::Present { measure } | FigureKind::Sum { measure } => {
            spec.measures.get(measure).is_some_and(|m| bounded(m.counted))
        }
    };
    if spec.figures.iter().all(counts) { Ok(()) } else { Err(DisclosureError::RowsUnbounded) }
}

/// The cells with at least one released figure, in key order.
pub(crate) fn release(
    spec: &TableSpec,
    stage: &Stage,
    rules: &CellKeyRules,
) -> Result<Vec<OutputRow>, DisclosureError> {
    let mut released = Vec::new();
    for (key, cell) in stage.cells() {
        let mut protected = Protected { spec, stage, cell: &cell, rules, counts: HashMap::new() };
        let mut values = Vec::with_capacity(spec.figures.len());
        for figure in &spec.figures {
            values.push(match figure.kind {
                FigureKind::Units { domain } => protected.units(domain, figure.requires)?,
                FigureKind::Rows => protected.rows(figure.requires)?,
                FigureKind::Present { measure } => protected.present(measure, figure.requires)?,
                FigureKind::Sum { measure } => protected.sum(measure, figure.requires)?,
            });
        }
        withhold_together(&spec.figures, &mut values);
        if values.iter().any(Option::is_some) {
            released.push(OutputRow { key: key.clone(), figures: values });
        }
    }
    Ok(released)
}

/// One cell on its way out. `None` is a figure that is withheld.
struct Protected<'a> {
    spec: &'a TableSpec,
    stage: &'a Stage,
    cell: &'a Cell<'a>,
    rules: &'a CellKeyRules,
    /// For a set, and the measure that its units have a value of: the perturbed count in each domain.
    counts: HashMap<(u16, Option<usize>), Vec<i64>>,
}

impl Protected<'_> {
    /// The perturbed counts of a set, if every contributing domain has enough.
    fn passing(&mut self, requires: u16, measure: Option<usize>) -> Result<Option<&Vec<i64>>, DisclosureError> {
        let (stage, cell, rules) = (self.stage, self.cell, self.rules);
        let counts = match self.counts.entry((requires, measure)) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(perturbed_counts(stage, cell, requires, measure, rules)?)
            }
        };
        Ok(Some(&*counts).filter(|counts| counts.iter().all(|count| *count >= rules.threshold)))
    }

    fn units(&mut self, domain: usize, requires: u16) -> Result<Option<i128>, DisclosureError> {
        let counts = self.passing(requires, None)?;
        Ok(counts.and_then(|counts| counts.get(domain)).copied().map(i128::from))
    }

    /// How many rows of a unit of the counted domain count at most.
    fn max_rows(&self, counted: usize) -> Result<i128, DisclosureError> {
        let rows = self.spec.domains.get(counted).and_then(|domain| domain.max_rows);
        rows.map(i128::from).ok_or(DisclosureError::RowsUnbounded)
    }

    /// The domain whose units a measure's values are of.
    fn counted(&self, measure: usize) -> Result<usize, DisclosureError> {
        self.spec.measures.get(measure).map(|m| m.counted).ok_or(DisclosureError::Spec("no such measure"))
    }

    fn rows(&mut self, requires: u16) -> Result<Option<i128>, DisclosureError> {
        let counted = self.spec.counted;
        let most = self.max_rows(counted)?;
        if most == 1 {
            check_one_row(self.cell, counted, requires)?;
            return self.units(counted, requires);
        }
        if self.passing(requires, None)?.is_none() {
            return Ok(None);
        }
        let rows = self.cell.rows_by_unit(counted, requires)?;
        let rows = rows.into_iter().map(|(unit, rows)| (unit, i128::from(rows).min(most)));
        // A count below nothing says nothing but that its noise was large.
        Ok(Some(self.noisy(counted, Functional::Rows, rows, most)?.max(0)))
    }

    /// Rows with a value: what a mean divides by.
    fn present(&mut self, measure: usize, requires: u16) -> Result<Option<i128>, DisclosureError> {
        let counted = self.counted(measure)?;
        let most = self.max_rows(counted)?;
        let Some(counts) = self.passing(requires, Some(measure))? else { return Ok(None) };
        if most == 1 {
            return Ok(counts.get(counted).copied().map(i128::from));
        }
        let moments = self.cell.unit_moments(counted, &[measure], requires)?;
        let rows = moments.into_iter().filter(|(_, of)| of.count > 0).map(|(unit, of)| (unit, of.count.min(most)));
        Ok(Some(self.noisy(counted, Functional::Present, rows, most)?.max(0)))
    }

    fn sum(&mut self, measure: usize, requires: u16) -> Result<Option<i128>, DisclosureError> {
        let overflow = || DisclosureError::Overflow;
        let moment = self.moment(measure)?;
        match moment {
            Moment::Value => {
                let Some(present) = self.present(measure, requires)? else { return Ok(None) };
                let (middle, half) = self.bounds(measure)?;
                let sum = self
                    .about(measure, &[measure], requires, half, |of| sub(of.sum(0)?, middle.checked_mul(of.count)?))?;
                let back = middle.checked_mul(present).ok_or_else(overflow)?;
                let sum = sum.checked_add(back).ok_or_else(overflow)?;
                // So many values between these bounds add up to no less and no more.
                let of = self.spec.measures.get(measure).ok_or(DisclosureError::Spec("no such measure"))?;
                let (least, most) = (of.lower.checked_mul(present), of.upper.checked_mul(present));
                let (least, most) = least.zip(most).ok_or_else(overflow)?;
                Ok(Some(sum.clamp(least, most)))
            }
            // Σx² = Σ(x − c)² + 2c Σx − c² n, each part protected.
            Moment::Square { of: value } => {
                let Some(sum) = self.sum(value, requires)? else { return Ok(None) };
                let Some(present) = self.present(value, requires)? else { return Ok(None) };
                let (middle, half) = self.bounds(value)?;
                let half = half.checked_mul(half).ok_or_else(overflow)?;
                let squares = self.about(measure, &[measure, value], requires, half, |of| {
                    let (square, sum) = (of.sum(0)?, of.sum(1)?);
                    let twice = middle.checked_mul(2)?.checked_mul(sum)?;
                    let constant = middle.checked_mul(middle)?.checked_mul(of.count)?;
                    sub(square, twice)?.checked_add(constant)
                })?;
                let twice = middle.checked_mul(2).and_then(|c| c.checked_mul(sum)).ok_or_else(overflow)?;
                let constant = middle.checked_mul(middle).and_then(|c| c.checked_mul(present)).ok_or_else(overflow)?;
                squares.checked_add(twice).and_then(|s| s.checked_sub(constant)).map(Some).ok_or_else(overflow)
            }
            Moment::Product { a, b } => {
                let Some(sum_a) = self.sum(a, requires)? else { return Ok(None) };
                let Some(sum_b) = self.sum(b, requires)? else { return Ok(None) };
                let Some(present) = self.present(a, requires)? else { return Ok(None) };
                // Those who have both may be few among those who have one.
                if self.passing(requires, Some(measure))?.is_none() {
                    return Ok(None);
                }
                let ((ca, half_a), (cb, half_b)) = (self.bounds(a)?, self.bounds(b)?);
                let half = half_a.checked_mul(half_b).ok_or_else(overflow)?;
                let products = self.about(measure, &[measure, a, b], requires, half, |of| {
                    let (product, a, b) = (of.sum(0)?, of.sum(1)?, of.sum(2)?);
                    let constant = ca.checked_mul(cb)?.checked_mul(of.count)?;
                    sub(sub(product, ca.checked_mul(b)?)?, cb.checked_mul(a)?)?.checked_add(constant)
                })?;
                let back = ca.checked_mul(sum_b).zip(cb.checked_mul(sum_a));
                let back = back.and_then(|(x, y)| x.checked_add(y)).ok_or_else(overflow)?;
                let constant = ca.checked_mul(cb).and_then(|c| c.checked_mul(present)).ok_or_else(overflow)?;
                products.checked_add(back).and_then(|s| s.checked_sub(constant)).map(Some).ok_or_else(overflow)
            }
        }
    }

    /// A noisy sum of what each unit adds about the middle, kept between the bounds.
    fn about(
        &self,
        measure: usize,
        columns: &[usize],
        requires: u16,
        half: i128,
        adds: impl Fn(&UnitMoments) -> Option<i128>,
    ) -> Result<i128, DisclosureError> {
        let functional = match self.moment(measure)? {
            Moment::Value => Functional::Value,
            Moment::Square { .. } => Functional::Square,
            Moment::Product { .. } => Functional::Product,
        };
        let counted = self.counted(measure)?;
        let most = half.checked_mul(self.max_rows(counted)?).ok_or(DisclosureError::Overflow)?;
        let mut contributions = Vec::new();
        for (unit, of) in self.cell.unit_moments(counted, columns, requires)? {
            if of.count > 0 {
                let adds = adds(&of).ok_or(DisclosureError::Overflow)?;
                contributions.push((unit, adds.clamp(-most, most)));
            }
        }
        self.noisy(counted, functional, contributions.into_iter(), most)
    }

    fn noisy(
        &self,
        counted: usize,
        functional: Functional,
        contributions: impl Iterator<Item = (u64, i128)>,
        bound: i128,
    ) -> Result<i128, DisclosureError> {
        let domain = self.spec.domains.get(counted).ok_or(DisclosureError::Spec("no such domain"))?;
        let key = self.rules.noise.as_ref().ok_or(DisclosureError::Spec("no noise key"))?;
        let mut digest = key.digest();
        let mut total = 0_i128;
        for (unit, adds) in contributions {
            digest.add(unit, adds);
            total = total.checked_add(adds).ok_or(DisclosureError::Overflow)?;
        }
        let noise = key.draw(&domain.name, functional, &digest, bound, &self.rules.table)?;
        total.checked_add(noise).ok_or(DisclosureError::Overflow)
    }

    fn moment(&self, measure: usize) -> Result<Moment, DisclosureError> {
        self.spec.measures.get(measure).map(|m| m.moment).ok_or(DisclosureError::Spec("no such measure"))
    }

    /// The middle of a value's bounds and how far a value can be from it.
    fn bounds(&self, value: usize) -> Result<(i128, i128), DisclosureError> {
        let of = self.spec.measures.get(value).ok_or(DisclosureError::Spec("no such measure"))?;
        let width = of.upper.checked_sub(of.lower).ok_or(DisclosureError::Overflow)?;
        let half = width.checked_add(1).ok_or(DisclosureError::Overflow)? / 2;
        Ok((of.lower.checked_add(width / 2).ok_or(DisclosureError::Overflow)?, half))
    }
}

fn sub(a: i128, b: i128) -> Option<i128> {
    a.checked_sub(b)
}

/// For each domain, n + ptable(pcv(n), Σ record keys mod M) over the distinct units of a set.
fn perturbed_counts(
    stage: &Stage,
    cell: &Cell<'_>,
    requires: u16,
    measure: Option<usize>,
    rules: &CellKeyRules,
) -> Result<Vec<i64>, DisclosureError> {
    let modulus = u64::from(rules.table.modulus());
    let mut counts = Vec::with_capacity(stage.units.len());
    for (domain, known) in stage.units.iter().enumerate() {
        let units = match measure {
            None => cell.units(domain, requires)?,
            Some(measure) => cell.units_with(domain, measure, requires)?,
        };
        let mut cell_key = 0_u64;
        for (unit, ()) in &units {
            let key = known.key(*unit).ok_or(DisclosureError::Stage("no record key"))?;
            // Fewer than 2³² units of keys under 2³² each: the sum fits.
            cell_key = cell_key.checked_add(u64::from(key)).ok_or(DisclosureError::Overflow)?;
        }
        let cell_key = u32::try_from(cell_key % modulus).map_err(|_| DisclosureError::Overflow)?;
        let count = u64::try_from(units.len()).map_err(|_| DisclosureError::Overflow)?;
        let noise = i64::from(rules.table.lookup(count, cell_key));
        let count = i64::try_from(count).map_err(|_| DisclosureError::Overflow)?;
        counts.push(count.checked_add(noise).ok_or(DisclosureError::Overflow)?);
    }
    Ok(counts)
}

/// A count of units stands for the count of rows only while a unit has one row; a contract that the
/// data breaks must not give a total that is silently smaller.
fn check_one_row(cell: &Cell<'_>, domain: usize, requires: u16) -> Result<(), DisclosureError> {
    let units = i64::try_from(cell.units(domain, requires)?.len());
    if units != Ok(cell.row_count(requires)?) {
        return Err(DisclosureError::SeveralRows);
    }
    Ok(())
}
