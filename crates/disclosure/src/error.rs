//! What can go wrong, in words that hold no value of the data.

/// Why a table could not be disclosed. No variant carries data, so that an error may be logged; it
/// must still not be told apart by an asker, for several depend on the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DisclosureError {
    /// The specification contradicts itself or the method's rules.
    #[error("invalid table specification: {0}")]
    Spec(&'static str),
    /// A batch does not have the columns, types or ranges of the (cell, unit) stage.
    #[error("invalid (cell, unit) stage: {0}")]
    Stage(&'static str),
    /// One unit id of a domain came with two record keys.
    #[error("a unit has more than one record key")]
    KeyConflict,
    /// A domain declared as "at most one row a unit" has a unit with several.
    #[error("a unit of a one-row domain has several rows")]
    SeveralRows,
    /// Rows and measures of personal data are added up only where a unit's rows are bounded.
    #[error("sums under cell keys need a domain with a bounded number of rows a unit")]
    RowsUnbounded,
    /// A figure, or an intermediate value of a rule, does not fit its type.
    #[error("arithmetic overflow")]
    Overflow,
    /// Nobody waits for the table any more.
    #[error("stopped")]
    Stopped,
    /// Arrow refused an operation. Its message may quote data and is dropped.
    #[error("columnar operation failed")]
    Arrow,
}

impl DisclosureError {
    /// A static code for logs and tests.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Spec(_) => "Spec",
            Self::Stage(_) => "Stage",
            Self::KeyConflict => "KeyConflict",
            Self::SeveralRows => "SeveralRows",
            Self::RowsUnbounded => "RowsUnbounded",
            Self::Overflow => "Overflow",
            Self::Stopped => "Stopped",
            Self::Arrow => "Arrow",
        }
    }
}

impl From<arrow::error::ArrowError> for DisclosureError {
    fn from(_: arrow::error::ArrowError) -> Self {
        Self::Arrow
    }
}
