//! Doors for people's own tools, on one port: an HTTP API, and Flight SQL.
//!
//! ```text
//! connection ─ sign_in (certificate | token | provider's token) ─► http/ ──┐
//!                                                              └─► flight/ ┴─► questions
//! ```
//!
//! Whoever comes in is somebody of the federation by the time that a question is made in his name; everything behind is the
//! same as for those who come with the command line.

mod flight;
pub mod foreign;
mod http;
mod sign_in;
mod turns;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::middleware::from_fn_with_state;
use futures::StreamExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use loda_identity::{
    Identity, Limits, OpenConnection, Peer, PeerId, SigningKey, WebCertificate, network_of, open_incoming,
};
use loda_proto::v1;
use tokio::net::TcpListener;
use tokio::sync::OwnedSemaphorePermit;
use tower::ServiceExt;
use uuid::Uuid;

pub(crate) use self::flight::local;
use self::http::Problem;
use self::sign_in::{Asker, Denied, Guest, Made, SignIn, sign_in};
pub(crate) use self::sign_in::{ProviderEntry, Scope, TokenFault, TokenInfo, Tokens, Wanted};
use self::turns::Turns;
use crate::config::DoorsConfig;
use crate::query::{Prepared, Query};
use crate::questions::Questions;

/// How long a request's head may take, and an idle connection wait for the next.
const HEAD: Duration = Duration::from_secs(30);

/// Live connections at most.
const CONNECTIONS: usize = 2048;

/// Connections that shake hands or wait to, at most: those of one network take turns.
const ARRIVALS: usize = 2048;

/// Bytes of a request that may come before they are read.
const WINDOW: u32 = 64 << 10;

/// What every request needs.
pub(crate) struct Doors {
    questions: Arc<Questions>,
    sign_in: Arc<SignIn>,
    identity: Identity,
    config: DoorsConfig,
    web: WebCertificate,
    log: PathBuf,
    log_key: String,
    turns: Turns,
}

impl Doors {
    /// # Errors
    /// Where certificate, key or providers cannot be used.
    pub(crate) fn open(
        config: &DoorsConfig,
        questions: Arc<Questions>,
        identity: &Identity,
        tokens: Arc<Tokens>,
        state: &Path,
    ) -> anyhow::Result<Self> {
        let web = WebCertificate::load(config.certificate.clone(), config.key.clone()).context("[doors]")?;
        let sign_in =
            SignIn::open(identity.clone(), tokens, config.providers.clone(), state, questions.sign_ins.clone())
                .context("[doors]")?;
        Ok(Self {
            questions,
            sign_in: Arc::new(sign_in),
            identity: identity.clone(),
            config: config.clone(),
            web,
            log: state.join("log.jsonl"),
            log_key: SigningKey::load(&state.join("log.key"))?.public_hex(),
            turns: Turns::default(),
        })
    }

    /// # Errors
    /// Where the address cannot be bound.
    pub(crate) async fn bind(self, limits: Limits) -> anyhow::Result<Bound> {
        let listen = self.config.listen.clone();
        let listener = TcpListener::bind(&listen).await.with_context(|| format!("[doors] listening on {listen}"))?;
        let connections_per_network = self.config.connections_per_address;
        let limits = Limits { connections: CONNECTIONS, handshakes: ARRIVALS, connections_per_network, ..limits };
        Ok(Bound { doors: Arc::new(self), listener, limits })
    }

    fn tokens(&self) -> &Tokens {
        &self.sign_in.tokens
    }

    fn make_token(&self, owner: &Peer, wanted: Wanted) -> Result<Made, TokenFault> {
        make_token(&self.questions, self.tokens(), owner, wanted)
    }

    fn revoke_token(&self, owner: &PeerId, id: &str) -> Result<(), TokenFault> {
        revoke_token(&self.questions, self.tokens(), owner, id)
    }

    /// A place for what costs much.
    async fn turn(&self, asker: &Asker) -> Result<OwnedSemaphorePermit, Problem> {
        self.turns.take(&asker.id).await.ok_or_else(|| Denied::Rate.into())
    }

    /// A question of this asker, under a purpose that he may state now: no other exists for him.
    fn query(&self, asker: &Asker, id: &Uuid) -> Result<Arc<Query>, Problem> {
        let query = self.questions.jobs.query(id, &asker.id).filter(|query| asker.sees(query));
        query.ok_or_else(|| Problem::none("question"))
    }

    /// All of these, the newest first.
    fn queries(&self, asker: &Asker) -> Vec<Arc<Query>> {
        let mut all = self.questions.jobs.of(&asker.id);
        all.retain(|query| asker.sees(query));
        all
    }

    /// Plans a question.
    async fn plan(&self, asker: &Asker, sql: String, purpose: String) -> Result<Arc<Prepared>, Problem> {
        let _turn = self.turn(asker).await?;
        Ok(self.questions.plan(asker.id.clone(), purpose, sql).await?)
    }

    /// Says what a question would ask.
    async fn explain(
        &self,
        asker: &Asker,
        prepared: Arc<Prepared>,
        ask_nodes: bool,
    ) -> Result<v1::PrepareResponse, Problem> {
        let _turn = self.turn(asker).await?;
        self.questions.explained(prepared, ask_nodes).await.map_err(|_| Problem::internal())
    }

    /// Asks what was planned.
    fn ask(&self, prepared: Arc<Prepared>, deadline_ms: u32, detached: bool) -> Result<Arc<Query>, Problem> {
        Ok(self.questions.start(prepared, deadline_ms, detached)?)
    }
}

/// Makes a token, once the log says so.
pub(crate) fn make_token(
    questions: &Questions,
    tokens: &Tokens,
    owner: &Peer,
    wanted: Wanted,
) -> Result<Made, TokenFault> {
    let made = tokens.make(owner, wanted)?;
    let scopes: Vec<&str> = made.info.scopes.iter().map(|scope| scope.name()).collect();
    let detail = format!("token {} made: {} until {}", made.info.id, scopes.join(" "), made.info.until);
    if let Err(fault) = questions.admin(&owner.id, detail) {
        tokens.revoke(&owner.id, &made.info.id)?;
        return Err(TokenFault::Disk(fault.into()));
    }
    Ok(made)
}

/// Revokes one, and then says so in the log: it must end even where nothing can be written.
pub(crate) fn revoke_token(questions: &Questions, tokens: &Tokens, owner: &PeerId, id: &str) -> Result<(), TokenFault> {
    tokens.revoke(owner, id)?;
    questions.admin(owner, format!("token {id} revoked")).map_err(|fault| TokenFault::Disk(fault.into()))
}

/// Doors with an address.
pub(crate) struct Bound {
    doors: Arc<Doors>,
    listener: TcpListener,
    limits: Limits,
}

impl Bound {
    /// Serves from now on, in tasks of its own.
    pub(crate) fn start(self) {
        let Self { doors, listener, limits } = self;
        tokio::spawn(doors.web.clone().keep_current());
        tokio::spawn(Arc::clone(&doors.sign_in).keep_tokens());
        let flight = flight::router(&doors);
        let app = http::router(&doors).merge(flight);
        let app = app.layer(from_fn_with_state(Arc::clone(&doors.sign_in), sign_in));
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

/// Answers one connection's requests, with the limits of [`loda_identity::server`].
async fn carry(connection: OpenConnection, app: Router) {
    let guest = Guest {
        peer: connection.peer.clone(),
        network: network_of(connection.remote.ip()),
        place: connection.place.clone(),
        http2: connection.http2,
    };
    let service = service_fn(move |request: ::http::Request<Incoming>| {
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
        // Questions are small: what is sent before anybody reads it takes no more room than this.
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW.saturating_mul(2))
        .max_concurrent_streams(64)
        .max_header_list_size(16 << 10)
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    // By what was agreed in the handshake: nobody holds a place by saying nothing at all.
    let server = if connection.http2 { server.http2_only() } else { server.http1_only() };
    let _ended = server.serve_connection(TokioIo::new(connection), service).await;
}
