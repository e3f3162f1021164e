//! The HTTP API: questions as jobs, their answers as files, the catalogue, the log.
//!
//! Its description is its own: `/v1/openapi.json` is made of the same declarations as the routes.

#![allow(unused_qualifications, reason = "what utoipa makes of a description has them")]

mod catalogue;
mod log;
mod problem;
mod questions;
mod results;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use ring::digest::{SHA256, digest};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::problem::{NotLetIn, Problem};
use super::Doors;
use super::sign_in::{Asker, By, Scope};

/// The largest body: the longest SQL, in JSON.
const LARGEST: usize = 256 << 10;

/// How much of a larger one is read and dropped.
const DROPPED: usize = 4 << 20;

/// How long one may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// All routes, and what they say of themselves.
pub(super) fn router(doors: &Arc<Doors>) -> Router {
    let (router, mut api) = OpenApiRouter::with_openapi(description())
        .routes(routes!(me))
        .routes(routes!(catalogue::catalogue))
        .routes(routes!(catalogue::nodes))
        .routes(routes!(questions::explain))
        .routes(routes!(questions::ask, questions::list))
        .routes(routes!(questions::state))
        .routes(routes!(questions::cancel))
        .routes(routes!(results::result))
        .routes(routes!(log::search))
        .routes(routes!(tokens::list, tokens::make))
        .routes(routes!(tokens::revoke))
        .with_state(Arc::clone(doors))
        .split_for_parts();
    if let Some(components) = api.components.as_mut() {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
    let api = Bytes::from(serde_json::to_vec(&api).unwrap_or_default());
    router
        .route(
            "/v1/openapi.json",
            axum::routing::get(move || async move { ([(CONTENT_TYPE, "application/json")], api) }),
        )
        .fallback(|| async { Problem::none("page") })
        .method_not_allowed_fallback(|| async {
            let detail = "this address does not do that: see Allow, or /v1/openapi.json";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        })
        .layer(from_fn(read_whole))
}

/// Reads a body before anybody judges its request: small as it is, and in little time. An answer to somebody who is still
/// sending would be lost on its way.
async fn read_whole(request: Request, next: Next) -> Response {
    let (parts, mut body) = request.into_parts();
    let whole = async {
        let (mut bytes, mut passed) = (Vec::new(), 0_usize);
        while let Some(frame) = body.frame().await {
            let data = frame.ok()?.into_data().unwrap_or_default();
            passed = passed.saturating_add(data.len());
            // What is too large is read on and dropped, so that its sender hears so; but not for ever.
            match passed {
                0..=LARGEST => bytes.extend_from_slice(&data),
                _ if passed > DROPPED => return None,
                _ => bytes = Vec::new(),
            }
        }
        (passed <= LARGEST).then_some(bytes)
    };
    match timeout(PATIENCE, whole).await {
        Ok(Some(bytes)) => next.run(Request::from_parts(parts, bytes.into())).await,
        Ok(None) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large").into_response(),
        Err(_late) => Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body took too long").into_response(),
    }
}

fn description() -> OpenApi {
    let about = "Questions to London's boroughs as jobs. Only protected figures come back: in JSON a withheld value is null and \
                 `reason` says why; in CSV and XLSX it is [c], and [x] where a borough did not answer. Show a certificate of the \
                 federation, or send a bearer token: `loda token new`, or your organisation's identity provider.";
    let info = InfoBuilder::new().title("London data federation").version("1").description(Some(about)).build();
    OpenApiBuilder::new().info(info).build()
}

/// Who is asking, as the doors know him.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// What agreements call you.
    id: String,
    /// `analyst` or `auditor`.
    role: String,
    /// `certificate`, `token` or `provider`.
    by: String,
    scopes: Vec<Scope>,
    /// The only purposes that your token may be used for; empty: any that a borough has agreed to.
    purposes: Vec<String>,
}

/// Who am I?
#[utoipa::path(get, path = "/v1/me", security(("bearer" = [])), responses(
    (status = 200, body = Me),
    NotLetIn,
))]
async fn me(State(_doors): State<Arc<Doors>>, asker: Asker) -> Json<Me> {
    let by = match &asker.by {
        By::Certificate(_) => "certificate",
        By::Token(_) => "token",
        By::Provider(_) => "provider",
    };
    Json(Me {
        id: asker.id.to_string(),
        role: asker.id.role.kind().to_owned(),
        by: by.to_owned(),
        scopes: asker.scopes,
        purposes: asker.purposes,
    })
}

/// JSON with an entity tag: whoever has it already is told so.
fn tagged<T: Serialize>(headers: &HeaderMap, body: &T) -> Result<Response, Problem> {
    let bytes = serde_json::to_vec(body).map_err(|_| Problem::internal())?;
    Ok(with_tag(headers, "application/json", bytes))
}

fn with_tag(headers: &HeaderMap, kind: &'static str, bytes: Vec<u8>) -> Response {
    let tag: String = hex::encode(digest(&SHA256, &bytes)).chars().take(32).collect();
    let tag = format!("\"{tag}\"");
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known = known.flat_map(|value| value.split(',')).any(|other| {
        let other = other.trim();
        other == "*" || other.strip_prefix("W/").unwrap_or(other) == tag
    });
    let mut response =
        if known { StatusCode::NOT_MODIFIED.into_response() } else { (StatusCode::OK, bytes).into_response() };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}
