//! Who comes through a door: a certificate, a token of ours, or a token of an identity provider.
//!
//! ```text
//! request ─ certificate of its connection ─┐
//!         ─ Authorization: Bearer ─ tokens │ provider ─► Asker or Denied, in the request's extensions
//! ```
//!
//! Whatever a request shows must be good: a bad token is not passed over for a good certificate. What is wrong with one is
//! said in a static code, and never which part of it was right.

mod jwks;
mod provider;
mod refused;
mod tokens;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use loda_identity::{Identity, Peer, PeerId, Place, Rates, Role};
use loda_service::Outcomes;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::ToSchema;

pub(crate) use self::provider::{Provider, ProviderEntry};
use self::refused::Refused;
pub(crate) use self::tokens::{Made, TokenFault, TokenInfo, Tokens, Wanted};

use crate::query::Query;

const FLIGHT: &str = "/arrow.flight.protocol.FlightService/";
const HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";

/// Refusals of one connection without credentials that are answered at once.
const ASKED: u32 = 4;

/// How much of a body is read and dropped of somebody who is not let in, and for how long.
const DROPPED: usize = 512 << 10;
const DROPPED_IN: Duration = Duration::from_secs(2);

/// What a token may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// See the catalogue and the boroughs' nodes.
    Read,
    /// Ask questions, and fetch their answers.
    Ask,
    /// Search the query log.
    Audit,
}

impl Scope {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Ask => "ask",
            Self::Audit => "audit",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Read, Self::Ask, Self::Audit].into_iter().find(|scope| scope.name() == name)
    }

    /// What a role may do at most.
    pub(crate) fn of(role: &Role) -> &'static [Self] {
        match role {
            Role::Analyst(_) => &[Self::Read, Self::Ask],
            Role::Auditor(_) => &[Self::Read, Self::Audit],
            Role::Node(_) | Role::Coordinator => &[],
        }
    }
}

/// By what somebody was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Certificate(Box<Peer>),
    /// The token's id.
    Token(String),
    /// The provider's name.
    Provider(String),
}

/// Somebody who is known.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) id: PeerId,
    pub(crate) by: By,
    pub(crate) scopes: Vec<Scope>,
    /// Those that his token is bound to; empty: any that the boroughs have agreed to.
    pub(crate) purposes: Vec<String>,
}

impl Asker {
    /// # Errors
    /// [`Denied::Role`].
    pub(crate) fn may(&self, scope: Scope) -> Result<(), Denied> {
        if self.scopes.contains(&scope) { Ok(()) } else { Err(Denied::Role) }
    }

    /// What tells one program of his from another.
    pub(crate) fn credential(&self) -> String {
        match &self.by {
            By::Certificate(_) => format!("{} certificate", self.id),
            By::Token(id) => format!("{} token {id}", self.id),
            By::Provider(name) => format!("{} provider {name}", self.id),
        }
    }

    /// Whether an answer of his was asked for under a purpose that he may state now.
    pub(crate) fn sees(&self, query: &Query) -> bool {
        self.has_purpose(&query.prepared.purpose)
    }

    /// Whether the asker may use a purpose. A token that is bound to purposes may not go without one.
    pub(crate) fn has_purpose(&self, purpose: &str) -> bool {
        self.purposes.is_empty() || self.purposes.iter().any(|own| own == purpose)
    }

    /// The purpose of a question: the one that is stated, or the only one of his token.
    ///
    /// # Errors
    /// [`Denied::Purpose`] where his token is bound to others.
    pub(crate) fn purpose(&self, stated: &str) -> Result<String, Denied> {
        match (stated, self.purposes.as_slice()) {
            ("", [only]) => Ok(only.clone()),
            (stated, []) => Ok(stated.to_owned()),
            (stated, _) if self.has_purpose(stated) => Ok(stated.to_owned()),
            _ => Err(Denied::Purpose),
        }
    }
}

/// Why somebody is not let in. The caller is told the code and a plain sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("sign in: show a certificate of the federation, or send Authorization: Bearer with a token")]
    Unknown,
    #[error("the token is not accepted")]
    Token,
    #[error("the token has expired or was revoked: make another")]
    Expired,
    #[error("certificate and token belong to different people")]
    Disagree,
    #[error("the identity provider cannot be reached: try again later")]
    Provider,
    #[error("your role or token does not permit this")]
    Role,
    #[error("your token is bound to other purposes")]
    Purpose,
    #[error("too many calls: wait a moment")]
    Rate,
}

impl Denied {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Unknown => "sign_in_needed",
            Self::Token => "token_not_accepted",
            Self::Expired => "token_expired",
            Self::Disagree => "credentials_disagree",
            Self::Provider => "provider_unreachable",
            Self::Role => "not_permitted",
            Self::Purpose => "purpose_not_permitted",
            Self::Rate => "too_many_calls",
        }
    }
}

/// Who is at the other end of a connection, before anything was said.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) peer: Option<Peer>,
    pub(crate) network: IpAddr,
    pub(crate) place: Place,
    pub(crate) http2: bool,
}

/// What became of signing in; handlers decide whether they need somebody.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn(pub(crate) Result<Asker, Denied>);

/// The token that somebody showed, for the one answer that gives it back. No `Debug`.
#[derive(Clone)]
pub(crate) struct Shown(pub(crate) String);

/// How often tokens are looked through.
const SWEPT: Duration = Duration::from_secs(5);

/// Knows people.
pub(crate) struct SignIn {
    identity: Identity,
    pub(crate) tokens: Arc<Tokens>,
    providers: Vec<Provider>,
    rates: Rates,
    refused: Refused,
    /// By code.
    counts: Outcomes,
}

impl SignIn {
    /// # Errors
    /// Where the tokens or a provider's configuration cannot be used.
    pub(crate) fn open(
        identity: Identity,
        tokens: Arc<Tokens>,
        providers: Vec<ProviderEntry>,
        state: &Path,
        counts: Outcomes,
    ) -> anyhow::Result<Self> {
        let providers = providers.into_iter().map(|entry| Provider::new(entry, state));
        let providers = providers.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { identity, tokens, providers, rates: Rates::default(), refused: Refused::default(), counts })
    }

    /// Strikes off tokens whose makers are revoked, as soon as that is known.
    pub(crate) async fn keep_tokens(self: Arc<Self>) {
        loop {
            match self.tokens.sweep(&self.identity.now().trust) {
                Ok(0) => {}
                Ok(ended) => {
                    tracing::warn!(ended, "tokens are struck off: the certificates that made them are revoked")
                }
                Err(fault) => tracing::error!("tokens that have ended cannot be struck off: {fault}"),
            }
            tokio::time::sleep(SWEPT).await;
        }
    }

    /// # Errors
    /// Why not.
    pub(crate) async fn asker(&self, guest: &Guest, headers: &HeaderMap) -> Result<Asker, Denied> {
        let asker = self.known(guest, headers).await?;
        if self.rates.take(&asker.id) { Ok(asker) } else { Err(Denied::Rate) }
    }

    async fn known(&self, guest: &Guest, headers: &HeaderMap) -> Result<Asker, Denied> {
        let trust = Arc::clone(&self.identity.now().trust);
        let holder = match &guest.peer {
            Some(peer) if trust.still_good(peer).is_ok() => Some(peer),
            Some(_) => return Err(Denied::Expired),
            None => None,
        };
        let Some(token) = token_of(headers)? else {
            let peer = holder.ok_or(Denied::Unknown)?;
            return asker(peer.id.clone(), By::Certificate(Box::new(peer.clone())));
        };
        let (asker, bound) = if tokens::is_ours(&token) {
            (self.tokens.holder(&token, &trust)?, false)
        } else {
            self.of_provider(&token, holder).await?
        };
        if trust.denials().name_id(&asker.id) {
            return Err(Denied::Expired);
        }
        match holder {
            // Of a token that is bound to this very certificate its provider says whose it is.
            Some(peer) if peer.id != asker.id && !bound => Err(Denied::Disagree),
            _ => Ok(asker),
        }
    }

    async fn of_provider(&self, token: &str, holder: Option<&Peer>) -> Result<(Asker, bool), Denied> {
        let issuer = provider::issuer_of(token).ok_or(Denied::Token)?;
        let provider = self.providers.iter().find(|provider| provider.issuer == issuer).ok_or(Denied::Token)?;
        let (role, bound) = provider.role_of(token, holder).await?;
        let id = PeerId::new(&self.identity.manifest().domain, role).map_err(|_| Denied::Token)?;
        Ok((asker(id, By::Provider(provider.name.clone()))?, bound))
    }
}

/// Everything that his role may do.
fn asker(id: PeerId, by: By) -> Result<Asker, Denied> {
    let scopes = Scope::of(&id.role).to_vec();
    if scopes.is_empty() {
        return Err(Denied::Role);
    }
    Ok(Asker { id, by, scopes, purposes: Vec::new() })
}

/// The token of a request, if it has one: as a bearer's, or in place of a password. More than one is nobody's.
fn token_of(headers: &HeaderMap) -> Result<Option<String>, Denied> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), rest) = (values.next(), values.next()) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Denied::Token)?;
    let (scheme, given) = text.split_once(' ').ok_or(Denied::Token)?;
    let token = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => given.to_owned(),
        "basic" => password(given).ok_or(Denied::Token)?,
        _ => return Err(Denied::Token),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    let is_token = !token.is_empty() && token.len() <= 8192 && token.chars().all(plain);
    if rest.is_some() || !is_token {
        return Err(Denied::Token);
    }
    Ok(Some(token))
}

/// Reads a header and a provider's keys as signing in does, for fuzzing: what a token says, where one of the keys signed it.
pub(super) fn read_foreign(header: &[u8], keys: &[u8]) -> Option<serde_json::Value> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, http::HeaderValue::from_bytes(header).ok()?);
    let token = token_of(&headers).ok()??;
    let _issuer = provider::issuer_of(&token);
    let validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    let header = provider::header_of(&token, &validation).ok()?;
    let key = jwks::pick(&jwks::read(keys).ok()?, header.kid.as_deref(), header.alg)?;
    provider::claims_of(&token, &key, header.alg, &validation).ok()
}

/// The password of Basic credentials, padded or not.
fn password(given: &str) -> Option<String> {
    let bytes = STANDARD_NO_PAD.decode(given.trim_end_matches('=')).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

/// Reads on for a little, and keeps nothing.
async fn passed_over(mut body: Body) {
    let mut passed = 0_usize;
    while passed < DROPPED
        && let Some(Ok(frame)) = body.frame().await
    {
        passed = passed.saturating_add(frame.data_ref().map_or(0, Bytes::len));
    }
}

/// Puts [`SignedIn`] into each request.
pub(crate) async fn sign_in(State(door): State<Arc<SignIn>>, mut request: Request, next: Next) -> Response {
    let guest = request.extensions().get::<Guest>().cloned();
    let known = match &guest {
        // Handshakes and probes of clients that have signed in nowhere are theirs to judge, too.
        Some(guest) => door.asker(guest, request.headers()).await,
        None => Err(Denied::Unknown),
    };
    if let (Err(denied), Some(guest)) = (&known, &guest) {
        // Clients ask once without credentials, to be told which are wanted.
        let often = guest.place.refused() > ASKED;
        if *denied != Denied::Unknown || often {
            door.counts.count(denied.code());
            let (wait, told) = door.refused.add(guest.network);
            if let Some(since) = told {
                tracing::warn!(code = denied.code(), network = %guest.network, since, "not let in");
            }
            tokio::time::sleep(wait).await;
        }
    }
    match (&known, &guest) {
        (Ok(asker), Some(guest)) => guest.place.known(&asker.id),
        // The body of a caller who is not let in is not read.
        (Err(denied), _) if request.uri().path().starts_with(FLIGHT) => {
            return super::flight::refused(*denied).into_http();
        }
        (Err(_), guest) => {
            let body = std::mem::take(request.body_mut());
            // Over HTTP/1 an answer to somebody who is still sending would be lost on its way.
            if !guest.as_ref().is_some_and(|guest| guest.http2) {
                let _ended = timeout(DROPPED_IN, passed_over(body)).await;
            }
        }
        (Ok(_), None) => {}
    }
    // What was shown goes no further, but where a client exchanges it.
    if known.is_ok()
        && request.uri().path() == HANDSHAKE
        && let Ok(Some(token)) = token_of(request.headers())
    {
        request.extensions_mut().insert(Shown(token));
    }
    request.headers_mut().remove(AUTHORIZATION);
    request.extensions_mut().insert(SignedIn(known));
    next.run(request).await
}
