//! Findings: what somebody has to decide before a dataset is served.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::epochs::iso;

/// Something about extracts that figures would be wrong of, unless a steward knows better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its name in `[dataset.decided]`, such as `missing:outcome`.
    pub key: String,
    /// The file, source or column, and lines.
    pub place: String,
    pub seen: String,
    pub fix: String,
    /// A steward's decision that it is right as it is.
    pub decided: Option<Decided>,
}

/// The bytes at most of a decision's key, person and reason together.
const LONGEST: usize = 2_000;

/// A decision about a finding, or about a question of `loda-node init`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// The person who decided, the day, and the reason.
    pub by: String,
    #[serde(serialize_with = "iso::serialize", deserialize_with = "iso::deserialize")]
    pub on: NaiveDate,
    pub why: String,
}

impl Finding {
    pub(crate) fn new(
        key: impl Into<String>,
        place: impl Into<String>,
        seen: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { key: key.into(), place: place.into(), seen: seen.into(), fix: fix.into(), decided: None }
    }
}

impl Decided {
    /// Refuses a decision without a person or a reason, or one that an entry of the log does not hold.
    ///
    /// # Errors
    /// A sentence with the fix.
    pub(crate) fn check(&self, key: &str) -> Result<(), String> {
        if self.by.trim().is_empty() || self.why.trim().is_empty() {
            return Err(format!(
                "[dataset.decided] \"{key}\" needs by (who decided), on (YYYY-MM-DD) and why, in words"
            ));
        }
        let bytes = key.len().saturating_add(self.by.len()).saturating_add(self.why.len());
        if bytes > LONGEST {
            return Err(format!("a decision has at most {LONGEST} bytes in its key, by and why: this one has {bytes}"));
        }
        Ok(())
    }
}

/// The first of many places, and how many more there are.
pub(crate) fn listed(places: impl Iterator<Item = String>, rows: u64) -> String {
    let shown: Vec<String> = places.take(5).collect();
    let more = rows.saturating_sub(shown.len() as u64);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
