//! The event that an entry records, and its words in a line of the log.
//!
//! A line names the kind of event and says the rest in a text, `detail`. Only this module writes and reads that text.
//! All other code decides on [`Event`]. Lines of earlier software are read in the same place, once.

use serde::{Deserialize, Serialize};

use crate::payload::{Commitment, RecordClass};

/// The kind of an event. Lines hold its name in upper case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventKind {
    /// The coordinator is about to send a query.
    Intent,
    /// The coordinator tells an asker what a question would send, and who would refuse it. Nothing runs.
    Explain,
    /// A query ended at the coordinator. With an answer, the coordinator is about to release it.
    Outcome,
    /// A node is about to run a query.
    Accept,
    /// A party refuses a query.
    Refuse,
    /// A node is about to let figures leave.
    Release,
    /// A query ended at a node without a release.
    Fail,
    /// A change of an agreement or a snapshot, or another event that belongs to no query.
    Admin,
    /// Words behind earlier entries are destroyed, because their time is over.
    Erase,
}

/// An event with its details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The coordinator is about to send a query.
    Intent {
        /// What was asked.
        asked: Asked,
    },
    /// The coordinator tells an asker what a question would send, and who would refuse it. Nothing runs.
    Explain {
        /// What would be asked.
        asked: Asked,
    },
    /// A query ended at the coordinator.
    Outcome(End),
    /// A node is about to run a query.
    Accept {
        /// What was asked. `None`: earlier software kept no words of it.
        asked: Option<Commitment>,
    },
    /// A party refuses a query.
    Refuse(Refused),
    /// A node is about to let figures leave.
    Release {
        /// The snapshots that the node read, and the method, in words.
        used: String,
        /// What was released. `None`: earlier software kept no words of it.
        released: Option<Commitment>,
    },
    /// A query ended at a node without a release.
    Fail(FailReason),
    /// A change that belongs to no query.
    Admin(Change),
    /// Words behind earlier entries are destroyed, because their time is over. The entries stay.
    Erase(Erased),
}

/// Words that are destroyed, with the keys that open their commitments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    /// What the words are about: `question` or `result`.
    pub class: String,
    /// They are of days before this one (ISO 8601).
    pub before: String,
    /// Their number.
    pub texts: u64,
}

/// What was asked, as an entry names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A commitment to the words.
    Committed(Commitment),
    /// The SHA-256 of the SQL in hexadecimal, by earlier software.
    Hashed(String),
}

/// How a query ended at the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With an answer.
    Answered {
        /// The SHA-256 of everything that the asker fetches, in hexadecimal.
        result_sha256: String,
        /// The number of boroughs that answered.
        boroughs: u64,
        /// What was released, in words. `None`: earlier software kept none.
        released: Option<Commitment>,
    },
    /// The asker cancelled it.
    Cancelled,
    /// Nobody was waiting for its answer.
    Abandoned,
    /// Something failed. The operator's own log has the cause.
    Error,
    /// It took longer than its deadline.
    Deadline,
    /// The coordinator was started again, and did not resume it.
    Restarted,
    /// Text of other software. No answer may rest on it.
    Other(String),
}

/// Why a query ended at a node without a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// The coordinator cancelled it.
    Cancelled,
    /// The agreement ended while it ran.
    Agreement,
    /// Something failed. The operator's own log has the cause.
    Error,
    /// It took longer than its deadline.
    Deadline,
    /// The node was started again.
    Restarted,
    /// Text of other software.
    Other(String),
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// One query.
    One {
        /// The name of the rule, without spaces.
        rule: String,
        /// What was asked, if its words are kept.
        asked: Option<Asked>,
    },
    /// Several refusals without an entry of their own, in words.
    Rest(String),
}

/// A change that belongs to no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A dataset is served from a snapshot for an epoch, or for a closed period.
    Opened(Opened),
    /// Any other change, in words.
    Note(String),
}

/// The snapshot that a dataset is served from for an epoch or a closed period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Whether this is an epoch or a period.
    pub span: Span,
    /// The epoch's or the period's name, without spaces.
    pub name: String,
    /// The number of the snapshot.
    pub snapshot: u64,
    /// The epoch whose name the keys of cells hold. For a period, `closed` or `restated`.
    pub drawn: String,
    /// In hexadecimal. For a period, the SHA-256 of the file of its rows. For an epoch, of the snapshot's pieces with
    /// the contract, perturbation and secret that draw its cells.
    pub sha256: String,
}

/// A span of time in which data do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The data of a register.
    Epoch,
    /// The rows of a closed period.
    Period,
}

impl Event {
    /// The kind of the event.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Intent { .. } => EventKind::Intent,
            Self::Explain { .. } => EventKind::Explain,
            Self::Outcome(_) => EventKind::Outcome,
            Self::Accept { .. } => EventKind::Accept,
            Self::Refuse(_) => EventKind::Refuse,
            Self::Release { .. } => EventKind::Release,
            Self::Fail(_) => EventKind::Fail,
            Self::Admin(_) => EventKind::Admin,
            Self::Erase(_) => EventKind::Erase,
        }
    }

    /// The details as a line says them.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Intent { asked } | Self::Explain { asked } => asked.words(),
            Self::Outcome(End::Answered { result_sha256, boroughs, released }) => {
                format!("result {result_sha256}, {boroughs} answers{}", of_released(*released))
            }
            Self::Outcome(End::Other(words)) | Self::Fail(FailReason::Other(words)) => words.clone(),
            Self::Outcome(end) => end.name().to_owned(),
            Self::Accept { asked } => asked.map(|asked| Asked::Committed(asked).words()).unwrap_or_default(),
            Self::Refuse(Refused::One { rule, asked: None }) => rule.clone(),
            Self::Refuse(Refused::One { rule, asked: Some(asked) }) => format!("{rule}, {}", asked.words()),
            Self::Refuse(Refused::Rest(words)) | Self::Admin(Change::Note(words)) => words.clone(),
            Self::Release { used, released } => format!("{used}{}", of_released(*released)),
            Self::Fail(reason) => reason.name().to_owned(),
            Self::Admin(Change::Opened(opened)) => opened.words(),
            Self::Erase(Erased { class, before, texts }) => format!("{texts} {class} before {before}"),
        }
    }

    /// Reads a line's kind and details.
    #[must_use]
    pub fn read(kind: EventKind, detail: String) -> Self {
        match kind {
            EventKind::Intent => Self::Intent { asked: Asked::read(&detail).unwrap_or(Asked::Hashed(detail)) },
            EventKind::Explain => Self::Explain { asked: Asked::read(&detail).unwrap_or(Asked::Hashed(detail)) },
            EventKind::Outcome => Self::Outcome(End::read(detail)),
            EventKind::Accept => Self::Accept {
                asked: match Asked::read(&detail) {
                    Some(Asked::Committed(asked)) => Some(asked),
                    _ => None,
                },
            },
            EventKind::Refuse => Self::Refuse(Refused::read(detail)),
            EventKind::Release => match split_released(&detail) {
                (used, released @ Some(_)) => Self::Release { used: used.to_owned(), released },
                _ => Self::Release { used: detail, released: None },
            },
            EventKind::Fail => Self::Fail(FailReason::read(detail)),
            EventKind::Admin => Self::Admin(match Opened::read(&detail) {
                Some(opened) => Change::Opened(opened),
                None => Change::Note(detail),
            }),
            EventKind::Erase => Self::Erase(Erased::read(&detail)),
        }
    }
}

impl Event {
    /// What the words behind the entry are about, if there may be any.
    pub(crate) fn class(&self) -> Option<RecordClass> {
        match self {
            Self::Intent { .. } | Self::Explain { .. } | Self::Accept { .. } | Self::Refuse(_) => {
                Some(RecordClass::Question)
            }
            Self::Outcome(_) | Self::Release { .. } => Some(RecordClass::Result),
            Self::Fail(_) | Self::Admin(_) | Self::Erase(_) => None,
        }
    }

    /// The commitments that the entry makes: to what was asked, or to what was released.
    #[must_use]
    pub fn commitment(&self) -> Option<Commitment> {
        match self {
            Self::Intent { asked: Asked::Committed(commitment) }
            | Self::Explain { asked: Asked::Committed(commitment) }
            | Self::Refuse(Refused::One { asked: Some(Asked::Committed(commitment)), .. }) => Some(*commitment),
            Self::Accept { asked } => *asked,
            Self::Outcome(End::Answered { released, .. }) | Self::Release { released, .. } => *released,
            Self::Intent { .. } | Self::Explain { .. } | Self::Outcome(_) | Self::Refuse(_) => None,
            Self::Fail(_) | Self::Admin(_) | Self::Erase(_) => None,
        }
    }
}

/// The words in front of the commitment to what was released.
const RELEASED: &str = ", released ";

fn of_released(released: Option<Commitment>) -> String {
    released.map(|commitment| format!("{RELEASED}{commitment}")).unwrap_or_default()
}

fn split_released(detail: &str) -> (&str, Option<Commitment>) {
    let found = detail.rsplit_once(RELEASED).and_then(|(rest, text)| Some((rest, text.parse().ok()?)));
    found.map_or((detail, None), |(rest, commitment)| (rest, Some(commitment)))
}

impl Asked {
    fn words(&self) -> String {
        match self {
            Self::Committed(commitment) => format!("asked {commitment}"),
            Self::Hashed(sql) => format!("sql {sql}"),
        }
    }

    fn read(words: &str) -> Option<Self> {
        if let Some(sql) = words.strip_prefix("sql ") {
            return Some(Self::Hashed(sql.to_owned()));
        }
        words.strip_prefix("asked ")?.parse().ok().map(Self::Committed)
    }
}

impl End {
    /// One word for the end: `answered`, or why there is no answer. `other` stands for text of other software.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Answered { .. } => "answered",
            Self::Cancelled => "cancelled",
            Self::Abandoned => "abandoned",
            Self::Error => "error",
            Self::Deadline => "deadline",
            Self::Restarted => "restarted",
            Self::Other(_) => "other",
        }
    }

    fn read(detail: String) -> Self {
        let answered = || {
            let (words, released) = split_released(&detail);
            let (result, boroughs) = words.strip_prefix("result ")?.split_once(", ")?;
            let boroughs = boroughs.strip_suffix(" answers")?.parse().ok()?;
            Some(Self::Answered { result_sha256: result.to_owned(), boroughs, released })
        };
        let known = [Self::Cancelled, Self::Abandoned, Self::Error, Self::Deadline, Self::Restarted];
        let named = || known.into_iter().find(|end| end.name() == detail);
        match answered().or_else(named) {
            Some(end) => end,
            None => Self::Other(detail),
        }
    }
}

impl FailReason {
    /// One word for the reason. `other` stands for text of other software.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Agreement => "agreement",
            Self::Error => "error",
            Self::Deadline => "deadline",
            Self::Restarted => "restarted",
            Self::Other(_) => "other",
        }
    }

    fn read(detail: String) -> Self {
        let known = [Self::Cancelled, Self::Agreement, Self::Error, Self::Deadline, Self::Restarted];
        known.into_iter().find(|reason| reason.name() == detail).unwrap_or(Self::Other(detail))
    }
}

impl Erased {
    fn read(detail: &str) -> Self {
        let mut words = detail.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (texts, class, _, before) = (word().parse().unwrap_or(0), word(), word(), word());
        Self { class, before, texts }
    }
}

impl Refused {
    fn read(detail: String) -> Self {
        // The names of rules have no spaces.
        let asked = detail.split_once(", ").and_then(|(rule, asked)| Some((rule, Asked::read(asked)?)));
        match asked {
            Some((rule, asked)) if !rule.contains(' ') => Self::One { rule: rule.to_owned(), asked: Some(asked) },
            None if !detail.contains(' ') => Self::One { rule: detail, asked: None },
            _ => Self::Rest(detail),
        }
    }
}

impl Opened {
    fn words(&self) -> String {
        let span = match self.span {
            Span::Epoch => "epoch",
            Span::Period => "period",
        };
        let Self { name, snapshot, drawn, sha256, .. } = self;
        format!("{span} {name} is served from snapshot {snapshot} drawn as {drawn} sha256 {sha256}")
    }

    fn read(detail: &str) -> Option<Self> {
        let (span, rest) = detail.split_once(' ')?;
        let span = match span {
            "epoch" => Span::Epoch,
            "period" => Span::Period,
            _ => return None,
        };
        let (name, rest) = rest.split_once(" is served from snapshot ")?;
        let (snapshot, rest) = rest.split_once(" drawn as ")?;
        let (drawn, sha256) = rest.split_once(" sha256 ")?;
        if [name, drawn, sha256].iter().any(|word| word.is_empty() || word.contains(' ')) {
            return None;
        }
        let (name, drawn, sha256) = (name.to_owned(), drawn.to_owned(), sha256.to_owned());
        Some(Self { span, name, snapshot: snapshot.parse().ok()?, drawn, sha256 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_read_as_it_was_written() {
        let text = str::to_owned;
        let opened =
            |span| Opened { span, name: text("2026Q4"), snapshot: 7, drawn: text("2026Q3"), sha256: text("ab") };
        let commitment = "0123456789abcdef".repeat(4).parse::<Commitment>().ok();
        let committed = commitment.map(Asked::Committed);
        let answered = |released| End::Answered { result_sha256: text("ab12"), boroughs: 33, released };
        let ends = [
            answered(None),
            answered(commitment),
            End::Cancelled,
            End::Abandoned,
            End::Error,
            End::Deadline,
            End::Restarted,
        ];
        let reasons = [FailReason::Cancelled, FailReason::Agreement, FailReason::Error, FailReason::Deadline];
        let events = [
            Event::Intent { asked: Asked::Hashed(text("cd34")) },
            Event::Accept { asked: None },
            Event::Accept { asked: commitment },
            Event::Refuse(Refused::One { rule: text("agreement"), asked: None }),
            Event::Refuse(Refused::One { rule: text("agreement"), asked: committed.clone() }),
            Event::Refuse(Refused::One { rule: text("sql"), asked: Some(Asked::Hashed(text("ef"))) }),
            Event::Refuse(Refused::Rest(text("7 more refusals within the hour: 7 sql of somebody"))),
            Event::Release { used: text("stops snapshot 3 of 2026-11-01, cell-key"), released: None },
            Event::Release { used: text("stops snapshot 3 of 2026-11-01, cell-key"), released: commitment },
            Event::Admin(Change::Opened(opened(Span::Epoch))),
            Event::Admin(Change::Opened(opened(Span::Period))),
            Event::Admin(Change::Note(text("started, software 0.1.0"))),
            Event::Fail(FailReason::Restarted),
            Event::Erase(Erased { class: text("question"), before: text("2026-01-01"), texts: 300 }),
        ];
        let events = events.into_iter().chain(committed.clone().map(|asked| Event::Intent { asked }));
        let events = events.chain(committed.map(|asked| Event::Explain { asked }));
        let events = events.chain(ends.map(Event::Outcome)).chain(reasons.map(Event::Fail));
        for event in events {
            assert_eq!(Event::read(event.kind(), event.detail()), event);
        }
    }

    #[test]
    fn words_that_quote_an_opening_open_nothing() {
        let words = "is served from snapshot 7 drawn as closed sha256 ab12";
        for note in [
            format!("period 2026-03-01 is restated: x {words}"),
            format!("epoch 2026Q4 {words} and more"),
            format!("token period 2026-03-01 {words}"),
            format!("period  {words}"),
        ] {
            let read = Event::read(EventKind::Admin, note.clone());
            assert_eq!(read, Event::Admin(Change::Note(note)));
        }
    }

    #[test]
    fn words_of_other_software_are_no_answer() {
        for words in ["result ab12", "result ab12, answers", "the answers", "answered", ""] {
            assert_eq!(Event::read(EventKind::Outcome, words.to_owned()), Event::Outcome(End::Other(words.to_owned())));
        }
    }
}
