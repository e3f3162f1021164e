//! Primary rules for sums: enough contributors, and no contributor that dominates.
//!
//! The contributions are x1 ≥ x2 ≥ … with the total X. Each is a unit's part above the measure's declared lower bound.
//! Sources: (n, k) and p % as in the Handbook on Statistical Disclosure Control (Hundepool et al.) and in sdcTable. The (n, k)
//! rule uses ≥ instead of >, so that a share of exactly k % is withheld.

use crate::error::DisclosureError;

/// The parameters of the rules.
pub(crate) struct DominanceRules {
    /// The least number of contributors.
    pub(crate) contributors: u64,
    /// k of the (n, k) rule with n = 2, in percent.
    pub(crate) n_k_percent: u8,
    /// p of the p % rule, in percent.
    pub(crate) p_percent: u8,
}

/// Whether a sum over these contributions, one for each unit of one domain, may be released.
///
/// A negative contribution breaks the declared bound. The rules do not apply to it, and the sum is withheld.
///
/// # Errors
/// If a total or a percentage overflows.
pub(crate) fn passes(contributions: &[i128], rules: &DominanceRules) -> Result<bool, DisclosureError> {
    let mut total = 0_i128;
    let mut largest = 0_i128;
    let mut second = 0_i128;
    let mut contributors = 0_u64;
    for contribution in contributions.iter().copied() {
        if contribution < 0 {
            return Ok(false);
        }
        if contribution > 0 {
            contributors += 1;
        }
        total = total.checked_add(contribution).ok_or(DisclosureError::Overflow)?;
        if contribution > largest {
            second = largest;
            largest = contribution;
        } else if contribution > second {
            second = contribution;
        }
    }
    if contributors < rules.contributors {
        return Ok(false);
    }
    let top_two = largest.checked_add(second).ok_or(DisclosureError::Overflow)?;
    let rest = total.checked_sub(top_two).ok_or(DisclosureError::Overflow)?;
    let dominated = percent(top_two)? >= times(total, rules.n_k_percent)?;
    let estimable = percent(rest)? < times(largest, rules.p_percent)?;
    Ok(!dominated && !estimable)
}

fn percent(value: i128) -> Result<i128, DisclosureError> {
    times(value, 100)
}

fn times(value: i128, factor: u8) -> Result<i128, DisclosureError> {
    value.checked_mul(i128::from(factor)).ok_or(DisclosureError::Overflow)
}
