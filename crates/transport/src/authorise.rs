//! The roles that may call each RPC: one table, and everything else denied.
//!
//! The layer stands before every service of a server and looks at each request, not at each connection,
//! because a certificate can end while its connection lives.

use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::Either;
use loda_federation::Role;
use loda_identity::{Identity, Peer, Refusal};
use tonic::Status;
use tonic::transport::server::Server;
use tower::{Layer, Service};

use crate::connection::PeerInfo;
use crate::limits::Rates;

/// A role without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A borough's node.
    Node,
    /// The coordinator.
    Coordinator,
    /// An analyst.
    Analyst,
    /// An auditor.
    Auditor,
}

impl From<&Role> for Caller {
    fn from(role: &Role) -> Self {
        match role {
            Role::Node(_) => Self::Node,
            Role::Coordinator => Self::Coordinator,
            Role::Analyst(_) => Self::Analyst,
            Role::Auditor(_) => Self::Auditor,
        }
    }
}

/// The whole policy. An RPC that is not here may be called by nobody.
const MAY_CALL: &[(&str, &[Caller])] = &[
    ("/loda.v1.Node/Describe", &[Caller::Coordinator]),
    ("/loda.v1.Node/Submit", &[Caller::Coordinator]),
    ("/loda.v1.Node/Ask", &[Caller::Coordinator]),
    ("/loda.v1.Node/Cancel", &[Caller::Coordinator]),
    ("/loda.v1.Node/ReadLog", &[Caller::Coordinator]),
    ("/loda.v1.Node/Cosign", &[Caller::Coordinator]),
    ("/loda.v1.Query/Catalogue", &[Caller::Analyst, Caller::Auditor]),
    ("/loda.v1.Query/Contract", &[Caller::Analyst, Caller::Auditor]),
    ("/loda.v1.Query/Nodes", &[Caller::Analyst, Caller::Auditor]),
    ("/loda.v1.Query/Purposes", &[Caller::Analyst]),
    ("/loda.v1.Query/Successors", &[Caller::Analyst, Caller::Auditor]),
    ("/loda.v1.Query/Prepare", &[Caller::Analyst]),
    ("/loda.v1.Query/Run", &[Caller::Analyst]),
    ("/loda.v1.Query/Watch", &[Caller::Analyst]),
    ("/loda.v1.Query/Fetch", &[Caller::Analyst]),
    ("/loda.v1.Query/Recorded", &[Caller::Analyst]),
    ("/loda.v1.Query/Cancel", &[Caller::Analyst]),
    ("/loda.v1.Query/NewToken", &[Caller::Analyst, Caller::Auditor]),
    ("/loda.v1.Query/ListTokens", &[Caller::Analyst, Caller::Auditor]),
    ("/loda.v1.Query/RevokeToken", &[Caller::Analyst, Caller::Auditor]),
    ("/loda.v1.Query/ReadLog", &[Caller::Auditor]),
];

/// Why a call was denied. The caller is told the code and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denied {
    /// No certificate was checked for this connection.
    #[error("caller unknown")]
    Unauthenticated,
    /// The certificate ended, was revoked or denied while the connection lived.
    #[error("no longer accepted: {0}")]
    Gone(Refusal),
    /// More calls than one identity may make.
    #[error("too many calls")]
    Rate,
    /// The RPC is not in the table.
    #[error("no such call")]
    UnknownCall,
    /// The RPC is not for this role.
    #[error("not permitted for this role")]
    Role,
}

impl Denied {
    /// A short static name, safe to log, to count and to send.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unauthenticated => "caller_unauthenticated",
            Self::Gone(Refusal::Expired) => "caller_certificate_expired",
            Self::Gone(Refusal::Revoked) => "caller_certificate_revoked",
            Self::Gone(_) => "caller_no_longer_accepted",
            Self::Rate => "calls_too_many",
            Self::UnknownCall => "call_unknown",
            Self::Role => "call_not_permitted",
        }
    }

    /// `UNAUTHENTICATED` or `PERMISSION_DENIED`, with the code as its message.
    pub fn status(self) -> Status {
        match self {
            Self::Unauthenticated | Self::Gone(_) => Status::unauthenticated(self.code()),
            Self::Rate => Status::resource_exhausted(self.code()),
            Self::UnknownCall | Self::Role => Status::permission_denied(self.code()),
        }
    }
}

/// Whether `peer` may call the RPC of this path, `/package.Service/Method`.
///
/// Decides by role alone; which borough or query a call is about is for the handler to compare with
/// `peer.id`.
///
/// # Errors
/// [`Denied::Role`] or [`Denied::UnknownCall`].
pub fn authorise(peer: &Peer, rpc_path: &str) -> Result<(), Denied> {
    let caller = Caller::from(&peer.id.role);
    let (_, allowed) = MAY_CALL.iter().find(|(path, _)| *path == rpc_path).ok_or(Denied::UnknownCall)?;
    if allowed.contains(&caller) { Ok(()) } else { Err(Denied::Role) }
}

/// Puts [`authorise`] before every service: `server().layer(AuthoriseLayer::new(identity))`.
///
/// It reads the [`PeerInfo`] that tonic takes from a [`crate::TlsConnection`]; a request without one, from
/// a server that was given plain connections, is `UNAUTHENTICATED`. Every call is held to the trust of its moment,
/// and to the rate of its caller.
#[derive(Clone)]
pub struct AuthoriseLayer {
    identity: Identity,
    rates: Rates,
}

impl AuthoriseLayer {
    /// The layer.
    pub fn new(identity: Identity) -> Self {
        Self { identity, rates: Rates::default() }
    }
}

impl<S> Layer<S> for AuthoriseLayer {
    type Service = Authorised<S>;

    fn layer(&self, inner: S) -> Authorised<S> {
        Authorised { inner, gate: self.clone() }
    }
}

/// A service behind [`AuthoriseLayer`].
#[derive(Clone)]
pub struct Authorised<S> {
    inner: S,
    gate: AuthoriseLayer,
}

impl<S, B, R> Service<http::Request<B>> for Authorised<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let info = request.extensions().get::<PeerInfo>();
        match self.gate.permit(info, request.uri().path()) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(denied) => {
                let peer = info.map(|info| info.peer.id.to_string()).unwrap_or_default();
                tracing::warn!(code = denied.code(), %peer, "call denied");
                Either::Right(ready(Ok(denied.status().into_http())))
            }
        }
    }
}

impl AuthoriseLayer {
    fn permit(&self, info: Option<&PeerInfo>, path: &str) -> Result<(), Denied> {
        let peer = &info.ok_or(Denied::Unauthenticated)?.peer;
        self.identity.now().trust.still_good(peer).map_err(Denied::Gone)?;
        if !self.rates.take(&peer.id) {
            return Err(Denied::Rate);
        }
        authorise(peer, path)
    }
}

/// A tonic server with this federation's limits on connections. Add [`AuthoriseLayer`], the services, and
/// [`crate::incoming`].
///
/// Set here: 64 concurrent streams, 16 KiB of headers, 20 resets awaiting acceptance (rapid reset),
/// keepalive 20 s with 10 s to answer, HTTP/2 alone, and `GOAWAY` after `age`.
///
/// Set elsewhere: the end of a connection 30 s after `GOAWAY` is enforced by [`crate::TlsConnection`]. With
/// tonic 0.14's `max_connection_age_grace` a connection is cut at the end of the grace without a
/// `GOAWAY` at its beginning, so a client would have no warning.
///
/// Not settable on a tonic server: message sizes (on each generated service:
/// `max_decoding_message_size`, 4 MiB unless set), the number of CONTINUATION frames (bounded in h2),
/// and deadlines that callers must give. Calls per peer are [`AuthoriseLayer`]'s.
pub fn server(age: Duration) -> Server {
    Server::builder()
        .max_concurrent_streams(64)
        .http2_max_header_list_size(16 * 1024)
        .http2_max_pending_accept_reset_streams(Some(20))
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_connection_age(age)
}
