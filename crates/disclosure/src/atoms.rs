//! Which conditions a cell can bear: the cross-tabulation of a question's conditions.
//!
//! A question with k conditions is judged as the table of their 2^k combinations, its *atoms*: any
//! difference of two figures is a union of atoms, so that if every atom has enough units, no
//! subtraction of released figures leaves a few. An atom that could have units and has none counts as
//! low, for a zero says something of everybody; an atom that contract or logic rule out does not.

use std::collections::BTreeSet;

use crate::cell::Cell;
use crate::error::DisclosureError;

/// How one cell's atoms are judged.
pub(crate) struct AtomRule<'a> {
    /// Number of unit domains; the rule holds for every one.
    pub(crate) domains: usize,
    /// Conditions that some figure requires.
    pub(crate) live: u16,
    /// The cell's possible masks, which include every observed one; `None`: all.
    pub(crate) possible: Option<&'a BTreeSet<u16>>,
    /// Least number of distinct units.
    pub(crate) units: u64,
}

impl AtomRule<'_> {
    /// The conditions kept in this cell; `None` where even the total has too few units.
    ///
    /// Conditions are dropped in canonical order (bit 0 first) until the atoms hold, then restored in
    /// reverse where they still do. Dropping merges atoms, so units only grow and the result is a
    /// maximal set: no condition can be added to it.
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
    /// The possible atoms are counted, not listed: observed atoms are possible ones, so that equal
    /// numbers mean that none is empty. The cost follows the data, not 2^k.
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
