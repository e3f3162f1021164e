//! Answers as files, or page by page.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_DISPOSITION, LINK};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::problem::{Id, NotLetIn, NotThere, NotUnderstood, Params, Problem, within};
use super::tagged::with_tag;
use crate::doors::fault::Fault;
use crate::doors::service::DoorService;
use crate::doors::sign_in::asker::{Asker, Scope};
use crate::work::{Format, Page};

/// The most rows on one page of JSON.
const PAGE: u32 = 10_000;

const FORMATS: [(Format, &str, &str); 5] = [
    (Format::Json, "application/json", "json"),
    (Format::Csv, "text/csv; charset=utf-8", "csv"),
    (Format::Parquet, "application/vnd.apache.parquet", "parquet"),
    (Format::Arrow, "application/vnd.apache.arrow.stream", "arrow"),
    (Format::Xlsx, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
];

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ResultFormat {
    /// The format. Replaces the header Accept.
    #[param(inline)]
    format: Option<Format>,
    /// The number of rows to skip. Only JSON has pages.
    #[param(minimum = 0, maximum = 100000000)]
    offset: Option<u32>,
    /// The most rows on a page.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u32>,
}

/// A page of an answer.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a description")]
pub(crate) struct ResultPage {
    columns: Vec<ResultColumn>,
    /// Each row is an array in the order of `columns`. The last item says why its nulls are null.
    rows: Vec<Vec<serde_json::Value>>,
    /// Who answered, which values are withheld, and the standard errors of the figures.
    statement: serde_json::Value,
}

/// A column of an answer.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a description")]
pub(crate) struct ResultColumn {
    name: String,
    r#type: String,
    /// Whether a null can be a withheld value.
    protected: bool,
}

/// Fetch an answer. The header Link of a JSON page gives the next page.
#[utoipa::path(get, path = "/v1/questions/{id}/result", operation_id = "result", tag = "questions",
    security(("bearer" = [])), params(
    ("id" = Uuid, Path, description = "The question"), ResultFormat
), responses(
    (status = 200, description = "The answer", content(
        (ResultPage = "application/json"),
        (String = "text/csv"),
        (String = "application/vnd.apache.parquet"),
        (String = "application/vnd.apache.arrow.stream"),
        (String = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    )),
    (status = 304, description = "As you have it"),
    NotUnderstood,
    NotThere,
    (status = 406, body = Problem, content_type = "application/problem+json", description = "None of the formats that you accept: see `format`"),
    (status = 409, body = Problem, content_type = "application/problem+json", description = "There is none yet, or there never will be"),
    (status = 422, body = Problem, content_type = "application/problem+json", description = "A step after the merge failed"),
    NotLetIn,
))]
pub(crate) async fn result(
    State(service): State<Arc<DoorService>>,
    asker: Asker,
    headers: HeaderMap,
    Id(id): Id,
    Params(wanted): Params<ResultFormat>,
) -> Result<Response, Problem> {
    asker.may(Scope::Ask)?;
    let offset = within("offset", wanted.offset, 0, 100_000_000, 0)? as usize;
    let limit = within("limit", wanted.limit, 1, PAGE, PAGE)? as usize;
    let (format, kind, extension) = format(&headers, wanted.format)?;
    let query = service.query(&asker, &id)?;
    if let Some(refusal) = query.refusal.get() {
        return Err(Fault::Refused(refusal.clone()).into());
    }
    if query.result.get().is_none() {
        let over = query.watch().borrow().is_final();
        let (code, detail) = match over {
            true => ("not_answered", "this question ended without an answer"),
            false => ("not_ready", "this question has not ended: see its state, with wait="),
        };
        return Err(Problem::new(StatusCode::CONFLICT, code, detail));
    }
    let (bytes, more) = service.write(&asker, &query, Page { format, offset, limit }).await?;
    let mut response = with_tag(&headers, kind, bytes);
    let name = format!("attachment; filename=\"{id}.{extension}\"");
    let next =
        format!("</v1/questions/{id}/result?offset={}&limit={limit}>; rel=\"next\"", offset.saturating_add(limit));
    let headers = response.headers_mut();
    if format != Format::Json
        && let Ok(name) = HeaderValue::from_str(&name)
    {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    if more && let Ok(next) = HeaderValue::from_str(&next) {
        headers.insert(LINK, next);
    }
    Ok(response)
}

/// The format by parameter, else the first known format in Accept. JSON if neither is given.
pub(super) fn format(
    headers: &HeaderMap,
    named: Option<Format>,
) -> Result<(Format, &'static str, &'static str), Problem> {
    if let Some(named) = named
        && let Some(known) = FORMATS.iter().find(|(format, ..)| *format == named)
    {
        return Ok(*known);
    }
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accepted: Vec<&str> = accepted.flat_map(|value| value.split(',')).map(str::trim).collect();
    if accepted.is_empty() {
        return format(headers, Some(Format::Json));
    }
    let fits = |wanted: &&str| {
        let wanted = wanted.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let bare = |kind: &str| kind.split(';').next().unwrap_or_default().to_owned();
        match wanted.as_str() {
            "*/*" | "application/*" => FORMATS.first().copied(),
            "text/*" => FORMATS.get(1).copied(),
            wanted => FORMATS.iter().find(|(_, kind, _)| bare(kind) == wanted).copied(),
        }
    };
    let known = accepted.iter().find_map(fits);
    known.ok_or_else(|| {
        let kinds: Vec<&str> = FORMATS.iter().map(|(_, kind, _)| *kind).collect();
        Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", format!("there is {}", kinds.join(", ")))
    })
}
