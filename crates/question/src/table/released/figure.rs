//! A figure in one of the question's cells, and its estimate.
//!
//! *Attack: an estimate as a small cell.* A figure that holds an estimate is told only where it is off on average by no
//! more than 10 units or a fifth of it, and where its units reach the threshold ([`Estimate::will_do`]). A withheld cell by
//! itself is estimated, so that boroughs may be added up, but it has no value.

use std::collections::BTreeMap;

use loda_contract::Value;

/// A figure of the question in one of its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CellFigure {
    /// `None`: all of it is withheld, or there is nothing to add up.
    pub value: Option<i128>,
    /// Whether cells that it would have are not released, and are not in the value.
    pub lacks: bool,
    /// Where something is known of all of its cells.
    pub estimate: Option<Estimate>,
}

/// The estimate of a figure and its errors: also of one withheld cell, which has no value by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// In the figure's smallest units, as `variance` is in their squares.
    pub figure: i128,
    /// The variance of the figure.
    pub variance: f64,
    /// The units that it counts, or that are counted where it is summed.
    pub units: f64,
    /// The variance of those units.
    pub doubt: f64,
    /// The covariance of the figure and of those units.
    pub covariance: f64,
    /// The covariance of the figure and of the figure that it is divided by; 0 where there is none.
    pub with_whole: f64,
    /// How many of these are estimated, for their cells are withheld; `None`: no cell is.
    pub withheld: Option<f64>,
    /// A figure of fewer units is not told.
    pub least: f64,
}

/// The average of how far a normal figure is off, in its standard deviations.
const TO_AVERAGE: f64 = 0.797_884_560_8;

/// A figure that holds estimates is told where it is off on average by no more than the larger of these: so many units, or
/// so large a share of it.
const OFF: f64 = 10.0;
const SHARE: f64 = 0.2;

impl Estimate {
    /// Adds the estimate of another borough's figure.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        let withheld = match (self.withheld, other.withheld) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
        };
        Self {
            figure: self.figure.saturating_add(other.figure),
            variance: self.variance + other.variance,
            units: self.units + other.units,
            doubt: self.doubt + other.doubt,
            covariance: self.covariance + other.covariance,
            with_whole: self.with_whole + other.with_whole,
            withheld,
            least: self.least.max(other.least),
        }
    }

    /// How far a figure of such a variance is off on average.
    #[must_use]
    pub fn off(variance: f64) -> f64 {
        TO_AVERAGE * variance.max(0.0).sqrt()
    }

    /// The root of the mean square of how far a figure of such a variance is off.
    #[must_use]
    pub fn standard_error(variance: f64) -> f64 {
        variance.max(0.0).sqrt()
    }

    /// Whether the figure may be told: one without an estimate may, and one with it where the estimate is good enough.
    #[must_use]
    pub fn will_do(&self) -> bool {
        self.withheld.is_none() || Self::off(self.doubt) <= OFF.max(SHARE * self.units) && self.units >= self.least
    }
}

/// The figure in each of the question's cells, by their keys.
pub(super) type FoundCells = BTreeMap<Vec<Value>, CellFigure>;
