//! The manifest: its text, its hash, and what it refuses.

use std::sync::Arc;

use loda_federation::{Gss, Manifest, ManifestError};
use loda_identity::{Authority, DenyList, Trust};

use crate::federation::*;

#[test]
fn the_canonical_text_parses_back() {
    let mut manifest = Federation::new().manifest;
    manifest.federation = "Lon\"don\\ – \u{1d11e}".into();
    let text = manifest.to_toml();
    let parsed = Manifest::parse(&text, "test").unwrap();
    assert_eq!(parsed, manifest);
    assert_eq!(parsed.to_toml(), text);
    assert_eq!(parsed.sha256(), manifest.sha256());

    // Windows line ends in a certificate survive too.
    manifest.members[0].ca = manifest.members[0].ca.replace('\n', "\r\n");
    assert_eq!(Manifest::parse(&manifest.to_toml(), "test").unwrap(), manifest);
    assert_ne!(parsed.sha256(), manifest.sha256());

    let camden: Gss = "E09000007".parse().unwrap();
    assert_eq!(manifest.member(&camden).unwrap().name, "Camden");
    assert!(manifest.member(&"E09000033".parse().unwrap()).is_none());
}

#[test]
fn faults_name_file_line_and_fix() {
    let manifest = Federation::new().manifest;
    let text = manifest.to_toml();
    let line_of = |wanted: &str, skip: usize| {
        let found = text.lines().enumerate().filter(|(_, l)| l.starts_with(wanted)).nth(skip);
        found.unwrap().0 + 1
    };
    let second_member = line_of("[[members]]", 1);
    let dataset = line_of("[[datasets]]", 0);
    let cases = [
        (text.replace("version = 1", "version = 0"), 1, "number versions from 1"),
        (text.replace("version = 1", "version = -1"), 3, "correct this line"),
        (text.replace("version = 1", "version = 1\nverison = 2"), 4, "verison"),
        (text.replace("london.example", "London"), 1, "trust domain"),
        (text.replace("E09000012", "E0900001"), line_of("gss", 1), "E09000007"),
        (text.replace("E09000012", "E09000007"), second_member, "borough E09000007 occurs twice"),
        (text.replace("127.0.0.1:7412", "127.0.0.1:7407"), second_member, "occurs twice"),
        (text.replace("127.0.0.1:7412", "127.0.0.1:7400"), second_member, "occurs twice"),
        (text.replace("127.0.0.1:7412", "127.0.0.1"), second_member, "is not host:port"),
        (text.replace("127.0.0.1:7412", "http://a:1"), second_member, "is not host:port"),
        (text.replace("127.0.0.1:7412", "a:0"), second_member, "is not host:port"),
        (text.replace("127.0.0.1:7412", "a:+1"), second_member, "is not host:port"),
        (text.replace(&"ab".repeat(32), "ab"), dataset, "64 lower-case hex digits"),
        (text.replace(&"ab".repeat(32), &"AB".repeat(32)), dataset, "64 lower-case hex digits"),
        (text.replace("council_tax", "Council Tax"), dataset, "lower-case letter"),
        (text.replace(&manifest.members[1].log_key, &manifest.members[0].log_key), second_member, "occurs twice"),
    ];
    for (text, line, says) in cases {
        let error = Manifest::parse(&text, "federation.toml").unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with(&format!("federation.toml:{line}: ")), "{line} {message}");
        assert!(message.contains(says), "{says}: {message}");
    }
    let missing = Manifest::load("no/such/federation.toml").unwrap_err();
    assert!(matches!(missing, ManifestError::Read { .. }));
    assert!(missing.to_string().contains("federation.toml"));
}

#[test]
fn a_dataset_occurs_once() {
    let mut manifest = Federation::new().manifest;
    manifest.datasets.push(manifest.datasets[0].clone());
    assert!(manifest.check().unwrap_err().to_string().contains("council_tax occurs twice"));
}

/// Nobody may speak with another's voice, in whatever two places an authority stands.
#[test]
fn an_authority_has_one_purpose() {
    let federation = Federation::new();
    let Federation { camden, people, .. } = &federation;
    let refuse = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = federation.manifest.clone();
        change(&mut manifest);
        let message = Manifest::parse(&manifest.to_toml(), "test").unwrap_err().to_string();
        // A manifest made in a program is not believed either.
        let error = Trust::new(Arc::new(manifest), Vec::new(), DenyList::default(), None).unwrap_err();
        assert_eq!(error.code(), "manifest_invalid");
        message
    };
    for message in [
        refuse(&|m| m.members[1].ca = camden.ca_pem().into()),
        refuse(&|m| m.coordinator.ca = camden.ca_pem().into()),
        refuse(&|m| m.analysts[0].ca = camden.ca_pem().into()),
        refuse(&|m| m.analysts[0].ca = m.coordinator.ca.clone()),
        refuse(&|m| m.analysts.push(m.analysts[0].clone())),
        refuse(&|m| m.members[0].ca = people.ca_pem().into()),
    ] {
        assert!(message.contains("has the same key as the ca of"), "{message}");
    }

    let issued = camden.issue(&CAMDEN.parse().unwrap(), 1).unwrap();
    for (ca, says) in [
        (String::new(), "is not exactly one certificate"),
        ("nonsense".into(), "is not exactly one certificate"),
        (format!("{}{}", camden.ca_pem(), people.ca_pem()), "is not exactly one certificate"),
        (issued.cert_pem.clone(), "is not the certificate of an authority"),
        (format!("{}{}", camden.ca_pem(), issued.key_pem), "contains a private key"),
    ] {
        let message = refuse(&|m| m.members[0].ca = ca.clone());
        assert!(message.contains(says), "{message}");
        assert!(message.contains("borough E09000007"), "{message}");
    }
}

/// The same key under a second certificate is the same authority.
#[test]
fn a_renewed_certificate_is_not_another_authority() {
    let federation = Federation::new();
    let directory = tempfile::tempdir().unwrap();
    federation.camden.save(directory.path()).unwrap();
    let key = std::fs::read_to_string(directory.path().join("ca.key")).unwrap();
    let key = rcgen::KeyPair::from_pem(&key).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let renewed = params.self_signed(&key).unwrap().pem();
    let mut manifest = federation.manifest.clone();
    manifest.members[1].ca = renewed;
    assert!(manifest.check().unwrap_err().to_string().contains("has the same key"));
}

#[test]
fn an_entry_without_a_certificate_authority_is_named() {
    let manifest = Federation::new().manifest;
    let other = Authority::create("Other", 1).unwrap();
    let text = manifest.to_toml().replace("[[analysts]]\nca", "[[analysts]]\ncertificate");
    let message = Manifest::parse(&text, "test").unwrap_err().to_string();
    assert!(message.contains("certificate"), "{message}");
    assert!(!message.contains(other.ca_pem()));
}
