//! The manifest: the list of members and authorities that every member of the federation pins.
//!
//! It says who belongs, which certificate authority speaks for whom, with which key each member
//! signs its log, and the hash of each shared contract. Members compare [`Manifest::sha256`].
//!
//! ```toml
//! federation = "London"
//! domain = "london.example"
//! version = 1
//! approvals = 3    # members that must sign the next version; else more than half
//! witnesses = 22   # members that must have confirmed the coordinator's log lately
//!
//! [coordinator]
//! address = "coordinator.london.example:7400"
//! ca = """
//! -----BEGIN CERTIFICATE-----
//! ..."""
//! log_key = "…64 hex digits…"
//!
//! [[members]]
//! gss = "E09000007"
//! name = "Camden"
//! address = "node.camden.example:7400"
//! ca = "…"
//! log_key = "…"
//!
//! [[analysts]]
//! ca = "…"
//!
//! [[datasets]]
//! name = "council_tax"
//! contract_sha256 = "…64 hex digits…"
//! protection = "cell-key"
//! ```
//!
//! ```text
//! text ─ parse ─ check ─► entries ─ canonical ─► text, hash ─ successor ─► signatures ─ chain ─► the version in use
//! ```

mod canonical;
mod chain;
mod check;
mod entries;
mod parse;
mod successor;

pub use crate::error::ManifestError;
pub use chain::{Chain, Version};
pub use entries::{
    Authority, CoordinatorEntry, DIAL_OUT, DatasetEntry, Manifest, Member, Quorum, SERVER_NAME, WITNESS_MINUTES,
};
pub use successor::Signatures;
