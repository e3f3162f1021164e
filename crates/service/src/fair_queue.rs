//! The order of work: askers take turns, so an asker with a hundred questions does not block the others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Places to run, and the askers who wait for one.
#[derive(Clone)]
pub struct FairQueue(Arc<Mutex<QueueState>>);

struct QueueState {
    free: usize,
    /// The most places that one asker may hold, and how many each asker holds.
    share: usize,
    held: BTreeMap<String, usize>,
    waiting: BTreeMap<String, VecDeque<oneshot::Sender<Turn>>>,
    /// The askers who wait, in the order of their turns.
    order: VecDeque<String>,
}

/// A place to run. Dropping it gives the place to the next asker.
pub struct Turn {
    turns: FairQueue,
    /// `None` once the place is given back.
    asker: Option<String>,
}

impl FairQueue {
    /// A queue with `places` places. One asker may hold all of them while nobody else waits.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self::shared(places, places)
    }

    /// A queue with `places` places. One asker holds at most `share` of them, even while nobody else waits.
    #[must_use]
    pub fn shared(places: usize, share: usize) -> Self {
        let (held, waiting, order) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        Self(Arc::new(Mutex::new(QueueState { free: places, share: share.max(1), held, waiting, order })))
    }

    /// Waits for a place. Each asker who already waits gets one place first, regardless of how many it has asked for.
    pub async fn take(&self, asker: &str) -> Turn {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = state.waiting.entry(asker.to_owned()).or_default();
            let first = queue.is_empty();
            // A caller that has stopped waiting leaves no entry behind.
            queue.retain(|waiting| !waiting.is_closed());
            queue.push_back(sender);
            if first {
                state.order.push_back(asker.to_owned());
            }
        }
        self.hand_out();
        match receiver.await {
            Ok(turn) => turn,
            // This does not happen: the senders are in the state that this handle holds.
            Err(_) => std::future::pending().await,
        }
    }

    fn hand_out(&self) {
        loop {
            let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((asker, sender)) = next else { return };
            // If a caller has stopped waiting, its place is given back here. If the dropped turn gave it back, it would
            // call this function again, once for each such caller.
            if let Err(mut turn) = sender.send(Turn { turns: self.clone(), asker: Some(asker) })
                && let Some(asker) = turn.asker.take()
            {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).give_back(&asker);
            }
        }
    }
}

impl QueueState {
    /// The next asker who waits and holds less than the share.
    fn next(&mut self) -> Option<(String, oneshot::Sender<Turn>)> {
        if self.free == 0 {
            return None;
        }
        let share = self.share;
        let place = self.order.iter().position(|asker| self.held.get(asker).is_none_or(|held| *held < share))?;
        let asker = self.order.remove(place)?;
        let queue = self.waiting.get_mut(&asker)?;
        let sender = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&asker);
        } else {
            self.order.push_back(asker.clone());
        }
        self.free = self.free.saturating_sub(1);
        *self.held.entry(asker.clone()).or_default() += 1;
        Some((asker, sender?))
    }

    fn give_back(&mut self, asker: &str) {
        self.free = self.free.saturating_add(1);
        if let Some(held) = self.held.get_mut(asker) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.held.remove(asker);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(asker) = self.asker.take() else { return };
        self.turns.0.lock().unwrap_or_else(PoisonError::into_inner).give_back(&asker);
        self.turns.hand_out();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn askers_take_turns_and_who_leaves_loses_no_place() {
        let turns = FairQueue::new(1);
        let held = turns.take("a").await;
        let done = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (asker, number) in [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("c", 1)] {
            let (turns, done) = (turns.clone(), Arc::clone(&done));
            tasks.push(tokio::spawn(async move {
                let turn = turns.take(asker).await;
                done.lock().unwrap().push(format!("{asker}{number}"));
                drop(turn);
            }));
            tokio::task::yield_now().await;
        }
        // This caller gives up while it waits.
        let gone = turns.clone();
        let waiting = tokio::spawn(async move { drop(gone.take("d").await) });
        tokio::task::yield_now().await;
        waiting.abort();
        let _ended = waiting.await;
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*done.lock().unwrap(), ["a1", "b1", "c1", "a2", "a3"]);
        drop(turns.take("e").await);
    }

    #[tokio::test]
    async fn nobody_holds_more_than_a_share() {
        let turns = FairQueue::shared(4, 2);
        let held = [turns.take("a").await, turns.take("a").await];
        let third = turns.clone();
        let third = tokio::spawn(async move { third.take("a").await });
        tokio::task::yield_now().await;
        // Two places are free, but not for the asker who holds a full share.
        assert!(!third.is_finished());
        drop(turns.take("b").await);
        assert!(!third.is_finished());
        drop(held);
        let _third = third.await.unwrap();
        assert_eq!(turns.0.lock().unwrap().held.len(), 1);
    }

    #[tokio::test]
    async fn a_hundred_thousand_who_have_gone_away_cost_no_stack() {
        let turns = FairQueue::new(1);
        let held = turns.take("a").await;
        for asker in 0..100_000 {
            let mut waiting = Box::pin(turns.take(if asker % 2 == 0 { "b" } else { "c" }));
            assert!(futures_poll(&mut waiting).await);
        }
        drop(held);
        drop(turns.take("d").await);
    }

    /// Polls once, and says whether the future is pending.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
        })
        .await
    }
}
