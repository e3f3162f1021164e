//! Servers and clients of the small federation.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use loda_identity::{Credentials, Identity, Peer};
use loda_transport::{
    AuthoriseLayer, CONNECTION_AGE, Dialled, Limits, PeerInfo, TlsConnection, channel, incoming_with, server,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::Channel;
use tower::{Service, ServiceExt};

use crate::federation::*;

impl Federation {
    /// As somebody, whether or not the others believe it.
    pub fn identity(&self, creds: &Credentials) -> Identity {
        let claimed = Peer {
            id: COORDINATOR.parse().unwrap(),
            ca_fingerprint: [0; 32],
            not_after: i64::MAX,
            fingerprint: [0; 32],
            serial: vec![1],
        };
        Identity::unchecked(creds.clone(), self.trust(), claimed).unwrap()
    }

    /// A server with the real identity `id`.
    pub async fn serve(&self, id: &str) -> Served {
        self.serve_as(&self.credentials(id), Limits::default()).await
    }

    /// A server that answers every permitted call and says who called.
    pub async fn serve_as(&self, creds: &Credentials, limits: Limits) -> Served {
        serve(self.identity(creds), limits, None).await
    }

    pub fn channel(&self, served: &Served, creds: &Credentials, expected: &str) -> Channel {
        let expected = expected.parse().unwrap();
        let wait = Duration::from_secs(5);
        channel(&served.address.to_string(), &self.identity(creds), &expected, wait).unwrap()
    }
}

/// A server that answers every permitted call and says who called.
pub async fn serve(identity: Identity, limits: Limits, dialled: Option<Dialled>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = incoming_with(listener, identity.clone(), limits, dialled);
    Served { address, task: answer(identity, connections, CONNECTION_AGE) }
}

/// Answers over connections, wherever they come from.
pub fn answer(
    identity: Identity,
    connections: impl Stream<Item = Result<TlsConnection, std::io::Error>> + Send + 'static,
    age: Duration,
) -> JoinHandle<()> {
    let serving = server(age)
        .layer(AuthoriseLayer::new(identity))
        .add_service(Echo::<false>)
        .add_service(Echo::<true>)
        .serve_with_incoming(connections);
    tokio::spawn(async move { serving.await.unwrap() })
}

pub struct Served {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Both services of the federation, routed by tonic as the real ones are: answers with the caller's name.
#[derive(Clone)]
struct Echo<const QUERY: bool>;

impl<const QUERY: bool> NamedService for Echo<QUERY> {
    const NAME: &'static str = if QUERY { "loda.v1.Query" } else { "loda.v1.Node" };
}

impl<const QUERY: bool> Service<http::Request<Body>> for Echo<QUERY> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<PeerInfo>().unwrap().peer.id.to_string();
        let response = http::Response::builder().header("grpc-status", "0").header("peer", peer);
        ready(Ok(response.body(Body::empty()).unwrap()))
    }
}

/// The result of a call: the gRPC status, and its message or the caller's name as the server saw it.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: i32,
    pub text: String,
}

/// One call; `Err` where there was no connection, with the chain of reasons.
pub async fn call(channel: &Channel, path: &str) -> Result<Answer, String> {
    let request = http::Request::builder()
        .method("POST")
        .uri(format!("http://any{path}"))
        .header("content-type", "application/grpc")
        .body(Body::empty())
        .unwrap();
    let response = match channel.clone().oneshot(request).await {
        Ok(response) => response,
        Err(error) => {
            let mut text = String::new();
            let mut next: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = next {
                text.push_str(&format!("{error}: "));
                next = error.source();
            }
            return Err(text);
        }
    };
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    Ok(Answer {
        status: header("grpc-status").unwrap().parse().unwrap(),
        text: header("grpc-message").or(header("peer")).unwrap_or_default(),
    })
}
