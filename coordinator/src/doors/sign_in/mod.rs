//! Signs callers in: by a certificate, a token of ours, or a token of an identity provider.
//!
//! ```text
//! request ─ certificate of its connection ─┐
//!         ─ Authorization: Bearer ─ tokens │ provider ─► Asker or Denied, in the request's extensions
//! ```
//!
//! All credentials of a request must be good: a bad token is not ignored because of a good certificate. A refusal is a
//! static code that never says which part was right.

pub(crate) mod asker;
mod backoff;
mod jwks;
mod provider;
pub(crate) mod tokens;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use loda_identity::{Identity, Peer, PeerId};
use loda_service::Outcomes;
use loda_transport::{ConnectionPlace, Rates};

use crate::config::ProviderEntry;
use crate::doors::sign_in::asker::{Asker, By, Denied};
use crate::doors::sign_in::backoff::SignInBackoff;
use crate::doors::sign_in::provider::Provider;
use crate::doors::sign_in::tokens::Tokens;

/// The other end of a connection, before any request.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) peer: Option<Peer>,
    pub(crate) network: IpAddr,
    pub(crate) place: ConnectionPlace,
    pub(crate) http2: bool,
}

/// The result of signing in. Handlers decide whether they need an asker.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn(pub(crate) Result<Asker, Denied>);

/// The token that a caller sent, for the one answer that returns it. It has no `Debug`.
#[derive(Clone)]
pub(crate) struct Shown(pub(crate) String);

/// How often the tokens are checked.
const SWEPT: Duration = Duration::from_secs(5);

/// Signs callers in.
pub(crate) struct SignIn {
    identity: Identity,
    pub(crate) tokens: Arc<Tokens>,
    providers: Vec<Provider>,
    rates: Rates,
    pub(crate) backoff: SignInBackoff,
    /// By code.
    pub(crate) counts: Outcomes,
}

impl SignIn {
    /// # Errors
    /// If the tokens or a provider's configuration cannot be used.
    pub(crate) fn open(
        identity: Identity,
        tokens: Arc<Tokens>,
        providers: Vec<ProviderEntry>,
        state: &Path,
        counts: Outcomes,
    ) -> anyhow::Result<Self> {
        let providers = providers.into_iter().map(|entry| Provider::new(entry, state));
        let providers = providers.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { identity, tokens, providers, rates: Rates::default(), backoff: SignInBackoff::default(), counts })
    }

    /// Regularly removes tokens of revoked makers.
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
    /// The reason why the caller is not let in.
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
            return Asker::of_certificate(peer);
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
            // For a token that is bound to this very certificate, the provider says who the asker is.
            Some(peer) if peer.id != asker.id && !bound => Err(Denied::Disagree),
            _ => Ok(asker),
        }
    }

    async fn of_provider(&self, token: &str, holder: Option<&Peer>) -> Result<(Asker, bool), Denied> {
        let issuer = provider::issuer_of(token).ok_or(Denied::Token)?;
        let provider = self.providers.iter().find(|provider| provider.issuer == issuer).ok_or(Denied::Token)?;
        let (role, bound) = provider.role_of(token, holder).await?;
        let id = PeerId::new(&self.identity.manifest().domain, role).map_err(|_| Denied::Token)?;
        Ok((Asker::new(id, By::Provider(provider.name.clone()))?, bound))
    }
}

/// The token of a request, if there is one: a bearer token, or the password of Basic credentials. Two are refused.
pub(crate) fn token_of(headers: &HeaderMap) -> Result<Option<String>, Denied> {
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

/// Reads a header and a provider's keys as signing in does, for fuzzing. Returns the claims of a token that one of the
/// keys has signed.
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

/// The password of Basic credentials, with or without padding.
fn password(given: &str) -> Option<String> {
    let bytes = STANDARD_NO_PAD.decode(given.trim_end_matches('=')).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}
