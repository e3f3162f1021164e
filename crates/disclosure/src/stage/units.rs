//! The protected units of one domain in a stage, as small numbers instead of ids.

use std::collections::HashMap;

use crate::error::DisclosureError;

/// Ids below this many times the number of rows are looked up by place. A borough's dictionary numbers its units from 0 and
/// only grows.
const SPARSE: usize = 8;

/// A table of this many places costs little memory.
const SMALL: usize = 1 << 16;

/// The units of one domain, numbered in the order of their first row.
pub(super) struct Units {
    /// Ids below this are looked up by place.
    limit: usize,
    /// By id: the unit's number plus one; 0 for an id without a number.
    direct: Vec<u32>,
    /// The same for large ids, such as those of units that a left join did not find.
    apart: HashMap<u64, u32>,
    count: u32,
}

impl Units {
    /// An empty numbering for a stage of this many rows.
    pub(super) fn of_rows(rows: usize) -> Self {
        let limit = rows.saturating_mul(SPARSE).max(SMALL);
        Self { limit, direct: Vec::new(), apart: HashMap::new(), count: 0 }
    }

    /// Appends the number of each unit to `numbers`.
    ///
    /// # Errors
    /// If there are more than 2³² − 1 units.
    pub(super) fn number(&mut self, ids: &[u64], numbers: &mut Vec<u32>) -> Result<(), DisclosureError> {
        // The table grows once here, so that the loop below only looks up.
        let small = ids.iter().filter_map(|id| usize::try_from(*id).ok()).filter(|place| *place < self.limit);
        let size = small.max().map_or(0, |most| most.saturating_add(1));
        if size > self.direct.len() {
            self.direct.resize(size.next_power_of_two().min(self.limit), 0);
        }
        numbers.reserve(ids.len());
        for id in ids {
            let place = usize::try_from(*id).unwrap_or(usize::MAX);
            let slot = match self.direct.get_mut(place) {
                Some(slot) => slot,
                None => self.apart.entry(*id).or_default(),
            };
            if *slot == 0 {
                self.count = self.count.checked_add(1).ok_or(DisclosureError::Overflow)?;
                *slot = self.count;
            }
            numbers.push(slot.saturating_sub(1));
        }
        Ok(())
    }

    /// The number of units.
    pub(super) fn len(&self) -> usize {
        self.count as usize
    }
}

/// The units of a domain that one pass over rows has seen. Nothing is cleared between passes.
#[derive(Default)]
pub(super) struct SeenUnits {
    pass: u32,
    /// By unit: the last pass that saw it, and its place among the units that the pass saw.
    last: Vec<(u32, u32)>,
}

impl SeenUnits {
    /// Begins a pass over the rows of this many units.
    pub(super) fn begin(&mut self, units: usize) {
        if self.last.len() < units {
            self.last.resize(units, (0, 0));
        }
        self.pass = self.pass.wrapping_add(1);
        if self.pass == 0 {
            self.last.fill((0, 0));
            self.pass = 1;
        }
    }

    /// The place of a unit that this pass has seen. Any other unit gets the place `next`, and the result is `None`.
    pub(super) fn place(&mut self, unit: u32, next: usize) -> Result<Option<usize>, DisclosureError> {
        let last = self.last.get_mut(unit as usize).ok_or(DisclosureError::Stage("no such unit"))?;
        if last.0 == self.pass {
            return Ok(Some(last.1 as usize));
        }
        *last = (self.pass, u32::try_from(next).map_err(|_| DisclosureError::Overflow)?);
        Ok(None)
    }
}
