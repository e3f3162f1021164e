//! Who is calling, and what they may call.
//!
//! The federation's members pin one [`Manifest`]: which certificate authority speaks for which
//! borough, which for the coordinator and which for people. A connection is TLS 1.3 with
//! certificates on both sides; the identity is the one SPIFFE URI in the certificate, and it counts
//! only under the authority that the manifest gives that role. DNS names prove nothing here.
//!
//! | question | module |
//! |---|---|
//! | how a borough and a caller are named | [`borough`], [`peer`] |
//! | who belongs to the federation | [`manifest`] |
//! | whose certificate is this, and does it still count | [`trust`], [`revocation`], [`denied`] |
//! | what changes while we run | [`live`] |
//! | how are connections protected, made and accepted | [`tls`], [`connect`], [`accept`], [`open`], [`dial`] |
//! | may this caller use this RPC, how often, and over how many connections | [`authorise`], [`rate`], [`places`] |
//! | where certificates come from in development | [`pki`] |
//! | how log entries are signed | [`sign`] |

pub mod accept;
pub mod authorise;
pub mod borough;
pub mod connect;
mod connection;
pub mod denied;
pub mod dial;
pub mod error;
pub mod live;
pub mod manifest;
pub mod open;
pub mod peer;
pub mod pki;
pub mod places;
pub mod private;
pub mod rate;
pub mod revocation;
pub mod sign;
pub mod tls;
pub mod trust;

pub use accept::{CONNECTION_AGE, Limits, PeerInfo, incoming, incoming_with};
pub use authorise::{AuthoriseLayer, Caller, Denied, authorise, server};
pub use borough::{Gss, NotAGss};
pub use connect::{channel, reach};
pub use connection::{OpenConnection, TlsConnection};
pub use denied::Denials;
pub use dial::{Dialled, dial_out};
pub use error::{IdentityError, Refusal};
pub use live::{Identity, Paths, TlsSection};
pub use manifest::Authority as AnalystAuthority;
pub use manifest::{
    Chain, CoordinatorEntry, DIAL_OUT, DatasetEntry, Manifest, ManifestError, Member, Signatures, Version,
};
pub use open::{WebCertificate, network_of, open_incoming};
pub use peer::{Peer, PeerId, Role};
pub use pki::{Authority, Issued};
pub use places::Place;
pub use private::write_private;
pub use rate::Rates;
pub use revocation::RevocationList;
pub use sign::{SigningKey, verify};
pub use tls::{Credentials, SERVER_NAME, client_config, server_config};
pub use trust::Trust;
