//! A door for people's own tools: a program of theirs, a spreadsheet, a browser.
//!
//! A certificate of the federation is welcome there, and none is needed: whoever has none says who he is by a token, which
//! is for the services behind the door to judge. The door's own certificate is one for the web, by an authority that those
//! tools believe, and says nothing about the federation.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use futures::Stream;
use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};

use crate::accept::{Admit, Limits, shake, through};
use crate::connection::{Guarded, OpenConnection};
use crate::error::{IdentityError, Refusal};
use crate::live::{Identity, LOOK};
use crate::places::{Arrivals, Places};
use crate::private::read;
use crate::tls::{ALPN, Callers};
use crate::trust::provider;

/// A certificate for the web, with its chain, read again when its files change. No `Debug` of the key: rustls keeps it.
#[derive(Clone)]
pub struct WebCertificate(Arc<Files>);

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    now: RwLock<(Stamp, Arc<CertifiedKey>)>,
}

type Stamp = [Option<(u64, SystemTime)>; 2];

impl WebCertificate {
    /// Reads a PEM file with the certificate and, where it has one, its chain; and one with the private key.
    ///
    /// # Errors
    /// [`IdentityError::File`] or [`IdentityError::Unusable`], with the file's name.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, IdentityError> {
        let stamp = stamp(&certificate, &key);
        let loaded = certified(&certificate, &key)?;
        Ok(Self(Arc::new(Files { certificate, key, now: RwLock::new((stamp, Arc::new(loaded))) })))
    }

    /// Looks at the files every [`LOOK`]; one that cannot be used is reported, and the last good one stays.
    pub async fn keep_current(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let files = Arc::clone(&self.0);
            let _looked = tokio::task::spawn_blocking(move || files.look()).await;
        }
    }
}

impl Files {
    fn look(&self) {
        let stamp = stamp(&self.certificate, &self.key);
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if now.0 == stamp {
            return;
        }
        now.0 = stamp;
        match certified(&self.certificate, &self.key) {
            Ok(loaded) => now.1 = Arc::new(loaded),
            Err(fault) => tracing::error!(code = "web_certificate", "{fault}; the last good one stays in use"),
        }
    }
}

fn stamp(certificate: &PathBuf, key: &PathBuf) -> Stamp {
    [certificate, key].map(|path| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.len(), about.modified().ok()?))
    })
}

fn certified(certificate: &PathBuf, key: &PathBuf) -> Result<CertifiedKey, IdentityError> {
    let unusable = |path: &PathBuf, reason: &str| IdentityError::unusable(path.display().to_string(), reason);
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| unusable(certificate, "is not PEM"))?;
    if chain.is_empty() {
        return Err(unusable(certificate, "holds no certificate"));
    }
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| unusable(key, "holds no PEM private key"))?;
    CertifiedKey::from_der(chain, secret, &provider())
        .map_err(|_| unusable(key, "is not the key of the certificate, or of a kind that is not known"))
}

impl std::fmt::Debug for WebCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("WebCertificate").field(&self.0.certificate).finish()
    }
}

impl ResolvesServerCert for WebCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.now.read().unwrap_or_else(PoisonError::into_inner).1))
    }
}

/// Connections of anybody, for a server that asks each of them who he is. The stream never ends and never yields an error.
///
/// # Errors
/// [`IdentityError::Tls`] where TLS cannot be set up.
pub fn open_incoming(
    listener: TcpListener,
    identity: Identity,
    web: WebCertificate,
    limits: Limits,
) -> Result<impl Stream<Item = Result<OpenConnection, std::io::Error>> + Send + 'static, IdentityError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Callers::Anybody(identity.clone())))
        .with_cert_resolver(Arc::new(web));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![ALPN.to_vec(), b"http/1.1".to_vec()];
    Ok(through(
        listener,
        Open { identity, config: Arc::new(config), limits, places: Places::default(), arrivals: Arrivals::default() },
    ))
}

/// Whose an address is, as far as that can be told: one home or office has all of an IPv6 /64.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

struct Open {
    identity: Identity,
    config: Arc<ServerConfig>,
    limits: Limits,
    places: Places,
    arrivals: Arrivals,
}

impl Admit for Open {
    type Guest = OpenConnection;

    fn limits(&self) -> Limits {
        self.limits
    }

    async fn admit(
        self: Arc<Self>,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> Result<Option<OpenConnection>, &'static str> {
        let network = network_of(remote.ip());
        let turn = self.arrivals.turn(network).await.ok_or("stopping")?;
        let stream = tokio::select! {
            shaken = shake(stream, Arc::clone(&self.config), self.limits) => shaken?,
            () = turn.overdue() => return Err("handshakes_full"),
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN);
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let (peer, place) = if chain.is_empty() {
            (None, self.places.of_stranger(network, self.limits, Some(turn))?)
        } else {
            let peer = self.identity.now().trust.peer_of(chain).map_err(Refusal::code)?;
            let place = self.places.of_peer(&peer.id, self.limits)?;
            (Some(peer), place)
        };
        let life = self.limits.connection_life;
        let guarded = Guarded::new(stream.into(), peer.clone(), &self.identity, life, Some(place.clone()));
        Ok(Some(OpenConnection::new(guarded, peer, remote, place, http2)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_network_is_counted_as_one() {
        let of = |address: &str| network_of(address.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }
}
