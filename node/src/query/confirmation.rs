//! Whether enough boroughs have confirmed the coordinator's log lately.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use loda_identity::manifest::Quorum;

/// What this node knows of the other boroughs as witnesses.
pub(crate) struct Confirmation(Mutex<Heard>);

struct Heard {
    /// The latest time at which enough boroughs are known to have confirmed the log. At first, the start of this node: a
    /// confirmation reaches it some seconds later.
    at: Instant,
    /// The number of entries that the next confirmation has to hold: those that this node had been shown at the last one.
    /// Otherwise a log could be confirmed at one place again and again, and differ behind it.
    floor: u64,
}

impl Default for Confirmation {
    fn default() -> Self {
        Self(Mutex::new(Heard { at: Instant::now(), floor: 0 }))
    }
}

impl Confirmation {
    /// Enough boroughs have confirmed the log's first `entries`, so long ago. `shown`: the most entries of it that this node
    /// has been shown.
    pub(crate) fn heard(&self, ago: Duration, entries: u64, shown: u64) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries < heard.floor {
            return;
        }
        heard.floor = shown;
        heard.at = Instant::now().checked_sub(ago).map_or(heard.at, |then| then.max(heard.at));
    }

    fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).at.elapsed()
    }

    /// Whether a confirmation that is shown has to be looked at: checking the signatures of all boroughs costs a little.
    pub(crate) fn wants(&self, quorum: &Quorum) -> bool {
        self.age() > quorum.within / 4
    }

    /// What is missing, about the coordinator's log. `None`: nothing.
    pub(crate) fn lacks(&self, quorum: Option<Quorum>) -> Option<String> {
        let Quorum { members, within } = quorum?;
        (self.age() > within).then(|| {
            let minutes = within.as_secs() / 60;
            format!("has not been confirmed by {members} boroughs within {minutes} minutes, as the manifest demands")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_counts_for_its_time() {
        let quorum = Quorum { members: 3, within: Duration::from_secs(60) };
        let confirmation = Confirmation::default();
        assert!(confirmation.lacks(Some(quorum)).is_none() && !confirmation.wants(&quorum));
        let old = Quorum { within: Duration::ZERO, ..quorum };
        std::thread::sleep(Duration::from_millis(2));
        assert!(confirmation.lacks(Some(old)).is_some() && confirmation.lacks(None).is_none());
        // An older one takes nothing away.
        confirmation.heard(Duration::from_secs(40), 7, 7);
        assert!(confirmation.age() < Duration::from_secs(30));
        confirmation.heard(Duration::MAX, 7, 9);
        assert!(confirmation.lacks(Some(quorum)).is_none());
        // What does not hold the entries that were shown before counts for nothing, however new it is.
        let age = |confirmation: &Confirmation| confirmation.age();
        let before = age(&confirmation);
        std::thread::sleep(Duration::from_millis(5));
        confirmation.heard(Duration::ZERO, 8, 12);
        assert!(age(&confirmation) > before);
        confirmation.heard(Duration::ZERO, 9, 12);
        assert!(age(&confirmation) < Duration::from_millis(5));
    }
}
