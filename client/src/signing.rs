//! What the coordinator made of an asker's SQL: read here from the bytes that boroughs get, and signed.
//!
//! A coordinator that is in wrong hands cannot ask without a signature where an agreement wants one. It could show one
//! question and have another signed. So the words that are shown are made here, and nothing is signed of a dataset that the
//! SQL does not name.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loda_contract::Contract;
use loda_identity::{AskedPart, Asking, Gss, Identity};
use loda_ledger::sha256_hex;
use loda_proto::v1;
use loda_question::{Fragment, Rule};
use uuid::Uuid;

use crate::error::ClientError;

/// How long after the latest end of its question a signature holds: clocks differ.
const AFTER: Duration = Duration::from_secs(15 * 60);

/// The time that a question may take if its asker sets no limit, and with any limit. Nodes take no signature that holds
/// for longer than 25 hours.
const USUAL: Duration = Duration::from_secs(3600);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The most parts that are signed at once. A coordinator could hide others among many.
const MOST: usize = 64;

/// The number of digits by which people compare what is signed.
const DIGEST: usize = 16;

/// A planned question.
#[derive(Clone, Debug)]
pub struct Prepared {
    told: v1::PrepareResponse,
    purpose: String,
    /// What is signed. `None`: the coordinator is of other software, and the question goes unsigned.
    parts: Option<Vec<AskedPart>>,
}

impl Deref for Prepared {
    type Target = v1::PrepareResponse;

    fn deref(&self) -> &Self::Target {
        &self.told
    }
}

impl Prepared {
    /// Takes in what the coordinator made of SQL, with the meaning of each fragment. `None`: the coordinator's software is of
    /// another version, and it cannot be told. The coordinator's words for fragments are replaced by ours.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it concerns a dataset that the SQL does not name.
    pub(crate) fn read(
        sql: &str,
        purpose: &str,
        mut told: v1::PrepareResponse,
        meanings: Vec<Option<Fragment>>,
    ) -> Result<Self, ClientError> {
        let mut parts = Some(Vec::new());
        let names = names(sql);
        for (sent, meaning) in told.fragments.iter_mut().zip(meanings) {
            let Some(fragment) = meaning else {
                // Nobody takes the coordinator's words for ours.
                sent.words = format!("not read here; the coordinator says: {}", sent.words);
                parts = None;
                continue;
            };
            if let Some(other) = fragment.datasets().iter().find(|contract| !names.contains(&contract.dataset)) {
                return Err(refused(
                    format!(
                        "the coordinator would ask boroughs about {}, which the SQL does not name; nothing was asked",
                        other.dataset
                    ),
                    "Name every dataset by its name in the SQL. If you did: tell an auditor of the federation",
                ));
            }
            (sent.words, sent.sql, sent.sha256) = (fragment.words(), fragment.sql(), sha256_hex(&sent.bytes));
            let boroughs = sent.boroughs.iter().map(|gss| gss.parse::<Gss>().ok()).collect::<Option<Vec<_>>>();
            match (&mut parts, boroughs) {
                (Some(parts), Some(boroughs)) => parts.push(AskedPart { sha256: sent.sha256.clone(), boroughs }),
                _ => parts = None,
            }
        }
        if parts.as_ref().is_some_and(|parts| parts.len() > MOST) {
            return Err(refused(
                format!(
                    "the coordinator would ask {} questions, and no more than {MOST} are signed at once",
                    told.fragments.len()
                ),
                "Ask for less at once. If the SQL asks for little: tell an auditor of the federation",
            ));
        }
        Ok(Self { told, purpose: purpose.to_owned(), parts })
    }

    /// What would be signed, as a short text to compare: the first digits of the SHA-256 of all parts and their boroughs.
    /// `None`: nothing would be signed.
    #[must_use]
    pub fn digest(&self) -> Option<String> {
        let parts = self.parts.as_ref().filter(|parts| !parts.is_empty())?;
        let lines = parts.iter().map(|part| {
            let boroughs: Vec<&str> = part.boroughs.iter().map(Gss::as_str).collect();
            format!("{} {}\n", part.sha256, boroughs.join(" "))
        });
        let mut digest = sha256_hex(lines.collect::<String>().as_bytes());
        digest.truncate(DIGEST);
        Some(digest)
    }

    /// Refuses to sign something else than what was explained before, by its digest.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn as_explained(self, digest: Option<&str>) -> Result<Self, ClientError> {
        match digest {
            Some(wanted) if self.digest().as_deref() != Some(wanted) => Err(refused(
                "boroughs would be asked something else than what was explained; nothing was asked".to_owned(),
                "Explain it again: boroughs or data may have changed. If not, tell an auditor of the federation",
            )),
            _ => Ok(self),
        }
    }

    /// Whether boroughs would be asked, and the question cannot be signed.
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        self.parts.is_none() && !self.fragments.is_empty()
    }

    /// The signed question, to be run within `timeout`. `None`: there is nothing to sign.
    pub(crate) fn sign(
        &self,
        identity: &Identity,
        timeout: Option<Duration>,
    ) -> Result<Option<v1::SignedQuestion>, ClientError> {
        let Some(parts) = self.parts.clone().filter(|parts| !parts.is_empty()) else { return Ok(None) };
        let until = SystemTime::now() + timeout.unwrap_or(USUAL).min(LONGEST) + AFTER;
        let until = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let asking = Asking {
            question: Uuid::new_v4(),
            asker: identity.now().own.id.clone(),
            purpose: self.purpose.clone(),
            until: i64::try_from(until).unwrap_or(i64::MAX),
            parts,
        };
        let signed =
            identity.sign(&asking).map_err(|fault| ClientError::transport("the question cannot be signed", &fault))?;
        Ok(Some(v1::SignedQuestion {
            text: signed.text,
            scheme: signed.scheme.into(),
            signature: signed.signature,
            certificate: signed.certificate,
        }))
    }
}

/// The contracts that were fetched, by dataset. The manifest names the hash of each.
#[derive(Clone, Default)]
pub(crate) struct Contracts(Arc<Mutex<BTreeMap<String, Arc<Contract>>>>);

impl Contracts {
    /// Takes up the text of a dataset's contract, if it is the one that the manifest names.
    pub(crate) fn take_up(&self, dataset: &str, text: &str, sha256: &str) {
        if sha256_hex(text.as_bytes()) != sha256 {
            return;
        }
        let contract = Contract::parse(text, dataset).ok().filter(|contract| contract.dataset == dataset);
        if let Some(contract) = contract {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(dataset.to_owned(), Arc::new(contract));
        }
    }

    pub(crate) fn get(&self, dataset: &str) -> Option<Arc<Contract>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(dataset).cloned()
    }

    /// Decodes a fragment. The error is the name of a dataset whose contract has to be fetched first, if that is why.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<Fragment, Option<String>> {
        let missing = RefCell::new(None);
        let contracts = |dataset: &str| {
            let found = self.get(dataset);
            if found.is_none() {
                missing.borrow_mut().get_or_insert_with(|| dataset.to_owned());
            }
            found
        };
        Fragment::decode(bytes, &contracts).map_err(|_| missing.take())
    }
}

fn refused(message: String, advice: &str) -> ClientError {
    ClientError::Refused { rule: Rule::Signature.name().to_owned(), message, advice: advice.to_owned() }
}

/// The words of SQL that can be names, in lower case.
fn names(sql: &str) -> BTreeSet<String> {
    let words = sql.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sql_are_found_in_any_spelling() {
        let found = names("SELECT count(*) FROM \"Homes\" h JOIN london.stops USING(id) -- from x_y\nWHERE a='b'");
        for name in ["homes", "stops", "x_y", "h", "id"] {
            assert!(found.contains(name), "{name}");
        }
        assert!(!found.contains("home") && !found.contains(""));
    }
}
