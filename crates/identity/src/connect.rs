//! A client's side of connections: a tonic channel to one known member of the federation.

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::error::IdentityError;
use crate::manifest::Manifest;
use crate::peer::PeerId;
use crate::tls::{ALPN, Credentials, SERVER_NAME, client_config, server_name};

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_LIST: u32 = 16 * 1024;

/// A channel to `expected` at `address` (`host:port`), which connects when first used and again after
/// a connection is lost. It may be cloned; must be made inside a tokio runtime.
///
/// `connect_timeout` bounds name resolution, TCP and the handshake together. Whoever answers at the
/// address must prove to be `expected`; otherwise calls end with `UNAVAILABLE`.
///
/// # Errors
/// As [`client_config`], and [`IdentityError::Unusable`] if `address` is not `host:port`.
pub fn channel(
    address: &str,
    creds: &Credentials,
    manifest: &Manifest,
    expected: &PeerId,
    connect_timeout: Duration,
) -> Result<Channel, IdentityError> {
    let unusable = || IdentityError::unusable(format!("address {address:?}"), "is not host:port");
    let config = client_config(creds, manifest, expected)?;
    let connector = TlsConnector::from(config);
    let name = server_name()?;
    let target = address.to_owned();

    // The scheme is http because tonic would otherwise look for TLS of its own; ours is in the connector.
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| unusable())?;
    if endpoint.uri().port_u16().is_none() {
        return Err(unusable());
    }
    let origin = Uri::try_from(format!("https://{SERVER_NAME}")).map_err(|_| unusable())?;
    let endpoint = endpoint
        .origin(origin)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(HEADER_LIST);

    let connect = tower::service_fn(move |_: Uri| {
        let connector = connector.clone();
        let name = name.clone();
        let target = target.clone();
        async move {
            let connecting = async {
                let stream = TcpStream::connect(target).await?;
                stream.set_nodelay(true)?;
                require_h2(connector.connect(name, stream).await?)
            };
            match timeout(connect_timeout, connecting).await {
                Ok(connected) => connected.map(TokioIo::new),
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "connecting took too long")),
            }
        }
    });
    Ok(endpoint.connect_with_connector_lazy(connect))
}

fn require_h2(stream: TlsStream<TcpStream>) -> io::Result<TlsStream<TcpStream>> {
    if stream.get_ref().1.alpn_protocol() == Some(ALPN) {
        Ok(stream)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the server does not speak HTTP/2"))
    }
}
