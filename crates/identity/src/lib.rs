//! Trust and certificates: who is at the other end of a connection, and whether that still counts.
//!
//! A connection is TLS 1.3 with certificates on both sides. The identity is the one SPIFFE URI in the certificate, and it
//! counts only under the authority that the manifest ([`loda_federation`]) gives that role. DNS names prove nothing here.
//! Sockets and calls are the business of `loda-transport`.
//!
//! | question | module |
//! |---|---|
//! | whose certificate is this, and does it still count | [`peer`], [`trust`], [`revocation`], [`deny_list`] |
//! | which files change while a program runs | [`paths`], [`live`], [`web_certificate`] |
//! | did this person sign this question | [`Trust::asker_of`], [`signed_by`] |
//! | how are connections protected | [`tls`] |
//! | where certificates come from in development | [`pki`] |
//! | what can go wrong | [`error`] |

#![deny(missing_docs)]

mod certificate;
pub mod deny_list;
pub mod error;
pub mod live;
pub mod paths;
pub mod peer;
mod pinned;
pub mod pki;
mod provider;
pub mod revocation;
mod signing;
pub mod tls;
pub mod trust;
pub mod web_certificate;

pub use deny_list::DenyList;
pub use error::{IdentityError, Refusal};
pub use live::Identity;
pub use loda_federation::manifest;
pub use loda_federation::{
    AnalystAuthority, AskedPart, Asking, Chain, CoordinatorEntry, DIAL_OUT, DatasetEntry, FederationError, Gss,
    Manifest, ManifestError, Member, NotAGss, NotAPeerId, PeerId, Role, SERVER_NAME, Signatures, SignedQuestion,
    SigningKey, Version, verify, write_private,
};
pub use paths::{Paths, TlsSection};
pub use peer::Peer;
pub use pki::{Authority, Issued};
pub use revocation::RevocationList;
pub use signing::{SignedBy, signed_by};
pub use tls::{Credentials, client_config, server_config};
pub use trust::Trust;
pub use web_certificate::WebCertificate;
