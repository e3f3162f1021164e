//! Counts by name within an hour. They bound how fast an asker can fill a log.

use std::collections::HashMap;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

/// The counts of the current hour. The hour begins with the first count and is the same for all names.
#[derive(Debug, Default)]
pub struct Hourly {
    began: Option<Instant>,
    of: HashMap<String, u32>,
    all: u32,
}

impl Hourly {
    /// Whether an hour has begun and is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.began.is_some_and(|began| began.elapsed() >= HOUR)
    }

    fn current(&mut self) -> &mut Self {
        if self.is_over() {
            *self = Self::default();
        }
        self.began.get_or_insert_with(Instant::now);
        self
    }

    /// The count of one name.
    pub fn of(&mut self, name: &str) -> u32 {
        self.current().of.get(name).copied().unwrap_or_default()
    }

    /// The count of all names.
    pub fn all(&mut self) -> u32 {
        self.current().all
    }

    /// Adds one to the count of a name.
    pub fn add(&mut self, name: &str) {
        let now = self.current();
        now.all = now.all.saturating_add(1);
        match now.of.get_mut(name) {
            Some(count) => *count = count.saturating_add(1),
            None => {
                now.of.insert(name.to_owned(), 1);
            }
        }
    }

    /// Ends the current hour and drops its counts.
    pub fn end(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn counts_are_of_one_hour() {
        let mut hourly = Hourly::default();
        assert!(!hourly.is_over());
        ["a", "b", "a"].iter().for_each(|name| hourly.add(name));
        assert_eq!((hourly.of("a"), hourly.of("b"), hourly.of("c"), hourly.all()), (2, 1, 0, 3));
        hourly.began = Instant::now().checked_sub(HOUR);
        if hourly.began.is_some() {
            assert!(hourly.is_over());
            assert_eq!((hourly.of("a"), hourly.all(), hourly.is_over()), (0, 0, false));
        }
    }
}
