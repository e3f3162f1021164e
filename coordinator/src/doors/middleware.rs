//! Signs in each request before it reaches a handler.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use tokio::time::timeout;

use crate::doors::fault::Fault;
use crate::doors::flight;
use crate::doors::sign_in::asker::Denied;
use crate::doors::sign_in::{Guest, Shown, SignIn, SignedIn, token_of};

const FLIGHT: &str = "/arrow.flight.protocol.FlightService/";
const HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";

/// The number of refusals without credentials that one connection gets without delay.
const ASKED: u32 = 4;

/// How many bytes are read and dropped of the body of a caller that is not let in, and for how long.
const DROPPED: usize = 512 << 10;
const DROPPED_IN: Duration = Duration::from_secs(2);

/// Reads a limited part of a body and drops it.
async fn passed_over(mut body: Body) {
    let mut passed = 0_usize;
    while passed < DROPPED
        && let Some(Ok(frame)) = body.frame().await
    {
        passed = passed.saturating_add(frame.data_ref().map_or(0, Bytes::len));
    }
}

/// Puts [`SignedIn`] into each request.
pub(crate) async fn sign_in(State(door): State<Arc<SignIn>>, mut request: Request, next: Next) -> Response {
    let guest = request.extensions().get::<Guest>().cloned();
    let known = match &guest {
        // Handshakes and probes of clients that have not signed in are checked, too.
        Some(guest) => door.asker(guest, request.headers()).await,
        None => Err(Denied::Unknown),
    };
    if let (Err(denied), Some(guest)) = (&known, &guest) {
        // Clients ask once without credentials, to learn which ones are accepted.
        let often = guest.place.refused() > ASKED;
        if *denied != Denied::Unknown || often {
            door.counts.count(denied.code());
            let (wait, told) = door.backoff.add(guest.network);
            if let Some(since) = told {
                tracing::warn!(code = denied.code(), network = %guest.network, since, "not let in");
            }
            tokio::time::sleep(wait).await;
        }
    }
    match (&known, &guest) {
        (Ok(asker), Some(guest)) => guest.place.known(&asker.id),
        // The body of a caller that is not let in is not read.
        (Err(denied), _) if request.uri().path().starts_with(FLIGHT) => {
            return flight::status(&Fault::Denied(*denied)).into_http();
        }
        (Err(_), guest) => {
            let body = std::mem::take(request.body_mut());
            // Over HTTP/1 an answer to a client that is still sending would be lost on its way.
            if !guest.as_ref().is_some_and(|guest| guest.http2) {
                let _ended = timeout(DROPPED_IN, passed_over(body)).await;
            }
        }
        (Ok(_), None) => {}
    }
    // The token goes no further, except to the handshake that exchanges it.
    if known.is_ok()
        && request.uri().path() == HANDSHAKE
        && let Ok(Some(token)) = token_of(request.headers())
    {
        request.extensions_mut().insert(Shown(token));
    }
    request.headers_mut().remove(AUTHORIZATION);
    request.extensions_mut().insert(SignedIn(known));
    next.run(request).await
}
