//! The HTTP API: ask questions, fetch answers as files, read the catalogue and the log.
//!
//! The API describes itself: `/v1/openapi.json` is made from the same declarations as the routes.

#![allow(unused_qualifications, reason = "what utoipa makes of a description has them")]

mod answer;
mod catalogue;
mod log;
mod problem;
mod questions;
mod results;
mod tagged;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use serde::Serialize;
use tokio::time::timeout;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate};
use utoipa::ToSchema;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::problem::{NotLetIn, Problem};
use super::service::DoorService;
use super::sign_in::asker::{Asker, By, Scope};

/// The largest body, in bytes: the longest SQL, in JSON.
const LARGEST: usize = 256 << 10;

/// The number of bytes of a larger body that are read and dropped.
const DROPPED: usize = 4 << 20;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// All routes, and their descriptions.
pub(super) fn router(service: &Arc<DoorService>) -> Router {
    let (router, mut api) = OpenApiRouter::with_openapi(description())
        .routes(routes!(me))
        .routes(routes!(catalogue::catalogue))
        .routes(routes!(catalogue::nodes))
        .routes(routes!(catalogue::purposes))
        .routes(routes!(answer::answer))
        .routes(routes!(questions::explain))
        .routes(routes!(questions::ask, questions::list))
        .routes(routes!(questions::state))
        .routes(routes!(questions::cancel))
        .routes(routes!(results::result))
        .routes(routes!(log::search))
        .routes(routes!(tokens::list, tokens::make))
        .routes(routes!(tokens::revoke))
        .with_state(Arc::clone(service))
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
        // The least work: a large answer is compressed where calls are served.
        .layer(
            CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(DefaultPredicate::new().and(Kept)),
        )
}

/// Answers that may be compressed: all that caches may keep. A token stands beside what its owner wrote: compressed
/// together, their size could tell of it.
#[derive(Clone, Copy)]
struct Kept;

impl Predicate for Kept {
    fn should_compress<B>(&self, response: &http::Response<B>) -> bool
    where
        B: HttpBody,
    {
        let stores = response.headers().get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
        !stores.is_some_and(|value| value.contains("no-store"))
    }
}

/// Reads the whole body before a handler judges the request. A body must be small and arrive in time. An answer to a
/// client that is still sending would be lost on its way.
async fn read_whole(request: Request, next: Next) -> Response {
    let (parts, mut body) = request.into_parts();
    let whole = async {
        let (mut bytes, mut passed) = (Vec::new(), 0_usize);
        while let Some(frame) = body.frame().await {
            let data = frame.ok()?.into_data().unwrap_or_default();
            passed = passed.saturating_add(data.len());
            // A body that is too large is read on and dropped, up to a limit, so that its sender gets the answer.
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
                 `reason` says why; in CSV and XLSX it is [c], [x] where a borough did not answer, and [z] where its data do not reach. Show a certificate of the \
                 federation, or send a bearer token: `loda token new`, or your organisation's identity provider.";
    let info = InfoBuilder::new().title("London data federation").version("1").description(Some(about)).build();
    OpenApiBuilder::new().info(info).build()
}

/// The asker, as the doors know it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// Your name in agreements.
    id: String,
    /// `analyst` or `auditor`.
    role: String,
    /// `certificate`, `token` or `provider`.
    by: String,
    scopes: Vec<Scope>,
    /// The only purposes that your token may be used for. Empty: any purpose that a borough has agreed to.
    purposes: Vec<String>,
}

/// Show who you are.
#[utoipa::path(get, path = "/v1/me", operation_id = "me", tag = "who",
    security(("bearer" = [])), responses(
    (status = 200, body = Me, description = "You, as the federation knows you"),
    NotLetIn,
))]
async fn me(State(_service): State<Arc<DoorService>>, asker: Asker) -> Json<Me> {
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
