//! The manifest: the list of members and authorities that every member of the federation pins.
//!
//! It says who belongs, which certificate authority speaks for whom, with which key each member
//! signs its log, and the hash of each shared contract. Members compare [`Manifest::sha256`].
//!
//! ```toml
//! federation = "London"
//! domain = "london.example"
//! version = 1
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
pub use entries::{Authority, CoordinatorEntry, DIAL_OUT, DatasetEntry, Manifest, Member, SERVER_NAME};
pub use successor::Signatures;
