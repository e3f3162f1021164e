//! What stands in a manifest.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::borough::Gss;

/// The DNS name in every certificate of the federation. TLS libraries insist on a server name, and
/// it is the same for all, so that it cannot be taken for an identity: clients check the SPIFFE URI.
/// Addresses in the manifest may therefore change without new certificates.
pub const SERVER_NAME: &str = "loda.internal";

/// The federation as all its members see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The federation's name for people.
    pub federation: String,
    /// The trust domain of all identities.
    pub domain: String,
    /// Counts up from 1 with each change.
    pub version: u64,
    /// SHA-256 of the version before, in hex; none for the first.
    pub previous: Option<String>,
    /// How many members must sign the next version; more than half where it is not stated.
    pub approvals: Option<u32>,
    /// How many members must have confirmed the coordinator's log lately, or nodes answer nothing; any number where it is
    /// not stated.
    pub witnesses: Option<u32>,
    /// Within how many minutes they must; [`WITNESS_MINUTES`] where it is not stated.
    pub witness_minutes: Option<u32>,
    /// The one coordinator.
    pub coordinator: CoordinatorEntry,
    /// The boroughs.
    pub members: Vec<Member>,
    /// The authorities that may issue analyst and auditor identities.
    pub analysts: Vec<Authority>,
    /// The shared datasets.
    pub datasets: Vec<DatasetEntry>,
}

/// The coordinator's entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoordinatorEntry {
    /// `host:port`; an IPv6 host in brackets.
    pub address: String,
    /// The authority that issues its certificate: one PEM certificate.
    pub ca: String,
    /// The Ed25519 public key of its log: 64 lower-case hex digits.
    pub log_key: String,
}

/// A borough's entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Which borough.
    pub gss: Gss,
    /// Its name for people.
    pub name: String,
    /// `host:port` of its node, an IPv6 host in brackets; or [`DIAL_OUT`].
    pub address: String,
    /// The authority that issues its node's certificate, and nobody else's: one PEM certificate.
    pub ca: String,
    /// The Ed25519 public key of its log: 64 lower-case hex digits.
    pub log_key: String,
}

/// Within how many minutes enough members must have confirmed the coordinator's log.
pub const WITNESS_MINUTES: u32 = 60;

/// What a manifest demands of the members as witnesses of the coordinator's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// How many must have confirmed it.
    pub members: usize,
    /// Within this time.
    pub within: Duration,
}

/// The address of a member whose node accepts no connections, and dials the coordinator instead.
pub const DIAL_OUT: &str = "dial-out";

impl Member {
    /// Whether the coordinator waits for its node to dial.
    pub fn dials_out(&self) -> bool {
        self.address == DIAL_OUT
    }
}

/// An authority that may issue analyst and auditor identities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// One PEM certificate.
    pub ca: String,
}

/// A shared dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetEntry {
    /// The dataset's name in queries: `[a-z][a-z0-9_.-]*`, at most 128 characters.
    pub name: String,
    /// SHA-256 of its contract: 64 lower-case hex digits.
    pub contract_sha256: String,
    /// The name of its protection method. The contract decides whether the method exists.
    pub protection: String,
}

impl Manifest {
    /// The entry of a borough, if it is a member.
    pub fn member(&self, gss: &Gss) -> Option<&Member> {
        self.members.iter().find(|member| member.gss == *gss)
    }

    /// How many members must sign the next version: as stated, or more than half.
    pub fn quorum(&self) -> usize {
        let majority = (self.members.len() / 2).saturating_add(1);
        self.approvals.map_or(majority, |k| usize::try_from(k).unwrap_or(usize::MAX))
    }

    /// What it demands of the members as witnesses of the coordinator's log. `None`: nothing.
    pub fn witnessing(&self) -> Option<Quorum> {
        let minutes = self.witness_minutes.unwrap_or(WITNESS_MINUTES);
        let members = usize::try_from(self.witnesses?).unwrap_or(usize::MAX);
        Some(Quorum { members, within: Duration::from_secs(u64::from(minutes).saturating_mul(60)) })
    }

    /// The DNS name that every server certificate carries; see [`SERVER_NAME`].
    pub fn server_name() -> &'static str {
        SERVER_NAME
    }
}
