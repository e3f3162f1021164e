//! The methods, their public parameters, and what each may be asked.

use std::sync::Arc;

use crate::error::DisclosureError;
use crate::noise::NoiseKey;
use crate::ptable::PTable;

/// How a dataset is protected: one method for a dataset and epoch, whoever asks.
#[derive(Debug, Clone)]
pub enum Method {
    /// Already published: exact, nothing withheld.
    Public,
    /// Exact figures of enough units, for data that is not about people. Gives no protection against
    /// differencing between questions.
    Threshold(ThresholdRules),
    /// Perturbed cells of closed tables, for data about people: see [`crate::table`].
    CellKey(CellKeyRules),
    /// Exact, nothing withheld: for the tests' comparison with pooled data. No configuration
    /// reaches it.
    #[cfg(feature = "unprotected")]
    Unprotected,
}

/// Parameters of `threshold`. The defaults are those of the Office for National Statistics, ACRO and
/// UK LLC: 10 units, (2, 90 %) dominance, p 10 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThresholdRules {
    /// Distinct units, of every domain, that each atom must have. At least 1.
    pub units: u64,
    /// k of the (n, k) rule with n = 2: a sum is withheld where the two largest contributions are
    /// k % of it or more. At most 100.
    pub dominance_n_k_percent: u8,
    /// p of the p % rule: a sum is withheld where all but the two largest contributions come to
    /// less than p % of the largest, for then the second could estimate the largest too well.
    pub p_percent: u8,
}

impl Default for ThresholdRules {
    fn default() -> Self {
        Self { units: 10, dominance_n_k_percent: 90, p_percent: 10 }
    }
}

/// Parameters of `cell-key`.
#[derive(Debug, Clone)]
pub struct CellKeyRules {
    /// Perturbation by (count, cell key).
    pub table: Arc<PTable>,
    /// The node's secret for noise on sums; without it there are counts of units alone.
    pub noise: Option<NoiseKey>,
    /// The least perturbed count that is released; 10 by default in the federation. A value below 1
    /// is for comparison with other tools: it releases zeros of observed cells only.
    pub threshold: i64,
}

impl Method {
    /// The method's name in contracts and statements.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Threshold(_) => "threshold",
            Self::CellKey(_) => "cell-key",
            #[cfg(feature = "unprotected")]
            Self::Unprotected => "unprotected",
        }
    }

    /// The public parameters in plain words, for the statement that goes with a result.
    #[must_use]
    pub fn parameters(&self) -> String {
        match self {
            Self::Public => "none, the data is already published".to_owned(),
            Self::Threshold(rules) => format!(
                "at least {} units, (2, {} %) dominance, p {} %",
                rules.units, rules.dominance_n_k_percent, rules.p_percent
            ),
            Self::CellKey(rules) => {
                let table = rules.table.summary();
                format!(
                    "modulus {}, max noise {}, variance {}, threshold {}",
                    table.modulus,
                    table.max_noise,
                    (table.variance * 10.0).round() / 10.0,
                    rules.threshold
                )
            }
            #[cfg(feature = "unprotected")]
            Self::Unprotected => "none, nothing is protected".to_owned(),
        }
    }

    /// How far a perturbed count is off on average; 0 where figures are exact.
    #[must_use]
    pub fn count_error(&self) -> f64 {
        match self {
            Self::CellKey(rules) => rules.table.summary().expected_error,
            Self::Public | Self::Threshold(_) => 0.0,
            #[cfg(feature = "unprotected")]
            Self::Unprotected => 0.0,
        }
    }

    /// Whether figures have noise that data have to stand still for.
    #[must_use]
    pub fn draws_noise(&self) -> bool {
        match self {
            Self::CellKey(_) => true,
            Self::Public | Self::Threshold(_) => false,
            #[cfg(feature = "unprotected")]
            Self::Unprotected => false,
        }
    }

    /// What an absent cell means. True: it is withheld, so that the reader must place the result on
    /// the grid of all cells and mark what is missing. False: it has no rows.
    #[must_use]
    pub fn dense(&self) -> bool {
        match self {
            Self::Threshold(_) | Self::CellKey(_) => true,
            Self::Public => false,
            #[cfg(feature = "unprotected")]
            Self::Unprotected => false,
        }
    }

    /// Refuses, before a row is read, what the method cannot release whatever the data.
    pub(crate) fn check(&self) -> Result<(), DisclosureError> {
        match self {
            Self::Threshold(rules) if rules.units == 0 => {
                Err(DisclosureError::Spec("a threshold of zero units protects nothing"))
            }
            Self::Threshold(rules) if rules.dominance_n_k_percent > 100 => {
                Err(DisclosureError::Spec("a dominance share above 100 % protects nothing"))
            }
            Self::CellKey(_) => Err(DisclosureError::Spec("data about people leave as closed tables alone")),
            Self::Public | Self::Threshold(_) => Ok(()),
            #[cfg(feature = "unprotected")]
            Self::Unprotected => Ok(()),
        }
    }
}
