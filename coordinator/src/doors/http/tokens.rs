//! Tokens for programs: made with a certificate, listed, revoked.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CACHE_CONTROL;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Body, Named};
use super::{NotLetIn, Problem};
use crate::doors::Doors;
use crate::doors::sign_in::{Asker, By, Denied, TokenInfo, Wanted};

/// Your tokens.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenList {
    tokens: Vec<TokenInfo>,
}

/// A new token.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewToken {
    /// What to send as `Authorization: Bearer …`. It is told this once.
    token: String,
    #[serde(flatten)]
    info: TokenInfo,
}

/// Your tokens, without their secrets.
#[utoipa::path(get, path = "/v1/tokens", security(("bearer" = [])), responses(
    (status = 200, body = TokenList),
    NotLetIn,
))]
pub(crate) async fn list(State(doors): State<Arc<Doors>>, asker: Asker) -> Json<TokenList> {
    Json(TokenList { tokens: doors.tokens().of(&asker.id) })
}

/// Make a token. This wants a certificate: a token makes no tokens.
#[utoipa::path(post, path = "/v1/tokens", security(("bearer" = [])), request_body = Wanted, responses(
    (status = 201, body = NewToken),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 409, body = Problem, content_type = "application/problem+json"),
    (status = 413, body = Problem, content_type = "application/problem+json"),
    (status = 415, body = Problem, content_type = "application/problem+json"),
    NotLetIn,
))]
pub(crate) async fn make(
    State(doors): State<Arc<Doors>>,
    asker: Asker,
    Body(wanted): Body<Wanted>,
) -> Result<Response, Problem> {
    let By::Certificate(peer) = &asker.by else { return Err(Denied::Role.into()) };
    let made = doors.make_token(peer, wanted)?;
    let body = NewToken { token: made.secret, info: made.info };
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// Revoke a token, at once.
#[utoipa::path(delete, path = "/v1/tokens/{id}", security(("bearer" = [])), params(
    ("id" = String, Path, description = "As listed")
), responses(
    (status = 204, description = "It is no more"),
    (status = 404, body = Problem, content_type = "application/problem+json"),
    NotLetIn,
))]
pub(crate) async fn revoke(
    State(doors): State<Arc<Doors>>,
    asker: Asker,
    Named(id): Named<String>,
) -> Result<StatusCode, Problem> {
    // A token ends itself and no other: whoever finds one may do that much.
    match &asker.by {
        By::Certificate(_) => {}
        By::Token(own) if *own == id => {}
        By::Token(_) | By::Provider(_) => return Err(Denied::Role.into()),
    }
    doors.revoke_token(&asker.id, &id)?;
    Ok(StatusCode::NO_CONTENT)
}
