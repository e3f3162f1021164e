//! Certificates: which are somebody, and which are nobody.

use std::sync::Arc;

use loda_federation::Role;
use loda_identity::{Authority, Credentials, Refusal, client_config};
use loda_transport::Limits;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::federation::*;
use crate::serving::*;

const DESCRIBE: &str = "/loda.v1.Node/Describe";

#[tokio::test]
async fn the_coordinator_reaches_a_node_under_its_own_name() {
    let federation = Federation::new();
    let node = federation.serve(CAMDEN).await;
    let creds = federation.credentials(COORDINATOR);
    let channel = federation.channel(&node, &creds, CAMDEN);
    let answer = call(&channel, DESCRIBE).await.unwrap();
    assert_eq!(answer, Answer { status: 0, text: COORDINATOR.into() });

    let peer = creds.peer(&federation.trust()).unwrap();
    assert_eq!(peer.id.role, Role::Coordinator);
    let day = 24 * 60 * 60;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!((peer.not_after - now.as_secs() as i64 - day).abs() < 60, "the leaf ends first");
}

/// Each is refused, for its own reason by `peer_of` and by a closed connection on the wire.
#[tokio::test]
async fn what_is_nobody_is_not_let_in() {
    let federation = Federation::new();
    let Federation { camden, hackney, coordinator, people, .. } = &federation;
    let node = federation.serve(CAMDEN).await;
    let rogue = Authority::create("Coordinator", 30).unwrap();

    let cases: Vec<(&str, Credentials, Refusal)> = vec![
        ("another authority of the same name", issued(&rogue, COORDINATOR, 1), Refusal::UnknownAuthority),
        ("Hackney claims to be Camden", issued(hackney, CAMDEN, 1), Refusal::AuthorityRole),
        ("Hackney claims to coordinate", issued(hackney, COORDINATOR, 1), Refusal::AuthorityRole),
        ("Camden issues an analyst", issued(camden, ALICE, 1), Refusal::AuthorityRole),
        ("people's authority issues a node", issued(people, CAMDEN, 1), Refusal::AuthorityRole),
        ("people's authority issues the coordinator", issued(people, COORDINATOR, 1), Refusal::AuthorityRole),
        ("the coordinator's authority issues a node", issued(coordinator, CAMDEN, 1), Refusal::AuthorityRole),
        ("the coordinator's authority issues an analyst", issued(coordinator, ALICE, 1), Refusal::AuthorityRole),
        (
            "two URIs",
            forged(coordinator, "Coordinator", |p| {
                p.subject_alt_names = names(&[COORDINATOR, ALICE]);
            }),
            Refusal::IdentityCount,
        ),
        (
            "the same URI twice",
            forged(coordinator, "Coordinator", |p| {
                p.subject_alt_names = names(&[COORDINATOR, COORDINATOR]);
            }),
            Refusal::IdentityCount,
        ),
        ("no URI", forged(coordinator, "Coordinator", |p| p.subject_alt_names = names(&[])), Refusal::IdentityCount),
        ("no names at all", forged(coordinator, "Coordinator", |_| {}), Refusal::IdentityCount),
        (
            "a role that does not exist",
            forged(coordinator, "Coordinator", |p| {
                p.subject_alt_names = names(&["spiffe://london.example/root"]);
            }),
            Refusal::IdentityForm,
        ),
        ("another federation", issued(coordinator, "spiffe://paris.example/coordinator", 1), Refusal::Domain),
        ("expired", issued(coordinator, COORDINATOR, -1), Refusal::Expired),
        (
            "not yet valid",
            forged(coordinator, "Coordinator", |p| {
                p.subject_alt_names = names(&[COORDINATOR]);
                p.not_before = date_time_ymd(2200, 1, 1);
            }),
            Refusal::NotYetValid,
        ),
        (
            "for signing code",
            forged(coordinator, "Coordinator", |p| {
                p.subject_alt_names = names(&[COORDINATOR]);
                p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
            }),
            Refusal::Purpose,
        ),
    ];
    for (what, creds, expected) in cases {
        match creds.peer(&federation.trust()) {
            Err(refusal) => assert_eq!(refusal, expected, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
        let channel = federation.channel(&node, &creds, CAMDEN);
        assert!(call(&channel, DESCRIBE).await.is_err(), "{what}: was let in");
    }
    // And the node still serves those who are somebody.
    let creds = federation.credentials(COORDINATOR);
    assert_eq!(call(&federation.channel(&node, &creds, CAMDEN), DESCRIBE).await.unwrap().status, 0);
}

#[tokio::test]
async fn no_certificate_no_connection() {
    let federation = Federation::new();
    let node = federation.serve(CAMDEN).await;
    let creds = federation.credentials(COORDINATOR);
    let with = client_config(&creds, &federation.trust(), &CAMDEN.parse().unwrap()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca_der(&federation.camden)).unwrap();
    let mut without = rustls::ClientConfig::builder_with_provider(with.crypto_provider().clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    without.alpn_protocols = with.alpn_protocols.clone();
    assert!(first_read(&node, without).await.unwrap_err().contains("CertificateRequired"));

    // A client that speaks another protocol, or does not say which, is closed too.
    let mut other = (*with).clone();
    other.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert!(first_read(&node, other).await.is_err());
    let mut silent = (*with).clone();
    silent.alpn_protocols.clear();
    assert!(!matches!(first_read(&node, silent).await, Ok(1..)));
    // The server speaks first in HTTP/2, so a good connection reads something.
    assert!(matches!(first_read(&node, (*with).clone()).await, Ok(1..)));
}

#[tokio::test]
async fn a_client_refuses_a_server_that_is_somebody_else() {
    let federation = Federation::new();
    let creds = federation.credentials(COORDINATOR);

    let camden = federation.serve(CAMDEN).await;
    let channel = federation.channel(&camden, &creds, HACKNEY);
    let error = call(&channel, DESCRIBE).await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");

    // Camden's own authority, but not Camden's node.
    for id in [HACKNEY, COORDINATOR, ALICE] {
        let posing = issued(&federation.camden, id, 1);
        let served = federation.serve_as(&posing, Limits::default()).await;
        let error = call(&federation.channel(&served, &creds, CAMDEN), DESCRIBE).await.unwrap_err();
        assert!(error.contains("WrongPeer"), "{error}");
    }
    let two = forged(&federation.camden, "Camden", |p| p.subject_alt_names = names(&[CAMDEN, ALICE]));
    let served = federation.serve_as(&two, Limits::default()).await;
    let error = call(&federation.channel(&served, &creds, CAMDEN), DESCRIBE).await.unwrap_err();
    assert!(error.contains("IdentityCount"), "{error}");
    let expired = issued(&federation.camden, CAMDEN, -1);
    let served = federation.serve_as(&expired, Limits::default()).await;
    let error = call(&federation.channel(&served, &creds, CAMDEN), DESCRIBE).await.unwrap_err();
    assert!(error.contains("certificate expired"), "{error}");
}

#[tokio::test]
async fn tls_1_2_cannot_be_spoken() {
    let versions: Vec<_> = rustls::ALL_VERSIONS.iter().map(|v| v.version).collect();
    assert_eq!(versions, [rustls::ProtocolVersion::TLSv1_3]);

    // A well-formed ClientHello of TLS 1.2: no supported_versions, one cipher suite of that version.
    let federation = Federation::new();
    let node = federation.serve(CAMDEN).await;
    let mut hello = vec![0x03, 0x03];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let extensions = [
        [0x00, 0x0d, 0, 4, 0, 2, 0x04, 0x03].as_slice(), // signature_algorithms: ecdsa, sha256
        &[0x00, 0x0a, 0, 4, 0, 2, 0x00, 0x17],           // supported_groups: secp256r1
        &[0x00, 0x0b, 0, 2, 1, 0],                       // ec_point_formats: uncompressed
    ]
    .concat();
    hello.extend([0, u8::try_from(extensions.len()).unwrap()]);
    hello.extend(extensions);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![0x16, 0x03, 0x01, 0, length + 4, 0x01, 0, 0, length];
    record.extend(hello);

    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    // A fatal alert, protocol_version.
    assert_eq!(answer, [0x15, 0x03, 0x03, 0, 2, 2, 70]);
}

#[tokio::test]
async fn nothing_is_resumed() {
    let federation = Federation::new();
    let node = federation.serve(CAMDEN).await;
    let creds = federation.credentials(COORDINATOR);
    let config = client_config(&creds, &federation.trust(), &CAMDEN.parse().unwrap()).unwrap();
    let mut config = (*config).clone();
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let connector = TlsConnector::from(Arc::new(config));
    for _ in 0..3 {
        let mut stream = connect(&node, &connector).await.unwrap();
        // Tickets would arrive with the first bytes.
        assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
        let session = stream.get_ref().1;
        assert_eq!(session.tls13_tickets_received(), 0);
        assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

/// Credentials that `Authority::issue` would not make, signed by the authority's real key.
fn forged(authority: &Authority, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Credentials {
    let (cert, key) = forge(authority, name, change);
    Credentials::from_pem(&cert.pem(), &key.serialize_pem()).unwrap()
}

fn ca_der(authority: &Authority) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap()
}

async fn connect(
    node: &Served,
    connector: &TlsConnector,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let stream = TcpStream::connect(node.address).await.unwrap();
    let name = ServerName::try_from("loda.internal").unwrap();
    connector.connect(name, stream).await.map_err(|error| format!("{error:?}"))
}

/// The number of bytes of the first read: in TLS 1.3 a client learns only then that it was refused.
async fn first_read(node: &Served, config: rustls::ClientConfig) -> Result<usize, String> {
    let mut stream = connect(node, &TlsConnector::from(Arc::new(config))).await?;
    stream.read(&mut [0; 64]).await.map_err(|error| format!("{error:?}"))
}
