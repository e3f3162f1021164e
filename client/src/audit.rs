//! What an auditor could read of the parties' logs.

use std::fmt;

use loda_ledger::audit::{LogFault, Logged};

use crate::error::ClientError;

/// Why a party's log could not be read, or not be trusted.
pub(crate) enum Unread {
    /// It is not what was signed.
    Damaged(LogFault),
    /// It was not shown.
    NotShown(String),
}

impl Unread {
    pub(crate) fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(fault) => fault.fmt(f),
            Self::NotShown(why) => f.write_str(why),
        }
    }
}

impl From<ClientError> for Unread {
    fn from(error: ClientError) -> Self {
        Self::NotShown(error.to_string())
    }
}

/// What one borough's log says of a question.
pub(crate) struct BoroughEntries {
    /// The borough's name.
    pub(crate) name: String,
    /// Its entries, or why there are none to see.
    pub(crate) entries: Result<Vec<Logged>, Unread>,
}
