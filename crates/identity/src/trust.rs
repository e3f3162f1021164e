//! From a certificate to a member of the federation.
//!
//! webpki does not confine an authority by URI name constraints, so a borough's authority could
//! sign any identity. What confines it is here: the manifest gives each authority one purpose, and an
//! identity outside its authority's purpose is refused.
//!
//! A chain is the leaf alone, signed by the authority itself. Intermediates are refused: with them,
//! the question which authority vouched for a leaf has several answers.
//!
//! Revocation is not optional: an authority without a current revocation list vouches for nobody.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::digest;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::borough::Gss;
use crate::denied::Denials;
use crate::error::{IdentityError, Refusal};
use crate::manifest::Manifest;
use crate::peer::{Peer, PeerId, Role};
use crate::revocation::{RevocationList, newest};

/// Whom we believe, at one moment: the manifest's authorities, each with its newest revocation list, and those whom
/// this party denies by itself.
#[derive(Debug)]
pub struct Trust {
    manifest: Arc<Manifest>,
    issuers: Vec<Issuer>,
    denials: Denials,
}

impl Trust {
    /// Trust in the authorities of `manifest`, with the revocation lists that any of them signed. Of two lists of
    /// one authority the newer counts, `before` included: an old list cannot be put back. What is wrong with
    /// single lists is told beside the result.
    ///
    /// # Errors
    /// [`IdentityError::Manifest`].
    pub fn new(
        manifest: Arc<Manifest>,
        lists: Vec<RevocationList>,
        denials: Denials,
        before: Option<&Self>,
    ) -> Result<(Self, Vec<String>), IdentityError> {
        manifest.check()?;
        let mut faults = Vec::new();
        let mut issuers = Vec::new();
        let anchors = anchors(&manifest)?;
        for list in lists.iter().filter(|list| !anchors.iter().any(|anchor| list.is_of(anchor))) {
            faults.push(format!("{}: signed by no authority of the manifest; remove it", list.origin));
        }
        let earlier = before.into_iter().flat_map(|trust| &trust.issuers).filter_map(|issuer| issuer.list.clone());
        // Of two with one date the later in this order counts: what is on disk now.
        let lists: Vec<RevocationList> = earlier.chain(lists).collect();
        for anchor in anchors {
            let list = newest(&lists, &anchor);
            let issuer = Issuer::new(anchor.clone(), list).or_else(|reason| {
                faults.push(format!("the revocation list of {} {reason}", anchor.purpose));
                Issuer::new(anchor, None)
            });
            issuers.push(issuer.map_err(|reason| IdentityError::unusable("verifier", reason))?);
        }
        Ok((Self { manifest, issuers, denials }, faults))
    }

    /// The manifest that this trust follows.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    pub fn denials(&self) -> &Denials {
        &self.denials
    }

    /// Whose certificates cannot be accepted now, for want of a current revocation list.
    pub fn unverifiable(&self) -> Vec<String> {
        let now = unix_now();
        let stale = |issuer: &&Issuer| issuer.list.as_ref().is_none_or(|list| list.next_update < now);
        self.issuers.iter().filter(stale).map(|issuer| issuer.anchor.purpose.to_string()).collect()
    }

    /// When the first of the lists in use ends, in Unix seconds.
    pub fn lists_until(&self) -> Option<i64> {
        self.issuers.iter().filter_map(|issuer| issuer.list.as_ref()).map(|list| list.next_update).min()
    }

    /// Each authority's list in use, with a name for it.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (String, &RevocationList)> {
        self.issuers.iter().filter_map(|issuer| {
            let name = sha256(&issuer.anchor.der).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            Some((name, issuer.list.as_ref()?))
        })
    }

    /// Who holds the certificate at the head of `chain`, as a client.
    ///
    /// Checked here, with no trust in an earlier handshake: the signature by one authority of the manifest,
    /// the validity of both certificates now, revocation, the purpose (client authentication), exactly one URI name,
    /// the domain, that this authority may issue this identity, and the deny list. The key's possession is the
    /// handshake's part.
    ///
    /// # Errors
    /// Any bytes may be given.
    pub fn peer_of(&self, chain: &[CertificateDer<'_>]) -> Result<Peer, Refusal> {
        let [leaf] = chain else {
            return Err(Refusal::ChainLength);
        };
        self.client(leaf, UnixTime::now())
    }

    pub(crate) fn client(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<Peer, Refusal> {
        let mut found = Vec::new();
        let mut refusal = Refusal::UnknownAuthority;
        for issuer in &self.issuers {
            match issuer.issued_client(leaf, now) {
                Ok(()) => found.push(issuer),
                // "Expired" says more than "not signed by the others".
                Err(Refusal::UnknownAuthority) => {}
                Err(other) => refusal = other,
            }
        }
        match found.as_slice() {
            [] => Err(refusal),
            [issuer] => self.identify(issuer, leaf, now),
            // One key in two entries. A checked manifest has none.
            _ => Err(Refusal::AuthorityRole),
        }
    }

    /// The server that answers as `expected`: only the authority that the manifest gives it counts.
    pub(crate) fn server(
        &self,
        expected: &PeerId,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<Peer, rustls::Error> {
        let issuer = self.issuer_for(expected).ok_or_else(|| Refusal::UnknownAuthority.into_tls())?;
        issuer.issued_server(leaf, now)?;
        let peer = self.identify(issuer, leaf, now).map_err(|refusal| match refusal {
            Refusal::AuthorityRole => Refusal::WrongPeer.into_tls(),
            other => other.into_tls(),
        })?;
        if peer.id == *expected { Ok(peer) } else { Err(Refusal::WrongPeer.into_tls()) }
    }

    fn identify(&self, issuer: &Issuer, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<Peer, Refusal> {
        issuer.anchor.current(now)?;
        let leaf = Leaf::parse(leaf)?;
        if leaf.id.domain != self.manifest.domain {
            return Err(Refusal::Domain);
        }
        if !issuer.anchor.purpose.covers(&leaf.id.role) {
            return Err(Refusal::AuthorityRole);
        }
        let peer = Peer {
            id: leaf.id,
            ca_fingerprint: issuer.anchor.fingerprint,
            not_after: leaf.not_after.min(issuer.anchor.not_after),
            fingerprint: leaf.fingerprint,
            serial: leaf.serial,
        };
        if self.denials.name(&peer) { Err(Refusal::Denied) } else { Ok(peer) }
    }

    /// Whether a peer that was let in earlier would be let in now: asked for every call, so that no connection
    /// outlives what made it good.
    ///
    /// # Errors
    /// What has changed since.
    pub fn still_good(&self, peer: &Peer) -> Result<(), Refusal> {
        let now = unix_now();
        let issuer = self.issuers.iter().find(|issuer| issuer.anchor.fingerprint == peer.ca_fingerprint);
        let issuer = issuer.ok_or(Refusal::UnknownAuthority)?;
        if peer.id.domain != self.manifest.domain || !issuer.anchor.purpose.covers(&peer.id.role) {
            return Err(Refusal::AuthorityRole);
        }
        if peer.not_after < now {
            return Err(Refusal::Expired);
        }
        let list = issuer.list.as_ref().filter(|list| list.next_update >= now).ok_or(Refusal::RevocationUnknown)?;
        if list.names(&peer.serial) {
            return Err(Refusal::Revoked);
        }
        if self.denials.name(peer) { Err(Refusal::Denied) } else { Ok(()) }
    }

    /// Whether `id` is a server of the manifest.
    ///
    /// # Errors
    /// [`IdentityError::Unusable`].
    pub(crate) fn knows_server(&self, id: &PeerId) -> Result<(), IdentityError> {
        let unusable = |reason: &str| Err(IdentityError::unusable(id.to_string(), reason));
        match &id.role {
            _ if id.domain != self.manifest.domain => unusable("is not in the manifest's domain"),
            Role::Analyst(_) | Role::Auditor(_) => unusable("is a person and not a server"),
            Role::Node(gss) if self.manifest.member(gss).is_none() => unusable("is not a member in the manifest"),
            Role::Node(_) | Role::Coordinator => Ok(()),
        }
    }

    fn issuer_for(&self, expected: &PeerId) -> Option<&Issuer> {
        self.knows_server(expected).ok()?;
        self.issuers.iter().find(|issuer| issuer.anchor.purpose.covers(&expected.role))
    }
}

/// An authority with its revocation list, and the checks that both give.
#[derive(Debug)]
struct Issuer {
    anchor: Anchor,
    list: Option<RevocationList>,
    clients: Arc<dyn ClientCertVerifier>,
    servers: Arc<WebPkiServerVerifier>,
}

impl Issuer {
    /// The error completes "the revocation list of …".
    fn new(anchor: Anchor, list: Option<RevocationList>) -> Result<Self, String> {
        let store = anchor.store().map_err(|error| error.to_string())?;
        let lists = || list.iter().map(|list| list.der.clone());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&store), provider())
            .with_crls(lists())
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration()
            .build();
        let servers = WebPkiServerVerifier::builder_with_provider(store, provider())
            .with_crls(lists())
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration()
            .build();
        let unusable = |error| format!("cannot be used: {error}");
        Ok(Self { clients: clients.map_err(unusable)?, servers: servers.map_err(unusable)?, anchor, list })
    }

    /// Without a list webpki would not look for one.
    fn known(&self) -> Result<(), Refusal> {
        if self.list.is_some() { Ok(()) } else { Err(Refusal::RevocationUnknown) }
    }

    fn issued_client(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Refusal> {
        self.clients.verify_client_cert(leaf, &[], now).map_err(|error| Refusal::from_tls(&error))?;
        self.known()
    }

    fn issued_server(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
        use rustls::client::danger::ServerCertVerifier;
        self.servers.verify_server_cert(leaf, &[], &crate::tls::server_name_tls()?, &[], now)?;
        self.known().map_err(Refusal::into_tls)
    }
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
    /// The subject's name, as revocation lists name their issuer.
    pub(crate) subject: Vec<u8>,
    not_before: i64,
    pub(crate) not_after: i64,
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
            subject: certificate.subject().as_raw().to_vec(),
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

/// What is read from a leaf. Says nothing about who signed it.
pub(crate) struct Leaf {
    pub(crate) id: PeerId,
    pub(crate) not_after: i64,
    fingerprint: [u8; 32],
    pub(crate) serial: Vec<u8>,
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
        Ok(Self {
            id: uri.parse()?,
            not_after: certificate.validity().not_after.timestamp(),
            fingerprint: sha256(der),
            serial: without_zeros(certificate.raw_serial()),
        })
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

/// A serial number has one spelling here, whatever zeros an encoder puts before it.
pub(crate) fn without_zeros(serial: &[u8]) -> Vec<u8> {
    serial.iter().copied().skip_while(|byte| *byte == 0).collect()
}

pub(crate) fn parse_whole(der: &[u8]) -> Result<X509Certificate<'_>, Refusal> {
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
