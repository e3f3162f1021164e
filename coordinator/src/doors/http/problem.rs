//! What went wrong, as `application/problem+json` (RFC 9457): a static code, and sentences from the asker's own question and
//! the contracts alone.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use loda_question::{Refusal, Rule};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::{IntoResponses, ToSchema};
use uuid::Uuid;

use crate::doors::sign_in::{Asker, Denied, SignedIn, TokenFault};

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// `urn:loda:problem:` and the code.
    pub(crate) r#type: String,
    pub(crate) title: &'static str,
    pub(crate) status: u16,
    /// A stable name: of the rule, where a question is refused.
    pub(crate) code: String,
    pub(crate) detail: String,
    /// The nearest thing that would be allowed; may be empty.
    pub(crate) advice: String,
}

/// What every address says to those whom it does not let in.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "a description")]
pub(crate) enum NotLetIn {
    /// Nobody, or somebody whose token or certificate is not accepted
    #[response(status = 401, content_type = "application/problem+json")]
    Unknown(Problem),
    /// Your role or token does not permit it
    #[response(status = 403, content_type = "application/problem+json")]
    NotPermitted(Problem),
    /// Too many calls, or questions: see Retry-After
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
    /// Your identity provider cannot be reached
    #[response(status = 503, content_type = "application/problem+json")]
    Provider(Problem),
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            r#type: format!("urn:loda:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            advice: String::new(),
        }
    }

    pub(crate) fn none(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}, or it is not yours"))
    }

    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this request failed; the operator's log says why")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"loda\""));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let status = match denied {
            Denied::Unknown | Denied::Token | Denied::Expired | Denied::Disagree => StatusCode::UNAUTHORIZED,
            Denied::Provider => StatusCode::SERVICE_UNAVAILABLE,
            Denied::Role | Denied::Purpose => StatusCode::FORBIDDEN,
            Denied::Rate => StatusCode::TOO_MANY_REQUESTS,
        };
        Self::new(status, denied.code(), denied.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let busy = refusal.rule == Rule::Busy;
        let status = if busy { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::UNPROCESSABLE_ENTITY };
        Self { advice: refusal.advice, ..Self::new(status, refusal.rule.name(), refusal.message) }
    }
}

impl From<TokenFault> for Problem {
    fn from(fault: TokenFault) -> Self {
        match fault {
            TokenFault::Wanted(_) => Self::new(StatusCode::BAD_REQUEST, "bad_request", fault.to_string()),
            TokenFault::Full => Self::new(StatusCode::CONFLICT, "too_many_tokens", fault.to_string()),
            TokenFault::None => Self::none("token"),
            TokenFault::Disk(cause) => {
                tracing::error!("tokens cannot be written: {cause:#}");
                Self::internal()
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<SignedIn>() {
            Some(SignedIn(Ok(asker))) => Ok(asker.clone()),
            Some(SignedIn(Err(denied))) => Err((*denied).into()),
            None => Err(Denied::Unknown.into()),
        }
    }
}

/// A JSON body; what does not fit is told by its place, and not repeated.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Problem> {
        let told = |status, code, what: String| Err(Problem::new(status, code, what));
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => {
                told(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", "send Content-Type: application/json".to_owned())
            }
            Err(fault) => told(StatusCode::BAD_REQUEST, "bad_request", plain(&fault.body_text())),
        }
    }
}

/// Parameters after the question mark.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        let bad =
            |fault: QueryRejection| Problem::new(StatusCode::BAD_REQUEST, "bad_request", plain(&fault.body_text()));
        Ok(Self(read.map_err(bad)?.0))
    }
}

/// The id of a question in a path.
pub(crate) struct Id(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Named(text) = Named::<String>::from_request_parts(parts, state).await?;
        Ok(Self(Uuid::try_parse(&text).map_err(|_| Problem::none("question"))?))
    }
}

/// A part of the path. What cannot be one names nothing that is there.
pub(crate) struct Named<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        let bad = |_: PathRejection| Problem::none("thing");
        Ok(Self(read.map_err(bad)?.0))
    }
}

/// One short line.
fn plain(text: &str) -> String {
    loda_answer::plain::line(text).chars().take(200).collect()
}
