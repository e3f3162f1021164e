//! The maximum-entropy distribution with mean zero and a given variance on a set of integers.
//!
//! Source: Marley and Leaver (2011) for the idea; Giessing (2016) and the R package `ptable` of the German Federal Statistical
//! Office for the constraints. The distribution has the form p(v) ∝ exp(λ1 v + λ2 v²). λ minimises the convex dual
//! log Z(λ) − λ·(0, V), here by Newton's method with step halving.
//!
//! Every operation is a basic IEEE operation (+ − × ÷, comparison, rounding) in a fixed order. The exponential is computed here,
//! because the platform's library may differ in the last bit. All machines of the federation thus get the same table from the
//! same parameters.

use std::f64::consts::{LN_2, LOG2_E};

/// The gradient, in units of the scaled features, at which the solver stops.
const TOLERANCE: f64 = 1e-11;

/// The largest number of steps. Newton's method takes 5 to 30 steps if it converges.
const MAX_STEPS: usize = 400;

/// A variance this near to a bound of the support, as a share of the largest variance, is taken as the bound itself, because λ
/// would be infinite there.
const NEAR_BOUND: f64 = 1e-3;

/// The probabilities of `support` (ascending, distinct) with mean zero, and the variance `variance` or the closest feasible
/// variance. `None` if no distribution on the support has mean zero.
pub(super) fn solve(support: &[i32], variance: f64) -> Option<Vec<f64>> {
    let lowest = *support.first()?;
    let highest = *support.last()?;
    if lowest > 0 || highest < 0 {
        return None;
    }
    if lowest == 0 || highest == 0 {
        return Some(two_points(support, 0, 0));
    }
    // On two points −a and b the only distribution with mean zero has variance a·b.
    let most = -f64::from(lowest) * f64::from(highest);
    if variance >= most * (1.0 - NEAR_BOUND) {
        return Some(two_points(support, lowest, highest));
    }
    let below = support.iter().copied().filter(|value| *value <= 0).max()?;
    let above = support.iter().copied().filter(|value| *value >= 0).min()?;
    let least = -f64::from(below) * f64::from(above);
    if least > 0.0 && variance <= least + most * NEAR_BOUND {
        return Some(two_points(support, below, above));
    }
    newton(support, variance)
}

/// All mass on two points around zero (or on zero itself), with mean zero.
fn two_points(support: &[i32], below: i32, above: i32) -> Vec<f64> {
    let distance = f64::from(above) - f64::from(below);
    let mass = |value: i32| {
        if below == above {
            if value == below { 1.0 } else { 0.0 }
        } else if value == below {
            f64::from(above) / distance
        } else if value == above {
            -f64::from(below) / distance
        } else {
            0.0
        }
    };
    support.iter().map(|value| mass(*value)).collect()
}

fn newton(support: &[i32], variance: f64) -> Option<Vec<f64>> {
    // Features in [−1, 1] keep the Hessian's entries of one size.
    let scale = support.iter().map(|value| f64::from(value.abs())).fold(1.0, f64::max);
    let features: Vec<f64> = support.iter().map(|value| f64::from(*value) / scale).collect();
    let target = variance / (scale * scale);
    let (mut linear, mut square) = (0.0_f64, 0.0_f64);
    for _ in 0..MAX_STEPS {
        let probabilities = gibbs(&features, linear, square);
        let moment = |power: i32| -> f64 {
            let terms = features.iter().zip(&probabilities);
            terms.map(|(feature, p)| p * integer_power(*feature, power)).sum()
        };
        let (m1, m2, m3, m4) = (moment(1), moment(2), moment(3), moment(4));
        let gradient = (m1, m2 - target);
        if gradient.0.abs() < TOLERANCE && gradient.1.abs() < TOLERANCE {
            return Some(probabilities);
        }
        let (h11, h12, h22) = (m2 - m1 * m1, m3 - m1 * m2, m4 - m2 * m2);
        let determinant = h11 * h22 - h12 * h12;
        if determinant <= 0.0 || !determinant.is_finite() {
            return None;
        }
        let step =
            ((h12 * gradient.1 - h22 * gradient.0) / determinant, (h12 * gradient.0 - h11 * gradient.1) / determinant);
        let decrement = -(step.0 * gradient.0 + step.1 * gradient.1);
        // The dual falls by log E[exp(step · (feature − target))], so that no logarithm is needed. Near the solution rounding
        // hides its change, and the full step is right.
        let falls = |share: f64| {
            let terms = features.iter().zip(&probabilities).map(|(feature, p)| {
                let exponent = step.0 * feature + step.1 * (feature * feature - target);
                p * exp(share * exponent)
            });
            decrement < 1e-10 || terms.sum::<f64>() < 1.0
        };
        let mut share = 1.0;
        while !falls(share) {
            share /= 2.0;
            if share < 1e-12 {
                return None;
            }
        }
        linear += share * step.0;
        square += share * step.1;
    }
    None
}

/// p ∝ exp(linear·f + square·f²).
fn gibbs(features: &[f64], linear: f64, square: f64) -> Vec<f64> {
    let exponent = |feature: &f64| linear * feature + square * feature * feature;
    let largest = features.iter().map(exponent).fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = features.iter().map(|feature| exp(exponent(feature) - largest)).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

fn integer_power(base: f64, power: i32) -> f64 {
    (0..power).fold(1.0, |product, _| product * base)
}

/// e^x to about 1e-14 on |x| ≤ 700 (clamped), by basic operations only.
fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let twos = (x * LOG2_E).round();
    let rest = x - twos * LN_2;
    let series = (1..=18).rev().fold(1.0, |sum, index| 1.0 + sum * rest / f64::from(index));
    // 2^twos through its exponent bits: |twos| ≤ 1010 keeps it a normal number.
    let power = u64::try_from(twos as i64 + 1023).map_or(0.0, |bits| f64::from_bits(bits << 52));
    series * power
}
