//! A small federation: Camden, Hackney, a coordinator and one authority for people.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use loda_identity::TlsConnection;
use loda_identity::manifest::{self, CoordinatorEntry, DatasetEntry, Member};
use loda_identity::{
    AuthoriseLayer, Authority, CONNECTION_AGE, Credentials, Denials, Dialled, Gss, Identity, Limits, Manifest, Peer,
    PeerId, PeerInfo, RevocationList, Role, SigningKey, Trust, channel, incoming_with, server,
};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::Channel;
use tower::{Service, ServiceExt};

pub const DOMAIN: &str = "london.example";
pub const CAMDEN: &str = "spiffe://london.example/borough/E09000007/node";
pub const HACKNEY: &str = "spiffe://london.example/borough/E09000012/node";
pub const COORDINATOR: &str = "spiffe://london.example/coordinator";
pub const ALICE: &str = "spiffe://london.example/analyst/alice";
pub const WATCHER: &str = "spiffe://london.example/auditor/watcher";

pub struct Federation {
    pub camden: Authority,
    pub hackney: Authority,
    pub coordinator: Authority,
    pub people: Authority,
    pub manifest: Manifest,
}

impl Federation {
    pub fn new() -> Self {
        let [camden, hackney, coordinator, people] =
            ["Camden", "Hackney", "Coordinator", "People"].map(|name| Authority::create(name, 30).unwrap());
        let log_key = || SigningKey::generate().unwrap().0.public_hex();
        let member = |gss: &str, name: &str, address: &str, authority: &Authority| Member {
            gss: gss.parse().unwrap(),
            name: name.into(),
            address: address.into(),
            ca: authority.ca_pem().into(),
            log_key: log_key(),
        };
        let manifest = Manifest {
            federation: "London".into(),
            domain: DOMAIN.into(),
            version: 1,
            previous: None,
            approvals: None,
            coordinator: CoordinatorEntry {
                address: "127.0.0.1:7400".into(),
                ca: coordinator.ca_pem().into(),
                log_key: log_key(),
            },
            members: vec![
                member("E09000007", "Camden", "127.0.0.1:7407", &camden),
                member("E09000012", "Hackney", "127.0.0.1:7412", &hackney),
            ],
            analysts: vec![manifest::Authority { ca: people.ca_pem().into() }],
            datasets: vec![DatasetEntry {
                name: "council_tax".into(),
                contract_sha256: "ab".repeat(32),
                protection: "cell-key".into(),
            }],
        };
        manifest.check().unwrap();
        Self { camden, hackney, coordinator, people, manifest }
    }

    /// A current list of each authority that takes nothing back.
    pub fn lists(&self) -> Vec<RevocationList> {
        let of = |authority: &Authority| list(authority, &[], 30);
        [&self.camden, &self.hackney, &self.coordinator, &self.people].into_iter().map(of).collect()
    }

    /// What members believe.
    pub fn trust(&self) -> Arc<Trust> {
        self.trust_with(self.lists())
    }

    pub fn trust_with(&self, lists: Vec<RevocationList>) -> Arc<Trust> {
        let manifest = Arc::new(self.manifest.clone());
        Arc::new(Trust::new(manifest, lists, Denials::default(), None).unwrap().0)
    }

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

    /// The credentials that belong to an identity.
    pub fn credentials(&self, id: &str) -> Credentials {
        let authority = match id.parse::<PeerId>().unwrap().role {
            Role::Node(gss) if gss == "E09000007".parse::<Gss>().unwrap() => &self.camden,
            Role::Node(_) => &self.hackney,
            Role::Coordinator => &self.coordinator,
            Role::Analyst(_) | Role::Auditor(_) => &self.people,
        };
        issued(authority, id, 1)
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

/// An authority's list.
pub fn list(authority: &Authority, serials: &[Vec<u8>], days: i64) -> RevocationList {
    let pem = authority.revocation_list(serials, days).unwrap();
    RevocationList::parse(pem.as_bytes(), "list").unwrap().remove(0)
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

pub fn issued(authority: &Authority, id: &str, days: i64) -> Credentials {
    let issued = authority.issue(&id.parse().unwrap(), days).unwrap();
    Credentials::from_pem(&issued.cert_pem, &issued.key_pem).unwrap()
}

/// Credentials that `Authority::issue` would not make, signed by the authority's real key.
pub fn forged(authority: &Authority, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Credentials {
    let (cert, key) = forge(authority, name, change);
    Credentials::from_pem(&cert.pem(), &key.serialize_pem()).unwrap()
}

pub fn forge(
    authority: &Authority,
    name: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> (rcgen::Certificate, KeyPair) {
    let directory = tempfile::tempdir().unwrap();
    authority.save(directory.path()).unwrap();
    let ca_key = std::fs::read_to_string(directory.path().join("ca.key")).unwrap();
    let mut ca = CertificateParams::default();
    ca.distinguished_name = rcgen::DistinguishedName::new();
    ca.distinguished_name.push(DnType::CommonName, name);
    let issuer = Issuer::new(ca, KeyPair::from_pem(&ca_key).unwrap());

    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.extended_key_usages =
        vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth, rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    (params.signed_by(&key, &issuer).unwrap(), key)
}

/// The names of a certificate: URIs, and the DNS name that all have.
pub fn names(uris: &[&str]) -> Vec<rcgen::SanType> {
    let uris = uris.iter().map(|uri| rcgen::SanType::URI((*uri).try_into().unwrap()));
    uris.chain([rcgen::SanType::DnsName("loda.internal".try_into().unwrap())]).collect()
}

/// What a call came to: the gRPC status, and its message or the caller's name as the server saw it.
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
