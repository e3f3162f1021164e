//! One entry of the log.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::{Change, Event, EventKind};
use crate::seen::Seen;
use crate::sha256::hash_bytes;

/// One entry. It records a query and its outcome, never a figure. A text field that does not apply is empty.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "EntryLine", into = "EntryLine")]
pub struct Entry {
    /// The event that the entry records.
    pub event: Event,
    /// The query's id (a UUID).
    pub query: String,
    /// At a node, the id that the coordinator gave the whole question. Empty if `query` is that id.
    pub question: String,
    /// The asker's SPIFFE id.
    pub analyst: String,
    /// The purpose that the asker gave.
    pub purpose: String,
    /// The names of the datasets, separated by spaces.
    pub dataset: String,
    /// The agreement that allowed the query, with its version; empty if none did.
    pub agreement: String,
    /// SHA-256 of each canonical fragment, in hexadecimal, separated by spaces.
    pub fragment: String,
    /// SHA-256 of what the asker signed, in hexadecimal. Empty if the question came without their signature.
    pub signed: String,
    /// The marks of other parties' logs that this party had seen at that time.
    pub seen: Vec<Seen>,
}

/// An entry as a line of the log holds it.
#[derive(Serialize, Deserialize)]
struct EntryLine {
    kind: EventKind,
    query: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    question: String,
    analyst: String,
    purpose: String,
    dataset: String,
    agreement: String,
    fragment: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    signed: String,
    detail: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    seen: Vec<Seen>,
}

impl From<EntryLine> for Entry {
    fn from(line: EntryLine) -> Self {
        let EntryLine { kind, query, question, analyst, purpose, dataset, agreement, fragment, signed, detail, seen } =
            line;
        let event = Event::read(kind, detail);
        Self { event, query, question, analyst, purpose, dataset, agreement, fragment, signed, seen }
    }
}

impl From<Entry> for EntryLine {
    fn from(entry: Entry) -> Self {
        let Entry { event, query, question, analyst, purpose, dataset, agreement, fragment, signed, seen } = entry;
        let (kind, detail) = (event.kind(), event.detail());
        Self { kind, query, question, analyst, purpose, dataset, agreement, fragment, signed, detail, seen }
    }
}

impl Entry {
    /// An entry that names no query yet.
    #[must_use]
    pub fn of(event: Event) -> Self {
        let empty = String::new;
        Self {
            event,
            query: empty(),
            question: empty(),
            analyst: empty(),
            purpose: empty(),
            dataset: empty(),
            agreement: empty(),
            fragment: empty(),
            signed: empty(),
            seen: Vec::new(),
        }
    }

    /// An entry about a change or a state that belongs to no query.
    #[must_use]
    pub fn admin(detail: impl Into<String>) -> Self {
        Self::of(Event::Admin(Change::Note(detail.into())))
    }

    /// An entry about a change of one dataset.
    #[must_use]
    pub fn of_dataset(dataset: &str, change: Change) -> Self {
        Self { dataset: dataset.to_owned(), ..Self::of(Event::Admin(change)) }
    }

    /// The id of the whole question.
    #[must_use]
    pub fn question(&self) -> &str {
        if self.question.is_empty() { &self.query } else { &self.question }
    }

    /// The kind of the event.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        self.event.kind()
    }
}

/// The id of a fragment at the nodes: of the question with this id, the fragment of this number. It is the same each time
/// the question is sent.
#[must_use]
pub fn fragment_id(question: Uuid, number: usize) -> Uuid {
    let mut named = question.as_bytes().to_vec();
    named.extend_from_slice(&(number as u64).to_be_bytes());
    let mut bytes = [0_u8; 16];
    bytes.iter_mut().zip(hash_bytes(&named)).for_each(|(to, from)| *to = from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
