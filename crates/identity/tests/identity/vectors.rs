//! NIST's PKITS (certificates and revocation lists with one fault each), as the PyPI package `cryptography-vectors`
//! carries them. `LODA_X509_VECTORS` names the folder `PKITS_data`; `.ci/run` fetches it where it can.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use loda_identity::{DenyList, Refusal, RevocationList, Trust};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::federation::*;

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("LODA_X509_VECTORS").map(PathBuf::from).filter(|folder| folder.is_dir());
    if folder.is_none() {
        let required = std::env::var_os("LODA_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "LODA_X509_VECTORS names no folder of PKITS vectors, and LODA_REQUIRE_ALL=1");
        println!("skipped: LODA_X509_VECTORS names no folder of PKITS vectors");
    }
    folder
}

fn files(folder: &Path, kind: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|e| e == kind))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn pem(der: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let number = three.iter().fold(0_u32, |n, byte| n << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            for place in 0..4 {
                let digit = DIGITS[usize::try_from(number >> (18 - 6 * place) & 63).unwrap()];
                text.push(if place > three.len() { '=' } else { char::from(digit) });
            }
        }
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

/// What the federation says to each certificate, where its issuer were the coordinator's authority.
fn verdicts(folder: &Path) -> Vec<(String, Vec<Refusal>)> {
    let certificates = files(&folder.join("certs"), "crt");
    let lists: Vec<RevocationList> = files(&folder.join("crls"), "crl")
        .iter()
        .filter_map(|(name, bytes)| RevocationList::parse(bytes, name).ok())
        .flatten()
        .collect();
    assert!(certificates.len() > 300 && lists.len() > 100);
    let mut verdicts = Vec::new();
    for (name, der) in certificates.iter().filter(|(name, _)| name.ends_with("EE")) {
        let Ok((_, leaf)) = X509Certificate::from_der(der) else { continue };
        let mut refusals = Vec::new();
        for (_, authority) in &certificates {
            let Ok((_, read)) = X509Certificate::from_der(authority) else { continue };
            if read.subject().as_raw() != leaf.issuer().as_raw() {
                continue;
            }
            let mut manifest = Federation::new().manifest;
            manifest.coordinator.ca = pem(authority);
            let trust = Trust::new(Arc::new(manifest), lists.clone(), DenyList::default(), None);
            let Ok((trust, _)) = trust else { continue };
            // Nobody in there has a name in the federation: none may get in, whatever else is right.
            refusals.push(trust.peer_of(&[CertificateDer::from(der.clone())]).unwrap_err());
        }
        verdicts.push((name.clone(), refusals));
    }
    verdicts
}

#[test]
fn pkits_certificates_are_refused_for_their_own_faults() {
    let Some(folder) = folder() else { return };
    let verdicts = verdicts(&folder);
    let of = |name: &str| {
        let found = verdicts.iter().find(|(known, _)| known == name);
        found.unwrap_or_else(|| panic!("no {name}")).1.clone()
    };
    // The chain is good; what is missing is the one URI.
    for good in [
        "ValidCertificatePathTest1EE",
        "ValidGeneralizedTimenotAfterDateTest8EE",
        "ValidLongSerialNumberTest16EE",
        "ValidLongSerialNumberTest17EE",
        "ValidGeneralizedTimeCRLnextUpdateTest13EE",
    ] {
        assert!(of(good).contains(&Refusal::IdentityCount), "{good}: {:?}", of(good));
    }
    for (bad, why) in [
        ("InvalidEESignatureTest3EE", Refusal::UnknownAuthority),
        ("InvalidEEnotBeforeDateTest2EE", Refusal::NotYetValid),
        ("InvalidEEnotAfterDateTest6EE", Refusal::Expired),
        ("InvalidRevokedEETest3EE", Refusal::Revoked),
        ("InvalidLongSerialNumberTest18EE", Refusal::Revoked),
        ("InvalidMissingCRLTest1EE", Refusal::RevocationUnknown),
        ("InvalidBadCRLSignatureTest4EE", Refusal::RevocationUnknown),
        ("InvalidBadCRLIssuerNameTest5EE", Refusal::RevocationUnknown),
        ("InvalidWrongCRLTest6EE", Refusal::RevocationUnknown),
        ("InvalidOldCRLnextUpdateTest11EE", Refusal::RevocationUnknown),
        ("Invalidpre2000CRLnextUpdateTest12EE", Refusal::RevocationUnknown),
    ] {
        assert_eq!(of(bad), [why], "{bad}");
    }
    // Whatever the fault of signature, time, name or list: never past the chain.
    for bad in [
        "InvalidUnknownCRLEntryExtensionTest8EE",
        "InvalidUnknownCRLExtensionTest9EE",
        "InvalidUnknownCRLExtensionTest10EE",
        "InvalidNegativeSerialNumberTest15EE",
        "InvalidDSASignatureTest6EE",
        "InvalidUnknownCriticalCertificateExtensionTest2EE",
        "InvalidMissingbasicConstraintsTest1EE",
        "InvalidcAFalseTest2EE",
        "InvalidcAFalseTest3EE",
        "InvaliddeltaCRLIndicatorNoBaseTest1EE",
    ] {
        assert!(!of(bad).contains(&Refusal::IdentityCount), "{bad}: {:?}", of(bad));
    }
    println!("{} end-entity certificates, none let in", verdicts.len());
}

#[test]
fn every_vector_is_read_or_refused_without_a_panic() {
    let Some(folder) = folder() else { return };
    let federation = Federation::new();
    let trust = federation.trust();
    let mut read = 0;
    for kind in ["crt", "crl", "p12", "cp", "eml"] {
        for inside in ["certs", "crls", "pkcs12", "certpairs", "smime"] {
            for (name, bytes) in files(&folder.join(inside), kind) {
                assert!(trust.peer_of(&[CertificateDer::from(bytes.clone())]).is_err(), "{name}");
                let _ = RevocationList::parse(&bytes, &name);
                read += 1;
            }
        }
    }
    assert!(read > 500, "{read}");
}
