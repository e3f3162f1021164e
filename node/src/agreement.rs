//! The agreement: who may ask what, for which purpose, until when. What it does not grant is refused.

use std::path::Path;

use chrono::NaiveDate;
use loda_question::{Refusal, Rule};
use serde::Deserialize;

use crate::config::ConfigError;

/// One signed sharing agreement as the node applies it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agreement {
    id: String,
    version: u32,
    grant: Vec<Grant>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    /// SPIFFE ids.
    analysts: Vec<String>,
    purposes: Vec<String>,
    datasets: Vec<String>,
    /// The first and the last day on which it holds.
    from: NaiveDateText,
    until: NaiveDateText,
}

/// A date in quotes, as `YYYY-MM-DD`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct NaiveDateText(NaiveDate);

impl TryFrom<String> for NaiveDateText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("'{text}' is not a date: write YYYY-MM-DD"))
    }
}

impl Agreement {
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: name.clone(), source })?;
        toml::from_str(&text).map_err(|e| ConfigError::Invalid { path: name, problem: e.to_string() })
    }

    /// The last day on which a grant covers a dataset.
    pub(crate) fn until(&self, dataset: &str) -> Option<NaiveDate> {
        let of_dataset = self.grant.iter().filter(|grant| grant.datasets.iter().any(|of| of == dataset));
        of_dataset.map(|grant| grant.until.0).max()
    }

    /// The agreement's name for the log, where a grant covers the question today.
    ///
    /// # Errors
    /// Rule `agreement`. It says what is missing, which the asker may know: agreements are public within the federation.
    pub(crate) fn allows(
        &self,
        analyst: &str,
        purpose: &str,
        dataset: &str,
        today: NaiveDate,
    ) -> Result<String, Refusal> {
        let refuse = |message: String, advice: &str| Err(Refusal::new(Rule::Agreement, message, advice));
        let names = |list: &[String], name: &str| list.iter().any(|item| item == name);
        let of_dataset: Vec<&Grant> = self.grant.iter().filter(|g| names(&g.datasets, dataset)).collect();
        if of_dataset.is_empty() {
            return refuse(
                format!("no agreement covers dataset '{dataset}'"),
                "Ask the borough to extend the agreement",
            );
        }
        let of_analyst: Vec<&&Grant> = of_dataset.iter().filter(|g| names(&g.analysts, analyst)).collect();
        if of_analyst.is_empty() {
            return refuse("the agreement does not name this analyst".to_owned(), "Ask the borough to add you");
        }
        let of_purpose: Vec<&&&Grant> = of_analyst.iter().filter(|g| names(&g.purposes, purpose)).collect();
        if of_purpose.is_empty() {
            let mut purposes: Vec<&str> =
                of_analyst.iter().flat_map(|g| g.purposes.iter().map(String::as_str)).collect();
            purposes.sort_unstable();
            purposes.dedup();
            let advice = format!("State the purpose with --purpose: {}", purposes.join(", "));
            return refuse(format!("purpose '{purpose}' is not agreed for '{dataset}'"), &advice);
        }
        if of_purpose.iter().any(|g| g.from.0 <= today && today <= g.until.0) {
            return Ok(format!("{}/{}", self.id, self.version));
        }
        refuse("the agreement is not in force today".to_owned(), "Ask the borough to renew it")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_not_granted_is_refused() {
        let agreement: Agreement = toml::from_str(
            "id = 'A'\nversion = 2\n[[grant]]\nanalysts = ['a']\npurposes = ['p']\ndatasets = ['d']\n\
             from = '2026-01-01'\nuntil = '2026-12-31'",
        )
        .unwrap();
        let ask =
            |analyst, purpose, dataset, day: &str| agreement.allows(analyst, purpose, dataset, day.parse().unwrap());
        assert_eq!(ask("a", "p", "d", "2026-12-31").unwrap(), "A/2");
        for (analyst, purpose, dataset, day) in [
            ("b", "p", "d", "2026-06-01"),
            ("a", "q", "d", "2026-06-01"),
            ("a", "p", "e", "2026-06-01"),
            ("a", "p", "d", "2025-12-31"),
            ("a", "p", "d", "2027-01-01"),
        ] {
            assert_eq!(ask(analyst, purpose, dataset, day).unwrap_err().rule, Rule::Agreement);
        }
    }
}
