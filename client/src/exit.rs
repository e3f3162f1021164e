//! Exit codes, for scripts that must tell a partial answer from a whole one.

use loda_answer::is_whole;
use loda_proto::v1::Statement;

use crate::error::ClientError;

/// The answer is complete.
pub const COMPLETE: u8 = 0;
/// The connection, the coordinator or this program failed.
pub const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
pub const USAGE: u8 = 2;
/// The question is refused: rule, message and advice are on standard error.
pub const REFUSED: u8 = 3;
/// A borough refused or did not answer. The result is still printed.
pub const PARTIAL: u8 = 4;
/// No borough answered in time.
pub const NO_ANSWER: u8 = 5;
/// The query was cancelled by Ctrl-C, or elsewhere.
pub const CANCELLED: u8 = 6;
/// The parties' query logs do not agree, one of them is not whole, or an answer is not in them.
pub const DISAGREES: u8 = 7;

/// The exit code of a result with this statement.
pub fn of_statement(statement: &Statement) -> u8 {
    let answers = || statement.parts.iter().flat_map(|part| &part.boroughs).map(|b| b.answer.as_str());
    let asked = || answers().filter(|answer| *answer != "not asked");
    if is_whole(statement) {
        COMPLETE
    } else if asked().count() > 0 && asked().all(|answer| answer == "refused") {
        REFUSED
    } else if asked().count() > 0 && !asked().any(|answer| answer == "answered") {
        NO_ANSWER
    } else {
        PARTIAL
    }
}

/// The exit code of an error.
pub fn of_error(error: &ClientError) -> u8 {
    match error {
        ClientError::Config(_) => USAGE,
        ClientError::Transport(_) => FAILED,
        ClientError::Refused { .. } => REFUSED,
        ClientError::NoAnswer => NO_ANSWER,
        ClientError::Cancelled => CANCELLED,
        ClientError::NotRecorded { .. } => DISAGREES,
    }
}

#[cfg(test)]
mod tests {
    use loda_proto::v1::{BoroughAnswer, Part};

    use super::*;

    fn statement(complete: bool, answers: &[&str]) -> Statement {
        let boroughs =
            answers.iter().map(|answer| BoroughAnswer { answer: (*answer).into(), ..Default::default() }).collect();
        Statement { complete, parts: vec![Part { boroughs, ..Default::default() }], ..Default::default() }
    }

    #[test]
    fn a_statement_maps_to_its_code() {
        assert_eq!(of_statement(&statement(true, &["answered", "not asked"])), COMPLETE);
        assert_eq!(of_statement(&statement(false, &["answered", "refused"])), PARTIAL);
        assert_eq!(of_statement(&statement(false, &["answered", "no answer"])), PARTIAL);
        assert_eq!(of_statement(&statement(false, &["no answer", "refused"])), NO_ANSWER);
        assert_eq!(of_statement(&statement(false, &["refused", "refused"])), REFUSED);
        // A question to the coordinator's own tables asks no borough.
        assert_eq!(of_statement(&statement(true, &[])), COMPLETE);
    }

    #[test]
    fn a_statement_that_contradicts_itself_is_not_complete() {
        assert_eq!(of_statement(&statement(true, &["answered", "no answer"])), PARTIAL);
        assert_eq!(of_statement(&statement(false, &["answered"])), PARTIAL);
    }

    #[test]
    fn an_error_maps_to_its_code() {
        let refused = ClientError::Refused { rule: "grid".into(), message: String::new(), advice: String::new() };
        assert_eq!(of_error(&refused), REFUSED);
        assert_eq!(of_error(&ClientError::NoAnswer), NO_ANSWER);
        assert_eq!(of_error(&ClientError::Cancelled), CANCELLED);
        let other = ClientError::NotRecorded { query: String::new(), fault: "" };
        assert_eq!(of_error(&other), DISAGREES);
        assert_eq!(of_error(&ClientError::Transport("x".into())), FAILED);
    }
}
