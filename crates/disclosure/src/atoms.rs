//! The conditions that a cell can keep, judged by the cross-tabulation of a question's conditions.
//!
//! A question with k conditions is judged as the table of their 2^k combinations, its *atoms*. Any difference of two figures is
//! a union of atoms. If every atom has enough units, no subtraction of released figures leaves a few units. An atom that could
//! have units but has none counts as low, because a zero reveals something about everybody. An atom that contract or logic
//! rule out does not count.

use std::collections::BTreeSet;

use crate::error::DisclosureError;
use crate::stage::Cell;

/// The rule for one cell's atoms.
pub(crate) struct AtomRule<'a> {
    /// The number of unit domains. The rule holds for each of them.
    pub(crate) domains: usize,
    /// The conditions that some figure requires.
    pub(crate) live: u16,
    /// The cell's possible masks, which include every observed mask; `None`: all masks are possible.
    pub(crate) possible: Option<&'a BTreeSet<u16>>,
    /// The least number of distinct units.
    pub(crate) units: u64,
}

impl AtomRule<'_> {
    /// The conditions kept in this cell; `None` if even the total has too few units.
    ///
    /// Conditions are dropped in canonical order (bit 0 first) until the atoms pass. Then they are restored in reverse order if
    /// the atoms still pass. Dropping a condition merges atoms, so that their units only grow. The result is a maximal set: no
    /// condition can be added to it.
    pub(crate) fn kept(&self, cell: &Cell<'_>) -> Result<Option<u16>, DisclosureError> {
        let mut kept = self.live;
        let mut dropped = Vec::new();
        while !self.holds(cell, kept)? {
            if kept == 0 {
                return Ok(None);
            }
            let first = kept & kept.wrapping_neg();
            kept &= !first;
            dropped.push(first);
        }
        for condition in dropped.into_iter().rev() {
            if self.holds(cell, kept | condition)? {
                kept |= condition;
            }
        }
        Ok(Some(kept))
    }

    /// Whether every possible atom of these conditions has enough units of every domain.
    ///
    /// The possible atoms are counted, not listed. Observed atoms are possible, so equal numbers mean that no possible atom is
    /// empty. The cost depends on the data, not on 2^k.
    fn holds(&self, cell: &Cell<'_>, conditions: u16) -> Result<bool, DisclosureError> {
        let possible_atoms = match self.possible {
            None => 1_usize << conditions.count_ones(),
            Some(masks) => masks.iter().map(|mask| mask & conditions).collect::<BTreeSet<_>>().len(),
        };
        for domain in 0..self.domains {
            let atom_units = cell.mask_units(domain)?.map(|(mask, unit)| (mask & conditions, unit));
            let mut atom_units: Vec<(u16, u32)> = atom_units.collect();
            atom_units.sort_unstable();
            atom_units.dedup();
            let mut observed_atoms = 0_usize;
            for atom in atom_units.chunk_by(|(left, _), (right, _)| left == right) {
                if u64::try_from(atom.len()).is_ok_and(|units| units < self.units) {
                    return Ok(false);
                }
                observed_atoms += 1;
            }
            if observed_atoms != possible_atoms {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
