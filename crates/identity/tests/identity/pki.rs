//! The development authority, and files.

use loda_federation::{PeerId, Role, write_private};
use loda_identity::{Authority, Credentials, Refusal};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::federation::*;

#[test]
fn an_authority_survives_saving() {
    let federation = Federation::new();
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("new/coordinator");
    federation.coordinator.save(&at).unwrap();
    let loaded = Authority::load(&at).unwrap();
    assert_eq!(loaded.ca_pem(), federation.coordinator.ca_pem());
    let creds = issued(&loaded, COORDINATOR, 1);
    assert_eq!(creds.peer(&federation.trust()).unwrap().id.to_string(), COORDINATOR);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(at.join("ca.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    let other = directory.path().join("other");
    federation.camden.save(&other).unwrap();
    std::fs::copy(at.join("ca.key"), other.join("ca.key")).unwrap();
    let error = Authority::load(&other).err().unwrap().to_string();
    assert!(error.contains("not the one of ca.pem"), "{error}");
    assert!(Authority::load(directory.path().join("none")).is_err());
}

#[test]
fn a_leaf_is_what_the_federation_needs() {
    let authority = Authority::create("Borough of Ünïts & Co", 30).unwrap();
    let mut serials = std::collections::HashSet::new();
    for _ in 0..20 {
        let issued = authority.issue(&CAMDEN.parse().unwrap(), 1).unwrap();
        let der = CertificateDer::from_pem_slice(issued.cert_pem.as_bytes()).unwrap();
        let (_, leaf) = X509Certificate::from_der(&der).unwrap();
        assert!(serials.insert(leaf.raw_serial().to_vec()));
        assert!(!leaf.is_ca());
        let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(*names, [GeneralName::URI(CAMDEN), GeneralName::DNSName("loda.internal")]);
        let usage = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && usage.server_auth && !usage.any);
    }
    let der = CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap();
    let (_, ca) = X509Certificate::from_der(&der).unwrap();
    let constraints = ca.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    assert!(ca.key_usage().unwrap().unwrap().value.key_cert_sign());
}

#[test]
fn what_cannot_be_issued_is_refused() {
    let authority = Authority::create("Test", 30).unwrap();
    let id = PeerId { domain: DOMAIN.into(), role: Role::Analyst("a/b".into()) };
    assert_eq!(authority.issue(&id, 1).err().unwrap().code(), Refusal::IdentityForm.code());
    let id: PeerId = ALICE.parse().unwrap();
    for days in [i64::MAX, i64::MIN, 4_000_000, -4_000_000] {
        assert!(authority.issue(&id, days).is_err());
        assert!(Authority::create("Test", days).is_err());
    }
}

#[test]
fn credentials_are_one_certificate_and_its_key() {
    let federation = Federation::new();
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = (directory.path().join("node.pem"), directory.path().join("node.key"));
    let issued = federation.camden.issue(&CAMDEN.parse().unwrap(), 1).unwrap();
    write_private(&cert, issued.cert_pem.as_bytes()).unwrap();
    write_private(&key, issued.key_pem.as_bytes()).unwrap();
    let creds = Credentials::load(&cert, &key).unwrap();
    assert_eq!(creds.peer(&federation.trust()).unwrap().id.to_string(), CAMDEN);

    let both = format!("{}{}", issued.cert_pem, federation.camden.ca_pem());
    write_private(&cert, both.as_bytes()).unwrap();
    let error = Credentials::load(&cert, &key).err().unwrap().to_string();
    assert!(error.contains("node.pem") && error.contains("2 certificates"), "{error}");
    assert!(Credentials::load(&key, &key).is_err());

    let other = federation.camden.issue(&CAMDEN.parse().unwrap(), 1).unwrap();
    let mixed = Credentials::from_pem(&issued.cert_pem, &other.key_pem).unwrap();
    let error = loda_identity::server_config(&mixed, &federation.trust()).unwrap_err();
    assert_eq!(error.code(), "tls_configuration");
}
