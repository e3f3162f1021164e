//! How many calls one identity may make, and how many bytes it may send: a bucket of tokens for each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use loda_federation::{PeerId, Role};

/// Calls in one burst, and each second after it.
const PEOPLE: (f64, f64) = (2_000.0, 1_000.0);
/// A coordinator asks for everybody: 200 questions at once are some thousand calls.
const PROGRAMS: (f64, f64) = (10_000.0, 2_000.0);
/// Buckets kept; full ones are forgotten first.
const KEPT: usize = 4096;

/// Everybody's buckets.
#[derive(Clone, Default)]
pub struct Rates(Arc<Mutex<HashMap<PeerId, Bucket>>>);

pub(crate) struct Bucket {
    tokens: f64,
    seen: Instant,
}

impl Rates {
    /// Takes a token; `false` where there is none.
    pub fn take(&self, id: &PeerId) -> bool {
        let now = Instant::now();
        let (burst, rate) = allowance(id);
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEPT && !buckets.contains_key(id) {
            buckets.retain(|id, bucket| bucket.level(now, allowance(id)) < allowance(id).0);
        }
        let bucket = buckets.entry(id.clone()).or_insert(Bucket { tokens: burst, seen: now });
        bucket.tokens = bucket.level(now, (burst, rate));
        bucket.seen = now;
        let taken = bucket.tokens >= 1.0;
        if taken {
            bucket.tokens -= 1.0;
        }
        taken
    }
}

impl Bucket {
    fn level(&self, now: Instant, (burst, rate): (f64, f64)) -> f64 {
        (now.saturating_duration_since(self.seen).as_secs_f64().mul_add(rate, self.tokens)).min(burst)
    }
}

/// The bytes that a person may send in one burst, and each second after it. Questions are small; 256 KiB is the largest.
const BYTES: (f64, f64) = (4.0 * 1024.0 * 1024.0, 256.0 * 1024.0);

/// The bytes of one identity, over all its connections.
#[derive(Clone)]
pub(crate) struct Meter(Option<Arc<Mutex<Bucket>>>);

impl Meter {
    /// Programs of the federation send what is asked of them, and are not measured.
    pub(crate) fn of(id: &PeerId) -> Self {
        if matches!(id.role, Role::Analyst(_) | Role::Auditor(_)) { Self::person() } else { Self(None) }
    }

    /// Of somebody who is not known yet.
    pub(crate) fn person() -> Self {
        Self(Some(Arc::new(Mutex::new(Bucket { tokens: BYTES.0, seen: Instant::now() }))))
    }

    /// Whether nothing is spent of it.
    pub(crate) fn is_full(&self) -> bool {
        let Some(bucket) = &self.0 else { return true };
        bucket.lock().unwrap_or_else(PoisonError::into_inner).level(Instant::now(), BYTES) >= BYTES.0
    }

    /// Counts bytes that came; how long to read no more, where they were too many.
    pub(crate) fn spend(&self, bytes: usize) -> Option<Duration> {
        let mut bucket = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // Exact for any length that memory can hold.
        #[allow(clippy::cast_precision_loss)]
        let spent = bytes as f64;
        bucket.tokens = bucket.level(now, BYTES) - spent;
        bucket.seen = now;
        (bucket.tokens < 0.0).then(|| Duration::from_secs_f64(-bucket.tokens / BYTES.1))
    }
}

fn allowance(id: &PeerId) -> (f64, f64) {
    match id.role {
        Role::Node(_) | Role::Coordinator => PROGRAMS,
        Role::Analyst(_) | Role::Auditor(_) => PEOPLE,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_asker_cannot_spend_anothers_calls() {
        let rates = Rates::default();
        let id = |name: &str| format!("spiffe://d/analyst/{name}").parse().unwrap();
        let taken = (0..5000).filter(|_| rates.take(&id("a"))).count();
        assert!((2000..5000).contains(&taken), "{taken}");
        assert!(rates.take(&id("b")));
    }
}
