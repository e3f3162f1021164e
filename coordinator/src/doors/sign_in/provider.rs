//! Tokens of an identity provider (OpenID Connect). The provider's groups and our configuration decide who may ask.
//!
//! These parts of a token are checked: its issuer, audience, times, algorithm (from our list, never the token's own
//! choice), and its signature by a key of the provider's published set. Its subject is never logged. An asker's name is
//! the provider's name and a keyed hash of issuer and subject, the same every time.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use loda_identity::{Peer, Role, write_private};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;

use crate::config::ProviderEntry;
use crate::doors::sign_in::asker::Denied;
use crate::doors::sign_in::jwks::Keys;

/// One provider.
pub(crate) struct Provider {
    pub(super) name: String,
    pub(super) issuer: String,
    validation: Validation,
    keys: Keys,
    roles: Vec<(bool, String, String)>,
    secret: hmac::Key,
}

/// How far two clocks may differ, in seconds.
const LEEWAY: u64 = 60;

/// The longest accepted lifetime of a token, in seconds. A token that lives for months is a password.
const LONGEST: i64 = 24 * 60 * 60;

impl Provider {
    /// # Errors
    /// The setting that cannot be used, and what to write instead.
    pub(super) fn new(entry: ProviderEntry, state: &Path) -> anyhow::Result<Self> {
        let ProviderEntry { name, issuer, audience, algorithms, jwks, ca, analysts, auditors } = entry;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 30 || !name.chars().all(plain) {
            bail!("[[provider]] name = \"{name}\": write small letters, digits and -, 30 at most");
        }
        let within = || format!("[[provider]] {name}");
        let algorithms = algorithms.iter().map(|algorithm| known(algorithm)).collect::<anyhow::Result<Vec<_>>>();
        let algorithms = algorithms.with_context(within)?;
        let first = *algorithms.first().context("algorithms is empty: leave it out for RS256 and ES256")?;
        let mut validation = Validation::new(first);
        validation.algorithms = algorithms;
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_audience(&[&audience]);
        validation.set_issuer(&[&issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let of = |is_auditor: bool, claims: BTreeMap<String, String>| {
            claims.into_iter().map(move |(claim, value)| (is_auditor, claim, value))
        };
        let roles: Vec<_> = of(false, analysts).chain(of(true, auditors)).collect();
        if roles.is_empty() {
            bail!("[[provider]] {name}: nobody from there may do anything: write analysts = {{ groups = \"…\" }}");
        }
        let keys = Keys::new(&issuer, jwks, ca.as_deref()).with_context(within)?;
        Ok(Self { name, issuer, validation, keys, roles, secret: secret(state)? })
    }

    /// The role of a token's bearer, and whether the token is bound to the certificate that the bearer shows.
    ///
    /// # Errors
    /// The reason why the bearer is not accepted.
    pub(super) async fn role_of(&self, token: &str, holder: Option<&Peer>) -> Result<(Role, bool), Denied> {
        // This comes before any request to the provider: tokens with algorithm `none` or a shared secret are refused.
        let header = header_of(token, &self.validation)?;
        let key = self.keys.find(header.kid.as_deref(), header.alg).await?;
        let claims = claims_of(token, &key, header.alg, &self.validation)?;
        let bound = bound_to(&claims, holder)?;
        let time = |name: &str| claims.get(name).and_then(Value::as_f64).map(|seconds| seconds as i64);
        let now = chrono::Utc::now().timestamp();
        let (begun, ends) = (time("iat").ok_or(Denied::Token)?, time("exp").ok_or(Denied::Token)?);
        if begun > now.saturating_add(LEEWAY as i64) || ends.saturating_sub(begun) > LONGEST {
            return Err(Denied::Token);
        }
        let subject = claims.get("sub").and_then(Value::as_str).filter(|subject| !subject.is_empty());
        let id = format!("{}.{}", self.name, self.commitment(subject.ok_or(Denied::Token)?));
        let has = |(_, claim, value): &&(bool, String, String)| match claims.get(claim) {
            Some(Value::String(text)) => text == value,
            Some(Value::Array(items)) => items.iter().any(|item| item.as_str() == Some(value)),
            _ => false,
        };
        // A bearer with both roles is an analyst. Auditors only look on.
        let (is_auditor, ..) = self.roles.iter().find(has).ok_or(Denied::Role)?;
        Ok((if *is_auditor { Role::Auditor(id) } else { Role::Analyst(id) }, bound))
    }

    fn commitment(&self, subject: &str) -> String {
        let mut context = hmac::Context::with_key(&self.secret);
        for part in [&self.issuer, subject] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        hex::encode(tag.as_ref()).chars().take(24).collect()
    }
}

/// A token's header, if it asks for nothing that is not accepted here.
pub(super) fn header_of(token: &str, validation: &Validation) -> Result<Header, Denied> {
    let header = decode_header(token).map_err(|_| Denied::Token)?;
    if validation.algorithms.contains(&header.alg) && !is_odd(token) { Ok(header) } else { Err(Denied::Token) }
}

/// The claims of a token that this key has signed.
pub(super) fn claims_of(token: &str, key: &Jwk, algorithm: Algorithm, of: &Validation) -> Result<Value, Denied> {
    let key = DecodingKey::from_jwk(key).map_err(|_| Denied::Token)?;
    // Only one algorithm for each check: the library compares its family with the key's.
    let mut validation = of.clone();
    validation.algorithms = vec![algorithm];
    decode::<Value>(token, &key, &validation).map(|token| token.claims).map_err(|fault| match fault.kind() {
        ErrorKind::ExpiredSignature => Denied::Expired,
        _ => Denied::Token,
    })
}

/// A token that is bound to a certificate (RFC 8705) is accepted only on connections with that certificate. A token
/// that is bound to a key in another way is refused, because its proof is not requested here.
fn bound_to(claims: &Value, holder: Option<&Peer>) -> Result<bool, Denied> {
    let Some(confirmation) = claims.get("cnf") else { return Ok(false) };
    let bound = confirmation.get("x5t#S256").and_then(Value::as_str).ok_or(Denied::Token)?;
    let shown = holder.map(|peer| URL_SAFE_NO_PAD.encode(peer.fingerprint));
    if shown.as_deref() == Some(bound) { Ok(true) } else { Err(Denied::Token) }
}

/// Whether a header brings a key of its own, or asks for extensions that are not understood here (RFC 7515 4.1.11).
fn is_odd(token: &str) -> bool {
    let header = token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let header: Option<Value> = header.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let odd = ["crit", "jku", "jwk", "x5u", "x5c", "b64"];
    header.is_none_or(|header| odd.iter().any(|name| header.get(name).is_some()))
}

/// The issuer that a token claims, before the token is checked.
pub(super) fn issuer_of(token: &str) -> Option<String> {
    let payload = token.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

/// Algorithms with a shared secret are not accepted: a party that can check such tokens can also make them.
fn known(algorithm: &str) -> anyhow::Result<Algorithm> {
    Ok(match algorithm {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        other => bail!("algorithm {other} is not accepted: write some of RS256, PS256, ES256, ES384, EdDSA"),
    })
}

/// The key for the hashes of subjects, made at the first start.
fn secret(state: &Path) -> anyhow::Result<hmac::Key> {
    let path = state.join("askers.key");
    if !path.exists() {
        let mut bytes = [0_u8; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gives no randomness"))?;
        write_private(&path, hex::encode(bytes).as_bytes())?;
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let bytes = hex::decode(text.trim()).ok().filter(|bytes| bytes.len() == 32);
    let bytes = bytes.with_context(|| format!("{}: not 64 hexadecimal digits: restore it", path.display()))?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}
