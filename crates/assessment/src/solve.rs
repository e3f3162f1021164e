//! The likely class of each subject, for an asker who knows all else about everybody.
//!
//! Minimises Σ w (A P − y)² + λ (P − prior)² over P. P[i, v] is the probability that subject i has class v, so each row
//! of P adds up to one. A adds up the subjects' records in each cell. y are the released figures, and w are their
//! weights. The method is accelerated projected gradients (Beck and Teboulle 2009). Rows are projected onto the simplex
//! (Duchi et al. 2008).

use crate::release::Cells;

/// The pull towards the shares that are known without the tables.
const RIDGE: f32 = 0.3;

/// If a round moves the likelihoods by less than this on average, the solver ends.
const STILL: f64 = 2e-5;

/// Rounds of the power method, which gives the size of a step.
const POWER: usize = 8;

/// Calls `told` after each of at most `rounds` rounds, and ends if it returns `false`.
pub(crate) fn solve(
    tables: &[Cells],
    subjects: &[u32],
    count: usize,
    prior: &[f32],
    rounds: usize,
    told: &mut dyn FnMut() -> bool,
) -> Vec<f32> {
    let classes = prior.len();
    let mut best: Vec<f32> = prior.iter().copied().cycle().take(count * classes).collect();
    let mut ahead = best.clone();
    let step = 1.0 / (steepest(tables, subjects, count, classes) * 1.05 + RIDGE);
    let mut momentum = 1.0_f32;
    let mut gradient = vec![0.0_f32; best.len()];
    for _ in 0..rounds {
        for ((slope, at), prior) in gradient.iter_mut().zip(&ahead).zip(prior.iter().cycle()) {
            *slope = RIDGE * (at - prior);
        }
        for table in tables {
            let mut apart = added_up(table, subjects, &ahead, classes);
            for ((apart, figure), weight) in apart.iter_mut().zip(&table.figures).zip(&table.weights) {
                *apart = (*apart - figure) * weight;
            }
            spread(table, subjects, &apart, classes, &mut gradient);
        }
        let next_momentum = (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) / 2.0;
        let by = (momentum - 1.0) / next_momentum;
        momentum = next_momentum;
        let mut moved = 0.0_f64;
        let rows = best.chunks_mut(classes).zip(ahead.chunks_mut(classes)).zip(gradient.chunks(classes));
        for ((best, ahead), gradient) in rows {
            let mut next = [0.0_f32; 8];
            let Some(next) = next.get_mut(..classes) else { continue };
            for ((next, at), slope) in next.iter_mut().zip(ahead.iter()).zip(gradient) {
                *next = at - step * slope;
            }
            onto_simplex(next);
            for ((best, ahead), next) in best.iter_mut().zip(ahead).zip(next) {
                *ahead = *next + by * (*next - *best);
                moved += f64::from((*next - *best).abs());
                *best = *next;
            }
        }
        if !told() || moved < STILL * best.len() as f64 {
            break;
        }
    }
    best
}

/// Multiplies by A: the sums of the subjects in each cell and class.
fn added_up(table: &Cells, subjects: &[u32], of: &[f32], classes: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f32; table.figures.len()];
    for (cell, subject) in table.of.iter().zip(subjects) {
        let (cell, subject) = (*cell as usize * classes, *subject as usize * classes);
        let (Some(sums), Some(of)) = (sums.get_mut(cell..cell + classes), of.get(subject..subject + classes)) else {
            continue;
        };
        sums.iter_mut().zip(of).for_each(|(sum, of)| *sum += of);
    }
    sums
}

/// Multiplies by Aᵀ, and adds the product to `into`.
fn spread(table: &Cells, subjects: &[u32], of: &[f32], classes: usize, into: &mut [f32]) {
    for (cell, subject) in table.of.iter().zip(subjects) {
        let (cell, subject) = (*cell as usize * classes, *subject as usize * classes);
        let (Some(of), Some(into)) = (of.get(cell..cell + classes), into.get_mut(subject..subject + classes)) else {
            continue;
        };
        into.iter_mut().zip(of).for_each(|(into, of)| *into += of);
    }
}

/// An estimate of the greatest eigenvalue of Aᵀ W A. It takes the greatest weight of each cell.
fn steepest(tables: &[Cells], subjects: &[u32], count: usize, classes: usize) -> f32 {
    let mut direction = vec![1.0_f32 / (count.max(1) as f32).sqrt(); count];
    let mut size = 1.0_f32;
    for _ in 0..POWER {
        let mut next = vec![0.0_f32; count];
        for table in tables {
            let mut sums = vec![0.0_f32; table.held.len()];
            for (cell, subject) in table.of.iter().zip(subjects) {
                let of = direction.get(*subject as usize).copied().unwrap_or(0.0);
                sums.get_mut(*cell as usize).into_iter().for_each(|sum| *sum += of);
            }
            for (sum, weights) in sums.iter_mut().zip(table.weights.chunks(classes)) {
                *sum *= weights.iter().copied().fold(0.0, f32::max);
            }
            for (cell, subject) in table.of.iter().zip(subjects) {
                let of = sums.get(*cell as usize).copied().unwrap_or(0.0);
                next.get_mut(*subject as usize).into_iter().for_each(|slot| *slot += of);
            }
        }
        size = next.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-6);
        next.iter_mut().for_each(|x| *x /= size);
        direction = next;
    }
    size
}

/// The nearest point whose coordinates are not negative and add up to one.
fn onto_simplex(row: &mut [f32]) {
    let mut sorted = [0.0_f32; 8];
    let Some(sorted) = sorted.get_mut(..row.len()) else { return };
    sorted.copy_from_slice(row);
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut less) = (0.0_f32, 0.0_f32);
    for (n, value) in (1_u8..).zip(sorted.iter()) {
        sum += value;
        let candidate = (sum - 1.0) / f32::from(n);
        if *value > candidate {
            less = candidate;
        }
    }
    row.iter_mut().for_each(|value| *value = (*value - less).max(0.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simplex_is_kept() {
        for mut row in [[0.2_f32, 0.3, 0.1], [2.0, -1.0, 0.5], [-3.0, -2.0, -4.0]] {
            onto_simplex(&mut row);
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5 && row.iter().all(|x| *x >= 0.0), "{row:?}");
        }
    }
}
