//! Reading certificates. Nothing here says who signed one.

use std::time::{SystemTime, UNIX_EPOCH};

use loda_federation::{PeerId, sha256};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::Refusal;

/// The contents of a leaf.
pub(crate) struct Leaf {
    pub(crate) id: PeerId,
    /// Unix seconds.
    pub(crate) not_after: i64,
    /// SHA-256 of the DER.
    pub(crate) fingerprint: [u8; 32],
    /// Without leading zeros.
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

/// A certificate with nothing after it.
pub(crate) fn parse_whole(der: &[u8]) -> Result<X509Certificate<'_>, Refusal> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Refusal::Malformed),
    }
}

/// A serial number has one spelling here, whatever zeros an encoder puts before it.
pub(crate) fn without_zeros(serial: &[u8]) -> Vec<u8> {
    serial.iter().copied().skip_while(|byte| *byte == 0).collect()
}

/// Unix seconds. A clock before 1970 gives 0, at which no certificate is valid yet.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use rustls_pki_types::pem::PemObject;

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
