//! The manifest: what every member of the federation pins.
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

mod canonical;
mod chain;
mod check;
mod successor;

pub use chain::{Chain, Version};
pub use successor::Signatures;

use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::borough::Gss;
use crate::tls::SERVER_NAME;
use check::{Fault, Place};

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

/// The address of a member whose node listens to nobody, and dials the coordinator instead.
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
    /// The name of its protection method. Whether the method exists is the contract's business.
    pub protection: String,
}

/// The manifest could not be read, or is not valid. Displays as `file:line: what is wrong; the fix`.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error("cannot read the manifest {origin}: {source}")]
    Read {
        /// The file.
        origin: String,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a valid manifest.
    #[error("{origin}{}: {problem}; {fix}", line.map(|l| format!(":{l}")).unwrap_or_default())]
    Invalid {
        /// The file, or where else the text came from.
        origin: String,
        /// The line, from 1, where it is known.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
        /// What to do.
        fix: String,
    },
}

impl Manifest {
    /// Reads and checks a manifest file.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ManifestError> {
        let origin = path.as_ref().display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &origin),
            Err(source) => Err(ManifestError::Read { origin, source }),
        }
    }

    /// Parses and checks a manifest. `origin` names the source in errors.
    ///
    /// # Errors
    /// [`ManifestError::Invalid`], with the line.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ManifestError> {
        let line_of = |offset: usize| text.bytes().take(offset).filter(|b| *b == b'\n').count().saturating_add(1);
        let source: Source = toml::from_str(text).map_err(|error| ManifestError::Invalid {
            origin: origin.to_owned(),
            line: error.span().map(|span| line_of(span.start)),
            problem: error.message().trim_end().replace('\n', " "),
            fix: "correct this line; the manifest's fields are federation, domain, version, \
                  previous, approvals, coordinator, members, analysts and datasets"
                .to_owned(),
        })?;
        let spans = source.spans();
        let manifest = source.manifest();
        manifest.faults().map_err(|fault| {
            let line = spans.offset(fault.place).map(line_of);
            fault.into_error(origin, line)
        })?;
        Ok(manifest)
    }

    /// Checks a manifest made in a program; [`Manifest::parse`] has done so already.
    ///
    /// # Errors
    /// [`ManifestError::Invalid`], without a line.
    pub fn check(&self) -> Result<(), ManifestError> {
        self.faults().map_err(|fault| fault.into_error("manifest", None))
    }

    /// The canonical text, which parses back to the same manifest. Comments and order of keys in a
    /// file are not kept; the order of members, analysts and datasets is.
    pub fn to_toml(&self) -> String {
        canonical::text(self)
    }

    /// SHA-256 of [`Manifest::to_toml`]: what members compare.
    pub fn sha256(&self) -> [u8; 32] {
        crate::trust::sha256(self.to_toml().as_bytes())
    }

    /// The entry of a borough, if it is a member.
    pub fn member(&self, gss: &Gss) -> Option<&Member> {
        self.members.iter().find(|member| member.gss == *gss)
    }

    /// The DNS name that every server certificate carries; see [`SERVER_NAME`].
    pub fn server_name() -> &'static str {
        SERVER_NAME
    }
}

/// The file's shape, with the place of each entry for error messages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    federation: String,
    domain: String,
    version: u64,
    previous: Option<String>,
    approvals: Option<u32>,
    coordinator: Spanned<CoordinatorEntry>,
    #[serde(default)]
    members: Vec<Spanned<Member>>,
    #[serde(default)]
    analysts: Vec<Spanned<Authority>>,
    #[serde(default)]
    datasets: Vec<Spanned<DatasetEntry>>,
}

impl Source {
    fn spans(&self) -> Spans {
        Spans {
            coordinator: self.coordinator.span().start,
            members: starts(&self.members),
            analysts: starts(&self.analysts),
            datasets: starts(&self.datasets),
        }
    }

    fn manifest(self) -> Manifest {
        Manifest {
            federation: self.federation,
            domain: self.domain,
            version: self.version,
            previous: self.previous,
            approvals: self.approvals,
            coordinator: self.coordinator.into_inner(),
            members: values(self.members),
            analysts: values(self.analysts),
            datasets: values(self.datasets),
        }
    }
}

/// Byte offsets of the entries in the text.
struct Spans {
    coordinator: usize,
    members: Vec<usize>,
    analysts: Vec<usize>,
    datasets: Vec<usize>,
}

impl Spans {
    fn offset(&self, place: Place) -> Option<usize> {
        match place {
            Place::Top => Some(0),
            Place::Coordinator => Some(self.coordinator),
            Place::Member(index) => self.members.get(index).copied(),
            Place::Analyst(index) => self.analysts.get(index).copied(),
            Place::Dataset(index) => self.datasets.get(index).copied(),
        }
    }
}

impl Fault {
    fn into_error(self, origin: &str, line: Option<usize>) -> ManifestError {
        ManifestError::Invalid { origin: origin.to_owned(), line, problem: self.problem, fix: self.fix.to_owned() }
    }
}

fn starts<T>(entries: &[Spanned<T>]) -> Vec<usize> {
    entries.iter().map(|entry| entry.span().start).collect()
}

fn values<T>(entries: Vec<Spanned<T>>) -> Vec<T> {
    entries.into_iter().map(Spanned::into_inner).collect()
}
