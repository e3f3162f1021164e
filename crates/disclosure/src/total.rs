//! Checked sums that do not depend on the order of their terms.

use crate::error::DisclosureError;

/// A checked sum. Positive and negative terms are kept apart: with one accumulator, whether a sum
/// overflows on the way would depend on the order of the rows, and so on how batches were split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Total {
    positive: i128,
    negative: i128,
}

impl Total {
    pub(crate) fn add(&mut self, term: i128) -> Result<(), DisclosureError> {
        let part = if term >= 0 { &mut self.positive } else { &mut self.negative };
        *part = part.checked_add(term).ok_or(DisclosureError::Overflow)?;
        Ok(())
    }

    /// The sum. It cannot overflow: the parts have opposite signs.
    pub(crate) fn value(self) -> i128 {
        self.positive.saturating_add(self.negative)
    }
}
