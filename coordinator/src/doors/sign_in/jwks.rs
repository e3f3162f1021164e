//! A provider's keys. They are fetched on demand and trusted for a quarter of an hour.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, PublicKeyUse};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::doors::sign_in::asker::Denied;

/// How long a key set is trusted. A provider that is down for longer lets nobody in, because a withdrawn key must stop
/// working.
const BELIEVED: Duration = Duration::from_secs(15 * 60);

/// The shortest time between two fetches. A key that is not in the set may be new.
const AGAIN: Duration = Duration::from_secs(10);

const PATIENCE: Duration = Duration::from_secs(5);

/// The most bytes of an answer.
const LARGEST: usize = 256 << 10;

/// The keys of one provider.
pub(super) struct Keys {
    issuer: String,
    jwks: Option<String>,
    tls: Arc<ClientConfig>,
    /// The set, and when it was fetched.
    known: Mutex<Option<(Instant, Vec<Jwk>)>>,
    /// When the set was last requested. The lock is held during a request.
    tried: tokio::sync::Mutex<Option<Instant>>,
}

impl Keys {
    /// # Errors
    /// If an address or an authority cannot be used.
    pub(super) fn new(issuer: &str, jwks: Option<String>, ca: Option<&Path>) -> anyhow::Result<Self> {
        address(issuer)?;
        jwks.as_deref().map(address).transpose()?;
        let mut roots = RootCertStore::empty();
        match ca {
            Some(ca) => {
                let bytes = std::fs::read(ca).with_context(|| format!("reading {}", ca.display()))?;
                for certificate in CertificateDer::pem_slice_iter(&bytes) {
                    roots.add(certificate.with_context(|| format!("{} is not PEM", ca.display()))?)?;
                }
            }
            None => {
                let _passed_over = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            issuer: issuer.to_owned(),
            jwks,
            tls: Arc::new(tls),
            known: Mutex::default(),
            tried: Default::default(),
        })
    }

    /// The key that a token names.
    ///
    /// # Errors
    /// [`Denied::Token`] if there is no such key. [`Denied::Provider`] if that cannot be found out.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Jwk, Denied> {
        // A caller with a known key does not wait for a request.
        if let (_, Some(key)) = self.look(id, algorithm) {
            return Ok(key);
        }
        let mut tried = self.tried.lock().await;
        let (fresh, key) = self.look(id, algorithm);
        if let Some(key) = key {
            return Ok(key);
        }
        let denied = if fresh { Denied::Token } else { Denied::Provider };
        if tried.is_some_and(|at| at.elapsed() < AGAIN) {
            return Err(denied);
        }
        *tried = Some(Instant::now());
        let fetched = timeout(PATIENCE, self.fetch()).await;
        let set = fetched.unwrap_or_else(|_late| Err(anyhow::anyhow!("no answer in time"))).map_err(|fault| {
            tracing::error!("keys of {} cannot be fetched: {fault:#}", self.issuer);
            denied
        })?;
        *self.known() = Some((Instant::now(), set));
        self.look(id, algorithm).1.ok_or(Denied::Token)
    }

    fn known(&self) -> MutexGuard<'_, Option<(Instant, Vec<Jwk>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the set is still trusted, and its key for a token.
    fn look(&self, id: Option<&str>, algorithm: Algorithm) -> (bool, Option<Jwk>) {
        let known = self.known();
        let believed = known.as_ref().filter(|(at, _)| at.elapsed() < BELIEVED);
        (believed.is_some(), believed.and_then(|(_, set)| pick(set, id, algorithm)))
    }

    async fn fetch(&self) -> anyhow::Result<Vec<Jwk>> {
        let jwks = match &self.jwks {
            Some(jwks) => jwks.clone(),
            None => {
                let about = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
                let found: Discovered = serde_json::from_slice(&self.get(&about).await?)?;
                ensure!(found.issuer == self.issuer, "{about} speaks of another issuer");
                found.jwks_uri
            }
        };
        read(&self.get(&jwks).await?)
    }

    async fn get(&self, url: &str) -> anyhow::Result<Bytes> {
        let (uri, host, port, secure) = address(url)?;
        let line = TcpStream::connect((host.as_str(), port)).await.with_context(|| format!("connecting to {host}"))?;
        if secure {
            let name = ServerName::try_from(host.clone())?;
            let line = TlsConnector::from(Arc::clone(&self.tls)).connect(name, line).await.context("TLS")?;
            ask(line, &uri).await
        } else {
            ask(line, &uri).await
        }
    }
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

async fn ask<L>(line: L, uri: &Uri) -> anyhow::Result<Bytes>
where
    L: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(line)).await?;
    let carrying = loda_service::AbortOnDropHandle::new(tokio::spawn(async move {
        let _ended = connection.await;
    }));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // With the port, if there is one: providers build addresses from this header.
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(path).header("host", host).header("accept", "application/json");
    let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    ensure!(answer.status().is_success(), "it answered {}", answer.status());
    let body = Limited::new(answer.into_body(), LARGEST).collect().await;
    drop(carrying);
    Ok(body.map_err(|fault| anyhow::anyhow!("{fault}"))?.to_bytes())
}

/// The keys of a published set. Unknown kinds of keys are ignored (RFC 7517, 5).
pub(super) fn read(bytes: &[u8]) -> anyhow::Result<Vec<Jwk>> {
    #[derive(Deserialize)]
    struct Published {
        keys: Vec<serde_json::Value>,
    }
    let published: Published = serde_json::from_slice(bytes)?;
    Ok(published.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect())
}

/// An address with its host and port. It must be https, or http on this host.
fn address(url: &str) -> anyhow::Result<(Uri, String, u16, bool)> {
    let uri: Uri = url.parse().with_context(|| format!("{url} is no address"))?;
    let host = uri.host().with_context(|| format!("{url} has no host"))?.trim_matches(['[', ']']).to_owned();
    let (secure, port) = match uri.scheme_str() {
        Some("https") => (true, 443),
        Some("http") if ["localhost", "127.0.0.1", "::1"].contains(&host.as_str()) => (false, 80),
        _ => bail!("{url}: write https://…: keys that anybody can change on their way prove nothing"),
    };
    let port = uri.port_u16().unwrap_or(port);
    Ok((uri, host, port, secure))
}

/// The key of a set for a token: by its id, or the only fitting key if the token names none.
pub(super) fn pick(set: &[Jwk], id: Option<&str>, algorithm: Algorithm) -> Option<Jwk> {
    let fits = |key: &&Jwk| {
        let common = &key.common;
        let signs = common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
        let named = common.key_algorithm.is_none_or(|of_key| names(of_key) == Some(algorithm));
        signs && named && id.is_none_or(|id| common.key_id.as_deref() == Some(id))
    };
    let mut fitting = set.iter().filter(fits);
    let first = fitting.next()?;
    // Without an id, exactly one key must fit.
    (id.is_some() || fitting.next().is_none()).then(|| first.clone())
}

fn names(algorithm: KeyAlgorithm) -> Option<Algorithm> {
    algorithm.to_string().parse().ok()
}
