//! The coordinator's query log, for auditors.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use loda_ledger::{Search, SignedEntry};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::{NotLetIn, NotUnderstood, Params, Problem, within};
use crate::doors::service::DoorService;
use crate::doors::sign_in::asker::{Asker, Scope};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogSearch {
    /// The id of a question.
    #[param(max_length = 200)]
    query: Option<String>,
    /// The asker, exactly.
    #[param(max_length = 200)]
    analyst: Option<String>,
    #[param(max_length = 200)]
    purpose: Option<String>,
    /// A dataset that was asked.
    #[param(max_length = 200)]
    dataset: Option<String>,
    /// Only from this day on, and only up to this day (YYYY-MM-DD).
    #[param(format = Date)]
    from: Option<String>,
    #[param(format = Date)]
    to: Option<String>,
    /// Only entries from this sequence number on: the `next` of the last page.
    #[param(minimum = 0, maximum = 4000000000_u64)]
    start: Option<u32>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Entries of the log, in the log's order.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogPage {
    entries: Vec<LogEntry>,
    /// The sequence number to continue from, if there are more entries.
    #[schema(nullable)]
    next: Option<u64>,
    /// The Ed25519 key that signs the log, in hexadecimal. Compare it with the manifest's.
    key: String,
}

/// One line, exactly as it was signed.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogEntry {
    /// The bytes that the signature covers.
    entry: String,
    signature: String,
}

/// Search the log. Each entry comes with its signature, so that you can check it.
#[utoipa::path(get, path = "/v1/log", operation_id = "search_log", tag = "log",
    security(("bearer" = [])), params(LogSearch), responses(
    (status = 200, body = LogPage, description = "Entries of the log, with its signed head"),
    NotUnderstood,
    NotLetIn,
))]
pub(crate) async fn search(
    State(service): State<Arc<DoorService>>,
    asker: Asker,
    Params(wanted): Params<LogSearch>,
) -> Result<Json<LogPage>, Problem> {
    asker.may(Scope::Audit)?;
    let limit = within("limit", wanted.limit, 1, 1000, 100)? as usize;
    let start = u64::from(within("start", wanted.start, 0, 4_000_000_000, 0)?);
    let day = |name: &str, text: Option<String>| match text {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            Problem::new(http::StatusCode::BAD_REQUEST, "bad_request", format!("{name} is a day: YYYY-MM-DD"))
        }),
    };
    let search = Search {
        query: wanted.query,
        analyst: wanted.analyst,
        purpose: wanted.purpose,
        dataset: wanted.dataset,
        from: day("from", wanted.from)?,
        to: day("to", wanted.to)?,
    };
    let (entries, next) = service.search_log(&asker, search, start, limit).await?;
    let entries = entries.into_iter().map(|SignedEntry { entry, signature }| LogEntry { entry, signature });
    Ok(Json(LogPage { entries: entries.collect(), next, key: service.manifest().coordinator.log_key.clone() }))
}
