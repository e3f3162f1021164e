//! One who knows everything about everybody but one bit.
//!
//! Two worlds differ in what one unit has. Every cell that it is in, with and without the attribute, shows which world it is,
//! through noise: of m figures with noise of variance V, each moved by k, the best guess is right with probability
//! Φ(k √(m/V) / 2) (two normal distributions k apart, and their mean). No table of counts withstands this; it says how fast.

/// The probability, of what a unit of `moved` records shows in `figures` figures with noise of a variance.
#[must_use]
pub fn everything_known(moved: f64, figures: f64, variance: f64) -> f64 {
    normal(moved * (figures / variance.max(1e-9)).sqrt() / 2.0)
}

/// The distribution function of the normal distribution (Abramowitz and Stegun 26.2.17; off by at most 7.5 × 10⁻⁸).
pub(crate) fn normal(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series =
        t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * series;
    if x >= 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_is_that_of_two_normals() {
        assert!((normal(0.0) - 0.5).abs() < 1e-7 && (normal(1.96) - 0.975).abs() < 1e-4);
        // 18 figures with variance 3, moved by one: 89 % (../shared/design/closed-tables.md).
        assert!((everything_known(1.0, 18.0, 3.0) - 0.89).abs() < 0.005);
        assert!(everything_known(4.0, 18.0, 3.0) > 0.999);
    }
}
