//! What an auditor could read of the parties' logs.

use std::fmt;

use loda_identity::{Asking, Manifest, SignedBy, signed_by};
use loda_ledger::audit::{LogFault, Logged, Question};
use loda_ledger::payload::record::QuestionAsked;
use loda_ledger::sha256_hex;

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

/// What is known of the asker's signature of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    /// The entry says that the asker did not sign.
    None,
    /// The words that are kept hold it, and it is the asker's, of this question.
    Checked,
    /// The entry says that there was one, and the words that would show it are not kept or not opened.
    NotKept,
    /// What is kept is no signature of this question by this asker.
    Wrong,
    /// It is by a certificate that names the asker, and that no authority of the manifest issued.
    Stranger,
}

impl Signature {
    pub(crate) fn of(question: &Question, manifest: &Manifest) -> Self {
        let begun = &question.begun.what;
        if begun.signed.is_empty() {
            return Self::None;
        }
        let Some(asked) = question.asked() else { return Self::NotKept };
        let Some(signed) = &asked.signed else { return Self::Wrong };
        if sha256_hex(signed.text.as_bytes()) != begun.signed {
            return Self::Wrong;
        }
        match signed_by(signed, manifest) {
            None => Self::Wrong,
            Some(SignedBy::Stranger) => Self::Stranger,
            Some(SignedBy::Asker(asking)) if is_of(&asking, question, &asked) => Self::Checked,
            Some(SignedBy::Asker(_)) => Self::Wrong,
        }
    }

    /// One word for programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Checked => "checked",
            Self::NotKept => "not kept",
            Self::Wrong => "wrong",
            Self::Stranger => "stranger",
        }
    }
}

/// Whether what was signed is a question as the log has it, with its parts and their boroughs.
fn is_of(asking: &Asking, question: &Question, asked: &QuestionAsked) -> bool {
    let begun = &question.begun.what;
    let signed = asking.parts.iter().map(|part| {
        let boroughs: Vec<String> = part.boroughs.iter().map(ToString::to_string).collect();
        (part.sha256.as_str(), boroughs)
    });
    let sent = asked.fragments.iter().map(|sent| (sent.sha256.as_str(), sent.boroughs.clone()));
    let parts: Vec<&str> = asking.parts.iter().map(|part| part.sha256.as_str()).collect();
    asking.asker.to_string() == begun.analyst
        && asking.purpose == begun.purpose
        && asking.question.to_string() == question.id()
        && asking.is_in_time(question.begun.time.timestamp())
        && parts.join(" ") == begun.fragment
        && signed.eq(sent)
}
