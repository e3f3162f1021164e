//! Faults as `application/problem+json` (RFC 9457): a static code, and sentences from the asker's own question and the
//! contracts alone.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use loda_question::Rule;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::{IntoResponses, ToSchema};
use uuid::Uuid;

use crate::doors::fault::Fault;
use crate::doors::sign_in::SignedIn;
use crate::doors::sign_in::asker::{Asker, Denied};
use crate::doors::sign_in::tokens::TokenFault;

/// A fault.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// `urn:loda:problem:` followed by the code.
    pub(crate) r#type: String,
    pub(crate) title: &'static str,
    pub(crate) status: u16,
    /// A stable name. For a refused question, the name of the rule.
    pub(crate) code: String,
    pub(crate) detail: String,
    /// The nearest request that would be allowed. May be empty.
    pub(crate) advice: String,
}

/// The answers of every address to callers that it does not let in.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "a description")]
pub(crate) enum NotLetIn {
    /// No credentials, or a token or certificate that is not accepted
    #[response(status = 401, content_type = "application/problem+json")]
    Unknown(Problem),
    /// Your role or token does not permit it
    #[response(status = 403, content_type = "application/problem+json")]
    NotPermitted(Problem),
    /// Too many calls or questions: see Retry-After
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
    /// Your identity provider cannot be reached
    #[response(status = 503, content_type = "application/problem+json")]
    Provider(Problem),
}

/// A request that is not understood.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "a description")]
pub(crate) enum NotUnderstood {
    /// A parameter, or the body, is not what the description says: `detail` names it
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
}

/// A body that is not read.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "a description")]
pub(crate) enum NotRead {
    /// The body is too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body has to be JSON
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
}

/// A thing that is not there.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "a description")]
pub(crate) enum NotThere {
    /// There is none with this id, or it is not yours
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
}

/// A question that is refused before any borough is asked.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "a description")]
pub(crate) enum NotAsked {
    /// Refused: `code` names the rule, and `advice` the nearest question that would be answered
    #[response(status = 422, content_type = "application/problem+json")]
    Refused(Problem),
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

    pub(crate) fn none(what: &'static str) -> Self {
        Fault::NotFound(what).into()
    }

    pub(crate) fn internal() -> Self {
        Fault::Internal.into()
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

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let status = match &fault {
            Fault::Denied(Denied::Unknown | Denied::Token | Denied::Expired | Denied::Disagree) => {
                StatusCode::UNAUTHORIZED
            }
            Fault::Denied(Denied::Provider) => StatusCode::SERVICE_UNAVAILABLE,
            Fault::Denied(Denied::Role | Denied::Purpose) => StatusCode::FORBIDDEN,
            Fault::Denied(Denied::Rate) => StatusCode::TOO_MANY_REQUESTS,
            Fault::Refused(refusal) if refusal.rule == Rule::Busy => StatusCode::TOO_MANY_REQUESTS,
            Fault::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Fault::Token(TokenFault::Wanted(_)) => StatusCode::BAD_REQUEST,
            Fault::Token(TokenFault::Full) => StatusCode::CONFLICT,
            Fault::Token(TokenFault::None) | Fault::NotFound(_) => StatusCode::NOT_FOUND,
            Fault::Token(TokenFault::Disk(_)) | Fault::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { advice: fault.advice().to_owned(), ..Self::new(status, fault.code(), fault.detail()) }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Fault::Denied(denied).into()
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

/// A JSON body. The message about a misfit gives its position and does not repeat its content.
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

/// The query parameters of the address.
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

/// A segment of the path. A segment of the wrong form names nothing that exists.
pub(crate) struct Named<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        let bad = |_: PathRejection| Problem::none("thing");
        Ok(Self(read.map_err(bad)?.0))
    }
}

/// Checks that a number is within its limits.
pub(crate) fn within(name: &str, value: Option<u32>, least: u32, most: u32, usual: u32) -> Result<u32, Problem> {
    let value = value.unwrap_or(usual);
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(Problem::new(StatusCode::BAD_REQUEST, "bad_request", format!("{name} is {least} to {most}")))
}

/// One line of at most 200 characters.
fn plain(text: &str) -> String {
    loda_answer::plain::line(text).chars().take(200).collect()
}
