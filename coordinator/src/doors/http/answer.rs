//! A question and its answer in one GET, for spreadsheets and scripts that can open an address and nothing more.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::{NotAsked, NotLetIn, NotUnderstood, Params, Problem};
use super::questions::text;
use super::results::format;
use super::tagged::with_tag;
use crate::doors::fault::Fault;
use crate::doors::service::DoorService;
use crate::doors::sign_in::asker::{Asker, Scope};
use crate::work::{Format, Page};

/// The most characters of the SQL: an address has little room.
const LONGEST: usize = 4_000;

/// The longest time that the caller waits.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AskedAtOnce {
    /// One SELECT over the tables of the catalogue.
    #[param(min_length = 1, max_length = 4000)]
    sql: String,
    /// The purpose, as the boroughs' agreements name it. Optional if your token is bound to one purpose.
    #[serde(default)]
    #[param(max_length = 200, required = false)]
    purpose: String,
    /// The format. CSV without it.
    #[param(inline)]
    format: Option<Format>,
}

/// Ask a question and fetch its answer in one call. The question is logged like any other. If it takes longer than a
/// minute, it goes on, and the problem names its address.
#[utoipa::path(get, path = "/v1/answer", operation_id = "answer", tag = "questions",
    security(("bearer" = [])), params(AskedAtOnce), responses(
    (status = 200, description = "The answer", content(
        (String = "text/csv"),
        (super::results::ResultPage = "application/json"),
        (String = "application/vnd.apache.parquet"),
        (String = "application/vnd.apache.arrow.stream"),
        (String = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    )),
    (status = 304, description = "As you have it"),
    NotUnderstood,
    (status = 409, body = Problem, content_type = "application/problem+json", description = "There is none"),
    (status = 414, description = "The address is too long: ask with POST /v1/questions"),
    (status = 431, description = "The address is too long: ask with POST /v1/questions"),
    NotAsked,
    (status = 504, body = Problem, content_type = "application/problem+json", description = "Not yet"),
    NotLetIn,
))]
pub(crate) async fn answer(
    State(service): State<Arc<DoorService>>,
    asker: Asker,
    headers: HeaderMap,
    Params(asked): Params<AskedAtOnce>,
) -> Result<Response, Problem> {
    asker.may(Scope::Ask)?;
    text("sql", &asked.sql, 1, LONGEST)?;
    text("purpose", &asked.purpose, 0, 200)?;
    let (format, kind, _) = format(&headers, Some(asked.format.unwrap_or(Format::Csv)))?;
    let purpose = asker.purpose(&asked.purpose)?;
    let query = service.ask(service.plan(&asker, asked.sql, purpose).await?, 0, true)?;
    let mut states = query.watch();
    let ended = states.wait_for(|state| state.is_final());
    if tokio::time::timeout(PATIENCE, ended).await.is_err() {
        let detail = format!("this takes longer than a minute: its state is at /v1/questions/{}", query.id);
        return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "not_ready", detail));
    }
    if let Some(refusal) = query.refusal.get() {
        return Err(Fault::Refused(refusal.clone()).into());
    }
    if query.result.get().is_none() {
        let detail = "this question ended without an answer";
        return Err(Problem::new(StatusCode::CONFLICT, "not_answered", detail));
    }
    let (bytes, _) = service.write(&asker, &query, Page { format, offset: 0, limit: usize::MAX }).await?;
    Ok(with_tag(&headers, kind, bytes))
}
