//! Statements of peers and files about identity. Nothing panics. The first byte chooses the reader.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use loda_identity::{
    Asking, Authority, Chain, CoordinatorEntry, DenyList, Manifest, RevocationList, SignedQuestion, Signatures, Trust,
    signed_by,
};
use rustls_pki_types::CertificateDer;

/// Trust in one authority that is made for this run.
static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let authority = Authority::create("Fuzz", 30).unwrap();
    let lists = RevocationList::parse(authority.revocation_list(&[], 30).unwrap().as_bytes(), "list").unwrap();
    let manifest = Manifest {
        federation: "Fuzz".to_owned(),
        domain: "fuzz.example".to_owned(),
        version: 1,
        previous: None,
        approvals: None,
        witnesses: None,
        witness_minutes: None,
        coordinator: CoordinatorEntry {
            address: "127.0.0.1:1".to_owned(),
            ca: authority.ca_pem().to_owned(),
            log_key: "ab".repeat(32),
        },
        members: Vec::new(),
        analysts: Vec::new(),
        datasets: Vec::new(),
    };
    Trust::new(Arc::new(manifest), lists, DenyList::default(), None).unwrap().0
});

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match choice % 6 {
        0 => assert!(TRUST.peer_of(&[CertificateDer::from(rest.to_vec())]).is_err()),
        1 => {
            let lists = RevocationList::parse(rest, "fuzz").unwrap_or_default();
            let manifest = Arc::clone(TRUST.manifest());
            // The authority signed none of the lists that the fuzzer makes.
            if let Ok((trust, faults)) = Trust::new(manifest, lists, DenyList::default(), None) {
                assert!(!trust.unverifiable().is_empty() && faults.len() < 1000);
            }
        }
        5 => {
            // The text of a signed question has one spelling, and nobody signs for an analyst.
            if let Some(asking) = Asking::parse(&text) {
                assert_eq!(asking.to_text(), text);
            }
            let (certificate, signature) = rest.split_at(rest.len() / 2);
            if let Some(signed) = SignedQuestion::of_wire(&text, 0x0403, signature, certificate) {
                assert!(TRUST.asker_of(&signed).is_err() && signed_by(&signed, TRUST.manifest()).is_none());
            }
        }
        2 => {
            let _read = DenyList::parse(&text, "fuzz");
        }
        3 => {
            if let Ok(signatures) = Signatures::parse(&text, "fuzz") {
                assert_eq!(Signatures::parse(&signatures.to_text(), "fuzz").unwrap(), signatures);
            }
        }
        _ => {
            if let Ok(manifest) = Manifest::parse(&text, "fuzz") {
                assert_eq!(Manifest::parse(&manifest.to_toml(), "fuzz").unwrap(), manifest);
            }
            if let Ok(chain) = Chain::parse(&text, "fuzz") {
                assert_eq!(Chain::parse(&chain.to_text(), "fuzz").unwrap(), chain);
            }
        }
    }
});
