//! Checked sums that do not depend on the order of their terms.

use crate::error::DisclosureError;

/// A checked sum. Positive and negative terms have an accumulator each: with one accumulator, an overflow on the way would
/// depend on the order of the rows, and so on the split into batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Total {
    positive: i128,
    negative: i128,
}

impl Total {
    pub(super) fn add(&mut self, term: i128) -> Result<(), DisclosureError> {
        let part = if term >= 0 { &mut self.positive } else { &mut self.negative };
        *part = part.checked_add(term).ok_or(DisclosureError::Overflow)?;
        Ok(())
    }

    /// The sum. It cannot overflow: the parts have opposite signs.
    pub(super) fn value(self) -> i128 {
        self.positive.saturating_add(self.negative)
    }
}
