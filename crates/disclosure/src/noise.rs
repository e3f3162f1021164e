//! Keyed noise for cells of tables about people.
//!
//! The draw depends on a secret key and on the cell's identity in words: functional with its bounds, row domain, classes, epoch.
//! It does not depend on the asker or on the records.

use std::fmt;

use ring::hmac;

use crate::error::DisclosureError;
use crate::ptable::PTable;

/// A row of the perturbation table without blocked outputs.
const ROW: u64 = 750;

/// A node's secret for the keys of cells. It never leaves the node and is never printed.
#[derive(Clone)]
pub struct NoiseKey(hmac::Key);

impl NoiseKey {
    /// Derives the key from a secret of the node.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self(hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, b"draws").as_ref()))
    }

    /// The key of a cell. It depends on the cell's identity in words only.
    pub(crate) fn of_cell(&self, words: &[&str]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"cell");
        for word in words {
            context.update(&(word.len() as u64).to_be_bytes());
            context.update(word.as_bytes());
        }
        let mut key = [0; 32];
        key.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        key
    }

    /// Four bytes of a cell's key, from the byte `from` on.
    pub(crate) fn word(key: &[u8; 32], from: usize) -> u32 {
        key.iter().skip(from).take(4).fold(0_u32, |word, byte| (word << 8) | u32::from(*byte))
    }

    /// The noise `bound` × (v + u) by a cell's key. v is from the interior of the perturbation table. u is uniform in [−½, ½) and
    /// so fine that every whole number can occur for any bound: noise in steps would reveal a sum modulo the step.
    pub(crate) fn scaled(key: &[u8; 32], bound: i128, table: &PTable) -> Result<i128, DisclosureError> {
        let steps = i128::from(table.lookup(ROW, Self::word(key, 0) % table.modulus()));
        let fraction = key.iter().skip(4).take(16).fold(0_u128, |fraction, byte| (fraction << 8) | u128::from(*byte));
        let width = u128::try_from(bound).map_err(|_| DisclosureError::Spec("noise of a negative bound"))?;
        let part = i128::try_from(high(fraction, width)).map_err(|_| DisclosureError::Overflow)?;
        let whole = steps.checked_mul(bound).ok_or(DisclosureError::Overflow)?;
        whole.checked_add(part).and_then(|noise| noise.checked_sub(bound / 2)).ok_or(DisclosureError::Overflow)
    }
}

/// The upper 128 bits of a product: a × b over 2¹²⁸. No term of it overflows.
#[allow(
    clippy::arithmetic_side_effects,
    reason = "each product is of two halves, and each sum of at most three of those"
)]
const fn high(a: u128, b: u128) -> u128 {
    const HALF: u128 = (1 << 64) - 1;
    let (ah, al, bh, bl) = (a >> 64, a & HALF, b >> 64, b & HALF);
    let (low, first, second) = (al * bl, ah * bl, al * bh);
    let middle = (low >> 64) + (first & HALF) + (second & HALF);
    ah * bh + (first >> 64) + (second >> 64) + (middle >> 64)
}

impl fmt::Debug for NoiseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoiseKey(..)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::ptable::default_table;

    #[test]
    fn the_upper_half_of_a_product() {
        assert_eq!(high(u128::MAX, u128::MAX), u128::MAX - 1);
        assert_eq!(high(1 << 127, 6), 3);
        assert_eq!(high(0x0123_4567_89ab_cdef << 64, 1 << 64), 0x0123_4567_89ab_cdef);
        assert_eq!(high(u128::MAX, 0), 0);
    }

    #[test]
    fn noise_has_no_step_however_wide_its_bound() {
        let (secret, table) = (NoiseKey::new(&[7; 32]), default_table().unwrap());
        let draws = |bound: i128| -> Vec<i128> {
            let key = |n: usize| secret.of_cell(&["sum", &n.to_string()]);
            (0..4_000).map(|n| NoiseKey::scaled(&key(n), bound, &table).unwrap()).collect()
        };
        for bound in [1_i128, 8, 125_000, 125_000 * 125_000, 10_i128.pow(20), 10_i128.pow(30)] {
            let all = draws(bound);
            let most = i128::from(table.summary().max_noise);
            assert!(all.iter().all(|noise| noise.abs() <= (most + 1) * bound), "{bound}");
            // Each remainder occurs as often as chance predicts.
            for modulus in [3_i128, 5, 7, 16] {
                let mut seen = vec![0_i32; usize::try_from(modulus).unwrap()];
                all.iter().for_each(|noise| seen[usize::try_from(noise.rem_euclid(modulus)).unwrap()] += 1);
                let fair = 4_000 / i32::try_from(modulus).unwrap();
                assert!(bound < 100 || seen.iter().all(|n| (n - fair).abs() < 200), "{bound} mod {modulus}: {seen:?}");
            }
            // The fine part takes as many values as its width, or nearly as many as there are draws.
            let fine: BTreeSet<i128> = all.iter().map(|noise| noise.rem_euclid(bound)).collect();
            assert!(fine.len() as i128 >= bound.min(3_900), "{bound}: {}", fine.len());
            let mean = all.iter().map(|noise| *noise as f64 / bound as f64).sum::<f64>() / 4_000.0;
            assert!(mean.abs() < 0.6, "{bound}: {mean}");
        }
    }
}
