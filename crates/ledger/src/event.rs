//! The event that an entry records, and its words in a line of the log.
//!
//! A line names the kind of event and says the rest in a text, `detail`. Only this module writes and reads that text.
//! All other code decides on [`Event`]. Lines of earlier software are read in the same place, once.

use serde::{Deserialize, Serialize};

/// The kind of an event. Lines hold its name in upper case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventKind {
    /// The coordinator is about to send a query.
    Intent,
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
}

/// An event with its details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The coordinator is about to send a query.
    Intent {
        /// The SHA-256 of the query's SQL, in hexadecimal.
        sql_sha256: String,
    },
    /// A query ended at the coordinator.
    Outcome(End),
    /// A node is about to run a query.
    Accept,
    /// A party refuses a query.
    Refuse(Refused),
    /// A node is about to let figures leave.
    Release {
        /// The snapshots that the node read, and the method, in words.
        used: String,
    },
    /// A query ended at a node without a release.
    Fail(FailReason),
    /// A change that belongs to no query.
    Admin(Change),
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
        /// At the coordinator, the SHA-256 of the query's SQL, in hexadecimal.
        sql_sha256: Option<String>,
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
            Self::Outcome(_) => EventKind::Outcome,
            Self::Accept => EventKind::Accept,
            Self::Refuse(_) => EventKind::Refuse,
            Self::Release { .. } => EventKind::Release,
            Self::Fail(_) => EventKind::Fail,
            Self::Admin(_) => EventKind::Admin,
        }
    }

    /// The details as a line says them.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Intent { sql_sha256 } => format!("sql {sql_sha256}"),
            Self::Outcome(End::Answered { result_sha256, boroughs }) => {
                format!("result {result_sha256}, {boroughs} answers")
            }
            Self::Outcome(End::Other(words)) | Self::Fail(FailReason::Other(words)) => words.clone(),
            Self::Outcome(end) => end.name().to_owned(),
            Self::Accept => String::new(),
            Self::Refuse(Refused::One { rule, sql_sha256: None }) => rule.clone(),
            Self::Refuse(Refused::One { rule, sql_sha256: Some(sql) }) => format!("{rule}, sql {sql}"),
            Self::Refuse(Refused::Rest(words)) | Self::Admin(Change::Note(words)) => words.clone(),
            Self::Release { used } => used.clone(),
            Self::Fail(reason) => reason.name().to_owned(),
            Self::Admin(Change::Opened(opened)) => opened.words(),
        }
    }

    /// Reads a line's kind and details.
    #[must_use]
    pub fn read(kind: EventKind, detail: String) -> Self {
        match kind {
            EventKind::Intent => {
                Self::Intent { sql_sha256: detail.strip_prefix("sql ").map(str::to_owned).unwrap_or(detail) }
            }
            EventKind::Outcome => Self::Outcome(End::read(detail)),
            EventKind::Accept => Self::Accept,
            EventKind::Refuse => Self::Refuse(Refused::read(detail)),
            EventKind::Release => Self::Release { used: detail },
            EventKind::Fail => Self::Fail(FailReason::read(detail)),
            EventKind::Admin => Self::Admin(match Opened::read(&detail) {
                Some(opened) => Change::Opened(opened),
                None => Change::Note(detail),
            }),
        }
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
            let (result, boroughs) = detail.strip_prefix("result ")?.split_once(", ")?;
            let boroughs = boroughs.strip_suffix(" answers")?.parse().ok()?;
            Some(Self::Answered { result_sha256: result.to_owned(), boroughs })
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

impl Refused {
    fn read(detail: String) -> Self {
        // The names of rules have no spaces.
        match detail.split_once(", sql ") {
            Some((rule, sql)) if !rule.contains(' ') => {
                Self::One { rule: rule.to_owned(), sql_sha256: Some(sql.to_owned()) }
            }
            None if !detail.contains(' ') => Self::One { rule: detail, sql_sha256: None },
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
        let answered = End::Answered { result_sha256: text("ab12"), boroughs: 33 };
        let ends = [answered, End::Cancelled, End::Abandoned, End::Error, End::Deadline, End::Restarted];
        let reasons = [FailReason::Cancelled, FailReason::Agreement, FailReason::Error, FailReason::Deadline];
        let events = [
            Event::Intent { sql_sha256: text("cd34") },
            Event::Accept,
            Event::Refuse(Refused::One { rule: text("agreement"), sql_sha256: None }),
            Event::Refuse(Refused::One { rule: text("sql"), sql_sha256: Some(text("ef")) }),
            Event::Refuse(Refused::Rest(text("7 more refusals within the hour: 7 sql of somebody"))),
            Event::Release { used: text("stops snapshot 3 of 2026-11-01, cell-key") },
            Event::Admin(Change::Opened(opened(Span::Epoch))),
            Event::Admin(Change::Opened(opened(Span::Period))),
            Event::Admin(Change::Note(text("started, software 0.1.0"))),
            Event::Fail(FailReason::Restarted),
        ];
        let events = events.into_iter().chain(ends.map(Event::Outcome)).chain(reasons.map(Event::Fail));
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
