//! A server's side of connections: accept, shake hands, say who it is, hand over to tonic.
//!
//! | limit | default | against |
//! |---|---|---|
//! | one handshake | 5 s | a peer that says nothing |
//! | handshakes at once | 256 | many such; the oldest makes room, so that a good one, which takes milliseconds, gets through |
//! | live connections | 512 | memory |
//! | live connections of one identity | 32 | an analyst who takes the coordinator's place |
//! | bytes from one person | 4 MiB, then 256 KiB a second | floods of frames that each cost a little |
//! | a connection's life | 10 min 30 s | connections that outlive their certificate |

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsStream};
use tonic::transport::server::Connected;

use crate::dial::Dialled;
use crate::error::Refusal;
use crate::live::Identity;
use crate::peer::{Peer, PeerId, Role};
use crate::rate::Meter;
use crate::tls::{ALPN, DIAL};

/// After this long tonic asks the client to open another connection (see [`crate::server`]).
pub const CONNECTION_AGE: Duration = Duration::from_secs(10 * 60);
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
            handshakes: 256,
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
    let door = Door { identity, limits, places: Places::default(), dialled };
    let acceptor = Acceptor { listener, door: Arc::new(door), pending: VecDeque::new(), handshakes: JoinSet::new() };
    futures::stream::unfold(acceptor, |mut acceptor| async move {
        let connection = acceptor.next().await;
        Some((Ok(connection), acceptor))
    })
}

struct Acceptor {
    listener: TcpListener,
    door: Arc<Door>,
    /// Handshakes under way, the oldest first.
    pending: VecDeque<AbortHandle>,
    handshakes: JoinSet<Result<Admitted, &'static str>>,
}

/// What became of a good handshake.
enum Admitted {
    Caller(Box<TlsConnection>),
    /// A node that serves on it: the connection is with [`Dialled`].
    Dialled,
}

impl Acceptor {
    async fn next(&mut self) -> TlsConnection {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Ok(Admitted::Caller(connection))) => return *connection,
                    Ok(Ok(Admitted::Dialled)) => {}
                    Ok(Err(code)) => tracing::info!(code, "connection refused"),
                    Err(ended) if ended.is_cancelled() => tracing::debug!(code = "handshakes_full", "connection refused"),
                    Err(_) => tracing::error!(code = "handshake_task", "connection refused"),
                },
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, remote)) => {
                        self.make_room();
                        let handshake = self.handshakes.spawn(self.door.clone().admit(stream, remote));
                        self.pending.push_back(handshake);
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

impl Acceptor {
    /// Peers who say nothing lose their places to those who come later: waiting for them would hold up everybody.
    fn make_room(&mut self) {
        if self.pending.len() < self.door.limits.handshakes.max(1) {
            return;
        }
        self.pending.retain(|handshake| !handshake.is_finished());
        while self.pending.len() >= self.door.limits.handshakes.max(1) {
            if let Some(oldest) = self.pending.pop_front() {
                oldest.abort();
            }
        }
    }
}

/// What every handshake needs.
struct Door {
    identity: Identity,
    limits: Limits,
    places: Places,
    dialled: Option<Dialled>,
}

impl Door {
    /// The error is a static code.
    async fn admit(self: Arc<Self>, stream: TcpStream, remote: SocketAddr) -> Result<Admitted, &'static str> {
        // Small answers must not wait for more to say. Failing to set it costs only time.
        let _ = stream.set_nodelay(true);
        let handshake = TlsAcceptor::from(self.identity.server()).accept(stream);
        let stream = match timeout(self.limits.handshake_time, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(handshake_code(&error)),
            Err(_) => return Err("handshake_timeout"),
        };
        let session = stream.get_ref().1;
        let dials = match session.alpn_protocol() {
            Some(ALPN) => false,
            Some(DIAL) => true,
            _ => return Err("handshake_alpn"),
        };
        let chain = session.peer_certificates().unwrap_or_default();
        // Again, under the trust of now: it may have changed while the handshake took its time.
        let peer = self.identity.now().trust.peer_of(chain).map_err(Refusal::code)?;
        let place = self.places.take(&peer.id, self.limits)?;
        let info = PeerInfo { peer, remote };
        let life = self.limits.connection_life;
        let connection = TlsConnection::new(stream.into(), info, &self.identity, life, Some(place));
        if !dials {
            return Ok(Admitted::Caller(Box::new(connection)));
        }
        let (Some(dialled), Role::Node(gss)) = (&self.dialled, connection.info.peer.id.role.clone()) else {
            return Err("dial_not_accepted");
        };
        dialled.add(gss, connection).await.map_err(|_| "dial_failed")?;
        Ok(Admitted::Dialled)
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
    by_peer: HashMap<PeerId, (usize, Meter)>,
}

impl Places {
    fn take(&self, id: &PeerId, limits: Limits) -> Result<Place, &'static str> {
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (own, meter) = match live.by_peer.get(id) {
            Some((own, meter)) => (*own, meter.clone()),
            None => (0, Meter::of(id)),
        };
        if live.total >= limits.connections {
            return Err("connections_full");
        }
        if own >= limits.connections_per_peer {
            return Err("connections_full_for_peer");
        }
        live.total = live.total.saturating_add(1);
        live.by_peer.insert(id.clone(), (own.saturating_add(1), meter.clone()));
        Ok(Place { places: self.clone(), id: id.clone(), meter })
    }
}

/// One live connection; dropping it frees its place.
pub(crate) struct Place {
    places: Places,
    id: PeerId,
    meter: Meter,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut live = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.total = live.total.saturating_sub(1);
        if let Some((own, _)) = live.by_peer.get_mut(&self.id) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                live.by_peer.remove(&self.id);
            }
        }
    }
}

/// A connection with a known peer. Reading and writing fail once its life is over, or its peer is no longer good.
pub struct TlsConnection {
    stream: TlsStream<TcpStream>,
    info: PeerInfo,
    /// Completes when the connection must end, with the reason.
    end: Pin<Box<dyn Future<Output = &'static str> + Send>>,
    over: Option<&'static str>,
    place: Option<Place>,
    /// Set while the peer has sent more than it may.
    pause: Option<Pin<Box<Sleep>>>,
    /// Tells others that this connection lives.
    alive: Arc<()>,
}

impl TlsConnection {
    pub(crate) fn new(
        stream: TlsStream<TcpStream>,
        info: PeerInfo,
        identity: &Identity,
        life: Duration,
        place: Option<Place>,
    ) -> Self {
        let (identity, peer) = (identity.clone(), info.peer.clone());
        let end = async move {
            tokio::select! {
                () = sleep(life) => "connection_age",
                refusal = identity.until_gone(&peer) => {
                    tracing::warn!(code = refusal.code(), peer = %peer.id, "connection ended");
                    refusal.code()
                }
            }
        };
        Self { stream, info, end: Box::pin(end), over: None, place, pause: None, alive: Arc::new(()) }
    }

    /// Who is at the other end.
    pub fn info(&self) -> &PeerInfo {
        &self.info
    }

    /// Upgrades for as long as the connection lives.
    pub(crate) fn alive(&self) -> Weak<()> {
        Arc::downgrade(&self.alive)
    }

    fn check(&self) -> io::Result<()> {
        match self.over {
            Some(reason) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, reason)),
            None => Ok(()),
        }
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
        // HTTP/2 reads all the time, so polling the end here wakes the connection when it is over.
        if self.over.is_none()
            && let Poll::Ready(reason) = self.end.as_mut().poll(cx)
        {
            self.over = Some(reason);
        }
        self.check()?;
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len().saturating_sub(before);
        let wait = self.place.as_ref().and_then(|place| place.meter.spend(read));
        self.pause = wait.map(|wait| Box::pin(sleep(wait)));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
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
