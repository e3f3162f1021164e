//! Callers whose certificate was checked.

use loda_federation::PeerId;

/// A caller whose certificate was checked against the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub id: PeerId,
    /// SHA-256 of the DER of the authority's certificate, as in the manifest.
    pub ca_fingerprint: [u8; 32],
    /// When the certificate or its authority ends, whichever is first, in Unix seconds.
    pub not_after: i64,
    /// SHA-256 of the DER of the caller's certificate.
    pub fingerprint: [u8; 32],
    /// The certificate's serial number, without leading zeros: how revocation lists name it.
    pub serial: Vec<u8>,
}
