//! The reason why a call fails, the same for all doors. Each door translates it into its own protocol.

use loda_question::Refusal;

use crate::doors::sign_in::asker::Denied;
use crate::doors::sign_in::tokens::TokenFault;

/// A static code and plain sentences. They use only the caller's own request and the contracts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The caller may not do this, or not now.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A rule refuses the question.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// There is no such object, or it belongs to someone else.
    #[error("there is no such {0}, or it is not yours")]
    NotFound(&'static str),
    /// The cause is only in the operator's log.
    #[error("this request failed; the operator's log says why")]
    Internal,
}

impl Fault {
    /// A stable name. For a refused question, the name of the rule.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Denied(denied) => denied.code(),
            Self::Refused(refusal) => refusal.rule.name(),
            Self::Token(TokenFault::Wanted(_)) => "bad_request",
            Self::Token(TokenFault::Full) => "too_many_tokens",
            Self::Token(TokenFault::None) | Self::NotFound(_) => "not_found",
            Self::Token(TokenFault::Disk(_)) | Self::Internal => "internal",
        }
    }

    /// One sentence about the fault.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.message.clone(),
            Self::Token(TokenFault::None) => Self::NotFound("token").to_string(),
            Self::Token(TokenFault::Disk(cause)) => {
                tracing::error!("tokens cannot be written: {cause:#}");
                Self::Internal.to_string()
            }
            other => other.to_string(),
        }
    }

    /// The nearest request that would be allowed. May be empty.
    pub(crate) fn advice(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.advice,
            _ => "",
        }
    }
}
