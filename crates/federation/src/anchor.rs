//! The manifest's certificate authorities, and which identities each may issue.

use std::fmt;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::borough::Gss;
use crate::digest::sha256;
use crate::peer_id::Role;

/// What an authority may issue. Displays as its holder: "borough E09000007", "the coordinator" or "analysts".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// The node of one borough.
    Node(Gss),
    /// The coordinator.
    Coordinator,
    /// Analysts and auditors.
    People,
}

impl Purpose {
    /// Whether an authority of this purpose may issue `role`.
    pub fn covers(&self, role: &Role) -> bool {
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

/// The certificate of an authority, and its purpose.
#[derive(Debug, Clone)]
pub struct Anchor {
    /// The certificate in DER.
    pub der: CertificateDer<'static>,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
    /// SHA-256 of the public key.
    pub key: [u8; 32],
    /// What it may issue.
    pub purpose: Purpose,
    /// The subject's name in DER, as revocation lists name their issuer.
    pub subject: Vec<u8>,
    /// When the certificate begins, in Unix seconds.
    pub not_before: i64,
    /// When the certificate ends, in Unix seconds.
    pub not_after: i64,
}

impl Anchor {
    /// Reads an authority's certificate: one certificate in PEM, of an authority that may sign others.
    ///
    /// # Errors
    /// The text completes the sentence "the ca …".
    pub fn parse(pem: &str, purpose: Purpose) -> Result<Self, &'static str> {
        if pem.contains("PRIVATE KEY") {
            return Err("contains a private key, which must be treated as lost");
        }
        let certificates =
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(|_| "is not PEM")?;
        let [der] = certificates.as_slice() else {
            return Err("is not exactly one certificate");
        };
        let Ok(([], certificate)) = X509Certificate::from_der(der) else {
            return Err("is not a readable certificate");
        };
        let may_sign = match certificate.key_usage() {
            Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
            Err(_) => false,
        };
        if !certificate.is_ca() || !may_sign {
            return Err("is not the certificate of an authority (CA)");
        }
        // The same check as that of rustls's store of trust anchors.
        webpki::anchor_from_trusted_cert(der).map_err(|_| "cannot be used as a trust anchor")?;
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
}
