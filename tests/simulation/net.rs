//! Calls over connections that delay, lose, repeat and cut.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, StreamBody};
use loda_coordinator::{ChannelFault, NodeChannel};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{Bytes, http};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::world::World;

/// How long a dead connection is not noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);

pub fn line(world: &Arc<World>, from: usize, to: usize) -> NodeChannel {
    let world = Arc::clone(world);
    BoxCloneSyncService::new(tower::service_fn(move |request| call(Arc::clone(&world), from, to, request)))
}

fn lost() -> ChannelFault {
    ChannelFault::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
}

/// One message over a connection.
async fn travel(world: &World, from: usize, to: usize) -> Result<(), ChannelFault> {
    let longest = match () {
        () if world.strikes(100) => 10_000,
        () if world.strikes(10) => 1_500,
        () => 15,
    };
    sleep(world.millis(longest)).await;
    if let Some(until) = world.cut(from, to) {
        let noticed = Instant::now() + KEEPALIVE;
        // A message that is sent into a cut arrives after the cut, or never.
        if world.below(2) == 0 || until > noticed {
            sleep_until(noticed.min(until)).await;
            return Err(lost());
        }
        sleep_until(until).await;
    }
    if world.strikes(40) { Err(lost()) } else { Ok(()) }
}

async fn call(
    world: Arc<World>,
    from: usize,
    to: usize,
    request: Request<Body>,
) -> Result<Response<Body>, ChannelFault> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.map_err(ChannelFault::new)?.to_bytes();
    if world.strikes(25) {
        let (world, head, bytes) = (Arc::clone(&world), head.clone(), bytes.clone());
        tokio::spawn(async move {
            sleep(world.millis(5_000)).await;
            let _nobody_waits = serve(&world, from, to, head, bytes).await;
        });
    }
    travel(&world, from, to).await?;
    let response = serve(&world, from, to, head, bytes).await?;
    travel(&world, to, from).await?;
    let (head, body) = response.into_parts();
    Ok(Response::from_parts(head, carried(world, from, to, body)))
}

/// The far end: a task of the host that serves.
async fn serve(
    world: &Arc<World>,
    from: usize,
    to: usize,
    head: http::request::Parts,
    bytes: Bytes,
) -> Result<Response<Body>, ChannelFault> {
    let mut request = Request::from_parts(head, Body::new(http_body_util::Full::new(bytes)));
    request.extensions_mut().insert(world.peer(from));
    let (line, calls) = world.life(to).ok_or_else(lost)?;
    let (mut sender, receiver) = oneshot::channel();
    // The server may or may not notice that the caller left.
    let heard = world.below(2) == 0;
    calls.spawn(async move {
        tokio::select! {
            biased;
            response = line.oneshot(request) => drop(sender.send(response)),
            () = sender.closed(), if heard => {}
        }
    });
    receiver.await.map_err(|_| lost())?
}

/// The body of a response, frame by frame.
fn carried(world: Arc<World>, from: usize, to: usize, mut body: Body) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    if let Some((_, calls)) = world.life(to) {
        let world = Arc::clone(&world);
        calls.spawn(async move {
            loop {
                let frame = tokio::select! {
                    biased;
                    () = sender.closed() => return,
                    frame = body.frame() => frame,
                };
                let end = frame.is_none();
                let carried = match travel(&world, to, from).await {
                    Ok(()) => Ok(frame.transpose().ok().flatten()),
                    Err(fault) => Err(fault),
                };
                let broken = carried.is_err();
                if sender.send(carried).await.is_err() || end || broken {
                    return;
                }
            }
        });
    } else {
        drop(sender);
    }
    let frames = futures::stream::unfold(Some(receiver), move |receiver| {
        let world = Arc::clone(&world);
        async move {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(Ok(Some(frame))) => Some((Ok(frame), Some(receiver))),
                Some(Ok(None)) => None,
                Some(Err(fault)) => Some((Err(fault), None)),
                None => {
                    // The far end died. This shows at once, or only by its silence.
                    if world.strikes(3) {
                        sleep(KEEPALIVE).await;
                    }
                    Some((Err(lost()), None))
                }
            }
        }
    });
    Body::new(StreamBody::new(frames))
}
