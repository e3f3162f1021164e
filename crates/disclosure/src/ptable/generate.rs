//! Makes perturbation tables from public parameters, the same on every machine.

use super::entropy;
use super::perturbation_table::{LAST_PCV, PTable, PTableError, TransitionRow};

/// The public parameters of a perturbation table. The default is the federation's: modulus 4096, noise of at most 8, variance 5,
/// and never an output of 1 or 2. An attacker who knows nine people of a cell and guesses whether a person is the tenth is right
/// in 59 of 100 cases; with variance 3, in 61.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TableParameters {
    /// The number of keys, M.
    pub modulus: u32,
    /// The largest magnitude of the noise.
    pub max_noise: u32,
    /// The variance of the noise.
    pub variance: f64,
    /// Outputs from 1 to this number never occur.
    pub blocked_below: u32,
}

impl Default for TableParameters {
    fn default() -> Self {
        Self { modulus: 4096, max_noise: 8, variance: 5.0, blocked_below: 2 }
    }
}

impl TableParameters {
    /// The table with these parameters.
    ///
    /// # Errors
    /// As [`PTable::generate`].
    pub fn table(&self) -> Result<PTable, PTableError> {
        PTable::generate(self.modulus, self.max_noise, self.variance, self.blocked_below)
    }
}

/// Expected interval widths are rounded to multiples of 2^−20 keys before they are compared. This grid is far coarser than the
/// solver's tolerance and far finer than any relevant difference. Beside the solver's fixed arithmetic it is a second guard that
/// ties break in the same way everywhere.
const GRID: f64 = 1_048_576.0;

/// Knuth's multiplier (2^32 / golden ratio). It gives neighbouring rows distant offsets.
const OFFSET_MULTIPLIER: u64 = 2_654_435_761;

/// The federation's default table.
///
/// # Errors
/// None with these parameters; the signature is that of [`PTable::generate`].
pub fn default_table() -> Result<PTable, PTableError> {
    TableParameters::default().table()
}

impl PTable {
    /// Makes a table of maximum entropy. For every count n in 1..=750 the noise v is an integer in [−D, D], D = `max_noise`, with
    /// n + v ≥ 0 and n + v not in 1..=`blocked_below`. It has mean zero and variance `variance`, or the closest variance that the
    /// bounds allow for a small n.
    ///
    /// Probabilities become whole keys (multiples of 1/modulus) by largest remainders. Then single keys move between values,
    /// least distortion first, until the mean is zero: exactly for n > D, otherwise as nearly as such moves allow
    /// ([`PTable::summary`] gives the mean). The values of a row lie in ascending order on the circle of keys, from an offset that
    /// depends on the row, so that a wrong row shows in tests. The same parameters give the same table on every machine.
    ///
    /// # Errors
    /// [`PTableError::Parameter`] for a modulus below 2, a noise of 0 or above 750, or a variance that is not a positive number;
    /// [`PTableError::NoDistribution`] if a row allows no mean of zero.
    pub fn generate(modulus: u32, max_noise: u32, variance: f64, blocked_below: u32) -> Result<Self, PTableError> {
        let max_noise = match i32::try_from(max_noise) {
            Ok(noise) if (1..=LAST_PCV).contains(&max_noise) => noise,
            _ => return Err(PTableError::Parameter("the largest noise must be in 1..=750")),
        };
        if !(variance.is_finite() && variance > 0.0) {
            return Err(PTableError::Parameter("the variance must be positive"));
        }
        if modulus < 2 {
            return Err(PTableError::Parameter("the modulus must be at least 2"));
        }
        let mut lines = Vec::new();
        // Most rows have the full support, and so the same widths as the previous row.
        let mut support = Vec::new();
        let mut widths = Vec::new();
        for pcv in 1..=LAST_PCV {
            let row_support: Vec<i32> =
                (-max_noise..=max_noise).filter(|value| is_allowed(pcv, *value, blocked_below)).collect();
            if row_support != support {
                let probabilities = entropy::solve(&row_support, variance);
                let probabilities = probabilities.ok_or(PTableError::NoDistribution { pcv })?;
                widths = quantise(&row_support, &probabilities, modulus);
                support = row_support;
            }
            lay_out(pcv, modulus, support.iter().copied().zip(widths.iter().copied()), &mut lines);
        }
        Self::from_lines(modulus, lines)
    }
}

fn is_allowed(pcv: u32, value: i32, blocked_below: u32) -> bool {
    let output = i64::from(pcv) + i64::from(value);
    output == 0 || output > i64::from(blocked_below)
}

/// Whole keys for each value. They add up to the modulus, and value × keys adds up to zero if moves allow.
fn quantise(support: &[i32], probabilities: &[f64], modulus: u32) -> Vec<i64> {
    let expected: Vec<f64> =
        probabilities.iter().map(|probability| (probability * f64::from(modulus) * GRID).round() / GRID).collect();
    let mut widths: Vec<i64> = expected.iter().map(|keys| keys.floor() as i64).collect();
    let missing = i64::from(modulus) - widths.iter().sum::<i64>();
    let mut by_remainder: Vec<(f64, &mut i64)> =
        expected.iter().map(|keys| keys - keys.floor()).zip(&mut widths).collect();
    // A stable sort: equal remainders go to the smaller value.
    by_remainder.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    for (_, width) in by_remainder.into_iter().take(usize::try_from(missing).unwrap_or(0)) {
        *width += 1;
    }
    balance(support, &expected, &mut widths);
    widths
}

/// Moves single keys from one value to another until Σ value × keys is zero, or no move brings it nearer. Each step takes the
/// move that changes the widths least from the expected ones, and of equal moves the first in the order of values.
fn balance(support: &[i32], expected: &[f64], widths: &mut [i64]) {
    loop {
        let mean: i64 = support.iter().zip(&*widths).map(|(v, keys)| i64::from(*v) * keys).sum();
        let mut best: Option<(f64, usize, usize)> = None;
        let values = support.iter().zip(expected).zip(&*widths).enumerate();
        for (from, ((from_value, from_expected), from_keys)) in values.clone() {
            for (to, ((to_value, to_expected), to_keys)) in values.clone() {
                let moved = mean + i64::from(*to_value) - i64::from(*from_value);
                if *from_keys == 0 || moved.abs() >= mean.abs() {
                    continue;
                }
                // The change of Σ (keys − expected)², halved.
                let distortion = (*to_keys as f64 - to_expected) - (*from_keys as f64 - from_expected) + 1.0;
                // A long move corrects more at once, so moves are compared by the cost of one unit of mean.
                let cost = distortion / (mean.abs() - moved.abs()) as f64;
                if best.is_none_or(|(least, _, _)| cost < least) {
                    best = Some((cost, from, to));
                }
            }
        }
        let Some((_, from, to)) = best else {
            return;
        };
        if let Some(keys) = widths.get_mut(from) {
            *keys -= 1;
        }
        if let Some(keys) = widths.get_mut(to) {
            *keys += 1;
        }
    }
}

/// Lays the values of one row on the circle of keys.
fn lay_out(pcv: u32, modulus: u32, widths: impl Iterator<Item = (i32, i64)>, lines: &mut Vec<TransitionRow>) {
    let modulus = u64::from(modulus);
    let mut start = u64::from(pcv) * OFFSET_MULTIPLIER % modulus;
    let mut push = |lo: u64, hi: u64, value: i32| {
        if let (Ok(lo), Ok(hi)) = (u32::try_from(lo), u32::try_from(hi)) {
            lines.push(TransitionRow { line: lines.len() + 1, pcv, lo, hi, value });
        }
    };
    for (value, width) in widths {
        let Ok(width @ 1..) = u64::try_from(width) else {
            continue;
        };
        let end = start + width;
        push(start, end.min(modulus) - 1, value);
        if end > modulus {
            push(0, end - modulus - 1, value);
        }
        start = end % modulus;
    }
}
