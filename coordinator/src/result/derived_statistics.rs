//! Variances, correlations and quantiles, derived from protected sums and counts.
//!
//! Exact sums are integers, so that variances lose no digits to cancellation. Perturbed sums may contradict each other;
//! then there is no variance.

use std::collections::BTreeSet;

use loda_question::plan::Spread;
use loda_question::table::Estimate;

use crate::plan::federated_aggregate::{Bins, Moments, Output};

/// The merged value of one of the node's figures.
type Figures<'a> = &'a dyn Fn(usize) -> Option<i128>;

pub(crate) fn bins(output: &Output) -> Option<&Bins> {
    match output {
        Output::Quantile(bins) => Some(bins),
        _ => None,
    }
}

/// A variance, deviation, covariance or correlation. `scales`: the decimals of the one column or of the two.
pub(crate) fn spread(moments: &Moments, scales: (i8, i8), figures: Figures<'_>) -> Option<f64> {
    let n = figures(moments.count)?;
    let sum = |place: usize| figures(*moments.sums.get(place)?);
    let square = |place: usize| figures(*moments.squares.get(place)?);
    let unit = |scale: i8| 10_f64.powi(i32::from(scale));
    // n Σxy − Σx Σy, which is n² times the population covariance.
    let scatter = |product: i128, a: i128, b: i128| difference(n, product, a, b);
    let over = |scatter: f64, sample: bool| {
        let less = if sample { n.checked_sub(1)? } else { n };
        (n > 0 && less > 0).then(|| scatter / as_float(n) / as_float(less))
    };
    let value = match moments.spread {
        Spread::Variance { sample } | Spread::Deviation { sample } => {
            let scatter = scatter(square(0)?, sum(0)?, sum(0)?);
            // Only perturbed sums can contradict each other. There is then no variance.
            let variance = over(Some(scatter).filter(|s| *s >= 0.0)?, sample)?;
            let variance = variance / unit(scales.0).powi(2);
            if matches!(moments.spread, Spread::Deviation { .. }) { variance.sqrt() } else { variance }
        }
        Spread::Covariance { sample } => {
            let product = figures(moments.product?)?;
            over(scatter(product, sum(0)?, sum(1)?), sample)? / unit(scales.0) / unit(scales.1)
        }
        Spread::Correlation => {
            let product = figures(moments.product?)?;
            let together = scatter(product, sum(0)?, sum(1)?);
            let (a, b) = (scatter(square(0)?, sum(0)?, sum(0)?), scatter(square(1)?, sum(1)?, sum(1)?));
            if a <= 0.0 || b <= 0.0 {
                return None;
            }
            (together / (a.sqrt() * b.sqrt())).clamp(-1.0, 1.0)
        }
    };
    value.is_finite().then_some(value)
}

/// The standard error of a spread: how far it moves when each figure moves by its own standard error, as if the figures
/// were off independently of each other.
pub(crate) fn spread_off(
    moments: &Moments,
    scales: (i8, i8),
    figures: Figures<'_>,
    variances: &dyn Fn(usize) -> Option<f64>,
) -> Option<f64> {
    let places = [moments.count].into_iter().chain(moments.sums.iter().chain(&moments.squares).copied());
    let places: BTreeSet<usize> = places.chain(moments.product).collect();
    let mut square = 0.0;
    for moving in places {
        let error = Estimate::standard_error(variances(moving)?);
        if error <= 0.0 {
            continue;
        }
        #[allow(clippy::cast_possible_truncation, reason = "a step of about the error's size")]
        let step = (error.round() as i128).max(1);
        let moved = |by: i128| {
            spread(moments, scales, &|figure| {
                let value = figures(figure)?;
                if figure == moving { value.checked_add(by) } else { Some(value) }
            })
        };
        square += ((moved(step)? - moved(-step)?) / 2.0 * error / as_float(step)).powi(2);
    }
    Some(square.sqrt())
}

/// n p − a b, exact if it fits.
fn difference(n: i128, p: i128, a: i128, b: i128) -> f64 {
    let exact = n.checked_mul(p).zip(a.checked_mul(b)).and_then(|(x, y)| x.checked_sub(y));
    exact.map_or_else(|| as_float(n).mul_add(as_float(p), -as_float(a) * as_float(b)), as_float)
}

#[allow(clippy::cast_precision_loss, reason = "a figure of floats has 53 bits")]
fn as_float(value: i128) -> f64 {
    value as f64
}

/// Fills in withheld cumulative counts, evenly between their neighbours. The bins on both sides of such an edge become
/// one bin. Returns the figures that are filled in.
pub(crate) fn complete(bins: &Bins, row: &mut [Option<i128>]) -> Vec<usize> {
    let at = |row: &[Option<i128>], figure: usize| row.get(figure).copied().flatten();
    let mut filled = Vec::new();
    let Some(total) = at(row, bins.total) else { return filled };
    let mut before = (bins.lower, 0_i128);
    for (place, (edge, figure)) in bins.below.iter().enumerate() {
        if let Some(known) = at(row, *figure) {
            before = (*edge, known);
            continue;
        }
        let after = bins.below.iter().skip(place).find_map(|(e, f)| Some((*e, at(row, *f)?)));
        let (next_edge, next) = after.unwrap_or((bins.upper, total));
        let width = next_edge.saturating_sub(before.0).max(1);
        let part = next.saturating_sub(before.1).max(0).saturating_mul(edge.saturating_sub(before.0)) / width;
        if let Some(value) = row.get_mut(*figure) {
            *value = Some(before.1.saturating_add(part));
            filled.push(*figure);
        }
    }
    filled
}

/// The quantile of the histogram: the value at which the share is reached, evenly within its bin.
pub(crate) fn quantile(bins: &Bins, figures: Figures<'_>) -> Option<f64> {
    let total = figures(bins.total).filter(|n| *n > 0)?;
    at_rank(bins, as_float(total) * f64::from(bins.per_mille) / 1000.0, figures)
}

/// The bin in which the quantile lies: its edges.
pub(crate) fn bin(bins: &Bins, figures: Figures<'_>) -> Option<(f64, f64)> {
    let total = figures(bins.total).filter(|n| *n > 0)?;
    place(bins, as_float(total) * f64::from(bins.per_mille) / 1000.0, figures).map(|at| at.edges)
}

/// The standard error of a quantile. `variances`: the variances of the node's figures.
pub(crate) fn off(bins: &Bins, figures: Figures<'_>, variances: &dyn Fn(usize) -> Option<f64>) -> Option<f64> {
    let total = as_float(figures(bins.total).filter(|n| *n > 0)?);
    let share = f64::from(bins.per_mille) / 1000.0;
    let rank = total * share;
    let at = place(bins, rank, figures)?;
    // Between two edges, the counts below both have errors, each with its weight. The target rank is a share of the
    // total, which has an error too.
    let of = |figure: Option<usize>| figure.map_or(Some(0.0), variances);
    let edges = (1.0 - at.share).powi(2) * of(at.before)? + at.share.powi(2) * of(at.after)?;
    // In the last bin, the count below the upper edge is the total itself. Its error partly cancels the error of the
    // rank.
    let of_total = if at.after.is_some() { share } else { at.share - share };
    let by = Estimate::standard_error(edges + of_total.powi(2) * variances(bins.total)?);
    let (low, high) = ((rank - by).max(total * 1e-9), (rank + by).min(total));
    Some((at_rank(bins, high, figures)? - at_rank(bins, low, figures)?) / 2.0)
}

/// The value at a rank.
fn at_rank(bins: &Bins, target: f64, figures: Figures<'_>) -> Option<f64> {
    place(bins, target, figures).map(|at| at.value)
}

/// The position of a rank: between two edges with these figures, if they have figures, at this share of the way.
struct BinPlace {
    value: f64,
    edges: (f64, f64),
    before: Option<usize>,
    after: Option<usize>,
    share: f64,
}

fn place(bins: &Bins, target: f64, figures: Figures<'_>) -> Option<BinPlace> {
    let unit = 10_f64.powi(i32::from(bins.scale));
    let total = as_float(figures(bins.total)?);
    let mut before = (as_float(bins.lower), 0.0_f64, None);
    let of_edge = |(edge, figure): &(i128, usize)| Some((as_float(*edge), as_float(figures(*figure)?), Some(*figure)));
    // Without the count below an edge, the bins on both sides of it are one.
    for (edge, below, figure) in bins.below.iter().filter_map(of_edge).chain([(as_float(bins.upper), total, None)]) {
        // Perturbed cumulative counts can fall; they must not.
        let below = below.clamp(before.1, total);
        if below >= target && below > before.1 {
            let share = ((target - before.1) / (below - before.1)).clamp(0.0, 1.0);
            let value = (before.0 + share * (edge - before.0)) / unit;
            let edges = (before.0 / unit, edge / unit);
            return Some(BinPlace { value, edges, before: before.2, after: figure, share });
        }
        before = (edge, below, figure);
    }
    let last = before.0 / unit;
    Some(BinPlace { value: last, edges: (last, last), before: before.2, after: None, share: 0.0 })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation
    )]
    use super::*;

    /// Numbers of a normal distribution, the same for the same seed.
    fn normals(mut seed: u64) -> impl FnMut() -> f64 {
        let mut unit = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 11) as f64 / (1_u64 << 53) as f64
        };
        move || (-2.0 * unit().max(1e-12).ln()).sqrt() * (std::f64::consts::TAU * unit()).cos()
    }

    #[test]
    fn a_quantile_lies_within_its_bin_and_withheld_edges_merge_bins() {
        let bins =
            Bins { per_mille: 500, lower: 0, upper: 100, below: vec![(10, 1), (20, 2), (50, 3)], total: 0, scale: 0 };
        let mut row = vec![Some(100), None, Some(40), None];
        assert_eq!(complete(&bins, &mut row), [1, 3]);
        assert_eq!(row, [Some(100), Some(20), Some(40), Some(62)]);
        // An edge that is lost when boroughs are added up leaves a wider bin.
        let lost = [Some(100), None, Some(40), None];
        let value = quantile(&bins, &|f| lost.get(f).copied().flatten()).unwrap();
        assert!((value - 33.33).abs() < 0.01, "{value}");
        assert_eq!(bin(&bins, &|f| lost.get(f).copied().flatten()), Some((20.0, 100.0)));
        let value = quantile(&bins, &|f| row.get(f).copied().flatten()).unwrap();
        assert!((20.0..50.0).contains(&value), "{value}");
        assert_eq!(quantile(&bins, &|_| None), None);
    }

    #[test]
    fn a_variance_is_exact_far_from_zero() {
        let moments = Moments {
            spread: Spread::Variance { sample: true },
            count: 0,
            sums: vec![1],
            squares: vec![2],
            product: None,
        };
        let values = [1_000_000_001_i128, 1_000_000_002, 1_000_000_003];
        let figures = [3, values.iter().sum(), values.iter().map(|v| v * v).sum()];
        let found = spread(&moments, (0, 0), &|f| figures.get(f).copied()).unwrap();
        assert!((found - 1.0).abs() < 1e-12, "{found}");
    }

    /// The stated error of each spread is the root of its mean square error when its figures have noise.
    #[test]
    fn a_spread_is_off_by_as_much_as_is_said() {
        let kinds = [
            Spread::Variance { sample: true },
            Spread::Deviation { sample: true },
            Spread::Covariance { sample: false },
            Spread::Correlation,
        ];
        // Count, sums, squares and product of 2,000 pairs with a mean of 50 and 80.
        let exact = [2_000_i128, 100_000, 160_000, 5_800_000, 14_600_000, 8_600_000];
        let errors = [3.0, 250.0, 400.0, 20_000.0, 50_000.0, 30_000.0];
        let mut normal = normals(11);
        for kind in kinds {
            let moments = Moments { spread: kind, count: 0, sums: vec![1, 2], squares: vec![3, 4], product: Some(5) };
            let moments = match kind {
                Spread::Variance { .. } | Spread::Deviation { .. } => {
                    Moments { sums: vec![1], squares: vec![3], product: None, ..moments }
                }
                Spread::Covariance { .. } | Spread::Correlation => moments,
            };
            let truth = spread(&moments, (0, 0), &|figure| exact.get(figure).copied()).unwrap();
            let (mut wrong, mut said) = (0.0, 0.0);
            for _ in 0..2_000 {
                let noisy: Vec<i128> =
                    exact.iter().zip(errors).map(|(value, error)| value + (error * normal()).round() as i128).collect();
                let figures = |figure: usize| noisy.get(figure).copied();
                wrong += (spread(&moments, (0, 0), &figures).unwrap() - truth).powi(2);
                let variance = |figure: usize| errors.get(figure).map(|error| error * error);
                said += spread_off(&moments, (0, 0), &figures, &variance).unwrap().powi(2);
            }
            assert!(((wrong / said).sqrt() - 1.0_f64).abs() < 0.1, "{kind:?}: {} and says {}", wrong, said);
        }
    }

    /// The stated error of a quantile is the root of its mean square error when the counts below each edge have noise.
    #[test]
    fn a_quantile_is_off_by_as_much_as_is_said() {
        let edges: Vec<i128> = (1..20).map(|place| place * 50).collect();
        // More values are small than large.
        let below =
            |edge: i128| 5_000.0 * (1.0 - (-(edge as f64) / 300.0).exp()) / (1.0 - (-1_000.0_f64 / 300.0).exp());
        for per_mille in [250, 500, 900] {
            let bins = Bins {
                per_mille,
                lower: 0,
                upper: 1_000,
                below: edges.iter().enumerate().map(|(place, edge)| (*edge, place + 1)).collect(),
                total: 0,
                scale: 0,
            };
            let exact = |figure: usize| Some(if figure == 0 { 5_000 } else { below(edges[figure - 1]) as i128 });
            let truth = quantile(&bins, &exact).unwrap();
            let mut normal = normals(7);
            let (variance, rounds) = (400.0_f64, 2_000);
            let (mut wrong, mut said) = (0.0, 0.0);
            for _ in 0..rounds {
                let noisy: Vec<i128> =
                    (0..20).map(|f| exact(f).unwrap() + (variance.sqrt() * normal()) as i128).collect();
                let figures = |figure: usize| noisy.get(figure).copied();
                wrong += (quantile(&bins, &figures).unwrap() - truth).powi(2);
                said += off(&bins, &figures, &|_| Some(variance)).unwrap().powi(2);
            }
            assert!(
                ((wrong / said).sqrt() - 1.0_f64).abs() < 0.1,
                "{per_mille}: off by {} and says {}",
                (wrong / 2_000.0).sqrt(),
                (said / 2_000.0).sqrt()
            );
        }
    }
}
