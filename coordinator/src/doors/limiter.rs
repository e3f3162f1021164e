//! Limits expensive calls to a few at once for each asker: planning, local answers, asking all nodes, writing an
//! answer. A caller with more of them waits for its own calls only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use loda_identity::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The most calls at once for each asker.
const PLACES: usize = 4;

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
pub(super) struct PerAskerLimiter(Mutex<HashMap<PeerId, Weak<Semaphore>>>);

impl PerAskerLimiter {
    /// A place, taken until it is dropped. `None`: no place was free in time.
    pub(super) async fn take(&self, asker: &PeerId) -> Option<OwnedSemaphorePermit> {
        let places = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, places| places.strong_count() > 0);
            let known = all.get(asker).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let places = Arc::new(Semaphore::new(PLACES));
                all.insert(asker.clone(), Arc::downgrade(&places));
                places
            })
        };
        timeout(PATIENCE, places.acquire_owned()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use loda_identity::Role;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_asker_waits_for_himself_and_nobody_else_does() {
        let turns = PerAskerLimiter::default();
        let who = |name: &str| PeerId::new("demo.london", Role::Analyst(name.to_owned())).unwrap();
        let mut held = Vec::new();
        for _ in 0..PLACES {
            held.push(turns.take(&who("a")).await.unwrap());
        }
        assert!(turns.take(&who("a")).await.is_none());
        assert!(turns.take(&who("b")).await.is_some());
        held.pop();
        assert!(turns.take(&who("a")).await.is_some());
        drop(held);
        let _last = turns.take(&who("c")).await;
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
