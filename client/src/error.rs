//! The reasons for a missing answer.

use loda_proto::v1;
use tonic::{Code, Status};

use crate::config::ConfigError;
use loda_answer::plain;

/// The reason why there is no answer. Texts from the wire are already safe to print.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A refusal by contract or agreement only, before any row was read.
    #[error("refused ({rule}): {message}")]
    Refused {
        /// The rule's stable name.
        rule: String,
        /// The rule, in a sentence.
        message: String,
        /// The nearest question that would be allowed; may be empty.
        advice: String,
    },
    /// No borough answered by the deadline.
    #[error("no borough answered in time")]
    NoAnswer,
    /// The query was cancelled, here or elsewhere.
    #[error("cancelled")]
    Cancelled,
    /// The coordinator's log does not hold the answer that came.
    #[error(
        "the answer does not agree with the coordinator's query log: {fault}. Do not use it: tell an auditor of the \
         federation the query's id, {query}"
    )]
    NotRecorded {
        /// The id of the query.
        query: String,
        /// What does not hold.
        fault: &'static str,
    },
    /// The connection failed, or a message on it is not valid.
    #[error("{0}")]
    Transport(String),
}

impl ClientError {
    fn busy(message: &str) -> Self {
        Self::Refused {
            rule: "busy".to_owned(),
            message: message.to_owned(),
            advice: "Ask again in a moment, and fewer at once".to_owned(),
        }
    }
}

impl From<v1::Refusal> for ClientError {
    fn from(refusal: v1::Refusal) -> Self {
        Self::Refused {
            rule: plain::line(&refusal.rule),
            message: plain::line(&refusal.message),
            // A proposal for a contract has several lines.
            advice: plain::block(&refusal.advice),
        }
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let message = plain::line(status.message());
        match status.code() {
            Code::Cancelled => Self::Cancelled,
            Code::Unauthenticated | Code::PermissionDenied => {
                Self::Transport(format!("the coordinator does not let this certificate do that: {message}"))
            }
            Code::Unavailable => Self::Transport(format!("the coordinator cannot be reached: {}", causes(&status))),
            // Too many questions at once are no fault. The asker can ask again.
            Code::ResourceExhausted => Self::busy("as many questions run as may run at once"),
            Code::NotFound if message == "unknown_prepared" => {
                Self::busy("of one asker only so many prepared questions are kept, and this one had to go")
            }
            code => Self::Transport(format!("the coordinator failed ({code:?}): {message}")),
        }
    }
}

impl ClientError {
    /// A transport error from any error, with its causes.
    pub(crate) fn transport(what: &str, error: &dyn std::error::Error) -> Self {
        Self::Transport(format!("{what}: {}", chain(error)))
    }
}

/// The status's message and its local causes: tonic's own says only "transport error".
fn causes(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => chain(source),
        None => plain::line(status.message()),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = plain::line(&error.to_string());
    let mut next = error.source();
    while let Some(cause) = next {
        let words = plain::line(&cause.to_string());
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_cannot_drive_the_terminal() {
        let refusal =
            v1::Refusal { rule: "x\u{1b}[2J".into(), message: "a\nb\u{9b}31m".into(), advice: "\u{202e}c".into() };
        let ClientError::Refused { rule, message, advice } = ClientError::from(refusal) else { unreachable!() };
        assert_eq!((rule.as_str(), message.as_str(), advice.as_str()), ("x[2J", "a b31m", "c"));
    }

    #[test]
    fn a_cancelled_call_is_not_a_failure() {
        assert!(matches!(ClientError::from(Status::cancelled("")), ClientError::Cancelled));
        let denied = ClientError::from(Status::permission_denied("analyst only"));
        assert!(denied.to_string().contains("certificate"));
    }
}
