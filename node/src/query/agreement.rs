//! The agreement: it grants datasets to analysts, for purposes and until a day. Everything else is refused.
//!
//! The file is read again each second, so a withdrawal takes effect at once. A file that cannot be read changes
//! nothing, and is a fault.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::NaiveDate;
use loda_ledger::Entry;
use loda_proto::v1;
use loda_question::{Refusal, Rule};
use ring::digest::{SHA256, digest};
use serde::Deserialize;

use crate::config::ConfigError;

/// How often the file is read.
const EVERY: Duration = Duration::from_secs(1);

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
    /// The analysts, as SPIFFE ids.
    analysts: Vec<String>,
    purposes: Vec<String>,
    datasets: Vec<String>,
    /// The first and the last day of the grant.
    from: NaiveDateText,
    until: NaiveDateText,
    /// Only for questions that the analyst has signed: the coordinator cannot ask in their name.
    #[serde(default)]
    signed: bool,
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

/// The agreement in force, and its file.
pub(crate) struct Agreed {
    path: PathBuf,
    state: RwLock<AgreementState>,
}

struct AgreementState {
    agreement: Arc<Agreement>,
    /// The SHA-256 of its text.
    sha256: String,
    fault: Option<String>,
}

impl Agreed {
    /// Opens the agreement.
    ///
    /// # Errors
    /// The file cannot be read. A node does not start without an agreement.
    pub(crate) fn open(path: &Path) -> Result<Self, ConfigError> {
        let (agreement, sha256) = Agreement::read(path)?;
        let state = AgreementState { agreement: Arc::new(agreement), sha256, fault: None };
        Ok(Self { path: path.to_owned(), state: RwLock::new(state) })
    }

    pub(crate) fn now(&self) -> Arc<Agreement> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner).agreement)
    }

    /// The reason why the file is not the agreement in force.
    pub(crate) fn fault(&self) -> Option<String> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).fault.clone()
    }

    /// The log entry about the agreement in force.
    pub(crate) fn entry(&self) -> Entry {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        entry(&state.agreement, &state.sha256)
    }

    /// Reads the file again. Another agreement is in force once `log` has recorded it. Returns whether there is another
    /// one.
    pub(crate) fn reread(&self, log: impl FnOnce(&Entry) -> anyhow::Result<()>) -> bool {
        let read = Agreement::read(&self.path);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let fault = match read {
            Ok((_, sha256)) if sha256 == state.sha256 => None,
            Ok((agreement, sha256)) => match log(&entry(&agreement, &sha256)) {
                Ok(()) => {
                    *state = AgreementState { agreement: Arc::new(agreement), sha256, fault: None };
                    tracing::info!("the agreement in force is another from now on");
                    return true;
                }
                Err(fault) => Some(format!("the agreement changed and cannot be logged: {fault:#}")),
            },
            Err(fault) => Some(format!("{fault}; the agreement of before stays in force")),
        };
        if fault.is_some() && fault != state.fault {
            tracing::error!("{}", fault.as_deref().unwrap_or_default());
        }
        state.fault = fault;
        false
    }

    /// Reads the file again and again. After another agreement, it calls `changed` until that succeeds.
    pub(crate) async fn keep(
        &self,
        log: impl Fn(&Entry) -> anyhow::Result<()>,
        changed: impl Fn(&Agreement) -> anyhow::Result<()>,
    ) {
        let mut follows = false;
        loop {
            tokio::time::sleep(EVERY).await;
            follows |= self.reread(&log);
            if follows {
                let done = changed(&self.now());
                follows = done.is_err();
                if let Err(fault) = done {
                    let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                    state.fault = Some(format!("what follows from another agreement is not done yet: {fault:#}"));
                }
            }
        }
    }
}

fn entry(agreement: &Agreement, sha256: &str) -> Entry {
    Entry { agreement: agreement.name(), ..Entry::admin(format!("agreement in force: sha256 {sha256}")) }
}

impl Agreement {
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        Ok(Self::read(path)?.0)
    }

    /// Reads an agreement, and the SHA-256 of its text.
    fn read(path: &Path) -> Result<(Self, String), ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: name.clone(), source })?;
        let agreement: Self =
            toml::from_str(&text).map_err(|e| ConfigError::Invalid { path: name.clone(), problem: e.to_string() })?;
        if let Some(grant) = agreement.grant.iter().find(|grant| grant.from.0 > grant.until.0) {
            let problem = format!("a grant begins on {} and ends before, on {}", grant.from.0, grant.until.0);
            return Err(ConfigError::Invalid { path: name, problem });
        }
        Ok((agreement, hex::encode(digest(&SHA256, text.as_bytes()))))
    }

    fn name(&self) -> String {
        format!("{}/{}", self.id, self.version)
    }

    /// Doubts that the author of an agreement should know of: grants that grant nothing, have ended or end soon.
    /// `held`: the datasets of this node.
    pub(crate) fn doubts(&self, held: &[String], today: NaiveDate) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.grant.is_empty() {
            doubts.push("it has no grant: every question is refused".to_owned());
        }
        for (number, grant) in (1..).zip(&self.grant) {
            let mut doubt = |what: String| doubts.push(format!("grant {number}: {what}"));
            for analyst in grant.analysts.iter().filter(|name| name.parse::<loda_identity::PeerId>().is_err()) {
                doubt(format!("'{analyst}' is no analyst's name: write spiffe://federation/analyst/name"));
            }
            for dataset in grant.datasets.iter().filter(|name| !held.contains(name)) {
                doubt(format!("the node holds no dataset '{dataset}'"));
            }
            if grant.until.0 < today {
                doubt(format!("it ended on {}", grant.until.0));
            } else if grant.until.0 < today + chrono::Days::new(30) {
                doubt(format!("it ends on {}, within 30 days", grant.until.0));
            }
            for (what, list) in
                [("analysts", &grant.analysts), ("purposes", &grant.purposes), ("datasets", &grant.datasets)]
            {
                if list.is_empty() {
                    doubt(format!("{what} is empty: it grants nothing"));
                }
            }
        }
        doubts
    }

    /// What it grants, for the federation to read.
    pub(crate) fn grants(&self) -> Vec<v1::Grant> {
        let wire = |grant: &Grant| v1::Grant {
            analysts: grant.analysts.clone(),
            purposes: grant.purposes.clone(),
            datasets: grant.datasets.clone(),
            from: grant.from.0.to_string(),
            until: grant.until.0.to_string(),
            signed: grant.signed,
        };
        self.grant.iter().map(wire).collect()
    }

    /// The last day on which a grant covers a dataset.
    pub(crate) fn until(&self, dataset: &str) -> Option<NaiveDate> {
        let of_dataset = self.grant.iter().filter(|grant| grant.datasets.iter().any(|of| of == dataset));
        of_dataset.map(|grant| grant.until.0).max()
    }

    /// The agreement's name for the log, if a grant covers the question today. `signed`: the analyst has signed it.
    ///
    /// # Errors
    /// Rule `agreement`, or `signature` if only the analyst's signature is missing. The refusal names the missing part. The asker may know this, because agreements are public
    /// within the federation.
    pub(crate) fn allows(
        &self,
        analyst: &str,
        purpose: &str,
        dataset: &str,
        today: NaiveDate,
        signed: bool,
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
        let in_force: Vec<&&&&Grant> = of_purpose.iter().filter(|g| g.from.0 <= today && today <= g.until.0).collect();
        if in_force.is_empty() {
            return refuse("the agreement is not in force today".to_owned(), "Ask the borough to renew it");
        }
        if !signed && in_force.iter().all(|g| g.signed) {
            return Err(Refusal::new(
                Rule::Signature,
                "the agreement is for questions that their asker has signed, and this one is not signed",
                "Ask with `loda query` and your certificate: tokens cannot sign",
            ));
        }
        Ok(self.name())
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
        let ask = |analyst, purpose, dataset, day: &str| {
            agreement.allows(analyst, purpose, dataset, day.parse().unwrap(), false)
        };
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

    #[test]
    fn another_file_is_in_force_once_it_is_logged_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agreement.toml");
        let text = |until: &str| {
            format!(
                "id = 'A'\nversion = 2\n[[grant]]\nanalysts = ['a']\npurposes = ['p']\ndatasets = ['d']\n\
                 from = '2026-01-01'\nuntil = '{until}'"
            )
        };
        std::fs::write(&path, text("2026-12-31")).unwrap();
        let agreed = Agreed::open(&path).unwrap();
        let day: NaiveDate = "2026-06-01".parse().unwrap();
        let may = || agreed.now().allows("a", "p", "d", day, false).is_ok();
        assert!(!agreed.reread(|_| panic!("nothing changed")) && may() && agreed.fault().is_none());
        for bad in ["", "id = 1", &text("2025-01-01")] {
            std::fs::write(&path, bad).unwrap();
            assert!(!agreed.reread(|_| panic!("it is no agreement")) && may() && agreed.fault().is_some());
        }
        std::fs::write(&path, text("2026-01-31")).unwrap();
        assert!(!agreed.reread(|_| anyhow::bail!("the disk is full")) && may() && agreed.fault().is_some());
        let mut said = String::new();
        let logged = agreed.reread(|entry| {
            said = entry.event.detail();
            Ok(())
        });
        assert!(logged && !may() && agreed.fault().is_none() && said.contains("sha256 "), "{said}");
    }

    #[test]
    fn a_grant_can_ask_for_the_askers_signature() {
        let text = |signed: &str| {
            format!(
                "id = 'A'\nversion = 2\n[[grant]]\nanalysts = ['a']\npurposes = ['p']\ndatasets = ['d']\n\
                 from = '2026-01-01'\nuntil = '2026-12-31'\n{signed}"
            )
        };
        let day: NaiveDate = "2026-06-01".parse().unwrap();
        let may = |text: &str, signed| {
            let agreement: Agreement = toml::from_str(text).unwrap();
            agreement.allows("a", "p", "d", day, signed).map_err(|refusal| refusal.rule)
        };
        assert!(may(&text(""), false).is_ok() && may(&text("signed = false"), false).is_ok());
        assert!(may(&text("signed = true"), true).is_ok());
        assert_eq!(may(&text("signed = true"), false), Err(Rule::Signature));
        // Another grant without that condition covers it.
        let both = format!("{}\n{}", text("signed = true"), text("").split_once("version = 2\n").unwrap().1);
        assert!(may(&both, false).is_ok());
    }

    #[test]
    fn grants_that_grant_nothing_are_named() {
        let agreement: Agreement = toml::from_str(
            "id = 'A'\nversion = 2\n[[grant]]\nanalysts = ['ann']\npurposes = []\ndatasets = ['d', 'e']\n\
             from = '2026-01-01'\nuntil = '2026-06-10'",
        )
        .unwrap();
        let doubts = |day: &str| agreement.doubts(&["d".to_owned()], day.parse().unwrap()).join("; ");
        let said = doubts("2026-06-01");
        assert!(said.contains("'ann'") && said.contains("'e'") && said.contains("purposes is empty"), "{said}");
        assert!(said.contains("ends on 2026-06-10") && doubts("2026-07-01").contains("it ended on"), "{said}");
    }
}
