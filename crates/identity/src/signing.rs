//! Questions that their askers sign with the key of their certificate, so that nobody can ask in their name.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use loda_federation::{Asking, Manifest, Role, SignedQuestion};
use rustls::SignatureScheme;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use webpki::EndEntityCert;

use crate::certificate::{Leaf, parse_whole};
use crate::error::Refusal;
use crate::peer::Peer;
use crate::provider::provider;

/// The most signers that are remembered.
const SIGNERS: usize = 1024;

/// The signers whose certificates were checked, by the certificates' fingerprints. Whether they still count is asked each
/// time.
#[derive(Debug, Default)]
pub(crate) struct Signers(Mutex<HashMap<[u8; 32], Peer>>);

impl Signers {
    pub(crate) fn get(&self, fingerprint: &[u8; 32]) -> Option<Peer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(fingerprint).cloned()
    }

    pub(crate) fn add(&self, peer: Peer) {
        let mut signers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if signers.len() >= SIGNERS {
            signers.clear();
        }
        signers.insert(peer.fingerprint, peer);
    }
}

/// Who signed a question, for auditors who look back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedBy {
    /// The asker that the text names: an authority for analysts in the manifest issued their certificate. Whether the
    /// certificate was in force then is not asked: parties asked that when the question came.
    Asker(Asking),
    /// Somebody whose certificate names that asker, and that no authority for analysts in the manifest issued.
    Stranger,
}

/// Who signed a question. `None`: the signature is not of this text, or the certificate names somebody else.
#[must_use]
pub fn signed_by(signed: &SignedQuestion, manifest: &Manifest) -> Option<SignedBy> {
    let certificate = CertificateDer::from(signed.certificate.as_slice());
    holds(signed, &certificate).ok()?;
    let id = Leaf::parse(&certificate).ok()?.id;
    let asking = Asking::parse(&signed.text).filter(|asking| asking.asker == id)?;
    let is_analyst = matches!(id.role, Role::Analyst(_)) && id.domain == manifest.domain;
    let known = is_analyst && manifest.analysts.iter().any(|authority| issued(&certificate, &authority.ca));
    Some(if known { SignedBy::Asker(asking) } else { SignedBy::Stranger })
}

/// Whether the authority with this certificate (PEM) signed another certificate.
fn issued(certificate: &CertificateDer<'_>, authority: &str) -> bool {
    let authority = CertificateDer::from_pem_slice(authority.as_bytes());
    authority.is_ok_and(|authority| {
        let read = (parse_whole(certificate), parse_whole(&authority));
        matches!(read, (Ok(of), Ok(by)) if of.verify_signature(Some(by.public_key())).is_ok())
    })
}

/// Whether the certificate's key signed the text.
pub(crate) fn holds(signed: &SignedQuestion, certificate: &CertificateDer<'_>) -> Result<(), Refusal> {
    let leaf = EndEntityCert::try_from(certificate).map_err(|_| Refusal::Malformed)?;
    let scheme = SignatureScheme::from(signed.scheme);
    let provider = provider();
    let mapping = provider.signature_verification_algorithms.mapping;
    let (_, algorithms) = mapping.iter().find(|(of, _)| *of == scheme).ok_or(Refusal::Signature)?;
    let holds = |algorithm: &&dyn rustls_pki_types::SignatureVerificationAlgorithm| {
        leaf.verify_signature(*algorithm, signed.text.as_bytes(), &signed.signature).is_ok()
    };
    algorithms.iter().any(holds).then_some(()).ok_or(Refusal::Signature)
}

/// The kinds of signature that everybody can check.
pub(crate) fn schemes() -> Vec<SignatureScheme> {
    provider().signature_verification_algorithms.supported_schemes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::sync::Arc;

    use loda_federation::{AskedPart, SigningKey};

    use super::*;
    use crate::deny_list::DenyList;
    use crate::pki::Authority;
    use crate::revocation::RevocationList;
    use crate::tls::Credentials;
    use crate::trust::Trust;

    struct Place {
        people: Authority,
        trust: Trust,
        manifest: Arc<Manifest>,
    }

    fn manifest(people: &Authority, other: &Authority) -> Arc<Manifest> {
        let log_key = || SigningKey::generate().unwrap().0.public_hex();
        let text = format!(
            "federation = \"London\"\ndomain = \"d\"\nversion = 1\n[coordinator]\naddress = \"127.0.0.1:1\"\n\
             log_key = \"{}\"\nca = \"\"\"\n{}\"\"\"\n[[analysts]]\nca = \"\"\"\n{}\"\"\"\n",
            log_key(),
            other.ca_pem(),
            people.ca_pem(),
        );
        Arc::new(Manifest::parse(&text, "test").unwrap())
    }

    impl Place {
        fn new() -> Self {
            let (people, other) = (Authority::create("People", 30).unwrap(), Authority::create("Centre", 30).unwrap());
            let manifest = manifest(&people, &other);
            let trust = Self::trust(&people, &manifest, &[], DenyList::default());
            Self { people, trust, manifest }
        }

        fn trust(people: &Authority, manifest: &Arc<Manifest>, revoked: &[Vec<u8>], denied: DenyList) -> Trust {
            let list = people.revocation_list(revoked, 7).unwrap();
            let lists = RevocationList::parse(list.as_bytes(), "test").unwrap();
            Trust::new(Arc::clone(manifest), lists, denied, None).unwrap().0
        }

        fn credentials(&self, who: &str) -> Credentials {
            let issued = self.people.issue(&who.parse().unwrap(), 1).unwrap();
            Credentials::from_pem(&issued.cert_pem, &issued.key_pem).unwrap()
        }
    }

    fn asking(asker: &str) -> Asking {
        let part = AskedPart { sha256: "a".repeat(64), boroughs: vec!["E09000007".parse().unwrap()] };
        let question = "00000000-0000-0000-0000-000000000007".parse().unwrap();
        let asker = asker.parse().unwrap();
        Asking { question, asker, purpose: "demo".to_owned(), until: 1_796_040_000, parts: vec![part] }
    }

    #[test]
    fn only_the_asker_can_sign() {
        const ANN: &str = "spiffe://d/analyst/ann";
        let place = Place::new();
        let (ann, ben) = (place.credentials(ANN), place.credentials("spiffe://d/analyst/ben"));
        let good = ann.sign(asking(ANN).to_text()).unwrap();
        for _ in 0..2 {
            let (peer, read) = place.trust.asker_of(&good).unwrap();
            assert_eq!((peer.id.to_string().as_str(), read), (ANN, asking(ANN)));
        }
        assert_eq!(signed_by(&good, &place.manifest), Some(SignedBy::Asker(asking(ANN))));
        let other = ben.sign(good.text.clone()).unwrap();
        let stranger = Authority::create("Stranger", 30).unwrap().issue(&ANN.parse().unwrap(), 1).unwrap();
        let stranger = Credentials::from_pem(&stranger.cert_pem, &stranger.key_pem).unwrap();
        let with = |change: &dyn Fn(&mut SignedQuestion)| {
            let mut changed = good.clone();
            change(&mut changed);
            changed
        };
        let mut bad = vec![
            (other.clone(), Refusal::Signature),
            (with(&|signed| signed.certificate.clone_from(&other.certificate)), Refusal::Signature),
            (with(&|signed| signed.text = signed.text.replace("demo", "dem")), Refusal::Signature),
            (with(&|signed| signed.scheme = 0x0807), Refusal::Signature),
            (with(&|signed| signed.scheme = 0), Refusal::Signature),
            (with(&|signed| signed.signature.clear()), Refusal::Signature),
            (with(&|signed| signed.certificate.clear()), Refusal::UnknownAuthority),
            (stranger.sign(good.text.clone()).unwrap(), Refusal::UnknownAuthority),
            (ann.sign("another text".to_owned()).unwrap(), Refusal::Signature),
        ];
        for at in 0..good.signature.len() {
            bad.push((with(&|signed| signed.signature[at] ^= 1), Refusal::Signature));
        }
        for (number, (signed, expected)) in bad.iter().enumerate() {
            let told = place.trust.asker_of(signed).unwrap_err();
            assert!(told == *expected || told == Refusal::Malformed, "{number}: {told:?}");
            let stranger = (number == 7).then_some(SignedBy::Stranger);
            assert_eq!(signed_by(signed, &place.manifest), stranger, "{number}");
        }
    }

    #[test]
    fn a_signer_who_counts_no_more_is_refused() {
        const ANN: &str = "spiffe://d/analyst/ann";
        let place = Place::new();
        let ann = place.credentials(ANN);
        let signed = ann.sign(asking(ANN).to_text()).unwrap();
        let (peer, _) = place.trust.asker_of(&signed).unwrap();
        let trust = |revoked: &[Vec<u8>], denied: &str| {
            Place::trust(&place.people, &place.manifest, revoked, DenyList::parse(denied, "test").unwrap())
        };
        let revoked = trust(std::slice::from_ref(&peer.serial), "");
        assert_eq!(revoked.asker_of(&signed).err(), Some(Refusal::Revoked));
        let denied = trust(&[], &format!("{ANN}\n"));
        assert_eq!(denied.asker_of(&signed).err(), Some(Refusal::Denied));
    }
}
