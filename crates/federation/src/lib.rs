//! Names and membership: who belongs to the federation, and how each member is named.
//!
//! Every member pins one [`Manifest`]. It says which certificate authority speaks for which borough, which for the
//! coordinator and which for people, and with which key each member signs its log. This crate reads manifests, checks
//! them and decides which version may follow which. It opens no connection, and links neither rustls nor tonic.
//!
//! | question | module |
//! |---|---|
//! | how a borough and a caller are named | [`borough`], [`peer_id`] |
//! | who belongs, and which version follows which | [`manifest`] |
//! | which authority may issue which identity | [`anchor`] |
//! | how versions and log entries are signed | [`sign`] |
//! | what an asker signs, so that nobody can ask in their name | [`asking`] |
//! | how secrets are written to disk | [`private`] |

#![deny(missing_docs)]

pub mod anchor;
pub mod asking;
pub mod borough;
mod digest;
pub mod error;
pub mod manifest;
pub mod peer_id;
pub mod private;
pub mod sign;

pub use anchor::{Anchor, Purpose};
pub use asking::{AskedPart, Asking, SignedQuestion};
pub use borough::{Gss, NotAGss};
pub use digest::sha256;
pub use error::{FederationError, ManifestError};
pub use manifest::Authority as AnalystAuthority;
pub use manifest::{
    Chain, CoordinatorEntry, DIAL_OUT, DatasetEntry, Manifest, Member, SERVER_NAME, Signatures, Version,
};
pub use peer_id::{NotAPeerId, PeerId, Role};
pub use private::write_private;
pub use sign::{SigningKey, verify};
