//! Questions as a log tells them: begun, and how they ended.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use crate::audit::entries::Logged;
use crate::entry::fragment_id;
use crate::event::{End, Event, Refused};
use crate::payload::record::{QuestionAsked, ResultReleased, of_text};

/// A question at the coordinator, from its first entry to its last.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its INTENT. If no borough was asked, its REFUSE or EXPLAIN.
    pub begun: Logged,
    /// Its OUTCOME. `None`: no borough was asked, or the log does not tell its end.
    pub ended: Option<Logged>,
}

impl Question {
    /// Its id. Empty for a question that was refused before it had one.
    #[must_use]
    pub fn id(&self) -> &str {
        self.begun.what.question()
    }

    /// What was asked, if the words were read and are kept.
    #[must_use]
    pub fn asked(&self) -> Option<QuestionAsked> {
        of_text(self.begun.text.as_ref()?)
    }

    /// What was released, if the words were read and are kept.
    #[must_use]
    pub fn released(&self) -> Option<ResultReleased> {
        of_text(self.ended.as_ref()?.text.as_ref()?)
    }

    /// The rule that refused it before any borough was asked.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        match &self.begun.what.event {
            Event::Refuse(Refused::One { rule, .. }) => Some(rule),
            _ => None,
        }
    }

    /// Whether boroughs were asked: it was neither refused before nor only explained.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        matches!(self.begun.what.event, Event::Intent { .. })
    }

    /// The ids of its parts at the nodes, each with the question's own.
    pub(super) fn part_ids(&self) -> impl Iterator<Item = (String, &str)> {
        let id = Uuid::try_parse(self.id()).ok();
        let parts = self.begun.what.fragment.split(' ').filter(|part| !part.is_empty()).count();
        id.into_iter().flat_map(move |id| (0..parts).map(move |part| (fragment_id(id, part).to_string(), self.id())))
    }

    /// Whether the words that are kept name other fragments than the entry does.
    pub(super) fn keeps_other_words(&self) -> bool {
        let named: BTreeSet<&str> = self.begun.what.fragment.split(' ').filter(|part| !part.is_empty()).collect();
        self.asked().is_some_and(|asked| {
            asked.fragments.iter().map(|sent| sent.sha256.as_str()).collect::<BTreeSet<&str>>() != named
        })
    }

    /// How it ended, if the log tells it.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        match &self.ended.as_ref()?.what.event {
            Event::Outcome(end) => Some(end),
            _ => None,
        }
    }
}

/// The questions that entries of the coordinator's log begin, in the log's order. Refusals that share an entry are not
/// among them: their askers have had one for each before.
#[must_use]
pub fn questions(entries: Vec<Logged>) -> Vec<Question> {
    let mut all: Vec<Question> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for entry in entries {
        match &entry.what.event {
            Event::Intent { .. } => {
                places.insert(entry.what.question().to_owned(), all.len());
                all.push(Question { begun: entry, ended: None });
            }
            Event::Refuse(Refused::One { .. }) | Event::Explain { .. } => {
                all.push(Question { begun: entry, ended: None });
            }
            Event::Outcome(_) => {
                let begun = places.get(entry.what.question()).and_then(|place| all.get_mut(*place));
                if let Some(question) = begun {
                    question.ended = Some(entry);
                }
            }
            Event::Accept { .. }
            | Event::Refuse(_)
            | Event::Release { .. }
            | Event::Fail(_)
            | Event::Admin(_)
            | Event::Erase(_) => {}
        }
    }
    all
}
