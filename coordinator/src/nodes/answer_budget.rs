//! The memory budget for answers that are being read. One borough cannot use up another's share, and all answers
//! together stay within the total.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use loda_identity::Gss;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The most bytes of one answer, and of all answers of one borough that are read at once. An eighth of the total, if
/// that is less.
const OF_ONE: usize = 64 << 20;

/// How long an answer waits for room that other answers use.
const PATIENCE: Duration = Duration::from_secs(5);

/// The budget counts in units of this many bytes.
const UNIT: usize = 1 << 10;

pub(crate) struct AnswerBudget {
    all: Arc<Semaphore>,
    of_one: usize,
    of: Mutex<BTreeMap<Gss, Arc<Semaphore>>>,
}

/// Room that stays taken until this is dropped.
#[derive(Default)]
pub(crate) struct Taken(Vec<OwnedSemaphorePermit>);

impl AnswerBudget {
    /// `bytes`: the total room.
    pub(crate) fn of(bytes: usize) -> Self {
        let all = Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS)));
        Self { all, of_one: OF_ONE.min(bytes / 8) / UNIT, of: Mutex::default() }
    }

    /// Takes room for bytes that have arrived. Waits while other answers use the room. Does not wait if this borough
    /// itself has sent too much.
    ///
    /// # Errors
    /// If a borough sends more at once than all its answers together may have, or if other answers leave no room for
    /// too long.
    pub(crate) async fn take(&self, gss: &Gss, bytes: usize, taken: &mut Taken) -> anyhow::Result<()> {
        let own = {
            let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(of.entry(gss.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.of_one))))
        };
        let units = u32::try_from(bytes.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX);
        taken.0.push(own.try_acquire_many_owned(units).context("its answers are larger than the limit")?);
        let waited = timeout(PATIENCE, Arc::clone(&self.all).acquire_many_owned(units)).await;
        taken.0.push(waited.context("there is no room for its answer beside the others")??);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_one_borough_sends_takes_no_others_room() {
        let room = AnswerBudget::of(8 << 20);
        let (greedy, other): (Gss, Gss) = ("E09000001".parse().unwrap(), "E09000002".parse().unwrap());
        let mut held = Taken::default();
        while room.take(&greedy, 1 << 10, &mut held).await.is_ok() {}
        let mut small = Taken::default();
        room.take(&other, 1 << 20, &mut small).await.unwrap();
        drop(small);
        // Together the boroughs wait for one another, but not for ever.
        let boroughs = (10..17).map(|number| format!("E090000{number}").parse::<Gss>().unwrap());
        let mut all: Vec<Taken> = Vec::new();
        for borough in boroughs {
            let mut taken = Taken::default();
            room.take(&borough, 1 << 20, &mut taken).await.unwrap();
            all.push(taken);
        }
        assert!(room.take(&other, 1 << 20, &mut Taken::default()).await.is_err());
        all.pop();
        assert!(room.take(&other, 1 << 20, &mut Taken::default()).await.is_ok());
    }
}
