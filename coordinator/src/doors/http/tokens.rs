//! Tokens for programs: make them with a certificate, list them, revoke them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CACHE_CONTROL;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Body, Named, NotLetIn, NotRead, NotThere, NotUnderstood, Problem};
use crate::doors::service::DoorService;
use crate::doors::sign_in::asker::{Asker, By, Denied};
use crate::doors::sign_in::tokens::{TokenInfo, Wanted};

/// Your tokens.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenList {
    tokens: Vec<TokenInfo>,
}

/// A new token.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewToken {
    /// The secret to send as `Authorization: Bearer …`. It is shown only once.
    token: String,
    #[serde(flatten)]
    info: TokenInfo,
}

/// List your tokens, without their secrets.
#[utoipa::path(get, path = "/v1/tokens", operation_id = "list_tokens", tag = "tokens",
    security(("bearer" = [])), responses(
    (status = 200, body = TokenList, description = "Your tokens, without their secrets"),
    NotLetIn,
))]
pub(crate) async fn list(State(service): State<Arc<DoorService>>, asker: Asker) -> Json<TokenList> {
    Json(TokenList { tokens: service.tokens(&asker) })
}

/// Make a token. This needs a certificate: a token cannot make tokens.
#[utoipa::path(post, path = "/v1/tokens", operation_id = "make_token", tag = "tokens",
    security(("bearer" = [])), request_body = Wanted, responses(
    (status = 201, body = NewToken, description = "The token, shown this once"),
    NotUnderstood,
    (status = 409, body = Problem, content_type = "application/problem+json", description = "You have as many tokens as you may have"),
    NotRead,
    NotLetIn,
))]
pub(crate) async fn make(
    State(service): State<Arc<DoorService>>,
    asker: Asker,
    Body(wanted): Body<Wanted>,
) -> Result<Response, Problem> {
    let By::Certificate(peer) = &asker.by else { return Err(Denied::Role.into()) };
    let made = service.make_token(peer, wanted)?;
    let body = NewToken { token: made.secret, info: made.info };
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// Revoke a token, at once.
#[utoipa::path(delete, path = "/v1/tokens/{id}", operation_id = "revoke_token", tag = "tokens",
    security(("bearer" = [])), params(
    ("id" = String, Path, description = "As listed")
), responses(
    (status = 204, description = "It is no more"),
    NotThere,
    NotLetIn,
))]
pub(crate) async fn revoke(
    State(service): State<Arc<DoorService>>,
    asker: Asker,
    Named(id): Named<String>,
) -> Result<StatusCode, Problem> {
    // A token can revoke itself and no other. A person who finds a token can do that much.
    match &asker.by {
        By::Certificate(_) => {}
        By::Token(own) if *own == id => {}
        By::Token(_) | By::Provider(_) => return Err(Denied::Role.into()),
    }
    service.revoke_token(&asker, &id)?;
    Ok(StatusCode::NO_CONTENT)
}
