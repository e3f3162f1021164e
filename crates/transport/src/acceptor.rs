//! A listener's loop: accept, shake hands in a task, hand over the connections that are admitted.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use loda_identity::Refusal;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream as ServerStream;

use crate::limits::{Limits, SLOW};

/// The connections that a door admits. The stream never ends and never yields an error.
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

/// Decides which connections are admitted: it shakes hands and checks the caller.
pub(crate) trait Admit: Send + Sync + 'static {
    /// A connection that was admitted.
    type Guest: Send + 'static;

    /// The limits of the listener.
    fn limits(&self) -> Limits;

    /// Shakes hands. The error is a static code; the result is `None` where the connection has gone another way.
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
                    // A node that dialled: [`crate::Dialled`] holds the connection.
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
    /// Makes room for another handshake. Where there is none, the result is the time until which the oldest may take.
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

/// Shakes hands, within the handshake time of `limits`. The error is a static code.
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

fn handshake_code(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::NoCertificatesPresented) => "certificate_missing",
        Some(error @ rustls::Error::InvalidCertificate(_)) => Refusal::from_tls(error).code(),
        _ => "handshake_failed",
    }
}
