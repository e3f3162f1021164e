//! A server's side of connections: accept, shake hands, say who it is, hand over to tonic.
//!
//! | limit | default | against |
//! |---|---|---|
//! | one handshake | 5 s | a peer that says nothing |
//! | handshakes at once | 64 | many such; more wait in the listener's queue |
//! | live connections | 512 | memory |
//! | live connections of one identity | 32 | an analyst who takes the coordinator's place |
//! | a connection's life | 10 min 30 s | connections that outlive their certificate |

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::error::Refusal;
use crate::manifest::Manifest;
use crate::peer::{Peer, PeerId};
use crate::tls::ALPN;
use crate::trust::peer_of;

/// After this long tonic asks the client to open another connection (see [`crate::server`]).
pub(crate) const CONNECTION_AGE: Duration = Duration::from_secs(10 * 60);
/// How long calls under way may then take.
pub(crate) const CONNECTION_GRACE: Duration = Duration::from_secs(30);

/// The limits of [`incoming_with`]; the defaults are those of the table in this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest handshake.
    pub handshake_time: Duration,
    /// The most handshakes at once, at least 1.
    pub handshakes: usize,
    /// The most live connections.
    pub connections: usize,
    /// The most live connections of one identity.
    pub connections_per_peer: usize,
    /// After this long a connection fails, whatever it is doing.
    pub connection_life: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_time: Duration::from_secs(5),
            handshakes: 64,
            connections: 512,
            connections_per_peer: 32,
            connection_life: CONNECTION_AGE.saturating_add(CONNECTION_GRACE),
        }
    }
}

/// The caller of a request, in the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who it is.
    pub peer: Peer,
    /// The other end of the TCP connection.
    pub remote: SocketAddr,
}

/// Connections of members of the federation, for tonic's `serve_with_incoming`.
///
/// Handshakes run in tasks of their own and end with the stream. A peer that fails is closed, and the
/// failure traced by its code. The stream never ends and never yields an error, so that no client can
/// end the server: if accepting itself fails (no file descriptors left), it waits and goes on.
pub fn incoming(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    manifest: Arc<Manifest>,
) -> impl Stream<Item = Result<TlsConnection, io::Error>> + Send + 'static {
    incoming_with(listener, config, manifest, Limits::default())
}

/// As [`incoming`], with other limits.
pub fn incoming_with(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    manifest: Arc<Manifest>,
    limits: Limits,
) -> impl Stream<Item = Result<TlsConnection, io::Error>> + Send + 'static {
    let door = Door { tls: TlsAcceptor::from(config), manifest, limits, places: Places::default() };
    let acceptor = Acceptor { listener, door: Arc::new(door), handshakes: JoinSet::new() };
    futures::stream::unfold(acceptor, |mut acceptor| async move {
        let connection = acceptor.next().await;
        Some((Ok(connection), acceptor))
    })
}

struct Acceptor {
    listener: TcpListener,
    door: Arc<Door>,
    handshakes: JoinSet<Result<TlsConnection, &'static str>>,
}

impl Acceptor {
    async fn next(&mut self) -> TlsConnection {
        loop {
            let may_accept = self.handshakes.len() < self.door.limits.handshakes.max(1);
            tokio::select! {
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Ok(connection)) => return connection,
                    Ok(Err(code)) => tracing::info!(code, "connection refused"),
                    Err(_) => tracing::error!(code = "handshake_task", "connection refused"),
                },
                accepted = self.listener.accept(), if may_accept => match accepted {
                    Ok((stream, remote)) => {
                        self.handshakes.spawn(self.door.clone().admit(stream, remote));
                    }
                    Err(error) => {
                        tracing::warn!(code = "accept", kind = ?error.kind(), "cannot accept");
                        // Out of descriptors, most likely: trying at once would only burn time.
                        sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
    }
}

/// What every handshake needs.
struct Door {
    tls: TlsAcceptor,
    manifest: Arc<Manifest>,
    limits: Limits,
    places: Places,
}

impl Door {
    /// The error is a static code.
    async fn admit(self: Arc<Self>, stream: TcpStream, remote: SocketAddr) -> Result<TlsConnection, &'static str> {
        // Small answers must not wait for more to say. Failing to set it costs only time.
        let _ = stream.set_nodelay(true);
        let handshake = self.tls.accept(stream);
        let stream = match timeout(self.limits.handshake_time, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(handshake_code(&error)),
            Err(_) => return Err("handshake_timeout"),
        };
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(ALPN) {
            return Err("handshake_alpn");
        }
        let chain = session.peer_certificates().unwrap_or_default();
        let peer = peer_of(chain, &self.manifest).map_err(|error| error.code())?;
        let place = self.places.take(&peer.id, self.limits)?;
        Ok(TlsConnection {
            stream,
            info: PeerInfo { peer, remote },
            life: Box::pin(sleep(self.limits.connection_life)),
            _place: place,
        })
    }
}

fn handshake_code(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::NoCertificatesPresented) => "certificate_missing",
        Some(error @ rustls::Error::InvalidCertificate(_)) => Refusal::from_tls(error).code(),
        _ => "handshake_failed",
    }
}

/// Live connections, counted.
#[derive(Clone, Default)]
struct Places(Arc<Mutex<Live>>);

#[derive(Default)]
struct Live {
    total: usize,
    by_peer: HashMap<PeerId, usize>,
}

impl Places {
    fn take(&self, id: &PeerId, limits: Limits) -> Result<Place, &'static str> {
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = live.by_peer.get(id).copied().unwrap_or_default();
        if live.total >= limits.connections {
            return Err("connections_full");
        }
        if own >= limits.connections_per_peer {
            return Err("connections_full_for_peer");
        }
        live.total = live.total.saturating_add(1);
        live.by_peer.insert(id.clone(), own.saturating_add(1));
        Ok(Place { places: self.clone(), id: id.clone() })
    }
}

/// One live connection; dropping it frees its place.
struct Place {
    places: Places,
    id: PeerId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut live = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.total = live.total.saturating_sub(1);
        let own = live.by_peer.get(&self.id).copied().unwrap_or_default();
        if own > 1 {
            live.by_peer.insert(self.id.clone(), own.saturating_sub(1));
        } else {
            live.by_peer.remove(&self.id);
        }
    }
}

/// A connection with a known peer. Reading and writing fail once its life is over.
pub struct TlsConnection {
    stream: TlsStream<TcpStream>,
    info: PeerInfo,
    life: Pin<Box<Sleep>>,
    _place: Place,
}

impl TlsConnection {
    /// Who is at the other end.
    pub fn info(&self) -> &PeerInfo {
        &self.info
    }
}

impl Connected for TlsConnection {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.info.clone()
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // HTTP/2 reads all the time, so polling the timer here wakes the connection when it is over.
        if self.life.is_elapsed() || self.life.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(life_is_over()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.life.is_elapsed() {
            return Poll::Ready(Err(life_is_over()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.life.is_elapsed() {
            return Poll::Ready(Err(life_is_over()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn life_is_over() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the connection reached its greatest age")
}
