//! The time for which words are kept.

use chrono::{Days, NaiveDate};
use serde::Deserialize;

use crate::entry::Entry;
use crate::event::{Erased, Event};
use crate::log::{Log, LogError};
use crate::payload::store::{PayloadFault, PayloadStore, RecordClass};

/// For how many days words are kept. Six years is the time within which most claims can be made (Limitation Act 1980).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// What was asked.
    pub asked_days: u32,
    /// What was released.
    pub released_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { asked_days: 2192, released_days: 2192 }
    }
}

/// Why words were not destroyed.
#[derive(Debug, thiserror::Error)]
pub enum RetentionFault {
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Payload(#[from] PayloadFault),
    /// The clock is far beyond the newest text: it may be wrong, and everything would be destroyed.
    #[error(
        "it is {today} by this host's clock, and the newest words are of {newest}: nothing is destroyed before something is asked today"
    )]
    Clock {
        /// The clock's day.
        today: NaiveDate,
        /// The day of the newest text.
        newest: NaiveDate,
    },
}

/// The most days between the newest text and today at which texts are destroyed.
const IDLE: u64 = 400;

impl Retention {
    /// Destroys the words whose time is over, and their keys. The log says so before: after a crash between the two, the
    /// next call destroys them. Returns their number.
    ///
    /// # Errors
    /// The log or the store cannot be written.
    pub fn apply(&self, log: &dyn Log, store: &PayloadStore, today: NaiveDate) -> Result<u64, RetentionFault> {
        let newest = store.reader()?.newest()?.unwrap_or(today);
        if newest.checked_add_days(Days::new(IDLE)).is_none_or(|latest| today > latest) {
            return Err(RetentionFault::Clock { today, newest });
        }
        let mut gone = 0_u64;
        for (class, days) in [(RecordClass::Question, self.asked_days), (RecordClass::Result, self.released_days)] {
            let Some(before) = today.checked_sub_days(Days::new(days.into())) else { continue };
            let texts = store.reader()?.count(class, before)?;
            if texts == 0 {
                continue;
            }
            let erased = Erased { class: class.name().to_owned(), before: before.to_string(), texts };
            log.append(&Entry::of(Event::Erase(erased)))?;
            gone = gone.saturating_add(store.erase(class, before)?);
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chrono::Utc;
    use loda_federation::SigningKey;

    use super::*;
    use crate::event::Asked;
    use crate::search::{Search, search};
    use crate::signed_log::SignedLines;
    use crate::verify_lines;

    #[test]
    fn words_end_with_their_time_and_every_entry_still_verifies() {
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = (dir.path().join("log.jsonl"), SigningKey::generate().unwrap().0);
        let public = key.public_hex();
        let log = SignedLines::open(&path, key).unwrap();
        let store = PayloadStore::open(&dir.path().join("payloads.db")).unwrap();
        let word = "Waltham-Forest-erased-word";
        let commitment = store.keep(RecordClass::Question, word.as_bytes(), || word.as_bytes().to_vec()).unwrap();
        log.append(&Entry::of(Event::Intent { asked: Asked::Committed(commitment) })).unwrap();
        let today = Utc::now().date_naive();
        let retention = Retention { asked_days: 30, ..Retention::default() };
        let after = |days: u64| today.checked_add_days(Days::new(days)).unwrap();
        assert_eq!(retention.apply(&log, &store, after(30)).unwrap(), 0);
        assert!(store.reader().unwrap().get(&commitment).unwrap().is_some());
        assert_eq!(retention.apply(&log, &store, after(31)).unwrap(), 1);
        assert!(store.reader().unwrap().get(&commitment).unwrap().is_none());
        assert_eq!(retention.apply(&log, &store, after(31)).unwrap(), 0);
        // A clock that is wrong by years destroys nothing.
        let other = store.keep(RecordClass::Question, b"other", || b"other".to_vec()).unwrap();
        assert!(matches!(retention.apply(&log, &store, after(3000)), Err(RetentionFault::Clock { .. })));
        assert!(store.reader().unwrap().get(&other).unwrap().is_some());
        let found = std::fs::read_dir(dir.path()).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
        assert_eq!(found.filter(|bytes| bytes.windows(word.len()).any(|part| part == word.as_bytes())).count(), 0);
        assert_eq!(verify_lines(&path, &public).unwrap(), 2);
        let (all, _) = search(&path, &Search::default(), 0, 9).unwrap();
        let erased = Erased { class: "question".to_owned(), before: after(1).to_string(), texts: 1 };
        assert_eq!(all.last().unwrap().read().unwrap().what.event, Event::Erase(erased));
    }
}
