//! One cell's rows, and the figures that methods compute from them.

use std::cell::RefCell;
use std::ops::Range;

use super::rows::StageRows;
use super::total::Total;
use super::units::{SeenUnits, Units};
use crate::error::DisclosureError;

/// The stage rows of one cell, by column. All slices have one value for each stage row.
pub(crate) struct Cell<'a> {
    /// The units of the whole stage, by domain.
    all_units: &'a [Units],
    seen: &'a RefCell<SeenUnits>,
    masks: &'a [u16],
    counts: &'a [i64],
    units: Vec<&'a [u32]>,
    moments: Vec<&'a [(i128, i64)]>,
}

/// Whether a row with this mask is in the set of `requires`: all its conditions hold.
pub(crate) fn holds(mask: u16, requires: u16) -> bool {
    mask & requires == requires
}

impl<'a> Cell<'a> {
    /// The cell whose rows have these places in the stage; `None` if there are no such rows.
    pub(super) fn of(
        rows: &'a StageRows,
        place: Range<usize>,
        all_units: &'a [Units],
        seen: &'a RefCell<SeenUnits>,
    ) -> Option<Self> {
        Some(Self {
            all_units,
            seen,
            masks: rows.masks.get(place.clone())?,
            counts: rows.counts.get(place.clone())?,
            units: rows.units.iter().map(|units| units.get(place.clone())).collect::<Option<_>>()?,
            moments: rows.moments.iter().map(|moments| moments.get(place.clone())).collect::<Option<_>>()?,
        })
    }

    /// The mask of every stage row.
    pub(crate) fn masks(&self) -> &[u16] {
        self.masks
    }

    /// (mask, unit by number) of every stage row, with repeats.
    pub(crate) fn mask_units(&self, domain: usize) -> Result<impl Iterator<Item = (u16, u32)>, DisclosureError> {
        let units = self.units.get(domain).ok_or(DisclosureError::Spec("no such domain"))?;
        Ok(self.masks.iter().copied().zip(units.iter().copied()))
    }

    /// The totals of a domain's units, by number, in the order of their first row. `of_row` gets a row's mask and place and
    /// returns the row's value; rows without a value are left out. `add` adds a value to the unit's total.
    fn gather<T: Default, A>(
        &self,
        domain: usize,
        of_row: impl Fn(u16, usize) -> Option<A>,
        add: impl Fn(&mut T, A) -> Result<(), DisclosureError>,
    ) -> Result<Vec<(u32, T)>, DisclosureError> {
        let units = self.all_units.get(domain).ok_or(DisclosureError::Spec("no such domain"))?;
        let mut seen = self.seen.try_borrow_mut().map_err(|_| DisclosureError::Stage("a pass within a pass"))?;
        seen.begin(units.len());
        let mut found: Vec<(u32, T)> = Vec::new();
        for (row, (mask, unit)) in self.mask_units(domain)?.enumerate() {
            let Some(value) = of_row(mask, row) else { continue };
            let place = match seen.place(unit, found.len())? {
                Some(place) => place,
                None => {
                    found.push((unit, T::default()));
                    found.len() - 1
                }
            };
            if let Some((_, total)) = found.get_mut(place) {
                add(total, value)?;
            }
        }
        Ok(found)
    }

    /// The number of records in the set of `requires`.
    pub(crate) fn row_count(&self, requires: u16) -> Result<i64, DisclosureError> {
        let mut counts = self.masks.iter().zip(self.counts).filter(|(mask, _)| holds(**mask, requires));
        counts.try_fold(0_i64, |total, (_, rows)| total.checked_add(*rows)).ok_or(DisclosureError::Overflow)
    }

    /// The distinct units of a domain in the set of `requires`, by number.
    pub(crate) fn units(&self, domain: usize, requires: u16) -> Result<Vec<(u32, ())>, DisclosureError> {
        self.gather(domain, |mask, _| holds(mask, requires).then_some(()), |(), ()| Ok(()))
    }

    /// The number of records of each unit of a domain, by number, in the set of `requires`.
    pub(crate) fn rows_by_unit(&self, domain: usize, requires: u16) -> Result<Vec<(u32, i64)>, DisclosureError> {
        let of_row = |mask, row| holds(mask, requires).then(|| self.counts.get(row).copied().unwrap_or(0));
        let add = |total: &mut i64, rows| {
            *total = total.checked_add(rows).ok_or(DisclosureError::Overflow)?;
            Ok(())
        };
        self.gather(domain, of_row, add)
    }

    /// The sum of a measure in the set of `requires`, in scaled units; `None` if every value is NULL.
    pub(crate) fn sum(&self, measure: usize, requires: u16) -> Result<Option<i128>, DisclosureError> {
        let mut total = Total::default();
        let mut any = false;
        for (mask, (sum, count)) in self.masks.iter().zip(self.moments(measure)?) {
            if holds(*mask, requires) && *count > 0 {
                total.add(*sum)?;
                any = true;
            }
        }
        Ok(any.then(|| total.value()))
    }

    /// The number of records in the set of `requires` whose measure is not NULL.
    pub(crate) fn present(&self, measure: usize, requires: u16) -> Result<i64, DisclosureError> {
        let moments = self.masks.iter().zip(self.moments(measure)?).filter(|(mask, _)| holds(**mask, requires));
        let mut counts = moments.map(|(_, (_, count))| *count);
        counts.try_fold(0_i64, i64::checked_add).ok_or(DisclosureError::Overflow)
    }

    /// The distinct units of a domain with a record in the set of `requires` whose measure is not NULL, by number.
    pub(crate) fn units_with(
        &self,
        domain: usize,
        measure: usize,
        requires: u16,
    ) -> Result<Vec<(u32, ())>, DisclosureError> {
        let moments = self.moments(measure)?;
        let has_one = |row: usize| moments.get(row).is_some_and(|(_, count)| *count > 0);
        self.gather(domain, |mask, row| (holds(mask, requires) && has_one(row)).then_some(()), |(), ()| Ok(()))
    }

    /// The contribution of each unit of a domain to a sum, above the measure's lower bound:
    /// Σ x − lower × (number of non-null x), in scaled units.
    pub(crate) fn contributions(
        &self,
        domain: usize,
        measure: usize,
        lower: i128,
        in_set: impl Fn(u16) -> bool,
    ) -> Result<Vec<i128>, DisclosureError> {
        let moments = self.moments(measure)?;
        let of_row = |mask, row| in_set(mask).then(|| moments.get(row).copied().unwrap_or_default());
        let add = |total: &mut Total, (sum, count): (i128, i64)| {
            let floor = lower.checked_mul(i128::from(count));
            let floor = floor.and_then(i128::checked_neg).ok_or(DisclosureError::Overflow)?;
            total.add(sum)?;
            total.add(floor)
        };
        let totals = self.gather(domain, of_row, add)?;
        Ok(totals.into_iter().map(|(_, total)| total.value()).collect())
    }

    /// Whether a record of the set has a value of the measure.
    pub(crate) fn has_value(&self, measure: usize, in_set: impl Fn(u16) -> bool) -> Result<bool, DisclosureError> {
        let mut rows = self.masks.iter().zip(self.moments(measure)?);
        Ok(rows.any(|(mask, (_, count))| *count > 0 && in_set(*mask)))
    }

    fn moments(&self, measure: usize) -> Result<&'a [(i128, i64)], DisclosureError> {
        self.moments.get(measure).copied().ok_or(DisclosureError::Spec("no such measure"))
    }
}
