//! A client's side of connections: a tonic channel to one known member of the federation.

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use loda_federation::{PeerId, SERVER_NAME};
use loda_identity::tls::ALPN;
use loda_identity::{Identity, IdentityError};
use rustls_pki_types::{ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::connection::{PeerInfo, TlsConnection};

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_LIST: u32 = 16 * 1024;
/// A server ends connections by age; this is for one that does not.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// A channel to `expected` at `address` (`host:port`), which connects when first used and again after
/// a connection is lost, each time with the certificate and the trust of that moment. It may be cloned; must be made
/// inside a tokio runtime.
///
/// `connect_timeout` bounds name resolution, TCP and the handshake together. The server at the
/// address must prove to be `expected`, and be it for as long as the connection lives; otherwise calls end with
/// `UNAVAILABLE`.
///
/// # Errors
/// [`loda_federation::FederationError::Unusable`] if `address` is not `host:port` or `expected` no server of the manifest.
pub fn channel(
    address: &str,
    identity: &Identity,
    expected: &PeerId,
    connect_timeout: Duration,
) -> Result<Channel, IdentityError> {
    let unusable = || IdentityError::unusable(format!("address {address:?}"), "is not host:port");
    identity.now().trust.knows_server(expected)?;
    let endpoint = endpoint(&format!("http://{address}"))?;
    if endpoint.uri().port_u16().is_none() {
        return Err(unusable());
    }
    let (identity, expected, target) = (identity.clone(), expected.clone(), address.to_owned());
    let connect = tower::service_fn(move |_: Uri| {
        let (identity, expected, target) = (identity.clone(), expected.clone(), target.clone());
        async move {
            let connecting = connect(&target, &identity, &expected, ALPN, LONGEST);
            match timeout(connect_timeout, connecting).await {
                Ok(connected) => connected.map(TokioIo::new),
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "connecting took too long")),
            }
        }
    });
    Ok(endpoint.connect_with_connector_lazy(connect))
}

/// The settings of all our channels. The scheme is http because tonic would otherwise look for TLS of its own; ours is in
/// the connector.
pub(crate) fn endpoint(uri: &str) -> Result<Endpoint, IdentityError> {
    let unusable = || IdentityError::unusable(format!("address {uri:?}"), "is not host:port");
    let origin = Uri::try_from(format!("https://{SERVER_NAME}")).map_err(|_| unusable())?;
    let endpoint = Endpoint::from_shared(uri.to_owned()).map_err(|_| unusable())?;
    Ok(endpoint
        .origin(origin)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(HEADER_LIST))
}

/// One connection to `expected`, by the protocol `alpn`.
pub(crate) async fn connect(
    target: &str,
    identity: &Identity,
    expected: &PeerId,
    alpn: &[u8],
    life: Duration,
) -> io::Result<TlsConnection> {
    let mut config = identity.client_config(expected).map_err(io::Error::other)?.as_ref().clone();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let remote = stream.peer_addr()?;
    let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
    let stream = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await?;
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(alpn) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the server does not speak the federation's protocol"));
    }
    // The handshake has checked it; this finds the peer, and the connection is held to it from now on.
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let leaf = leaf.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the server gave no certificate"))?;
    let peer = identity.now().trust.server(expected, leaf, UnixTime::now()).map_err(io::Error::other)?;
    Ok(TlsConnection::new(stream.into(), PeerInfo { peer, remote }, identity, life, None))
}

/// Whether `expected` answers at `address`, by one handshake on both sides: for a check before service begins.
///
/// # Errors
/// The reason why it does not answer.
pub async fn reach(address: &str, identity: &Identity, expected: &PeerId, limit: Duration) -> io::Result<()> {
    let mut stream = timeout(limit, connect(address, identity, expected, ALPN, LONGEST)).await??;
    // In TLS 1.3 a server judges our certificate after we have judged its own: its first bytes are its yes.
    let mut first = [0_u8; 1];
    match timeout(limit, tokio::io::AsyncReadExt::read(&mut stream, &mut first)).await?? {
        0 => Err(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "it closed the connection: it does not accept our certificate",
        )),
        _ => Ok(()),
    }
}
