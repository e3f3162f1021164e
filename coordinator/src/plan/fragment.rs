//! A request to a borough: a question, or a table for data about people.

use std::sync::Arc;

use loda_question::Question;
use loda_question::table::Table;

#[derive(Clone)]
pub(crate) enum Fragment {
    Question(Arc<Question>),
    Table(Arc<Table>),
}

impl Fragment {
    /// The canonical bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Question(question) => question.encode(),
            Self::Table(table) => table.encode(),
        }
    }

    /// One paragraph of plain English.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Question(question) => question.words(),
            Self::Table(table) => table.words(),
        }
    }

    pub(crate) fn sql(&self) -> String {
        match self {
            Self::Question(question) => question.sql(),
            Self::Table(table) => table.sql(),
        }
    }

    /// The number of cells at a borough. `None`: only the borough knows.
    pub(crate) fn grid(&self) -> Option<u64> {
        match self {
            Self::Question(question) => question.grid(),
            Self::Table(table) => table.grid(),
        }
    }
}
