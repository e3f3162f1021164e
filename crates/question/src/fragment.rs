//! A part of a question, as a borough is asked it.

use std::sync::Arc;

use loda_contract::{Contract, Protection};

use crate::derive::Question;
use crate::refusal::{Refusal, Rule};
use crate::scope::Contracts;
use crate::table::Table;
use crate::wire::LIMITS;

/// The meaning of a fragment's bytes. A question about people is a table, and nothing else. Cheap to clone.
#[derive(Clone)]
pub enum Fragment {
    /// A question over rows that are not about people.
    Question(Arc<Question>),
    /// A table that contracts fix.
    Table(Arc<Table>),
}

impl Fragment {
    /// Decodes a fragment.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub fn decode(bytes: &[u8], contracts: Contracts<'_>) -> Result<Self, Refusal> {
        if Table::is_meant(bytes, LIMITS) {
            return Table::decode(bytes, LIMITS, contracts).map(|table| Self::Table(Arc::new(table)));
        }
        let question = Question::decode(bytes, LIMITS, contracts)?;
        if question.scope().datasets.iter().any(|c| c.protection.may_be_about_people()) {
            return Err(Refusal::new(
                Rule::Table,
                "data about people are asked for by tables alone",
                "Ask through the coordinator: it asks for tables, and evaluates conditions over what is released",
            ));
        }
        Ok(Self::Question(Arc::new(question)))
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Question(question) => question.encode(),
            Self::Table(table) => table.encode(),
        }
    }

    /// One paragraph of plain English.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Question(question) => question.words(),
            Self::Table(table) => table.words(),
        }
    }

    /// The same as SQL.
    #[must_use]
    pub fn sql(&self) -> String {
        match self {
            Self::Question(question) => question.sql(),
            Self::Table(table) => table.sql(),
        }
    }

    /// The names of the datasets, for logs and people.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Question(question) => question.scope().title(),
            Self::Table(table) => table.title(),
        }
    }

    /// Every dataset that is read, each once.
    #[must_use]
    pub fn datasets(&self) -> &[Arc<Contract>] {
        match self {
            Self::Question(question) => &question.scope().datasets,
            Self::Table(table) => table.datasets(),
        }
    }

    /// The one method for all figures.
    #[must_use]
    pub fn protection(&self) -> Protection {
        match self {
            Self::Question(question) => question.scope().protection,
            Self::Table(_) => Protection::CellKey,
        }
    }

    /// The number of cells at a borough. `None`: only the borough knows.
    #[must_use]
    pub fn grid(&self) -> Option<u64> {
        match self {
            Self::Question(question) => question.grid(),
            Self::Table(table) => table.grid(),
        }
    }
}
