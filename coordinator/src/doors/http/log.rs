//! The coordinator's query log, for auditors.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use loda_ledger::{Found, Search};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Params;
use super::questions::within;
use super::{NotLetIn, Problem};
use crate::doors::Doors;
use crate::doors::sign_in::{Asker, Scope};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// A question's id.
    #[param(max_length = 200)]
    query: Option<String>,
    /// Who asked, exactly.
    #[param(max_length = 200)]
    analyst: Option<String>,
    #[param(max_length = 200)]
    purpose: Option<String>,
    /// A dataset that was asked.
    #[param(max_length = 200)]
    dataset: Option<String>,
    /// Only from this day on, and only to this day (YYYY-MM-DD).
    #[param(format = Date)]
    from: Option<String>,
    #[param(format = Date)]
    to: Option<String>,
    /// Only entries from this sequence number on: where the last page ended.
    #[param(minimum = 0, maximum = 4000000000_u64)]
    start: Option<u32>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Entries of the log, in its order.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogPage {
    entries: Vec<LogEntry>,
    /// Where to go on, if there is more.
    #[schema(nullable)]
    next: Option<u64>,
    /// The Ed25519 key that signs, in hexadecimal: compare it with the manifest's.
    key: String,
}

/// One line, exactly as it was signed.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogEntry {
    /// The bytes that the signature covers.
    entry: String,
    signature: String,
}

/// Search the log. Each entry comes as it was signed, so that nobody has to believe this page.
#[utoipa::path(get, path = "/v1/log", security(("bearer" = [])), params(Wanted), responses(
    (status = 200, body = LogPage),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    NotLetIn,
))]
pub(crate) async fn search(
    State(doors): State<Arc<Doors>>,
    asker: Asker,
    Params(wanted): Params<Wanted>,
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
    let _turn = doors.turn(&asker).await?;
    let path = doors.log.clone();
    let found = tokio::task::spawn_blocking(move || loda_ledger::search(&path, &search, start, limit)).await;
    let Ok(Ok((entries, next))) = found else {
        tracing::error!("the log cannot be read");
        return Err(Problem::internal());
    };
    let entries = entries.into_iter().map(|Found { entry, signature }| LogEntry { entry, signature });
    Ok(Json(LogPage { entries: entries.collect(), next, key: doors.log_key.clone() }))
}
