//! Certificates that make their holder nobody, without a connection.

use loda_federation::PeerId;
use loda_identity::{Authority, Refusal, client_config};
use rustls::pki_types::CertificateDer;

use crate::federation::*;

#[test]
fn an_ended_authority_speaks_for_nobody() {
    let mut federation = Federation::new();
    let ended = Authority::create("Ended", -1).unwrap();
    federation.manifest.coordinator.ca = ended.ca_pem().into();
    let mut lists = federation.lists();
    lists.push(list(&ended, &[], 1));
    match issued(&ended, COORDINATOR, 1).peer(&federation.trust_with(lists)) {
        Err(refusal) => assert_eq!(refusal, Refusal::AuthorityExpired),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_servers_of_the_manifest_can_be_called() {
    let federation = Federation::new();
    let creds = federation.credentials(COORDINATOR);
    for id in [ALICE, WATCHER, "spiffe://london.example/borough/E09000033/node", "spiffe://paris.example/coordinator"] {
        let expected: PeerId = id.parse().unwrap();
        let error = client_config(&creds, &federation.trust(), &expected).unwrap_err();
        assert_eq!(error.code(), "identity_unusable", "{error}");
    }
}

#[test]
fn a_chain_is_one_certificate() {
    let federation = Federation::new();
    let (leaf, _) = forge(&federation.coordinator, "Coordinator", |p| {
        p.subject_alt_names = names(&[COORDINATOR]);
    });
    let leaf = leaf.der().clone();
    let trust = federation.trust();
    assert!(trust.peer_of(std::slice::from_ref(&leaf)).is_ok());
    let ca = ca_der(&federation.coordinator);
    for chain in [vec![], vec![leaf.clone(), ca.clone()], vec![leaf.clone(), leaf.clone()]] {
        assert_eq!(trust.peer_of(&chain).unwrap_err().code(), "chain_length");
    }
    // The authority itself is nobody.
    assert!(trust.peer_of(&[ca]).is_err());
}

#[test]
fn a_damaged_certificate_is_refused_without_a_panic() {
    let federation = Federation::new();
    let (leaf, _) = forge(&federation.coordinator, "Coordinator", |p| {
        p.subject_alt_names = names(&[COORDINATOR]);
    });
    let leaf = leaf.der().to_vec();
    let trust = federation.trust();
    for at in 0..leaf.len() {
        let mut flipped = leaf.clone();
        flipped[at] ^= 1 << (at % 8);
        let cut = leaf[..at].to_vec();
        for bytes in [flipped, cut] {
            let chain = [CertificateDer::from(bytes)];
            assert!(trust.peer_of(&chain).is_err(), "byte {at}");
        }
    }
}

fn ca_der(authority: &Authority) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap()
}
