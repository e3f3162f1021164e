//! The port of the web doors. It accepts TLS connections, signs requests in, and passes them to HTTP and Flight SQL.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::middleware::from_fn_with_state;
use futures::StreamExt;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK, LOCATION, RETRY_AFTER,
};
use http::{HeaderValue, Method};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use loda_identity::{Identity, WebCertificate};
use loda_transport::{Limits, OpenConnection, network_of, open_incoming};
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower_http::cors::CorsLayer;

use crate::config::DoorsConfig;
use crate::doors::middleware::sign_in;
use crate::doors::service::DoorService;
use crate::doors::sign_in::{Guest, SignIn};
use crate::doors::{flight, http as http_api};

/// How long the head of a request may take, and how long an idle connection waits for the next request.
const HEAD: Duration = Duration::from_secs(30);

/// The most live connections.
const CONNECTIONS: usize = 2048;

/// The most connections that are in a handshake or wait for one. The connections of one network take turns.
const ARRIVALS: usize = 2048;

/// The most bytes of a request that may arrive before they are read.
const WINDOW: u32 = 64 << 10;

/// The web doors, before they have an address.
pub(crate) struct WebDoors {
    service: Arc<DoorService>,
    sign_in: Arc<SignIn>,
    identity: Identity,
    config: DoorsConfig,
    web: WebCertificate,
}

impl WebDoors {
    /// # Errors
    /// If the certificate, the key or a provider cannot be used.
    pub(crate) fn open(
        config: &DoorsConfig,
        service: Arc<DoorService>,
        identity: &Identity,
        state: &Path,
    ) -> anyhow::Result<Self> {
        let web = WebCertificate::load(config.certificate.clone(), config.key.clone()).context("[doors]")?;
        let (tokens, counts) = (Arc::clone(&service.tokens), service.queries.sign_ins.clone());
        let sign_in = SignIn::open(identity.clone(), tokens, config.providers.clone(), state, counts);
        let sign_in = Arc::new(sign_in.context("[doors]")?);
        Ok(Self { service, sign_in, identity: identity.clone(), config: config.clone(), web })
    }

    /// # Errors
    /// If the address cannot be bound.
    pub(crate) async fn bind(self, limits: Limits) -> anyhow::Result<Bound> {
        let listen = self.config.listen.clone();
        let listener = TcpListener::bind(&listen).await.with_context(|| format!("[doors] listening on {listen}"))?;
        let connections_per_network = self.config.connections_per_address;
        let limits = Limits { connections: CONNECTIONS, handshakes: ARRIVALS, connections_per_network, ..limits };
        Ok(Bound { doors: self, listener, limits })
    }
}

/// Doors with an address.
pub(crate) struct Bound {
    doors: WebDoors,
    listener: TcpListener,
    limits: Limits,
}

impl Bound {
    /// Starts to serve, in tasks of its own.
    pub(crate) fn start(self) {
        let Self { doors, listener, limits } = self;
        tokio::spawn(doors.web.clone().keep_current());
        tokio::spawn(Arc::clone(&doors.sign_in).keep_tokens());
        let app = http_api::router(&doors.service).merge(flight::router(&doors.service));
        let app = app.layer(from_fn_with_state(Arc::clone(&doors.sign_in), sign_in));
        // A browser asks for permission before it shows any credentials.
        let app = match doors.config.origins.as_slice() {
            [] => app,
            origins => app.layer(other_origins(origins.to_vec())),
        };
        tokio::spawn(async move {
            let incoming = open_incoming(listener, doors.identity.clone(), doors.web.clone(), limits);
            let mut incoming = match incoming {
                Ok(incoming) => std::pin::pin!(incoming),
                Err(fault) => return tracing::error!("no doors: {fault}"),
            };
            while let Some(connection) = incoming.next().await {
                if let Ok(connection) = connection {
                    tokio::spawn(carry(connection, app.clone()));
                }
            }
        });
    }
}

/// Pages of these origins may ask with a token. Certificates and cookies are never sent for them.
fn other_origins(origins: Vec<HeaderValue>) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([ACCEPT, AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH])
        .expose_headers([CONTENT_DISPOSITION, ETAG, LINK, LOCATION, RETRY_AFTER])
        .max_age(Duration::from_secs(3600))
}

/// Answers the requests of one connection, with the limits of [`loda_transport::server`].
async fn carry(connection: OpenConnection, app: Router) {
    let guest = Guest {
        peer: connection.peer.clone(),
        network: network_of(connection.remote.ip()),
        place: connection.place.clone(),
        http2: connection.http2,
    };
    let service = service_fn(move |request: http::Request<Incoming>| {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(guest.clone());
        app.clone().oneshot(request)
    });
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(32 << 10)
        .http2()
        .timer(TokioTimer::new())
        // Questions are small. Bytes that arrive before they are read take no more room than this.
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW.saturating_mul(2))
        .max_concurrent_streams(64)
        .max_header_list_size(16 << 10)
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    // The protocol is the one agreed in the handshake. Detecting it instead would let a silent client hold its place.
    let server = if connection.http2 { server.http2_only() } else { server.http1_only() };
    let _ended = server.serve_connection(TokioIo::new(connection), service).await;
}
