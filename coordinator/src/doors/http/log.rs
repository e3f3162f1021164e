//! The query logs of coordinator and boroughs, for auditors.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::NaiveDate;
use loda_proto::v1::{LoggedEntry, ReadLogRequest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::{NotAsked, NotLetIn, NotThere, NotUnderstood, Params, Problem, within};
use crate::doors::service::DoorService;
use crate::doors::sign_in::asker::{Asker, Scope};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogSearch {
    /// The log of this borough's node (GSS code). Without it, the coordinator's.
    #[param(max_length = 200)]
    borough: Option<String>,
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
    /// Also what was asked and released, as far as it is kept.
    texts: Option<bool>,
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
    /// What was asked or released, where it is wanted and kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    opening: Option<LogOpening>,
}

/// Opens the commitment in an entry: it is the HMAC-SHA-256 of the text under the key.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogOpening {
    /// In hexadecimal.
    key: String,
    /// JSON.
    text: String,
}

/// Search the log. Each entry comes with its signature, so that you can check it.
#[utoipa::path(get, path = "/v1/log", operation_id = "search_log", tag = "log",
    security(("bearer" = [])), params(LogSearch), responses(
    (status = 200, body = LogPage, description = "Entries of the log, with its signed head"),
    NotUnderstood,
    NotThere,
    NotAsked,
    NotLetIn,
))]
pub(crate) async fn search(
    State(service): State<Arc<DoorService>>,
    asker: Asker,
    Params(wanted): Params<LogSearch>,
) -> Result<Json<LogPage>, Problem> {
    asker.may(Scope::Audit)?;
    let limit = within("limit", wanted.limit, 1, 1000, 100)?;
    let start = u64::from(within("start", wanted.start, 0, 4_000_000_000, 0)?);
    let day = |name: &str, text: Option<String>| match text {
        None => Ok(String::new()),
        Some(text) if text.parse::<NaiveDate>().is_ok() => Ok(text),
        Some(_) => {
            Err(Problem::new(http::StatusCode::BAD_REQUEST, "bad_request", format!("{name} is a day: YYYY-MM-DD")))
        }
    };
    let borough = wanted.borough.unwrap_or_default();
    let key = match service.manifest().members.iter().find(|member| member.gss.as_str() == borough) {
        Some(member) => member.log_key.clone(),
        None => service.manifest().coordinator.log_key.clone(),
    };
    let request = ReadLogRequest {
        borough,
        query: wanted.query.unwrap_or_default(),
        analyst: wanted.analyst.unwrap_or_default(),
        purpose: wanted.purpose.unwrap_or_default(),
        dataset: wanted.dataset.unwrap_or_default(),
        from: day("from", wanted.from)?,
        until: day("to", wanted.to)?,
        start,
        limit,
        texts: wanted.texts.unwrap_or(false),
        auditor: String::new(),
        proofs: false,
    };
    let page = service.read_log(&asker, request).await?;
    let entry = |logged: LoggedEntry| LogEntry {
        entry: logged.entry,
        signature: logged.signature,
        opening: logged.opening.map(|opening| LogOpening {
            key: hex::encode(opening.key),
            text: String::from_utf8_lossy(&opening.text).into_owned(),
        }),
    };
    Ok(Json(LogPage { entries: page.entries.into_iter().map(entry).collect(), next: page.next, key }))
}
