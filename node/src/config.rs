//! The node's configuration: TOML, parsed once into the types that the rest of the program uses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use loda_disclosure::TableParameters;
use loda_identity::{Gss, Paths, TlsSection};
use loda_ledger::payload::Retention;
use loda_service::Program;
use serde::Deserialize;

use crate::ingest::config::{DatasetConfig, DatasetEntry};
use crate::ingest::residents::{ResidentsConfig, ResidentsEntry};
use crate::snapshot::FEWEST;

/// The content of `node.toml`. Paths are relative to the file.
#[derive(Clone, Debug)]
pub struct Config {
    pub file: PathBuf,
    /// The program to start again for reading extracts in a process of its own. `None` where there is none.
    pub program: Option<Program>,
    pub borough: Gss,
    /// `address:port` to listen on, unless the node only dials out.
    pub listen: Option<String>,
    /// Whether the node opens connections to the coordinator and serves over them.
    pub dial_out: bool,
    pub agreement: PathBuf,
    /// The folder of snapshots, dictionaries, keys and the log. It is private to the node's account.
    pub state: PathBuf,
    /// The files of manifest, certificate, key, revocation lists and deny list.
    pub identity: Paths,
    /// The local port for monitoring, if there is one.
    pub operations: Option<String>,
    pub limits: Limits,
    pub audit: Audit,
    /// For how long the words behind the query log are kept.
    pub retention: Retention,
    /// The parameters of the noise on counts of people.
    pub perturbation: TableParameters,
    /// The services that tell who is who, if there are any.
    pub residents: Option<ResidentsConfig>,
    pub datasets: Vec<DatasetConfig>,
}

/// The most that one node spends on queries.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub memory_mb: usize,
    pub query_seconds: u64,
    /// Queries that run at once. More than these wait.
    pub running: usize,
    /// Queries that run or wait. More than these are refused.
    pub accepted: usize,
    /// Questions within an hour. Each question makes two entries of the log.
    pub questions_per_hour: u32,
    /// Megabytes for the cell statistics of one query.
    pub stage_mb: usize,
    /// Megabytes for released tables about people. They are kept while their data do not change.
    pub tables_mb: usize,
    /// Seconds until another connection replaces a connection.
    pub connection_seconds: u64,
    /// Megabytes that reading extracts may take, and minutes that it may last.
    pub reading_mb: Option<usize>,
    pub reading_minutes: u64,
    /// The number of snapshots of each dataset that stay on disk.
    pub snapshots: usize,
}

/// What others may see of this node's query log.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Whether the federation's auditors may read its entries, with what was asked and how much was released.
    pub open: bool,
}

impl Default for Audit {
    fn default() -> Self {
        Self { open: true }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path}: {problem}")]
    Invalid { path: String, problem: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    borough: Gss,
    listen: Option<String>,
    #[serde(default)]
    dial_out: bool,
    manifest: PathBuf,
    agreement: PathBuf,
    state: PathBuf,
    tls: TlsSection,
    operations: Option<String>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    audit: Audit,
    #[serde(default)]
    retention: Retention,
    #[serde(default)]
    perturbation: PerturbationEntry,
    residents: Option<ResidentsEntry>,
    #[serde(default)]
    dataset: Vec<DatasetEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PerturbationEntry {
    max_noise: u32,
    variance: f64,
}

/// The megabytes that the engine alone needs for reading.
const LEAST_MB: usize = 256;

/// Noise with a smaller variance than this protects nobody against one subtraction.
const LEAST_VARIANCE: f64 = 1.0;

impl Default for PerturbationEntry {
    fn default() -> Self {
        let TableParameters { max_noise, variance, .. } = TableParameters::default();
        Self { max_noise, variance }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_mb: 256,
            query_seconds: 60,
            running: 2,
            accepted: 64,
            questions_per_hour: 100_000,
            stage_mb: 256,
            tables_mb: 256,
            connection_seconds: 600,
            reading_mb: None,
            reading_minutes: 240,
            snapshots: FEWEST,
        }
    }
}

impl Limits {
    pub(crate) fn query_time(&self) -> Duration {
        Duration::from_secs(self.query_seconds)
    }

    /// Megabytes for reading: as configured, or half of the memory. At least `LEAST_MB`.
    pub(crate) fn reading_mb(&self) -> usize {
        let half = loda_service::memory::limit().map_or(usize::MAX >> 20, |bytes| (bytes >> 21) as usize);
        self.reading_mb.unwrap_or(half).max(LEAST_MB)
    }

    pub(crate) fn reading_time(&self) -> Duration {
        Duration::from_secs(self.reading_minutes.saturating_mul(60))
    }
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The error names the file, the line if TOML gives one, and the fix.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: name.clone(), source })?;
        let invalid = |problem: String| ConfigError::Invalid { path: name.clone(), problem };
        let file: File = toml::from_str(&text).map_err(|e| invalid(e.to_string()))?;
        let base = path.parent().unwrap_or(Path::new("."));
        let limits = file.limits;
        if [limits.memory_mb, limits.running, limits.accepted, limits.stage_mb].contains(&0)
            || [limits.query_seconds, limits.connection_seconds, limits.reading_minutes].contains(&0)
            || limits.reading_mb.is_some_and(|mb| mb < LEAST_MB)
            || limits.questions_per_hour == 0
            || limits.snapshots < FEWEST
        {
            return Err(invalid(
                "[limits] must all be above zero, reading_mb at least 256, snapshots at least 2: leave out what you do not want \
                 to set"
                    .to_owned(),
            ));
        }
        if file.listen.is_none() && !file.dial_out {
            let fix = "set listen = \"0.0.0.0:7443\", or dial_out = true where the firewall lets nothing in";
            return Err(invalid(format!("nobody could reach this node: {fix}")));
        }
        let PerturbationEntry { max_noise, variance } = file.perturbation;
        let perturbation = TableParameters { max_noise, variance, ..TableParameters::default() };
        if variance.is_nan() || variance < LEAST_VARIANCE {
            return Err(invalid(format!(
                "[perturbation] variance = {variance} is under {LEAST_VARIANCE}: see `loda-node ptable` for what it does"
            )));
        }
        perturbation.table().map_err(|e| invalid(format!("[perturbation] {e}: try it with `loda-node ptable`")))?;
        let dataset = |entry: DatasetEntry| entry.parse(&file.borough, base).map_err(invalid);
        let state = base.join(file.state);
        let residents = file.residents.map(|entry| entry.parse(base)).transpose().map_err(invalid)?;
        Ok(Self {
            file: path.to_owned(),
            program: None,
            borough: file.borough.clone(),
            listen: file.listen,
            dial_out: file.dial_out,
            agreement: base.join(file.agreement),
            identity: file.tls.paths(base, &file.manifest, &state),
            state,
            operations: file.operations,
            limits,
            audit: file.audit,
            retention: file.retention,
            perturbation,
            residents,
            datasets: file.dataset.into_iter().map(dataset).collect::<Result<Vec<_>, ConfigError>>()?,
        })
    }
}
