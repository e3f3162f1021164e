//! Faults as Flight SQL statuses: `code: sentence. advice`.

use loda_question::Rule;
use tonic::Status;

use crate::doors::fault::Fault;
use crate::doors::sign_in::asker::Denied;
use crate::doors::sign_in::tokens::TokenFault;

/// A fault as a status for Flight SQL clients. An internal fault is reported without its cause.
pub(in crate::doors) fn status(fault: &Fault) -> Status {
    let advice = if fault.advice().is_empty() { String::new() } else { format!(". {}", fault.advice()) };
    let text = format!("{}: {}{advice}", fault.code(), fault.detail());
    match fault {
        Fault::Denied(Denied::Unknown | Denied::Token | Denied::Expired | Denied::Disagree) => {
            Status::unauthenticated(text)
        }
        Fault::Denied(Denied::Provider) => Status::unavailable(text),
        Fault::Denied(Denied::Role | Denied::Purpose) => Status::permission_denied(text),
        Fault::Denied(Denied::Rate) => Status::resource_exhausted(text),
        Fault::Refused(refusal) if refusal.rule == Rule::Busy => Status::resource_exhausted(text),
        Fault::Refused(_) | Fault::Token(TokenFault::Wanted(_) | TokenFault::Full) => Status::invalid_argument(text),
        Fault::NotFound(_) | Fault::Token(TokenFault::None) => Status::not_found(text),
        Fault::Internal | Fault::Token(TokenFault::Disk(_)) => Status::internal("internal"),
    }
}

pub(super) fn denied(denied: Denied) -> Status {
    status(&denied.into())
}

pub(super) fn fault(fault: Fault) -> Status {
    status(&fault)
}
