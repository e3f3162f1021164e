//! Connections after the handshake, and the conditions that end them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use loda_identity::{Identity, Peer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsStream;
use tonic::transport::server::Connected;

use crate::limits::ConnectionPlace;

/// The caller of a request, in the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// The caller.
    pub peer: Peer,
    /// The other end of the TCP connection.
    pub remote: SocketAddr,
}

/// A stream that fails once its life is over, or its peer is no longer good. A peer that sends too much is read slowly.
pub(crate) struct Guarded {
    stream: TlsStream<TcpStream>,
    /// Completes when the connection must end, with the reason.
    end: Pin<Box<dyn Future<Output = &'static str> + Send>>,
    over: Option<&'static str>,
    place: Option<ConnectionPlace>,
    /// Set while the peer has sent more than it may.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    pub(crate) fn new(
        stream: TlsStream<TcpStream>,
        peer: Option<Peer>,
        identity: &Identity,
        life: Duration,
        place: Option<ConnectionPlace>,
    ) -> Self {
        let (identity, stranger) = (identity.clone(), peer.is_none());
        let gone = async move {
            let Some(peer) = peer else { return std::future::pending().await };
            let refusal = identity.until_gone(&peer).await;
            tracing::warn!(code = refusal.code(), peer = %peer.id, "connection ended");
            refusal.code()
        };
        let given_up = place.clone().filter(|_| stranger).map(ConnectionPlace::given_up);
        let given_up = async move {
            match given_up {
                Some(given_up) => given_up.await,
                None => std::future::pending().await,
            }
        };
        let end = async move {
            tokio::select! {
                () = sleep(life) => "connection_age",
                code = gone => code,
                () = given_up => "place_given_up",
            }
        };
        Self { stream, end: Box::pin(end), over: None, place, pause: None }
    }

    fn check(&self) -> io::Result<()> {
        match self.over {
            Some(reason) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, reason)),
            None => Ok(()),
        }
    }
}

impl AsyncRead for Guarded {
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
        let wait = self.place.as_ref().and_then(|place| place.spend(read));
        self.pause = wait.map(|wait| Box::pin(sleep(wait)));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
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

/// Reads and writes as the guarded stream inside does.
macro_rules! guarded {
    ($connection:ty) => {
        impl AsyncRead for $connection {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.guarded).poll_read(cx, buf)
            }
        }

        impl AsyncWrite for $connection {
            fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.guarded).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.guarded).poll_write_vectored(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                self.guarded.is_write_vectored()
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.guarded).poll_flush(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.guarded).poll_shutdown(cx)
            }
        }
    };
}

/// A connection with a known peer.
pub struct TlsConnection {
    guarded: Guarded,
    info: PeerInfo,
    /// Tells others that this connection lives.
    alive: Arc<()>,
}

impl TlsConnection {
    pub(crate) fn new(
        stream: TlsStream<TcpStream>,
        info: PeerInfo,
        identity: &Identity,
        life: Duration,
        place: Option<ConnectionPlace>,
    ) -> Self {
        let guarded = Guarded::new(stream, Some(info.peer.clone()), identity, life, place);
        Self { guarded, info, alive: Arc::new(()) }
    }

    /// The peer at the other end.
    pub fn info(&self) -> &PeerInfo {
        &self.info
    }

    /// Upgrades for as long as the connection lives.
    pub(crate) fn alive(&self) -> Weak<()> {
        Arc::downgrade(&self.alive)
    }
}

impl Connected for TlsConnection {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.info.clone()
    }
}

guarded!(TlsConnection);
guarded!(OpenConnection);

/// A connection of a caller that may have shown a certificate, and may not.
pub struct OpenConnection {
    guarded: Guarded,
    /// The caller whose certificate was checked, if there is one.
    pub peer: Option<Peer>,
    /// The other end of the TCP connection.
    pub remote: SocketAddr,
    /// The place that it takes: its network's, or its caller's once the caller is known.
    pub place: ConnectionPlace,
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
}

impl OpenConnection {
    pub(crate) fn new(
        guarded: Guarded,
        peer: Option<Peer>,
        remote: SocketAddr,
        place: ConnectionPlace,
        http2: bool,
    ) -> Self {
        Self { guarded, peer, remote, place, http2 }
    }
}
