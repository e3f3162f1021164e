//! The federation's own tokens, `loda_<id>_<secret>`, for programs that cannot show a certificate.
//!
//! A person makes a token with a certificate. The token has at most that person's permissions, ends after a while, and
//! can be revoked. The file holds only the SHA-256 of its secret. The secret is 256 random bits, so the hash does not
//! help to guess it. A token ends if the certificate that made it is revoked or its holder is denied. It does not end
//! when that certificate expires.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, Utc};
use loda_identity::{Peer, PeerId, Refusal, Trust, write_private};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::doors::sign_in::asker::{Asker, By, Denied, Scope};

const PREFIX: &str = "loda_";

/// The most tokens of one person.
const MOST: usize = 50;

/// The longest lifetime of a token, in days.
pub(crate) const LONGEST_DAYS: u32 = 366;

/// How often the file records when tokens were last used, in seconds.
const WRITTEN: i64 = 60;

const DAY: i64 = 24 * 60 * 60;

/// All tokens.
pub(crate) struct Tokens {
    file: PathBuf,
    state: Mutex<TokenUse>,
}

struct TokenUse {
    tokens: BTreeMap<String, Token>,
    /// The time of the last write, in Unix seconds.
    written: i64,
}

/// A token in its file.
#[derive(Clone, Serialize, Deserialize)]
struct Token {
    owner: String,
    name: String,
    /// The SHA-256 of the secret, in hexadecimal.
    sha256: String,
    scopes: Vec<Scope>,
    purposes: Vec<String>,
    /// In Unix seconds.
    made: i64,
    until: i64,
    used: Option<i64>,
    /// The certificate that made it: its authority's fingerprint, its own fingerprint, and its serial number, in
    /// hexadecimal.
    authority: String,
    certificate: String,
    serial: String,
}

/// The wishes for a new token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// A note for its owner: its use, and where it is stored.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
    /// Empty: all permissions of its owner.
    #[serde(default)]
    #[schema(max_items = 3)]
    pub(crate) scopes: Vec<Scope>,
    /// The only purposes that it may be used for. Empty: any.
    #[serde(default)]
    #[schema(max_items = 20)]
    pub(crate) purposes: Vec<String>,
    /// The lifetime in days.
    #[schema(minimum = 1, maximum = 366)]
    pub(crate) days: u32,
}

/// A token's public fields, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenInfo {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) purposes: Vec<String>,
    #[schema(format = DateTime)]
    pub(crate) made: String,
    #[schema(format = DateTime)]
    pub(crate) until: String,
    /// The last use, to the minute. Absent: never used.
    #[schema(format = DateTime, nullable)]
    pub(crate) used: Option<String>,
}

/// A new token. Its secret is shown only here. It has no `Debug`.
pub(crate) struct MadeToken {
    pub(crate) info: TokenInfo,
    pub(crate) secret: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenFault {
    #[error("{0}")]
    Wanted(&'static str),
    #[error("there are {MOST} tokens already: revoke one")]
    Full,
    #[error("there is no such token")]
    None,
    #[error("tokens cannot be written")]
    Disk(#[source] anyhow::Error),
}

/// Whether a bearer token has the form of our own tokens.
pub(super) fn is_ours(token: &str) -> bool {
    token.starts_with(PREFIX)
}

impl Tokens {
    /// # Errors
    /// If the file cannot be read. An empty list instead would mislead people who revoke tokens.
    pub(crate) fn open(state: &Path) -> anyhow::Result<Self> {
        let file = state.join("tokens.json");
        let tokens = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("reading {}", file.display()))?,
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(fault) => return Err(fault).with_context(|| format!("reading {}", file.display())),
        };
        Ok(Self { file, state: Mutex::new(TokenUse { tokens, written: Utc::now().timestamp() }) })
    }

    /// Makes a token for the holder of this certificate.
    ///
    /// # Errors
    /// [`TokenFault`].
    pub(crate) fn make(&self, owner: &Peer, wanted: Wanted) -> Result<MadeToken, TokenFault> {
        let Wanted { name, mut scopes, purposes, days } = wanted;
        let allowed = Scope::of(&owner.id.role);
        let plain = |text: &str| !text.is_empty() && text.chars().count() <= 100 && !text.chars().any(char::is_control);
        if !plain(&name) {
            return Err(TokenFault::Wanted("a token has a name of 1 to 100 characters"));
        }
        if !(1..=LONGEST_DAYS).contains(&days) {
            return Err(TokenFault::Wanted("a token lives 1 to 366 days"));
        }
        if purposes.len() > 20 || !purposes.iter().all(|purpose| plain(purpose)) {
            return Err(TokenFault::Wanted("at most 20 purposes, of 1 to 100 characters each"));
        }
        if scopes.is_empty() {
            scopes = allowed.to_vec();
        }
        scopes.sort_unstable();
        scopes.dedup();
        if allowed.is_empty() || !scopes.iter().all(|scope| allowed.contains(scope)) {
            return Err(TokenFault::Wanted("your role does not have this scope"));
        }
        let (id, secret) = (hex::encode(random::<8>()?), URL_SAFE_NO_PAD.encode(random::<32>()?));
        let now = Utc::now().timestamp();
        let token = Token {
            owner: owner.id.to_string(),
            name,
            sha256: sha256(&secret),
            scopes,
            purposes,
            made: now,
            until: now.saturating_add(i64::from(days).saturating_mul(DAY)),
            used: None,
            authority: hex::encode(owner.ca_fingerprint),
            certificate: hex::encode(owner.fingerprint),
            serial: hex::encode(&owner.serial),
        };
        let info = info(&id, &token);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tokens.retain(|_, token| token.until > now);
        if state.tokens.values().filter(|other| other.owner == token.owner).count() >= MOST {
            return Err(TokenFault::Full);
        }
        state.tokens.insert(id.clone(), token);
        self.write(&mut state)?;
        Ok(MadeToken { info, secret: format!("{PREFIX}{id}_{secret}") })
    }

    /// All tokens of one person.
    pub(crate) fn of(&self, owner: &PeerId) -> Vec<TokenInfo> {
        let owner = owner.to_string();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tokens.iter().filter(|(_, token)| token.owner == owner).map(|(id, token)| info(id, token)).collect()
    }

    /// Revokes a token of this owner. Tokens of other owners are not found.
    ///
    /// # Errors
    /// [`TokenFault::None`] or [`TokenFault::Disk`].
    pub(crate) fn revoke(&self, owner: &PeerId, id: &str) -> Result<(), TokenFault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.tokens.get(id).is_none_or(|token| token.owner != owner.to_string()) {
            return Err(TokenFault::None);
        }
        state.tokens.remove(id);
        self.write(&mut state)
    }

    /// Removes tokens whose maker's certificate is revoked, and returns how many. The revocation list then no longer
    /// needs to name the certificate. Other reasons that keep a maker out, such as an overdue list, can pass, so these
    /// tokens stay.
    ///
    /// # Errors
    /// [`TokenFault::Disk`]. The tokens are ended all the same.
    pub(super) fn sweep(&self, trust: &Trust) -> Result<usize, TokenFault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.tokens.len();
        let is_revoked = |maker: Peer| trust.still_good(&maker) == Err(Refusal::Revoked);
        state.tokens.retain(|_, token| !token.maker().is_some_and(is_revoked));
        let ended = before.saturating_sub(state.tokens.len());
        if ended > 0 {
            self.write(&mut state)?;
        }
        Ok(ended)
    }

    /// The asker behind a token.
    ///
    /// # Errors
    /// The reason why the token is not accepted.
    pub(super) fn holder(&self, token: &str, trust: &Trust) -> Result<Asker, Denied> {
        let (id, secret) = token.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or(Denied::Token)?;
        let now = Utc::now().timestamp();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let known = state.tokens.get_mut(id).ok_or(Denied::Token)?;
        // Both values are hashes, and the caller cannot choose a hash that is nearly equal. The time of the comparison
        // reveals nothing.
        if known.sha256 != sha256(secret) {
            return Err(Denied::Token);
        }
        if known.until <= now {
            return Err(Denied::Expired);
        }
        let maker = known.maker().ok_or(Denied::Token)?;
        trust.still_good(&maker).map_err(|_| Denied::Expired)?;
        known.used = Some(now);
        let asker = Asker {
            id: maker.id,
            by: By::Token(id.to_owned()),
            scopes: known.scopes.clone(),
            purposes: known.purposes.clone(),
        };
        if now.saturating_sub(state.written) > WRITTEN
            && let Err(fault) = self.write(&mut state)
        {
            tracing::error!("when tokens were used cannot be kept: {fault}");
        }
        Ok(asker)
    }

    fn write(&self, state: &mut TokenUse) -> Result<(), TokenFault> {
        state.written = Utc::now().timestamp();
        let text = serde_json::to_vec_pretty(&state.tokens).map_err(|fault| TokenFault::Disk(fault.into()))?;
        write_private(&self.file, &text).map_err(|fault| TokenFault::Disk(fault.into()))
    }
}

impl Token {
    /// The maker of the token. The expiry of the maker's certificate is ignored.
    fn maker(&self) -> Option<Peer> {
        let fingerprint = |text: &str| -> Option<[u8; 32]> { hex::decode(text).ok()?.try_into().ok() };
        Some(Peer {
            id: self.owner.parse().ok()?,
            ca_fingerprint: fingerprint(&self.authority)?,
            not_after: i64::MAX,
            fingerprint: fingerprint(&self.certificate)?,
            serial: hex::decode(&self.serial).ok()?,
        })
    }
}

fn info(id: &str, token: &Token) -> TokenInfo {
    let text = |at: i64| {
        let at = DateTime::<Utc>::from_timestamp(at, 0).unwrap_or_default();
        at.to_rfc3339_opts(SecondsFormat::Secs, true)
    };
    TokenInfo {
        id: id.to_owned(),
        name: token.name.clone(),
        scopes: token.scopes.clone(),
        purposes: token.purposes.clone(),
        made: text(token.made),
        until: text(token.until),
        used: token.used.map(text),
    }
}

fn sha256(secret: &str) -> String {
    hex::encode(digest(&SHA256, secret.as_bytes()))
}

fn random<const N: usize>() -> Result<[u8; N], TokenFault> {
    let mut bytes = [0; N];
    let none = |_| TokenFault::Disk(anyhow::anyhow!("the system gives no randomness"));
    SystemRandom::new().fill(&mut bytes).map_err(none)?;
    Ok(bytes)
}
