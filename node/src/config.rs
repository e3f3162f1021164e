//! The node's configuration: TOML, parsed once into what the rest of the program uses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::NaiveDate;
use loda_disclosure::TableParameters;
use loda_identity::{Gss, Paths, TlsSection};
use serde::Deserialize;

use crate::epochs::iso;
use crate::mapping::Mapping;
use loda_service::Program;

use crate::reading::LEAST_MB;
use crate::refresh::Refresh;
use crate::residents::{ResidentsConfig, ResidentsEntry};
use crate::snapshot::FEWEST;
use crate::source::SourceEntry;

/// What `node.toml` says. Paths are relative to the file.
#[derive(Clone, Debug)]
pub struct Config {
    pub file: PathBuf,
    /// Set by a program that can be started once more, to read extracts in a process of its own.
    pub program: Option<Program>,
    pub borough: Gss,
    /// `address:port` to listen on, unless the node only dials out.
    pub listen: Option<String>,
    /// Whether it opens connections to the coordinator and serves over them.
    pub dial_out: bool,
    pub agreement: PathBuf,
    /// Where snapshots, dictionaries, keys and the log live; private to the node's account.
    pub state: PathBuf,
    /// Manifest, certificate, key, revocation lists, deny list.
    pub identity: Paths,
    /// The local port for monitoring, if there is one.
    pub operations: Option<String>,
    pub limits: Limits,
    /// How counts of people are perturbed.
    pub perturbation: TableParameters,
    /// The services that say who is who, if there are any.
    pub residents: Option<ResidentsConfig>,
    pub datasets: Vec<DatasetConfig>,
}

/// What one node spends on queries at most.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub memory_mb: usize,
    pub query_seconds: u64,
    /// Queries that run at once; more wait.
    pub running: usize,
    /// Queries that run or wait; more are refused.
    pub accepted: usize,
    /// Within an hour: each is two entries of the log.
    pub questions_per_hour: u32,
    /// The (cell, unit) stage of one query.
    pub stage_mb: usize,
    /// Released tables about people, kept for as long as their data stand still.
    pub tables_mb: usize,
    /// How long a connection lives before another takes its place.
    pub connection_seconds: u64,
    /// How much memory reading extracts may take, and for how long.
    pub reading_mb: Option<usize>,
    pub reading_minutes: u64,
    /// Snapshots of each dataset that stay on disk.
    pub snapshots: usize,
}

#[derive(Clone, Debug)]
pub struct DatasetConfig {
    pub contract: PathBuf,
    pub as_at: AsAt,
    /// Gives the contract's columns by name.
    pub mapping: Mapping,
    pub thresholds: Thresholds,
    pub refresh: Refresh,
    /// Of rows that come by period: closed periods that are declared anew, each once, and why.
    pub restated: BTreeMap<NaiveDate, String>,
    /// What the weights of a table may come to here, where that is less than the contract allows.
    pub dimensions: Option<u32>,
    /// What a steward decided against an assessment.
    pub decision: Option<Decision>,
}

/// Larger tables than an assessment found good are served all the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    pub dimensions: u32,
    /// Who decided, when, and why.
    pub by: String,
    #[serde(deserialize_with = "iso::deserialize")]
    pub on: NaiveDate,
    pub why: String,
}

/// The day that the data of a dataset describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsAt {
    Day(NaiveDate),
    /// The day on which they are read.
    Today,
    /// The day on which the newest of the files was written.
    NewestFile,
}

impl DatasetConfig {
    /// The day that data read now describe.
    pub(crate) fn day(&self) -> NaiveDate {
        let today = chrono::Utc::now().date_naive();
        match self.as_at {
            AsAt::Day(day) => day,
            AsAt::Today => today,
            AsAt::NewestFile => {
                let written = self.mapping.files().filter_map(|file| std::fs::metadata(file).ok()?.modified().ok());
                written.max().map_or(today, |at| chrono::DateTime::<chrono::Utc>::from(at).date_naive())
            }
        }
    }
}

/// When a new snapshot replaces the last good one; beyond these it does not.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// The share of rows that may be left out, of those that were read.
    pub rejected: f64,
    /// By how much, of the last good snapshot's rows, there may be fewer.
    pub shrink: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { rejected: 0.2, shrink: 0.5 }
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

/// A table with less noise than this protects nobody from one subtraction.
const LEAST_VARIANCE: f64 = 1.0;

impl Default for PerturbationEntry {
    fn default() -> Self {
        let TableParameters { max_noise, variance, .. } = TableParameters::default();
        Self { max_noise, variance }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DatasetEntry {
    contract: PathBuf,
    as_at: String,
    sql: String,
    source: Vec<SourceEntry>,
    /// Code lists: what a system writes, and the contract's word for it.
    #[serde(default)]
    codes: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    thresholds: Thresholds,
    /// `start`, `change`, or a time such as `6h`.
    refresh: Option<String>,
    /// By a period's first day: why its rows are declared anew.
    #[serde(default)]
    restate: BTreeMap<String, String>,
    dimensions: Option<u32>,
    decision: Option<Decision>,
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
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The file, the line where TOML gives one, and what to write instead.
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
        let dataset = |entry: DatasetEntry| {
            let as_at = match entry.as_at.as_str() {
                "today" => AsAt::Today,
                "newest-file" => AsAt::NewestFile,
                date => AsAt::Day(date.parse().map_err(|_| {
                    invalid(format!("as_at = \"{date}\": write YYYY-MM-DD, \"today\" or \"newest-file\""))
                })?),
            };
            if entry.dimensions == Some(0) {
                return Err(invalid(
                    "[[dataset]] dimensions = 0: no table would be left; leave the dataset out".to_owned(),
                ));
            }
            if let Some(decision) = &entry.decision
                && (decision.dimensions == 0 || decision.by.trim().is_empty() || decision.why.trim().is_empty())
            {
                return Err(invalid(
                    "decision needs dimensions from 1 on, by (who decided), on (YYYY-MM-DD) and why, in words"
                        .to_owned(),
                ));
            }
            let sources = entry.source.into_iter().map(|source| source.parse(base).map_err(invalid));
            let Thresholds { rejected, shrink } = entry.thresholds;
            if [rejected, shrink].iter().any(|share| !(0.0..=1.0).contains(share)) {
                return Err(invalid("[dataset.thresholds] are shares between 0 and 1".to_owned()));
            }
            let refresh = Refresh::of_entry(entry.refresh.as_deref()).map_err(invalid)?;
            let mapping = Mapping::new(sources.collect::<Result<_, _>>()?, entry.sql, entry.codes).map_err(invalid)?;
            let restated = entry.restate.into_iter().map(|(period, why)| match period.parse() {
                Ok(day) if !why.trim().is_empty() => Ok((day, why)),
                _ => Err(invalid(format!(
                    "[dataset.restate] \"{period}\" = \"{why}\": write the first day of a closed period as YYYY-MM-DD, and why"
                ))),
            });
            Ok(DatasetConfig {
                contract: base.join(entry.contract),
                as_at,
                mapping,
                thresholds: entry.thresholds,
                refresh,
                restated: restated.collect::<Result<_, _>>()?,
                dimensions: entry.dimensions,
                decision: entry.decision,
            })
        };
        let state = base.join(file.state);
        let residents = file.residents.map(|entry| entry.parse(base)).transpose().map_err(invalid)?;
        Ok(Self {
            file: path.to_owned(),
            program: None,
            borough: file.borough,
            listen: file.listen,
            dial_out: file.dial_out,
            agreement: base.join(file.agreement),
            identity: file.tls.paths(base, &file.manifest, &state),
            state,
            operations: file.operations,
            limits,
            perturbation,
            residents,
            datasets: file.dataset.into_iter().map(dataset).collect::<Result<Vec<_>, ConfigError>>()?,
        })
    }
}
