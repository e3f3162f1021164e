//! From a certificate to a member of the federation.
//!
//! webpki does not confine an authority by URI name constraints, so a borough's authority could
//! sign any identity. This module confines it: the manifest gives each authority one purpose, and an
//! identity outside its authority's purpose is refused.
//!
//! A chain is the leaf alone, signed by the authority itself. Intermediates are refused: with them,
//! the question which authority vouched for a leaf has several answers.
//!
//! Revocation is not optional: an authority without a current revocation list vouches for nobody.

use std::sync::Arc;

use loda_federation::{Anchor, Asking, Manifest, PeerId, Purpose, Role, SERVER_NAME, SignedQuestion, sha256};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::certificate::{Leaf, unix_now};
use crate::deny_list::DenyList;
use crate::error::{IdentityError, Refusal};
use crate::peer::Peer;
use crate::provider::provider;
use crate::revocation::{RevocationList, newest};
use crate::signing::{Signers, holds};

/// Our trust at one moment: the manifest's authorities, each with its newest revocation list, and the deny list of this
/// party.
#[derive(Debug)]
pub struct Trust {
    manifest: Arc<Manifest>,
    issuers: Vec<Issuer>,
    denials: DenyList,
    signers: Signers,
}

impl Trust {
    /// Trust in the authorities of `manifest`, with the revocation lists that any of them signed. Of two lists of
    /// one authority the newer counts, `before` included: an old list cannot be put back. Faults of single lists stand
    /// beside the result, in sentences.
    ///
    /// # Errors
    /// [`loda_federation::FederationError::Manifest`].
    pub fn new(
        manifest: Arc<Manifest>,
        lists: Vec<RevocationList>,
        denials: DenyList,
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
        Ok((Self { manifest, issuers, denials, signers: Signers::default() }, faults))
    }

    /// The manifest that this trust follows.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The deny list of this party.
    pub fn denials(&self) -> &DenyList {
        &self.denials
    }

    /// The authorities without a current revocation list, as people name them: their certificates are refused now.
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
            let name = issuer.anchor.fingerprint.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            Some((name, issuer.list.as_ref()?))
        })
    }

    /// The client that holds the certificate at the head of `chain`.
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

    /// The asker of a signed question, and what they signed. The certificate is checked as in a handshake: authority,
    /// revocation, identity, deny list. Whether the question is the one that came, and still in time, is the caller's part.
    ///
    /// # Errors
    /// Any bytes may be given.
    pub fn asker_of(&self, signed: &SignedQuestion) -> Result<(Peer, Asking), Refusal> {
        let certificate = CertificateDer::from(signed.certificate.as_slice());
        let peer = match self.signers.get(&sha256(&certificate)) {
            // A certificate is checked once. Whether it still counts is asked each time.
            Some(peer) => self.still_good(&peer).map(|()| peer)?,
            None => {
                let peer = self.peer_of(std::slice::from_ref(&certificate))?;
                self.signers.add(peer.clone());
                peer
            }
        };
        holds(signed, &certificate)?;
        let asking = Asking::parse(&signed.text).filter(|asking| asking.asker == peer.id);
        Ok((peer, asking.ok_or(Refusal::Signature)?))
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

    /// The server that answers as `expected` with the certificate `leaf`, at the time `now`. Only the authority that the
    /// manifest gives to `expected` counts.
    ///
    /// # Errors
    /// The [`Refusal`] or webpki's error, as a verifier of rustls gives it.
    pub fn server(&self, expected: &PeerId, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<Peer, rustls::Error> {
        let issuer = self.issuer_for(expected).ok_or_else(|| Refusal::UnknownAuthority.into_tls())?;
        issuer.issued_server(leaf, now)?;
        let peer = self.identify(issuer, leaf, now).map_err(|refusal| match refusal {
            Refusal::AuthorityRole => Refusal::WrongPeer.into_tls(),
            other => other.into_tls(),
        })?;
        if peer.id == *expected { Ok(peer) } else { Err(Refusal::WrongPeer.into_tls()) }
    }

    fn identify(&self, issuer: &Issuer, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<Peer, Refusal> {
        issuer.current(now)?;
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

    /// Whether a peer that was let in earlier would be let in now. Every call asks, since a certificate can end while its
    /// connection lives.
    ///
    /// # Errors
    /// The condition that no longer holds.
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
    /// [`loda_federation::FederationError::Unusable`].
    pub fn knows_server(&self, id: &PeerId) -> Result<(), IdentityError> {
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
        let store = store(&anchor).map_err(|error| error.to_string())?;
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
        self.servers.verify_server_cert(leaf, &[], &server_name()?, &[], now)?;
        self.known().map_err(Refusal::into_tls)
    }

    /// webpki takes an anchor's name and key and ignores its dates, so they are checked here.
    fn current(&self, now: UnixTime) -> Result<(), Refusal> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let valid = self.anchor.not_before <= now && now <= self.anchor.not_after;
        if valid { Ok(()) } else { Err(Refusal::AuthorityExpired) }
    }
}

/// A store that trusts this authority alone.
fn store(anchor: &Anchor) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut store = RootCertStore::empty();
    store.add(anchor.der.clone())?;
    Ok(Arc::new(store))
}

/// The DNS name that every certificate carries, as rustls takes it.
fn server_name() -> Result<ServerName<'static>, rustls::Error> {
    ServerName::try_from(SERVER_NAME).map_err(|_| rustls::Error::General("server name".to_owned()))
}

/// All authorities of the manifest.
fn anchors(manifest: &Manifest) -> Result<Vec<Anchor>, IdentityError> {
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
