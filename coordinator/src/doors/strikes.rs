//! Failed attempts by address: after a few of them, one a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Attempts that may fail in one burst, and each second after it.
const BURST: f64 = 20.0;
const EACH_SECOND: f64 = 1.0;

/// Addresses that are remembered; those that are in good standing again are forgotten first.
const KEPT: usize = 10_000;

#[derive(Default)]
pub(crate) struct Strikes(Mutex<HashMap<IpAddr, (f64, Instant)>>);

impl Strikes {
    pub(crate) fn is_out(&self, address: IpAddr) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&address).is_some_and(|strikes| now(strikes) >= BURST)
    }

    pub(crate) fn add(&self, address: IpAddr) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT {
            all.retain(|_, strikes| now(strikes) > 0.0);
        }
        let strikes = all.entry(address).or_insert((0.0, Instant::now()));
        *strikes = (now(strikes) + 1.0, Instant::now());
    }
}

fn now((count, at): &(f64, Instant)) -> f64 {
    (count - at.elapsed().as_secs_f64() * EACH_SECOND).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_out_and_others_are_not() {
        let strikes = Strikes::default();
        let (bad, good) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..25 {
            assert!(!strikes.is_out(good));
            strikes.add(bad);
        }
        assert!(strikes.is_out(bad) && !strikes.is_out(good));
    }
}
