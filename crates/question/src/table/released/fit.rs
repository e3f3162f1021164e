//! Estimates of withheld cells, from the cells that are released.
//!
//! A node answers a table and every table of fewer of its columns. So each cell stands in several released *margins*: a
//! withheld cell is estimated by proportional fitting, and then the whole table is brought into agreement with its margins,
//! each figure by how far its noise and its estimate are off (ADR 2). It is a function of released figures alone, and tells
//! nothing more of anybody.
//!
//! ```text
//! start 1, twelve rounds: cell × (margin − released cells) / estimated cells, never below 0   (Deming and Stephan 1940)
//! x̂ + D Aᵀ (A D Aᵀ + N)⁻¹ (margins − A x̂)           (generalised least squares; A: which cells a margin adds up)
//! ```
//!
//! D has the variances of cells (noise of released ones; of estimated ones the variance of counts of such a size), N those
//! of margins. A sum of cells s is off by sᵀDs − sᵀDAᵀ (A D Aᵀ + N)⁻¹ A D s. Both are solved by conjugate gradients.

use std::collections::BTreeMap;

/// Rounds of proportional fitting.
const ROUNDS: usize = 12;

/// Steps of conjugate gradients: for the table, and for the error of one sum.
const STEPS: usize = 40;
const ERROR_STEPS: usize = 12;

/// Work (cells × margins × sums) up to which errors of sums are solved for; beyond it they are bounded.
const WORK: usize = 1_000_000;

/// Assumptions about a cell or margin that is withheld, in parts of the threshold: it is no larger than CAP; a margin is
/// about WITHHELD, give or take APART, and is kept at MOST in the fit.
const CAP: f64 = 1.2;
const WITHHELD: f64 = 0.3;
const APART: f64 = 0.4;
const MOST: f64 = 0.5;

/// An estimated cell of x̂ varies by x̂ + EXTRA x̂², as counts do whose means differ; of less than LEAST by as much as of
/// that.
const EXTRA: f64 = 0.5;
const LEAST: f64 = 2.0;

/// A released figure of less than so many thresholds varies by so much more than its noise.
const NEAR: f64 = 1.5;
const MORE: f64 = 1.5;

/// A cell's place in a margin that says nothing of it.
pub(super) const NOWHERE: usize = usize::MAX;

/// A table of fewer columns: where each cell stands in it, and the released figure of each of its cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Margin {
    pub(super) of: Vec<usize>,
    pub(super) figures: Vec<Option<f64>>,
}

impl Margin {
    /// A margin that is withheld though a cell of it is not is no small one: nothing is known of it.
    fn believe(&mut self, cells: &[Option<f64>]) {
        let mut large = vec![false; self.figures.len()];
        for (_, group) in cells.iter().zip(&self.of).filter(|(cell, _)| cell.is_some_and(|cell| cell > 0.0)) {
            large.get_mut(*group).into_iter().for_each(|large| *large = true);
        }
        let is_large = |group: &usize| large.get(*group) == Some(&true);
        for group in &mut self.of {
            if is_large(group) && self.figures.get(*group) == Some(&None) {
                *group = NOWHERE;
            }
        }
    }
}

/// Cells to be fitted.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    cells: Vec<Option<f64>>,
    margins: Vec<Margin>,
    /// The variance of the noise of a released figure.
    noise: f64,
    /// The least released figure.
    threshold: f64,
}

/// The table that agrees best with what is released.
#[derive(Clone, Debug)]
pub(super) struct Fitted {
    fit: Fit,
    /// Of each cell: the figure, its variance, and whether a margin tells of it.
    pub(super) values: Vec<f64>,
    variances: Vec<f64>,
    pub(super) told: Vec<bool>,
    /// Of each cell of each margin.
    known: Vec<Vec<f64>>,
}

impl Fit {
    pub(super) fn new(cells: Vec<Option<f64>>, mut margins: Vec<Margin>, noise: f64, threshold: f64) -> Self {
        margins.iter_mut().for_each(|margin| margin.believe(&cells));
        // Figures without noise would leave nothing to weigh.
        Self { cells, margins, noise: noise.max(0.01), threshold }
    }

    pub(super) fn solve(self) -> Fitted {
        let estimates = self.proportional();
        let told = (0..self.cells.len()).map(|cell| {
            self.margins.iter().any(|margin| figure_at(margin, cell).is_some_and(|figure| figure.is_some()))
        });
        let told: Vec<bool> = told.collect();
        let variances: Vec<f64> = self
            .cells
            .iter()
            .zip(&estimates)
            .map(|(cell, estimate)| match cell {
                // Many of those just above the threshold are there because their noise is up.
                Some(cell) if *cell < NEAR * self.threshold => MORE * self.noise,
                Some(_) => self.noise,
                None => {
                    let size = estimate.max(LEAST);
                    size + EXTRA * size * size
                }
            })
            .collect();
        let values: Vec<f64> = self.cells.iter().zip(&estimates).map(|(cell, x)| cell.unwrap_or(*x)).collect();
        let apart = (APART * self.threshold).powi(2);
        let known = self.margins.iter().map(|margin| {
            margin.figures.iter().map(|figure| if figure.is_some() { self.noise } else { apart }).collect()
        });
        let known: Vec<Vec<f64>> = known.collect();
        let mut fitted = Fitted { fit: self, values, variances, told, known };
        let sums = fitted.gather(&fitted.values);
        let apart = fitted.fit.margins.iter().zip(&sums).map(|(margin, sums)| {
            let of_margin = margin.figures.iter().zip(sums);
            of_margin.map(|(figure, sum)| figure.unwrap_or(WITHHELD * fitted.fit.threshold) - sum).collect()
        });
        let apart: Vec<Vec<f64>> = apart.collect();
        let weights = fitted.spread(&fitted.solution(&apart, STEPS));
        let of_cells = fitted.values.iter_mut().zip(&fitted.variances).zip(&weights);
        of_cells.for_each(|((value, variance), weight)| *value += variance * weight);
        fitted
    }

    /// Estimates of the cells that are withheld; 0 of the others.
    fn proportional(&self) -> Vec<f64> {
        let cap = CAP * self.threshold;
        let mut cells: Vec<f64> = self.cells.iter().map(|cell| if cell.is_some() { 0.0 } else { 1.0 }).collect();
        let released: Vec<Vec<f64>> = self
            .margins
            .iter()
            .map(|margin| {
                let values: Vec<f64> = self.cells.iter().map(|cell| cell.unwrap_or(0.0)).collect();
                sums(margin, &values)
            })
            .collect();
        for _ in 0..ROUNDS {
            for (margin, released) in self.margins.iter().zip(&released) {
                let now = sums(margin, &cells);
                let factors = margin.figures.iter().zip(released).zip(&now).map(|((figure, released), now)| {
                    let target = match figure {
                        Some(figure) => (figure - released).max(0.0),
                        None => now.min(MOST * self.threshold),
                    };
                    if *now > 0.0 { target / now } else { 1.0 }
                });
                let factors: Vec<f64> = factors.collect();
                for (cell, group) in cells.iter_mut().zip(&margin.of) {
                    let factor = factors.get(*group).copied().unwrap_or(1.0);
                    *cell = (*cell * factor).min(cap);
                }
            }
        }
        cells
    }
}

impl Fitted {
    /// The variances of sums over cells, each a list of places.
    pub(super) fn errors(&self, sums_of: &[Vec<usize>]) -> Vec<f64> {
        let several = sums_of.iter().filter(|members| members.len() > 1).count();
        let work = several.saturating_mul(self.values.len()).saturating_mul(self.fit.margins.len());
        let of_margins = self.gather(&self.variances);
        let of = |members: &Vec<usize>| match members.as_slice() {
            [] => 0.0,
            [_, _, ..] if work <= WORK => self.error(members),
            members => self.bound(members, &of_margins),
        };
        sums_of.iter().map(of).collect()
    }

    /// The covariance of the errors of two sums over cells.
    pub(super) fn covariance(&self, one: &[usize], other: &[usize]) -> f64 {
        let weighted = self.weighted(one);
        let own: f64 = other.iter().filter_map(|cell| weighted.get(*cell)).sum();
        let solved = self.solution(&self.gather(&weighted), ERROR_STEPS);
        own - dot(&self.gather(&self.weighted(other)), &solved)
    }

    /// The covariance of the errors of a sum over cells and of some released cells of a margin.
    pub(super) fn with_margin(&self, members: &[usize], margin: usize, groups: &[usize]) -> f64 {
        let solved = self.solution(&self.gather(&self.weighted(members)), ERROR_STEPS);
        let (Some(solved), Some(known)) = (solved.get(margin), self.known.get(margin)) else { return 0.0 };
        groups.iter().filter_map(|group| Some(solved.get(*group)? * known.get(*group)?)).sum()
    }

    /// Whether so many covariances are few enough to be solved for.
    pub(super) fn affords(&self, sums: usize) -> bool {
        sums.saturating_mul(self.values.len()).saturating_mul(self.fit.margins.len()) <= WORK
    }

    fn error(&self, members: &[usize]) -> f64 {
        let weighted = self.weighted(members);
        let own: f64 = weighted.iter().sum();
        let right = self.gather(&weighted);
        let solved = self.solution(&right, ERROR_STEPS);
        (own - dot(&right, &solved)).max(0.0)
    }

    /// The error that one margin alone would leave, the least of them. `of_margins`: the variances of all their cells.
    fn bound(&self, members: &[usize], of_margins: &[Vec<f64>]) -> f64 {
        let variance = |member: &usize| self.variances.get(*member).copied().unwrap_or(0.0);
        let own: f64 = members.iter().map(variance).sum();
        let margins = self.fit.margins.iter().zip(of_margins).zip(&self.known);
        let each = margins.map(|((margin, all), known)| {
            let mut parts: BTreeMap<usize, f64> = BTreeMap::new();
            for member in members {
                let group = margin.of.get(*member).copied().unwrap_or(NOWHERE);
                *parts.entry(group).or_default() += variance(member);
            }
            let less = parts.iter().filter_map(|(group, part)| {
                let all = all.get(*group)? + known.get(*group)?;
                Some(part * part / all)
            });
            own - less.sum::<f64>()
        });
        each.fold(own, f64::min).max(0.0)
    }

    fn weighted(&self, members: &[usize]) -> Vec<f64> {
        let mut weighted = vec![0.0; self.values.len()];
        for member in members {
            if let (Some(slot), Some(variance)) = (weighted.get_mut(*member), self.variances.get(*member)) {
                *slot = *variance;
            }
        }
        weighted
    }

    /// (A D Aᵀ + N)⁻¹ of a vector over margins.
    fn solution(&self, right: &[Vec<f64>], steps: usize) -> Vec<Vec<f64>> {
        let own = self.gather(&self.variances);
        let diagonal: Vec<Vec<f64>> = own.iter().zip(&self.known).map(|(own, known)| added(own, known, 1.0)).collect();
        let preconditioned = |of: &[Vec<f64>]| -> Vec<Vec<f64>> {
            of.iter().zip(&diagonal).map(|(of, by)| of.iter().zip(by).map(|(a, b)| a / b).collect()).collect()
        };
        let mut solved: Vec<Vec<f64>> = right.iter().map(|of| vec![0.0; of.len()]).collect();
        let mut rest = right.to_vec();
        let mut ahead = preconditioned(&rest);
        let mut direction = ahead.clone();
        let mut size = dot(&rest, &ahead);
        let enough = size * 1e-12;
        for _ in 0..steps {
            if size.is_nan() || size <= enough {
                break;
            }
            let mut spread = self.spread(&direction);
            spread.iter_mut().zip(&self.variances).for_each(|(cell, variance)| *cell *= variance);
            let gathered = self.gather(&spread);
            let applied: Vec<Vec<f64>> = gathered
                .iter()
                .zip(&direction)
                .zip(&self.known)
                .map(|((gathered, direction), known)| {
                    gathered.iter().zip(direction).zip(known).map(|((g, d), n)| g + n * d).collect()
                })
                .collect();
            let step = size / dot(&direction, &applied);
            solved = solved.iter().zip(&direction).map(|(a, b)| added(a, b, step)).collect();
            rest = rest.iter().zip(&applied).map(|(a, b)| added(a, b, -step)).collect();
            ahead = preconditioned(&rest);
            let next = dot(&rest, &ahead);
            direction = ahead.iter().zip(&direction).map(|(a, b)| added(a, b, next / size)).collect();
            size = next;
        }
        solved
    }

    /// A: the sums of cells in each margin.
    fn gather(&self, cells: &[f64]) -> Vec<Vec<f64>> {
        self.fit.margins.iter().map(|margin| sums(margin, cells)).collect()
    }

    /// Aᵀ: the sums of margins in each cell.
    fn spread(&self, margins: &[Vec<f64>]) -> Vec<f64> {
        let mut cells = vec![0.0; self.values.len()];
        for (margin, values) in self.fit.margins.iter().zip(margins) {
            for (cell, group) in cells.iter_mut().zip(&margin.of) {
                *cell += values.get(*group).copied().unwrap_or(0.0);
            }
        }
        cells
    }
}

fn figure_at(margin: &Margin, cell: usize) -> Option<Option<f64>> {
    margin.figures.get(*margin.of.get(cell)?).copied()
}

fn sums(margin: &Margin, cells: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; margin.figures.len()];
    for (cell, group) in cells.iter().zip(&margin.of) {
        if let Some(sum) = sums.get_mut(*group) {
            *sum += cell;
        }
    }
    sums
}

/// a + by × b.
fn added(a: &[f64], b: &[f64], by: f64) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + by * b).collect()
}

fn dot(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>()).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_precision_loss)]
    use super::*;

    /// Rows × columns, with the margins of both; cells below the threshold are withheld.
    fn table(counts: &[&[f64]], noise: f64) -> Fit {
        let width = counts[0].len();
        let cells: Vec<Option<f64>> =
            counts.iter().flat_map(|row| row.iter()).map(|n| (*n >= 10.0).then_some(*n)).collect();
        let rows = Margin {
            of: (0..cells.len()).map(|at| at / width).collect(),
            figures: counts.iter().map(|row| Some(row.iter().sum::<f64>()).filter(|n| *n >= 10.0)).collect(),
        };
        let columns = Margin {
            of: (0..cells.len()).map(|at| at % width).collect(),
            figures: (0..width)
                .map(|at| Some(counts.iter().map(|row| row[at]).sum::<f64>()).filter(|n| *n >= 10.0))
                .collect(),
        };
        Fit::new(cells, vec![rows, columns], noise, 10.0)
    }

    #[test]
    fn what_is_withheld_follows_from_the_margins() {
        // One cell is withheld, and two margins tell its figure.
        let fitted = table(&[&[40.0, 30.0, 4.0], &[20.0, 15.0, 12.0], &[25.0, 35.0, 11.0]], 0.0).solve();
        assert!((fitted.values[2] - 4.0).abs() < 0.1, "{:?}", fitted.values);
        assert!(fitted.told[2]);
        assert!(fitted.errors(&[vec![2]])[0] < 0.1);
    }

    #[test]
    fn what_no_margin_tells_is_not_told() {
        let mut fit = table(&[&[40.0, 3.0]], 5.0);
        fit.margins = vec![Margin { of: vec![0, 1], figures: vec![Some(40.0), None] }];
        let fitted = fit.solve();
        assert!(fitted.told[0] && !fitted.told[1], "{:?}", fitted.told);
    }

    #[test]
    fn errors_are_those_of_the_inverse() {
        // One margin over two released cells and one withheld: by hand.
        let noise = 4.0;
        let margin = Margin { of: vec![0, 0, 0], figures: vec![Some(60.0)] };
        let fitted = Fit::new(vec![Some(30.0), Some(22.0), None], vec![margin], noise, 10.0).solve();
        // Proportional fitting leaves 8 for it, and the least squares have nothing to add.
        assert!((fitted.values[2] - 8.0).abs() < 1e-6, "{:?}", fitted.values);
        let withheld = 8.0 + EXTRA * 64.0;
        let all = 2.0 * noise + withheld;
        let by_hand = |d: f64| d - d * d / (all + noise);
        let errors = fitted.errors(&[vec![0], vec![2], vec![0, 1, 2]]);
        for (error, d) in errors.iter().zip([noise, withheld, all]) {
            assert!((error - by_hand(d)).abs() < 1e-6, "{error} {d}");
        }
        assert!((fitted.bound(&[0, 1, 2], &fitted.gather(&fitted.variances)) - by_hand(all)).abs() < 1e-9);
    }

    #[test]
    fn a_bound_is_no_less_than_the_error() {
        let counts: Vec<Vec<f64>> =
            (0..7).map(|i| (0..6).map(|j| f64::from((i * 13 + j * 29) % 37)).collect()).collect();
        let counts: Vec<&[f64]> = counts.iter().map(Vec::as_slice).collect();
        let fitted = table(&counts, 5.0).solve();
        for bits in 1_usize..400 {
            let members: Vec<usize> = (0..42).filter(|at| (bits * 2_654_435_761) >> (at % 31) & 1 == 1).collect();
            let (error, bound) = (fitted.error(&members), fitted.bound(&members, &fitted.gather(&fitted.variances)));
            assert!(error <= bound + 1e-6 && error >= 0.0, "{error} {bound}");
        }
    }
}
