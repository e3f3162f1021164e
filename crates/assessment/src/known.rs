//! An asker who knows everything about everybody, except one bit.
//!
//! Two worlds differ in the attribute of one unit. Each cell that holds the unit, with the attribute or without it,
//! shows through noise which world is true. There are m such figures, with noise of variance V, and each is moved by k.
//! Then the best guess is right with probability Φ(k √(m/V) / 2): the mean of the figures has one of two normal
//! distributions, k apart. No table of counts withstands this asker. The formula says how fast they learn.

/// The probability that the best guess is right. The unit has `moved` records, and they show in `figures` figures with
/// noise of `variance`.
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
        // 18 figures with variance 3, each moved by one: 89 %.
        assert!((everything_known(1.0, 18.0, 3.0) - 0.89).abs() < 0.005);
        assert!(everything_known(4.0, 18.0, 3.0) > 0.999);
    }
}
