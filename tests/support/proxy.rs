//! A TCP proxy that treats connections as bad networks do.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// What the proxy does to the bytes that pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weather {
    Clear,
    /// Nothing passes in either direction, without notice.
    Partition,
    /// Requests pass, and replies do not.
    HalfOpen,
    /// Everything is delayed by this time.
    Latency(Duration),
    /// One byte passes each second.
    Trickle,
    /// A connection is reset after this many bytes of a reply.
    ResetAfter(usize),
    /// Replies are sent twice.
    Duplicate,
    /// No process listens at the address.
    Closed,
}

pub struct Proxy {
    weather: watch::Sender<Weather>,
}

impl Proxy {
    /// Listens at `from`, and forwards to `to`.
    pub async fn start(from: &str, to: String) -> Self {
        let listener = TcpListener::bind(from).await.unwrap();
        let (weather, watching) = watch::channel(Weather::Clear);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass(near, to.clone(), watching.clone()));
            }
        });
        Self { weather }
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn pass(near: TcpStream, to: String, weather: watch::Receiver<Weather>) {
    if *weather.borrow() == Weather::Closed {
        return reset(&near);
    }
    let Ok(far) = TcpStream::connect(to.parse::<SocketAddr>().unwrap()).await else { return };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    // When one direction ends, the other ends too.
    tokio::select! {
        () = carry(near_read, far_write, weather.clone(), false) => {}
        () = carry(far_read, near_write, weather, true) => {}
    }
}

fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>, reply: bool) {
    let mut buffer = vec![0_u8; 16 << 10];
    let mut carried = 0;
    loop {
        let now = *weather.borrow_and_update();
        let stopped = match now {
            Weather::Closed => return reset(to.as_ref()),
            Weather::Partition => true,
            Weather::HalfOpen => reply,
            _ => false,
        };
        if stopped {
            if weather.changed().await.is_err() {
                return;
            }
            continue;
        }
        let limit = if now == Weather::Trickle { 1 } else { buffer.len() };
        let read = tokio::select! {
            read = from.read(&mut buffer[..limit]) => read,
            changed = weather.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok(length @ 1..) = read else { return };
        match now {
            Weather::Latency(late) => sleep(late).await,
            Weather::Trickle => sleep(Duration::from_secs(1)).await,
            Weather::ResetAfter(most) if reply && carried + length > most => return reset(to.as_ref()),
            _ => {}
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        if now == Weather::Duplicate && reply && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        carried += length;
    }
}
