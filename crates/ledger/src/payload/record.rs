//! The texts behind entries, as JSON: what was asked and what was released, at the coordinator and at a node.

use loda_federation::SignedQuestion;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What an asker asked, behind INTENT and REFUSE of the coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionAsked {
    /// The SQL as it was asked.
    pub sql: String,
    /// What was sent to boroughs. Empty if the question was refused before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fragments: Vec<FragmentSent>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RefusalTold>,
    /// The question as its asker signed it: the entries name the hash of its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<SignedQuestion>,
}

/// A part of a question, as boroughs are sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentSent {
    /// The SHA-256 of its bytes, in hexadecimal: the nodes' entries name it.
    pub sha256: String,
    /// In plain English.
    pub words: String,
    /// The same as SQL.
    pub sql: String,
    /// The boroughs that it goes to, as GSS codes.
    pub boroughs: Vec<String>,
}

/// A refusal, as the asker was told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalTold {
    /// The name of the rule.
    pub rule: String,
    /// What the rule says.
    pub message: String,
}

/// What the coordinator released, behind OUTCOME.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultReleased {
    /// Whether no borough refused or failed to answer.
    pub complete: bool,
    /// The parts of the question, in their order.
    pub parts: Vec<PartReleased>,
}

/// What was released for one part of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartReleased {
    /// The dataset.
    pub dataset: String,
    /// The method of protection.
    pub method: String,
    /// The values (cell by figure) that could have been released.
    pub values: u64,
    /// Those of them that were withheld.
    pub withheld: u64,
    /// Each borough's answer.
    pub boroughs: Vec<BoroughReleased>,
}

/// One borough's answer to a part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoroughReleased {
    /// The GSS code.
    pub borough: String,
    /// `answered`, `refused`, `no answer` or `not asked`.
    pub answer: String,
    /// The rule of a refusal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// The snapshot that answered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub snapshot: u64,
    /// The values that were withheld.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub withheld: u64,
}

/// What a node was asked, behind its ACCEPT and REFUSE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentAsked {
    /// In plain English.
    pub words: String,
    /// The same as SQL.
    pub sql: String,
}

/// What a node released, behind its RELEASE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellsReleased {
    /// The SHA-256 of the cells' bytes, in hexadecimal.
    pub sha256: String,
    /// The number of cells.
    pub cells: u64,
    /// The number of values that are withheld.
    pub without_value: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The bytes of a record.
#[must_use]
pub fn to_text(record: &impl Serialize) -> Vec<u8> {
    // Structures of texts and numbers always have a JSON form.
    serde_json::to_vec(record).unwrap_or_default()
}

/// Reads the bytes of a record. `None`: they are of another kind.
#[must_use]
pub fn of_text<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    serde_json::from_slice(text).ok()
}
