//! Errors whose texts hold no value of the data.

/// The reason why a table could not be disclosed. No variant carries data, so that an error may be logged. An asker must not be
/// able to tell the variants apart, because several depend on the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DisclosureError {
    /// The specification contradicts itself or the method's rules.
    #[error("invalid table specification: {0}")]
    Spec(&'static str),
    /// A batch does not have the columns, types or ranges of the (cell, unit) stage.
    #[error("invalid (cell, unit) stage: {0}")]
    Stage(&'static str),
    /// A domain declared as "at most one row a unit" has a unit with several rows.
    #[error("a unit of a one-row domain has several rows")]
    SeveralRows,
    /// A figure, or an intermediate value of a rule, does not fit its type.
    #[error("arithmetic overflow")]
    Overflow,
    /// The caller stopped the work, because nobody waits for the table any more.
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
            Self::SeveralRows => "SeveralRows",
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
