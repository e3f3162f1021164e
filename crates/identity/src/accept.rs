//! A server's side of connections: accept, shake hands, say who it is, hand over to tonic.
//!
//! | limit | default | against |
//! |---|---|---|
//! | one handshake | 5 s | a peer that says nothing |
//! | handshakes at once | 256 | many such; one that takes longer than 300 ms gives up its place; a new connection waits for the others |
//! | live connections | 512 | memory |
//! | live connections of one identity | 32 | an analyst who takes the coordinator's place |
//! | live connections of one network on which nobody has signed in ([`crate::open`]) | 256 | strangers; the oldest gives up its place, since a whole council may have one address |
//! | live connections of all networks on which nobody has signed in | half of all | strangers in the places of members |
//! | bytes from one person, over all connections and after them | 4 MiB, then 256 KiB a second | floods of frames that each cost a little |
//! | a connection's life | 10 min 30 s | connections that outlive their certificate |

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream as ServerStream;

use crate::connection::TlsConnection;
use crate::dial::Dialled;
use crate::error::Refusal;
use crate::live::Identity;
use crate::peer::{Peer, Role};
use crate::places::Places;
use crate::tls::{ALPN, DIAL};

/// After this long tonic asks the client to open another connection (see [`crate::server`]).
pub const CONNECTION_AGE: Duration = Duration::from_secs(10 * 60);
/// A handshake that takes longer makes room where there are too many.
pub(crate) const SLOW: Duration = Duration::from_millis(300);
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
    /// The most live connections without an identity from one network ([`crate::network_of`]).
    pub connections_per_network: usize,
    /// After this long a connection fails, whatever it is doing.
    pub connection_life: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_time: Duration::from_secs(5),
            handshakes: 256,
            connections: 512,
            connections_per_peer: 32,
            connections_per_network: 256,
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
/// Each handshake uses the certificate and the trust of its moment. Handshakes run in tasks of their own and end with the stream. A peer that fails is closed, and the
/// failure traced by its code. The stream never ends and never yields an error, so that no client can
/// end the server: if accepting itself fails (no file descriptors left), it waits and goes on.
pub fn incoming(
    listener: TcpListener,
    identity: Identity,
) -> impl Stream<Item = Result<TlsConnection, io::Error>> + Send + 'static {
    incoming_with(listener, identity, Limits::default(), None)
}

/// As [`incoming`], with other limits; nodes that dial out are handed to `dialled`.
pub fn incoming_with(
    listener: TcpListener,
    identity: Identity,
    limits: Limits,
    dialled: Option<Dialled>,
) -> impl Stream<Item = Result<TlsConnection, io::Error>> + Send + 'static {
    through(listener, Door { identity, limits, places: Places::default(), dialled })
}

/// Those whom a door admits.
pub(crate) fn through<D: Admit>(
    listener: TcpListener,
    door: D,
) -> impl Stream<Item = Result<D::Guest, io::Error>> + Send + 'static {
    let acceptor = Acceptor { listener, door: Arc::new(door), pending: VecDeque::new(), handshakes: JoinSet::new() };
    futures::stream::unfold(acceptor, |mut acceptor| async move {
        let connection = acceptor.next().await;
        Some((Ok(connection), acceptor))
    })
}

/// Who is let in, after the handshake.
pub(crate) trait Admit: Send + Sync + 'static {
    type Guest: Send + 'static;

    fn limits(&self) -> Limits;

    /// The error is a static code; none where the connection has gone another way.
    fn admit(
        self: Arc<Self>,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> impl Future<Output = Result<Option<Self::Guest>, &'static str>> + Send;
}

struct Acceptor<D: Admit> {
    listener: TcpListener,
    door: Arc<D>,
    /// Handshakes under way, the oldest first, with when they began.
    pending: VecDeque<(AbortHandle, Instant)>,
    handshakes: JoinSet<Result<Option<D::Guest>, &'static str>>,
}

impl<D: Admit> Acceptor<D> {
    async fn next(&mut self) -> D::Guest {
        loop {
            // A silent handshake gives up its place after a while; handshakes that proceed are waited for.
            let full = self.full_until();
            tokio::select! {
                () = sleep_until(full.unwrap_or_else(Instant::now)), if full.is_some() => {}
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Ok(Some(guest))) => return guest,
                    // A node that serves on it: the connection is with [`Dialled`].
                    Ok(Ok(None)) => {}
                    Ok(Err(code)) => tracing::info!(code, "connection refused"),
                    Err(ended) if ended.is_cancelled() => tracing::debug!(code = "handshakes_full", "connection refused"),
                    Err(_) => tracing::error!(code = "handshake_task", "connection refused"),
                },
                accepted = self.listener.accept(), if full.is_none() => match accepted {
                    Ok((stream, remote)) => {
                        let handshake = self.handshakes.spawn(self.door.clone().admit(stream, remote));
                        self.pending.push_back((handshake, Instant::now()));
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

impl<D: Admit> Acceptor<D> {
    /// Makes room for another handshake; where there is none, until when the oldest may take.
    fn full_until(&mut self) -> Option<Instant> {
        let most = self.door.limits().handshakes.max(1);
        if self.pending.len() < most {
            return None;
        }
        self.pending.retain(|(handshake, _)| !handshake.is_finished());
        while self.pending.len() >= most {
            let (oldest, began) = self.pending.front()?;
            let until = *began + SLOW;
            if until > Instant::now() {
                return Some(until);
            }
            oldest.abort();
            self.pending.pop_front();
        }
        None
    }
}

/// What every handshake needs.
struct Door {
    identity: Identity,
    limits: Limits,
    places: Places,
    dialled: Option<Dialled>,
}

/// Shakes hands, in the time that there is. The error is a static code.
pub(crate) async fn shake(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    limits: Limits,
) -> Result<ServerStream<TcpStream>, &'static str> {
    // Small answers must not wait for more to say. Failing to set it costs only time.
    let _ = stream.set_nodelay(true);
    match timeout(limits.handshake_time, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(handshake_code(&error)),
        Err(_) => Err("handshake_timeout"),
    }
}

impl Admit for Door {
    type Guest = TlsConnection;

    fn limits(&self) -> Limits {
        self.limits
    }

    async fn admit(
        self: Arc<Self>,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> Result<Option<TlsConnection>, &'static str> {
        let stream = shake(stream, self.identity.server(), self.limits).await?;
        let session = stream.get_ref().1;
        let dials = match session.alpn_protocol() {
            Some(ALPN) => false,
            Some(DIAL) => true,
            _ => return Err("handshake_alpn"),
        };
        let chain = session.peer_certificates().unwrap_or_default();
        // Again, under the trust of now: it may have changed while the handshake took its time.
        let peer = self.identity.now().trust.peer_of(chain).map_err(Refusal::code)?;
        let place = self.places.of_peer(&peer.id, self.limits)?;
        let info = PeerInfo { peer, remote };
        let life = self.limits.connection_life;
        let connection = TlsConnection::new(stream.into(), info, &self.identity, life, Some(place));
        if !dials {
            return Ok(Some(connection));
        }
        let (Some(dialled), Role::Node(gss)) = (&self.dialled, connection.info().peer.id.role.clone()) else {
            return Err("dial_not_accepted");
        };
        dialled.add(gss, connection).await.map_err(|_| "dial_failed")?;
        Ok(None)
    }
}

fn handshake_code(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::NoCertificatesPresented) => "certificate_missing",
        Some(error @ rustls::Error::InvalidCertificate(_)) => Refusal::from_tls(error).code(),
        _ => "handshake_failed",
    }
}
