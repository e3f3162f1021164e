//! Repeated refused sign-ins from one network are delayed progressively. Successful callers are never delayed, even on
//! the same network: a council has one address, and one of its machines must not lock the others out.
//!
//! A refusal costs about as much as any answer, so fewer checks would save nothing. While a network waits, its own
//! streams and connections are occupied.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The refusals of one burst without delay, and the refusals each second after it.
const BURST: f64 = 20.0;
const EACH_SECOND: f64 = 20.0;

/// The longest delay of an answer, in seconds.
const LONGEST: f64 = 10.0;

/// How often the operator is told about one network.
const TOLD: Duration = Duration::from_secs(10);

/// The most networks to remember. Networks without open refusals are forgotten first, then all.
const KEPT: usize = 10_000;

#[derive(Default)]
pub(crate) struct SignInBackoff(Mutex<HashMap<IpAddr, RefusedNetwork>>);

struct RefusedNetwork {
    /// Refusals that are still to be worked off, at the time `at`.
    level: f64,
    at: Instant,
    told: Option<Instant>,
    untold: u32,
}

impl RefusedNetwork {
    fn level(&self) -> f64 {
        self.at.elapsed().as_secs_f64().mul_add(-EACH_SECOND, self.level).max(0.0)
    }
}

impl SignInBackoff {
    /// Counts one refusal, and returns the delay of its answer. If the operator is due to be told: also the number of
    /// refusals since the last time.
    pub(crate) fn add(&self, network: IpAddr) -> (Duration, Option<u32>) {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT && !all.contains_key(&network) {
            all.retain(|_, seen| seen.level() > 0.0);
            if all.len() >= KEPT {
                all.clear();
            }
        }
        let seen = all.entry(network).or_insert(RefusedNetwork { level: 0.0, at: now, told: None, untold: 0 });
        seen.level = seen.level() + 1.0;
        seen.at = now;
        seen.untold = seen.untold.saturating_add(1);
        let due = seen.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD);
        let told = due.then(|| {
            seen.told = Some(now);
            std::mem::take(&mut seen.untold)
        });
        (Duration::from_secs_f64(((seen.level - BURST) / EACH_SECOND).clamp(0.0, LONGEST)), told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_wait_one_line_tells_of_them_and_other_networks_do_not_wait() {
        let refused = SignInBackoff::default();
        let (bad, good) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let told: Vec<u32> = (0..20).filter_map(|_| refused.add(bad).1).collect();
        assert_eq!(told, [1]);
        let (wait, told) = (0..100).map(|_| refused.add(bad)).last().unwrap_or_default();
        assert_eq!((wait, told), (Duration::from_secs(5), None));
        let most = (0..1_000).map(|_| refused.add(bad).0).max();
        assert_eq!(most, Some(Duration::from_secs(10)));
        assert_eq!(refused.add(good), (Duration::ZERO, Some(1)));
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(refused.add(bad), (Duration::ZERO, Some(1_120)));
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_networks_there_are_few_are_remembered() {
        let refused = SignInBackoff::default();
        for network in 0..25_000_u32 {
            refused.add(IpAddr::from(network.to_be_bytes()));
        }
        assert!(refused.0.lock().unwrap_or_else(PoisonError::into_inner).len() <= KEPT);
    }
}
