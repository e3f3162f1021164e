//! Identities and certificates that this party denies, whatever their authority says: for the hour between a loss and its
//! revocation list.

use std::collections::HashSet;

use loda_federation::PeerId;

use crate::error::IdentityError;
use crate::peer::Peer;

/// A deny list: SPIFFE ids, and SHA-256 fingerprints of certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DenyList {
    identities: HashSet<PeerId>,
    certificates: HashSet<[u8; 32]>,
}

impl DenyList {
    /// Reads lines, each a SPIFFE id or 64 hex digits; `#` begins a comment.
    ///
    /// # Errors
    /// [`loda_federation::FederationError::Unusable`] with file and line: a list that is half understood denies too little.
    pub fn parse(text: &str, origin: &str) -> Result<Self, IdentityError> {
        let mut denials = Self::default();
        for (line, number) in text.lines().zip(1_usize..) {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            let mut fingerprint = [0_u8; 32];
            if let Ok(id) = entry.parse() {
                denials.identities.insert(id);
            } else if hex::decode_to_slice(entry.replace(':', "").to_ascii_lowercase(), &mut fingerprint).is_ok() {
                denials.certificates.insert(fingerprint);
            } else {
                let reason =
                    "is neither a SPIFFE id nor the SHA-256 fingerprint of a certificate in hex; correct the line";
                return Err(IdentityError::unusable(format!("{origin}:{number}"), reason));
            }
        }
        Ok(denials)
    }

    /// Whether a peer is on the list.
    pub fn name(&self, peer: &Peer) -> bool {
        self.identities.contains(&peer.id) || self.certificates.contains(&peer.fingerprint)
    }

    /// Whether somebody is on the list by name.
    pub fn name_id(&self, id: &PeerId) -> bool {
        self.identities.contains(id)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.identities.len().saturating_add(self.certificates.len())
    }

    /// Whether nobody is denied.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
