//! From a certificate to a member of the federation.
//!
//! webpki does not confine an authority by URI name constraints, so a borough's authority could
//! sign any identity. What confines it is here: the manifest gives each authority one purpose, and an
//! identity outside its authority's purpose is refused.
//!
//! A chain is the leaf alone, signed by the authority itself. Intermediates are refused: with them,
//! the question which authority vouched for a leaf has several answers.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::digest;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::borough::Gss;
use crate::error::{IdentityError, Refusal};
use crate::manifest::Manifest;
use crate::peer::{Peer, PeerId, Role};

/// Who holds the certificate at the head of `chain`, under the manifest's authorities.
///
/// Checked here, with no trust in an earlier handshake: the signature by one authority of the manifest,
/// the validity of both certificates now, the purpose (client authentication), exactly one URI name,
/// the domain, and that this authority may issue this identity. The key's possession is the handshake's part.
///
/// # Errors
/// [`IdentityError::Refused`]; any bytes may be given.
pub fn peer_of(chain: &[CertificateDer<'_>], manifest: &Manifest) -> Result<Peer, IdentityError> {
    let [leaf] = chain else {
        return Err(Refusal::ChainLength.into());
    };
    let now = UnixTime::now();
    let anchors = anchors(manifest)?;

    let mut issuers = Vec::new();
    let mut refusal = Refusal::UnknownAuthority;
    for anchor in &anchors {
        match anchor.issued(leaf, now) {
            Ok(()) => issuers.push(anchor),
            // "Expired" says more than "not signed by the others".
            Err(Refusal::UnknownAuthority) => {}
            Err(other) => refusal = other,
        }
    }
    let issuer = match issuers.as_slice() {
        [] => return Err(refusal.into()),
        [issuer] => *issuer,
        // One key in two entries. A checked manifest has none.
        _ => return Err(Refusal::AuthorityRole.into()),
    };
    issuer.current(now)?;

    let leaf = Leaf::parse(leaf)?;
    if leaf.id.domain != manifest.domain {
        return Err(Refusal::Domain.into());
    }
    if !issuer.purpose.covers(&leaf.id.role) {
        return Err(Refusal::AuthorityRole.into());
    }
    Ok(Peer {
        id: leaf.id,
        ca_fingerprint: issuer.fingerprint,
        not_after: leaf.not_after.min(issuer.not_after),
        fingerprint: leaf.fingerprint,
    })
}

/// What an authority may issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    Node(Gss),
    Coordinator,
    People,
}

impl Purpose {
    fn covers(&self, role: &Role) -> bool {
        match (self, role) {
            (Self::Node(own), Role::Node(claimed)) => own == claimed,
            (Self::Coordinator, Role::Coordinator) => true,
            (Self::People, Role::Analyst(_) | Role::Auditor(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(gss) => write!(f, "borough {gss}"),
            Self::Coordinator => f.write_str("the coordinator"),
            Self::People => f.write_str("analysts"),
        }
    }
}

/// An authority of the manifest.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    pub(crate) der: CertificateDer<'static>,
    /// SHA-256 of the certificate.
    pub(crate) fingerprint: [u8; 32],
    /// SHA-256 of the public key.
    pub(crate) key: [u8; 32],
    pub(crate) purpose: Purpose,
    not_before: i64,
    not_after: i64,
}

impl Anchor {
    /// Reads an authority's certificate. The error completes the sentence "the ca …".
    pub(crate) fn parse(pem: &str, purpose: Purpose) -> Result<Self, &'static str> {
        if pem.contains("PRIVATE KEY") {
            return Err("contains a private key, which must be treated as lost");
        }
        let certificates =
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(|_| "is not PEM")?;
        let [der] = certificates.as_slice() else {
            return Err("is not exactly one certificate");
        };
        let certificate = parse_whole(der).map_err(|_| "is not a readable certificate")?;
        let may_sign = match certificate.key_usage() {
            Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
            Err(_) => false,
        };
        if !certificate.is_ca() || !may_sign {
            return Err("is not the certificate of an authority (CA)");
        }
        RootCertStore::empty().add(der.clone()).map_err(|_| "cannot be used as a trust anchor")?;
        Ok(Self {
            fingerprint: sha256(der),
            key: sha256(certificate.public_key().raw),
            purpose,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            der: der.clone(),
        })
    }

    /// A store that trusts this authority alone.
    pub(crate) fn store(&self) -> Result<Arc<RootCertStore>, rustls::Error> {
        let mut store = RootCertStore::empty();
        store.add(self.der.clone())?;
        Ok(Arc::new(store))
    }

    /// webpki takes an anchor's name and key and ignores its dates, so they are checked here.
    pub(crate) fn current(&self, now: UnixTime) -> Result<(), Refusal> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let valid = self.not_before <= now && now <= self.not_after;
        if valid { Ok(()) } else { Err(Refusal::AuthorityExpired) }
    }

    /// Whether this authority issued `leaf`, by the same check as in a handshake.
    fn issued(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Refusal> {
        let store = self.store().map_err(|_| Refusal::UnknownAuthority)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(store, provider())
            .build()
            .map_err(|_| Refusal::UnknownAuthority)?;
        match verifier.verify_client_cert(leaf, &[], now) {
            Ok(_) => Ok(()),
            Err(error) => Err(Refusal::from_tls(&error)),
        }
    }
}

/// All authorities of the manifest.
pub(crate) fn anchors(manifest: &Manifest) -> Result<Vec<Anchor>, IdentityError> {
    let members = manifest.members.iter().map(|m| (&m.ca, Purpose::Node(m.gss.clone())));
    let people = manifest.analysts.iter().map(|a| (&a.ca, Purpose::People));
    std::iter::once((&manifest.coordinator.ca, Purpose::Coordinator))
        .chain(members)
        .chain(people)
        .map(|(pem, purpose)| {
            let what = format!("ca of {purpose} in the manifest");
            Anchor::parse(pem, purpose).map_err(|reason| IdentityError::unusable(what, reason))
        })
        .collect()
}

/// The authority that speaks for a server of the federation.
pub(crate) fn anchor_for(expected: &PeerId, manifest: &Manifest) -> Result<Anchor, IdentityError> {
    let unusable = |reason: &str| IdentityError::unusable(expected.to_string(), reason);
    if expected.domain != manifest.domain {
        return Err(unusable("is not in the manifest's domain"));
    }
    let (pem, purpose) = match &expected.role {
        Role::Coordinator => (&manifest.coordinator.ca, Purpose::Coordinator),
        Role::Node(gss) => match manifest.member(gss) {
            Some(member) => (&member.ca, Purpose::Node(gss.clone())),
            None => return Err(unusable("is not a member in the manifest")),
        },
        Role::Analyst(_) | Role::Auditor(_) => {
            return Err(unusable("is a person and not a server"));
        }
    };
    Anchor::parse(pem, purpose).map_err(unusable)
}

/// What is read from a leaf. Says nothing about who signed it.
pub(crate) struct Leaf {
    pub(crate) id: PeerId,
    not_after: i64,
    fingerprint: [u8; 32],
}

impl Leaf {
    pub(crate) fn parse(der: &CertificateDer<'_>) -> Result<Self, Refusal> {
        let certificate = parse_whole(der)?;
        let names = certificate.subject_alternative_name().map_err(|_| Refusal::Malformed)?;
        let mut uris = Vec::new();
        for name in names.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::URI(uri) => uris.push(*uri),
                // It may have been a URI that another reader can read.
                GeneralName::Invalid(..) => return Err(Refusal::Malformed),
                _ => {}
            }
        }
        let [uri] = uris.as_slice() else {
            return Err(Refusal::IdentityCount);
        };
        Ok(Self { id: uri.parse()?, not_after: certificate.validity().not_after.timestamp(), fingerprint: sha256(der) })
    }
}

/// ring, named explicitly: a process-wide default could be set by any library.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    PROVIDER.clone()
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0_u8; 32];
    let hash = digest::digest(&digest::SHA256, bytes);
    for (to, from) in out.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    out
}

/// Unix seconds. A clock before 1970 gives 0, at which no certificate is valid yet.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn parse_whole(der: &[u8]) -> Result<X509Certificate<'_>, Refusal> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Refusal::Malformed),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::pki::Authority;

    /// Every byte of a real certificate changed in turn, and every truncation: an answer and no panic.
    #[test]
    fn damaged_certificates_are_refused_quietly() {
        let authority = Authority::create("Test", 1).unwrap();
        let id: PeerId = "spiffe://d/analyst/a".parse().unwrap();
        let issued = authority.issue(&id, 1).unwrap();
        let der = CertificateDer::from_pem_slice(issued.cert_pem.as_bytes()).unwrap();
        let good = Leaf::parse(&der).unwrap();
        assert_eq!(good.id, id);
        for at in 0..der.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = der.to_vec();
                bytes[at] ^= flip;
                let _ = Leaf::parse(&CertificateDer::from(bytes));
            }
            assert!(Leaf::parse(&CertificateDer::from(der[..at].to_vec())).is_err());
        }
        let mut longer = der.to_vec();
        longer.push(0);
        assert_eq!(Leaf::parse(&CertificateDer::from(longer)).err(), Some(Refusal::Malformed));
    }
}
