//! Connections that a borough opens, and serves over: for firewalls that let nothing in.
//!
//! ```text
//! node ── TCP, TLS (node is the client) ──► coordinator
//! node ◄────── HTTP/2 calls ──────────────  coordinator
//! ```
//!
//! The service, its checks and both identities are those of a node that listens; only the opener of the connection is
//! another. A node holds two connections of different age, and opens the next before one ends, so that there is
//! always one to take a call.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::Stream;
use futures::stream::unfold;
use hyper_util::rt::TokioIo;
use loda_federation::{Gss, PeerId, Role};
use loda_identity::Identity;
use loda_identity::tls::DIAL;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Uri};

use crate::connect::{connect, endpoint};
use crate::connection::TlsConnection;
use crate::limits::CONNECTION_GRACE;

/// Connections that a node holds.
const SLOTS: u32 = 2;
const CONNECT: Duration = Duration::from_secs(10);
/// The longest pause between attempts: a coordinator that comes back is found within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Connections of one borough that are kept for calls; the oldest is let go.
const KEPT: usize = 4;

/// A node's side: connections to the coordinator that the manifest names, for tonic's `serve_with_incoming`. Each is
/// followed by the next when it has lived for `age`, at the latest.
pub fn dial_out(
    identity: Identity,
    age: Duration,
) -> impl Stream<Item = Result<TlsConnection, io::Error>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(1);
    for slot in 0..SLOTS {
        // The first connection of each slot lives shorter by its share, so that they do not age together.
        let first = age.saturating_mul(slot.saturating_add(1)) / SLOTS;
        tokio::spawn(keep_dialled(identity.clone(), sender.clone(), first, age));
    }
    unfold(receiver, |mut receiver| async move {
        match receiver.recv().await {
            Some(connection) => Some((Ok(connection), receiver)),
            // The slots never end before the receiver.
            None => std::future::pending().await,
        }
    })
}

async fn keep_dialled(identity: Identity, served: mpsc::Sender<TlsConnection>, first: Duration, age: Duration) {
    let mut next_age = first;
    let mut failures = 0_u32;
    while !served.is_closed() {
        let manifest = identity.manifest();
        let coordinator = PeerId { domain: manifest.domain.clone(), role: Role::Coordinator };
        // It is cut a little after the server's farewell at `age`.
        let life = age.saturating_add(CONNECTION_GRACE);
        let dialling = connect(&manifest.coordinator.address, &identity, &coordinator, DIAL, life);
        match timeout(CONNECT, dialling).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(connection) => {
                failures = 0;
                let alive = connection.alive();
                if served.send(connection).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = sleep(next_age) => {}
                    () = ended(alive) => sleep(jitter(Duration::from_millis(500))).await,
                }
                next_age = age;
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                let pause = Duration::from_millis(250).saturating_mul(1 << failures.min(8)).min(LONGEST_PAUSE);
                tracing::warn!(code = "dial", attempt = failures, "cannot reach the coordinator: {error}");
                sleep(jitter(pause)).await;
            }
        }
    }
}

async fn ended(alive: Weak<()>) {
    while alive.strong_count() > 0 {
        sleep(Duration::from_millis(100)).await;
    }
}

/// Between half and all of `pause`: 33 nodes must not come back in one moment.
fn jitter(pause: Duration) -> Duration {
    let mut byte = [0_u8; 1];
    // Without randomness there is no jitter, and no harm.
    let _ = SystemRandom::new().fill(&mut byte);
    let [byte] = byte;
    pause / 2 + (pause / 2).saturating_mul(u32::from(byte)) / 255
}

/// The coordinator's side: channels over connections that nodes opened, by borough.
#[derive(Clone, Default)]
pub struct Dialled(Arc<Mutex<BTreeMap<Gss, Vec<DialledConnection>>>>);

struct DialledConnection {
    channel: Channel,
    alive: Weak<()>,
}

impl Dialled {
    /// A channel to a node over the newest connection that it holds open.
    pub fn channel(&self, gss: &Gss) -> Option<Channel> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = lines.get_mut(gss)?;
        lines.retain(|line| line.alive.strong_count() > 0);
        lines.last().map(|line| line.channel.clone())
    }

    /// Begins HTTP/2 on a connection and keeps it for calls.
    pub(crate) async fn add(&self, gss: Gss, connection: TlsConnection) -> io::Result<()> {
        let alive = connection.alive();
        let mut once = Some(TokioIo::new(connection));
        let connect = tower::service_fn(move |_: Uri| {
            // A channel that has lost its connection gets no other: calls go to the next line.
            let connection = once.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
            async move { connection }
        });
        // The name is never looked up.
        let endpoint = endpoint("http://dialled.invalid:1").map_err(io::Error::other)?;
        let channel = timeout(CONNECT, endpoint.connect_with_connector(connect))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
            .map_err(io::Error::other)?;
        tracing::info!(borough = %gss, "a node dialled in");
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = lines.entry(gss).or_default();
        lines.retain(|line| line.alive.strong_count() > 0);
        if lines.len() >= KEPT {
            lines.remove(0);
        }
        lines.push(DialledConnection { channel, alive });
        Ok(())
    }
}
