//! How many questions one asker may put into the logs within an hour.
//!
//! Each question is two entries of the coordinator's log and two of each node's: whoever asks without end, or where no borough
//! has agreed to anything, would fill them, and a log that is full stops everybody.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use loda_identity::PeerId;
use loda_question::{Refusal, Rule};
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);

/// Questions within an hour to which every borough said that it has not agreed.
const UNWELCOME: u32 = 60;

/// Askers that are remembered: those whose hour is over are forgotten first.
const KEPT: usize = 10_000;

pub(crate) struct Allowance {
    hourly: u32,
    of: Mutex<HashMap<PeerId, Spent>>,
}

struct Spent {
    began: Instant,
    asked: u32,
    unwelcome: u32,
}

impl Allowance {
    pub(crate) fn new(hourly: u32) -> Self {
        Self { hourly, of: Mutex::default() }
    }

    fn spent<T>(&self, asker: &PeerId, with: impl FnOnce(&mut Spent) -> T) -> T {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= KEPT {
            of.retain(|_, spent| spent.began.elapsed() < HOUR);
        }
        let fresh = || Spent { began: Instant::now(), asked: 0, unwelcome: 0 };
        let spent = of.entry(asker.clone()).or_insert_with(fresh);
        if spent.began.elapsed() >= HOUR {
            *spent = fresh();
        }
        with(spent)
    }

    /// Counts a question that is about to be asked.
    ///
    /// # Errors
    /// Rule `busy`, where there were as many within the hour as one may ask.
    pub(crate) fn take(&self, asker: &PeerId) -> Result<(), Refusal> {
        self.spent(asker, |spent| {
            if spent.unwelcome >= UNWELCOME {
                return Err(Refusal::new(
                    Rule::Busy,
                    format!("no borough has agreed to your last {UNWELCOME} questions"),
                    "Ask a borough's information governance lead for an agreement, and try again in an hour",
                ));
            }
            if spent.asked >= self.hourly {
                return Err(Refusal::new(
                    Rule::Busy,
                    format!("you have asked {} questions within the hour, as many as one may", self.hourly),
                    "Ask for more in one question (GROUP BY in place of one question a group), or go on later",
                ));
            }
            spent.asked = spent.asked.saturating_add(1);
            Ok(())
        })
    }

    /// Counts a question to which every borough said that it has not agreed.
    pub(crate) fn unwelcome(&self, asker: &PeerId) {
        self.spent(asker, |spent| spent.unwelcome = spent.unwelcome.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_hour_has_so_many_questions_of_each() {
        let allowance = Allowance::new(100);
        let who = |name: &str| format!("spiffe://d/analyst/{name}").parse::<PeerId>().unwrap();
        assert_eq!((0..500).filter(|_| allowance.take(&who("a")).is_ok()).count(), 100);
        let welcome = (0..500).filter(|_| allowance.take(&who("b")).map(|()| allowance.unwelcome(&who("b"))).is_ok());
        assert_eq!(welcome.count(), 60);
        tokio::time::advance(HOUR).await;
        assert!(allowance.take(&who("a")).is_ok() && allowance.take(&who("b")).is_ok());
    }
}
