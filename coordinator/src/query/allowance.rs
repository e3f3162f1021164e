//! Limits the questions that one asker may put into the logs within an hour.
//!
//! Each question makes two entries in the coordinator's log and two in each node's. A full log stops everyone, so no
//! asker may ask without limit, or go on asking if no borough has agreed.

use std::sync::{Mutex, PoisonError};

use loda_identity::PeerId;
use loda_ledger::Hourly;
use loda_question::{Refusal, Rule};

/// The most questions of one asker within an hour that all asked boroughs refused for lack of an agreement: for one
/// purpose, and in all. A dashboard with a wrong purpose does not block its owner's other work.
const OF_PURPOSE: u32 = 60;
const UNWELCOME: u32 = 600;

pub(crate) struct Allowance {
    hourly: u32,
    spent: Mutex<Spent>,
}

#[derive(Default)]
struct Spent {
    asked: Hourly,
    unwelcome: Hourly,
    /// By asker and purpose.
    of_purpose: Hourly,
}

impl Allowance {
    pub(crate) fn new(hourly: u32) -> Self {
        Self { hourly, spent: Mutex::default() }
    }

    fn spent<T>(&self, with: impl FnOnce(&mut Spent) -> T) -> T {
        with(&mut self.spent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Checks whether an asker may ask one more question.
    ///
    /// # Errors
    /// Rule `busy`, if the asker has reached a limit for this hour.
    pub(crate) fn permits(&self, asker: &PeerId, purpose: &str) -> Result<(), Refusal> {
        let name = asker.to_string();
        self.spent(|spent| {
            let of_purpose = spent.of_purpose.of(&format!("{name} {purpose}"));
            if of_purpose >= OF_PURPOSE || spent.unwelcome.of(&name) >= UNWELCOME {
                return Err(Refusal::new(
                    Rule::Busy,
                    format!("no borough has agreed to {of_purpose} questions of yours for this purpose within the hour"),
                    "State the purpose that your agreement names, or ask a borough's information governance lead for one",
                ));
            }
            if spent.asked.of(&name) >= self.hourly {
                return Err(Refusal::new(
                    Rule::Busy,
                    format!("you have asked {} questions within the hour, the most that one may ask", self.hourly),
                    "Ask for more in one question (GROUP BY in place of one question a group), or go on later",
                ));
            }
            Ok(())
        })
    }

    /// Counts a question.
    pub(crate) fn asked(&self, asker: &PeerId) {
        self.spent(|spent| spent.asked.add(&asker.to_string()));
    }

    /// Counts a question that all asked boroughs refused for lack of an agreement.
    pub(crate) fn unwelcome(&self, asker: &PeerId, purpose: &str) {
        let name = asker.to_string();
        self.spent(|spent| {
            spent.unwelcome.add(&name);
            spent.of_purpose.add(&format!("{name} {purpose}"));
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_hour_has_so_many_questions_of_each() {
        let allowance = Allowance::new(1_000);
        let who = |name: &str| format!("spiffe://d/analyst/{name}").parse::<PeerId>().unwrap();
        let asks = |name: &str, purpose: &str, agreed: bool| {
            let permitted = allowance.permits(&who(name), purpose).is_ok();
            if permitted {
                allowance.asked(&who(name));
            }
            if permitted && !agreed {
                allowance.unwelcome(&who(name), purpose);
            }
            permitted
        };
        assert_eq!((0..5_000).filter(|_| asks("a", "demo", true)).count(), 1_000);
        assert_eq!((0..500).filter(|_| asks("b", "wrong", false)).count(), 60);
        assert!(asks("b", "demo", true), "another purpose is another matter");
        // Each question has another purpose, and no borough has agreed to any.
        let tries = (0..5_000).filter(|number| asks("c", &number.to_string(), false)).count();
        assert_eq!(tries, 600);
        assert!(!asks("c", "demo", true) && asks("d", "demo", true));
    }
}
