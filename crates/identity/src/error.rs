//! What can go wrong with identities: faults of our own set-up, and refusals of others.

use std::sync::Arc;

use loda_federation::{FederationError, ManifestError, NotAPeerId};
use rustls::{CertificateError, OtherError};

/// A failure to set up, or a peer refused.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file, a key, a manifest or a setting of our own cannot be used.
    #[error(transparent)]
    Federation(#[from] FederationError),
    /// rustls does not accept the configuration.
    #[error("TLS configuration: {0}")]
    Tls(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("certificate generation: {0}")]
    Generate(#[from] rcgen::Error),
    /// The peer's certificate does not make it anybody in this federation.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl IdentityError {
    /// A short static name of the failure, safe to log and to count.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Federation(FederationError::File { .. }) => "identity_file",
            Self::Federation(FederationError::Unusable { .. }) => "identity_unusable",
            Self::Federation(FederationError::Manifest(_)) => "manifest_invalid",
            Self::Tls(_) => "tls_configuration",
            Self::Generate(_) | Self::Federation(FederationError::Crypto) => "identity_generation",
            Self::Refused(refusal) => refusal.code(),
        }
    }

    /// [`FederationError::Unusable`]: its name and place, then the problem and the fix.
    pub fn unusable(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Federation(FederationError::Unusable { what: what.into(), reason: reason.into() })
    }
}

impl From<ManifestError> for IdentityError {
    fn from(error: ManifestError) -> Self {
        Self::Federation(error.into())
    }
}

impl From<NotAPeerId> for IdentityError {
    fn from(error: NotAPeerId) -> Self {
        Self::Refused(error.into())
    }
}

/// Why a peer's certificate was refused. Carries nothing that the peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// No certificate, or more than the leaf: intermediates are not part of this federation.
    #[error("expected a chain of exactly one certificate")]
    ChainLength,
    /// Not a certificate, or one with parts that cannot be read.
    #[error("the certificate is malformed")]
    Malformed,
    /// Issued by no authority of the manifest, or not signed by the one that it names.
    #[error("the certificate was issued by no authority of the manifest")]
    UnknownAuthority,
    /// The authority's own certificate has ended or not begun.
    #[error("the authority's certificate is not valid at this time")]
    AuthorityExpired,
    /// The certificate has ended.
    #[error("the certificate has expired")]
    Expired,
    /// The certificate has not begun.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// The certificate is for something else, such as signing code or other certificates.
    #[error("the certificate is not for client and server authentication")]
    Purpose,
    /// No URI among the names, or more than one.
    #[error("the certificate must carry exactly one URI name")]
    IdentityCount,
    /// The URI is not one of the four forms.
    #[error(
        "the identity is not of the form spiffe://<domain>/(borough/<gss>/node | coordinator | analyst/<id> | auditor/<id>)"
    )]
    IdentityForm,
    /// The identity belongs to another federation.
    #[error("the identity is of another trust domain")]
    Domain,
    /// The authority may not issue this role or borough.
    #[error("the authority may not issue this identity")]
    AuthorityRole,
    /// A server that is genuine, but not the one that was called.
    #[error("the server is not the one that was called")]
    WrongPeer,
    /// Its authority has revoked the certificate.
    #[error("the certificate was revoked by its authority")]
    Revoked,
    /// Its authority's revocation list is missing or too old to tell.
    #[error("no current revocation list of the certificate's authority is at hand")]
    RevocationUnknown,
    /// This party denies it, whatever its authority says.
    #[error("the identity or certificate is on this party's deny list")]
    Denied,
    /// A text that the certificate's key did not sign, or that names another asker.
    #[error("the signature is not of this text, or not the asker's")]
    Signature,
}

impl From<NotAPeerId> for Refusal {
    fn from(_: NotAPeerId) -> Self {
        Self::IdentityForm
    }
}

impl Refusal {
    /// A short static name, safe to log and to count.
    pub fn code(self) -> &'static str {
        match self {
            Self::ChainLength => "chain_length",
            Self::Malformed => "certificate_malformed",
            Self::UnknownAuthority => "authority_unknown",
            Self::AuthorityExpired => "authority_expired",
            Self::Expired => "certificate_expired",
            Self::NotYetValid => "certificate_not_yet_valid",
            Self::Purpose => "certificate_purpose",
            Self::IdentityCount => "identity_count",
            Self::IdentityForm => "identity_form",
            Self::Domain => "identity_domain",
            Self::AuthorityRole => "authority_role",
            Self::WrongPeer => "wrong_peer",
            Self::Revoked => "certificate_revoked",
            Self::RevocationUnknown => "revocation_unknown",
            Self::Denied => "peer_denied",
            Self::Signature => "signature",
        }
    }

    /// The refusal as a verifier of rustls must give it.
    pub(crate) fn into_tls(self) -> rustls::Error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(self))))
    }

    /// The refusal behind an error of a TLS handshake or of a chain check.
    pub fn from_tls(error: &rustls::Error) -> Self {
        use rustls::CertificateError as C;
        match error {
            rustls::Error::NoCertificatesPresented => Self::ChainLength,
            rustls::Error::InvalidCertificate(reason) => match reason {
                C::Expired | C::ExpiredContext { .. } => Self::Expired,
                C::NotValidYet | C::NotValidYetContext { .. } => Self::NotYetValid,
                C::InvalidPurpose | C::InvalidPurposeContext { .. } => Self::Purpose,
                C::BadEncoding | C::UnhandledCriticalExtension => Self::Malformed,
                C::Revoked => Self::Revoked,
                C::UnknownRevocationStatus | C::ExpiredRevocationList | C::ExpiredRevocationListContext { .. } => {
                    Self::RevocationUnknown
                }
                C::Other(other) => other.0.downcast_ref::<Self>().copied().unwrap_or(Self::UnknownAuthority),
                _ => Self::UnknownAuthority,
            },
            _ => Self::UnknownAuthority,
        }
    }
}
