//! Whose query runs next: askers take turns, so that one who asks a hundred things holds up nobody.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Places to run, and those who wait for one.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<State>>);

struct State {
    free: usize,
    waiting: BTreeMap<String, VecDeque<oneshot::Sender<Turn>>>,
    /// Askers who wait, in the order of their turns.
    order: VecDeque<String>,
}

/// A place; dropping it gives it to the next.
pub(crate) struct Turn {
    turns: Turns,
}

impl Turns {
    pub(crate) fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: places, waiting: BTreeMap::new(), order: VecDeque::new() })))
    }

    /// Waits for a place, behind as many others as there are askers waiting, whatever each of them has asked.
    pub(crate) async fn take(&self, asker: &str) -> Turn {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = state.waiting.entry(asker.to_owned()).or_default();
            let first = queue.is_empty();
            queue.push_back(sender);
            if first {
                state.order.push_back(asker.to_owned());
            }
        }
        self.hand_out();
        match receiver.await {
            Ok(turn) => turn,
            // The senders live in the state that this handle holds.
            Err(_) => std::future::pending().await,
        }
    }

    fn hand_out(&self) {
        loop {
            let next = {
                let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if state.free == 0 {
                    return;
                }
                let Some(asker) = state.order.pop_front() else { return };
                let Some(queue) = state.waiting.get_mut(&asker) else { continue };
                let next = queue.pop_front();
                if queue.is_empty() {
                    state.waiting.remove(&asker);
                } else {
                    state.order.push_back(asker);
                }
                if next.is_some() {
                    state.free = state.free.saturating_sub(1);
                }
                next
            };
            if let Some(sender) = next {
                // Whoever has stopped waiting drops the turn, and with it gives the place on.
                let _waiting = sender.send(Turn { turns: self.clone() });
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        {
            let mut state = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.free = state.free.saturating_add(1);
        }
        self.turns.hand_out();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn askers_take_turns_and_who_leaves_loses_no_place() {
        let turns = Turns::new(1);
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
        // One that gives up while it waits.
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
}
