//! Keyed noise for sums about people.
//!
//! The draw follows from a secret key, the functional (rows, values, squares, …), its bound, and the digest of the set
//! with what each unit adds: the same people with the same values give the same noise however they are asked for, and a set in
//! which one person or one value differs gets fresh noise. The dataset, the measure's name and the asker play no part.
//!
//! The digest adds a keyed hash for each (unit, contribution) modulo 2^128, so that order and batches do not matter:
//! the multiset hash of Bellare and Micciancio (AdHash, 1997), here with a secret key.

use std::fmt;
use std::hash::Hasher;

use ring::hmac;
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::error::DisclosureError;
use crate::ptable::PTable;

/// A row of the perturbation table on which no output is blocked.
const ROW: u64 = 750;

/// One functional of one domain, as the noise knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Functional {
    Rows,
    Present,
    Value,
    Square,
    Product,
}

impl Functional {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Rows => b"rows",
            Self::Present => b"present",
            Self::Value => b"value",
            Self::Square => b"square",
            Self::Product => b"product",
        }
    }
}

/// A node's secret for noise on sums. It never leaves the node and is never printed.
#[derive(Clone)]
pub struct NoiseKey {
    draws: hmac::Key,
    digests: [u8; 16],
}

impl NoiseKey {
    /// From a secret of the node.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let part = |name: &[u8]| hmac::sign(&master, name);
        let mut digests = [0; 16];
        digests.iter_mut().zip(part(b"digests").as_ref()).for_each(|(to, from)| *to = *from);
        Self { draws: hmac::Key::new(hmac::HMAC_SHA256, part(b"draws").as_ref()), digests }
    }

    /// The key of a cell of a table: it follows from what the cell is, in words, and from nothing else.
    pub(crate) fn of_cell(&self, words: &[&str]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.draws);
        context.update(b"cell");
        for word in words {
            context.update(&(word.len() as u64).to_be_bytes());
            context.update(word.as_bytes());
        }
        let mut key = [0; 32];
        key.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        key
    }

    /// Four bytes of a cell's key.
    pub(crate) fn word(key: &[u8; 32], from: usize) -> u32 {
        key.iter().skip(from).take(4).fold(0_u32, |word, byte| (word << 8) | u32::from(*byte))
    }

    /// `bound` × (v + u) by a cell's key: v from the interior of the perturbation table, u uniform in [−½, ½).
    pub(crate) fn scaled(key: &[u8; 32], bound: i128, table: &PTable) -> Result<i128, DisclosureError> {
        let steps = i128::from(table.lookup(ROW, Self::word(key, 0) % table.modulus()));
        let fraction = i128::from(Self::word(key, 4)) - (1 << 31);
        let scaled = steps.checked_mul(1 << 32).and_then(|s| s.checked_add(fraction));
        let scaled = scaled.and_then(|s| s.checked_mul(bound)).ok_or(DisclosureError::Overflow)?;
        Ok(scaled >> 32)
    }

    /// Begins the digest of a set.
    pub(crate) fn digest(&self) -> Digest<'_> {
        Digest { key: &self.digests, sum: 0 }
    }

    /// `bound` × (v + u): v from the interior of the perturbation table, u uniform in [−½, ½).
    pub(crate) fn draw(
        &self,
        domain: &str,
        functional: Functional,
        digest: &Digest<'_>,
        bound: i128,
        table: &PTable,
    ) -> Result<i128, DisclosureError> {
        let mut context = hmac::Context::with_key(&self.draws);
        // The bound takes part, or draws under two bounds would differ by their scale alone and cancel.
        for part in [domain.as_bytes(), functional.name(), &digest.sum.to_be_bytes(), &bound.to_be_bytes()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        let word = |from: usize| {
            let bytes = tag.as_ref().iter().skip(from).take(4);
            bytes.fold(0_u32, |word, byte| (word << 8) | u32::from(*byte))
        };
        let steps = i128::from(table.lookup(ROW, word(0) % table.modulus()));
        let fraction = i128::from(word(4)) - (1 << 31);
        let scaled = steps.checked_mul(1 << 32).and_then(|s| s.checked_add(fraction));
        let scaled = scaled.and_then(|s| s.checked_mul(bound)).ok_or(DisclosureError::Overflow)?;
        Ok(scaled >> 32)
    }
}

impl fmt::Debug for NoiseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoiseKey(..)")
    }
}

/// The digest of a set of units with what each adds.
pub(crate) struct Digest<'a> {
    key: &'a [u8; 16],
    sum: u128,
}

impl Digest<'_> {
    pub(crate) fn add(&mut self, unit: u64, contribution: i128) {
        let mut hasher = SipHasher13::new_with_key(self.key);
        hasher.write_u64(unit);
        hasher.write_i128(contribution);
        self.sum = self.sum.wrapping_add(hasher.finish128().as_u128());
    }
}
