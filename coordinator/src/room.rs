//! Room for answers that are being read: what one borough sends takes no other's, and all of them no more than there is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use loda_identity::Gss;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one answer at most, and of all answers of one borough that are read at once.
pub(crate) const OF_ONE: usize = 64 << 20;

/// Counted in these.
const UNIT: usize = 1 << 10;

pub(crate) struct Room {
    all: Arc<Semaphore>,
    of: Mutex<BTreeMap<Gss, Arc<Semaphore>>>,
}

/// Room that is taken until this is dropped.
#[derive(Default)]
pub(crate) struct Taken(Vec<OwnedSemaphorePermit>);

impl Room {
    /// For so many bytes in all.
    pub(crate) fn of(bytes: usize) -> Self {
        Self { all: Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS))), of: Mutex::default() }
    }

    /// Takes room for bytes that have come; waits where others are read, and not where this borough has sent too much.
    ///
    /// # Errors
    /// Where a borough sends more at once than all its answers may have.
    pub(crate) async fn take(&self, gss: &Gss, bytes: usize, taken: &mut Taken) -> anyhow::Result<()> {
        let own = {
            let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(of.entry(gss.clone()).or_insert_with(|| Arc::new(Semaphore::new(OF_ONE / UNIT))))
        };
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        taken.0.push(own.try_acquire_many_owned(units).context("its answers are larger than the limit")?);
        taken.0.push(Arc::clone(&self.all).acquire_many_owned(units).await?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_one_borough_sends_takes_no_others_room() {
        let room = Room::of(3 * OF_ONE / 2);
        let (greedy, other): (Gss, Gss) = ("E09000001".parse().unwrap(), "E09000002".parse().unwrap());
        let mut held = Taken::default();
        while room.take(&greedy, 1 << 20, &mut held).await.is_ok() {}
        let mut small = Taken::default();
        room.take(&other, 1 << 20, &mut small).await.unwrap();
        // All together wait for one another.
        let mut more = Taken::default();
        let waits = timeout(Duration::from_secs(1), room.take(&other, 40 << 20, &mut more)).await;
        assert!(waits.is_err());
        drop(held);
        room.take(&other, 40 << 20, &mut Taken::default()).await.unwrap();
    }
}
