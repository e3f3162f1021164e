//! A client's settings for its next statements, and the statement of its last answer.
//!
//! Sessions belong to an asker and a credential, not to a connection, because many clients open several connections.
//! Two programs of one person do not share their settings.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use loda_proto::v1::Statement;
use prost::Message;

use crate::doors::sign_in::asker::Asker;

/// How long an unused session is kept.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// The most sessions. The oldest goes first.
const MOST: usize = 1024;

#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Session>>);

#[derive(Clone)]
pub(super) struct Session {
    pub(super) purpose: String,
    /// The SQL and the statement of the last answer.
    pub(super) last: Option<(String, Statement)>,
    used: Instant,
}

impl Sessions {
    pub(super) fn get(&self, asker: &Asker) -> Option<Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&asker.credential()).cloned()
    }

    pub(super) fn change(&self, asker: &Asker, change: impl FnOnce(&mut Session)) {
        let owner = asker.credential();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, session| session.used.elapsed() < KEPT);
        if all.len() >= MOST
            && !all.contains_key(&owner)
            && let Some(oldest) = all.iter().min_by_key(|(_, session)| session.used).map(|(owner, _)| owner.clone())
        {
            all.remove(&oldest);
        }
        let fresh = || Session { purpose: String::new(), last: None, used: Instant::now() };
        let session = all.entry(owner).or_insert_with(fresh);
        session.used = Instant::now();
        change(session);
    }

    pub(super) fn close(&self, asker: &Asker) {
        self.change(asker, |session| session.purpose.clear());
    }
}

/// Messages of the protocol (Flight.proto) that the library lacks.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SetSessionOptionsRequest {
    #[prost(map = "string, message", tag = "1")]
    pub(super) session_options: HashMap<String, SessionOptionValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionOptionValue {
    #[prost(string, optional, tag = "1")]
    pub(super) string_value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub(super) errors: HashMap<String, OptionFault>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OptionFault {
    /// 1: the name is unknown. 2: the value is invalid.
    #[prost(int32, tag = "1")]
    pub(super) value: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub(super) session_options: HashMap<String, SessionOptionValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CloseSessionResult {
    /// 1: closed.
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}
