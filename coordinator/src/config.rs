//! The coordinator's configuration: TOML, parsed once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderValue, Uri};
use loda_identity::{Paths, TlsSection};
use loda_ledger::payload::Retention;
use loda_service::Program;
use serde::{Deserialize, Serialize};

/// The content of `coordinator.toml`. Paths are relative to the file.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: String,
    /// The manifest, certificate, key, revocation lists and deny list.
    pub identity: Paths,
    /// One contract file for each dataset of the manifest.
    pub contracts: Vec<PathBuf>,
    pub state: PathBuf,
    /// The local address for monitoring, if there is one.
    pub operations: Option<String>,
    pub limits: Limits,
    /// For how long the words behind the query log are kept.
    pub retention: Retention,
    pub references: Vec<Reference>,
    /// The doors for people's own tools, if there are any.
    pub doors: Option<DoorsConfig>,
    /// How this program starts itself again for work that must be possible to stop. `None`: all work runs in this
    /// process.
    pub program: Option<Program>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The longest time for a question.
    pub deadline_seconds: u64,
    /// The most queries at once, in all and for one asker.
    pub queries: usize,
    pub queries_per_analyst: usize,
    /// The most questions of one asker within an hour.
    pub questions_per_hour: u32,
    /// The memory of one process that plans, or that runs the steps after the merge.
    pub memory_mb: usize,
    /// The most such processes at once. One asker has at most half of them.
    pub workers: usize,
    /// The longest time for planning.
    pub planning_seconds: u64,
    /// How long a connection lives before another replaces it.
    pub connection_seconds: u64,
}

/// The entry for people's own tools: an HTTP API and Flight SQL.
#[derive(Clone, Debug)]
pub struct DoorsConfig {
    pub(crate) listen: String,
    /// A web certificate with its chain, and its key.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The most connections without a certificate from one address.
    pub(crate) connections_per_address: usize,
    /// The origins of web pages that may ask, as `https://host`. Without any, no page of another origin may.
    pub(crate) origins: Vec<HeaderValue>,
    pub(crate) providers: Vec<ProviderEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DoorsEntry {
    listen: String,
    certificate: PathBuf,
    key: PathBuf,
    #[serde(default = "per_address")]
    connections_per_address: usize,
    #[serde(default)]
    origins: Vec<String>,
    #[serde(default)]
    provider: Vec<ProviderEntry>,
}

/// One `[[provider]]` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProviderEntry {
    /// Part of the ids of its people: lower-case letters, digits and hyphens.
    pub(crate) name: String,
    /// The issuer, exactly as in the provider's tokens.
    pub(crate) issuer: String,
    /// The audience of its tokens for this federation.
    pub(crate) audience: String,
    #[serde(default = "default_algorithms")]
    pub(crate) algorithms: Vec<String>,
    /// The address of its keys. `None`: it is found at the issuer.
    pub(crate) jwks: Option<String>,
    /// The provider's certificate authority (PEM), if the host does not know it.
    pub(crate) ca: Option<PathBuf>,
    /// A claim and the value that makes its bearer an analyst. `auditors` does the same for auditors.
    #[serde(default)]
    pub(crate) analysts: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) auditors: BTreeMap<String, String>,
}

fn default_algorithms() -> Vec<String> {
    vec!["RS256".to_owned(), "ES256".to_owned()]
}

impl ProviderEntry {
    /// Paths are relative to the configuration's folder.
    pub(crate) fn within(self, base: &Path) -> Self {
        Self { ca: self.ca.map(|ca| base.join(ca)), ..self }
    }
}

fn per_address() -> usize {
    loda_transport::Limits::default().connections_per_network
}

/// A public table that belongs to the coordinator, from a CSV file with a header.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    pub name: String,
    pub title: String,
    pub path: PathBuf,
}

#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ConfigError {
    path: String,
    problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: String,
    manifest: PathBuf,
    contracts: Vec<PathBuf>,
    state: PathBuf,
    tls: TlsSection,
    operations: Option<String>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    retention: Retention,
    #[serde(default)]
    reference: Vec<Reference>,
    doors: Option<DoorsEntry>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline_seconds: 60,
            queries: 64,
            queries_per_analyst: 8,
            questions_per_hour: 20_000,
            memory_mb: 512,
            workers: 6,
            planning_seconds: 3,
            connection_seconds: 600,
        }
    }
}

impl Limits {
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_seconds)
    }
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The fault with its file, its line (if TOML gives one) and the fix.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let fault = |problem: String| ConfigError { path: path.display().to_string(), problem };
        let text = std::fs::read_to_string(path).map_err(|e| fault(e.to_string()))?;
        let file: File = toml::from_str(&text).map_err(|e| fault(e.to_string()))?;
        let base = path.parent().unwrap_or(Path::new("."));
        let Limits {
            deadline_seconds,
            queries,
            queries_per_analyst,
            questions_per_hour,
            memory_mb,
            workers,
            planning_seconds,
            connection_seconds,
        } = file.limits;
        let nought = [deadline_seconds, planning_seconds, connection_seconds].contains(&0);
        if nought || questions_per_hour == 0 || [queries, queries_per_analyst, memory_mb, workers].contains(&0) {
            return Err(fault("[limits] must all be above zero: leave out what you do not want to set".to_owned()));
        }
        let reference = |r: Reference| Reference { path: base.join(&r.path), ..r };
        let origins = file.doors.iter().flat_map(|doors| &doors.origins).map(|text| origin(text));
        let origins = origins.collect::<Result<Vec<HeaderValue>, String>>().map_err(fault)?;
        let state = base.join(file.state);
        Ok(Self {
            listen: file.listen,
            contracts: file.contracts.iter().map(|c| base.join(c)).collect(),
            identity: file.tls.paths(base, &file.manifest, &state),
            state,
            operations: file.operations,
            limits: file.limits,
            retention: file.retention,
            doors: file.doors.map(|doors| DoorsConfig {
                listen: doors.listen,
                certificate: base.join(doors.certificate),
                key: base.join(doors.key),
                connections_per_address: doors.connections_per_address.max(1),
                origins,
                providers: doors.provider.into_iter().map(|provider| provider.within(base)).collect(),
            }),
            references: file.reference.into_iter().map(reference).collect(),
            program: None,
        })
    }
}

/// An origin of web pages, as browsers write it: no path, and no pattern that would let in others.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let uri =
        text.parse::<Uri>().ok().filter(|uri| uri.path() == "/" && !text.contains(['*', '?']) && !text.ends_with('/'));
    let local = |uri: &Uri| matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let fits = uri.filter(|uri| uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && local(uri)));
    fits.and_then(|_| HeaderValue::from_str(text).ok())
        .ok_or_else(|| format!("[doors] origins: \"{text}\" is no origin: write it as https://dashboards.example"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_one_page_server_and_no_pattern() {
        for good in ["https://dashboards.example", "https://a.example:8443", "http://localhost:3000"] {
            assert!(origin(good).is_ok(), "{good}");
        }
        for bad in
            ["*", "null", "https://*", "https://a.example/", "https://a.example/x", "http://a.example", "a.example", ""]
        {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
