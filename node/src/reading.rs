//! Reading what the configuration names, the residents index first: in a process of its own, which may fail, and whose
//! memory is the system's again when it ends.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use loda_contract::Contract;
use loda_service::{Program, stop};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::config::Config;
use crate::dictionary::RecordSecret;
use crate::ingest::{Mode, ingest};
use crate::quoting::plain;
use crate::report::Report;
use crate::residents::{self, Residents};

/// The index, or a dataset by name.
pub(crate) type Part = Option<String>;

/// What came of reading one part.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) part: Part,
    /// Why what was there before stays in use; none where it was replaced. It holds no value of the data.
    pub(crate) fault: Option<String>,
}

/// Everything of a configuration.
pub(crate) fn all(config: &Config, datasets: impl Iterator<Item = String>) -> Vec<Part> {
    config.residents.iter().map(|_| None).chain(datasets.map(Some)).collect()
}

/// Reads some parts of a configuration, one after another, and says what came of each.
pub(crate) async fn read(config: &Config, secret: &RecordSecret, parts: &[Part]) -> Vec<Outcome> {
    let Some(program) = &config.program else { return read_here(config, secret, parts, |_| {}).await };
    let mut outcomes = Vec::new();
    let ended = match timeout(config.limits.reading_time(), read_apart(program, config, parts, &mut outcomes)).await {
        Ok(Ok(())) => "the reading ended early".to_owned(),
        Ok(Err(fault)) => format!("{fault:#}"),
        Err(_) => format!("the reading took more than limits.reading_minutes = {}", config.limits.reading_minutes),
    };
    // Of parts that were not come to, the reason is the end.
    let missing = parts.iter().filter(|part| outcomes.iter().all(|outcome| outcome.part != **part));
    let missing: Vec<Outcome> =
        missing.map(|part| Outcome { part: part.clone(), fault: Some(named(part, &ended)) }).collect();
    outcomes.extend(missing);
    outcomes
}

async fn read_apart(
    program: &Program,
    config: &Config,
    parts: &[Part],
    outcomes: &mut Vec<Outcome>,
) -> anyhow::Result<()> {
    let mut command = program.command().context("no program to read with")?;
    command.arg("read").arg("--config").arg(&config.file);
    for part in parts {
        match part {
            None => command.arg("--residents"),
            Some(dataset) => command.arg("--dataset").arg(dataset),
        };
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    // It ends when this does, however this ends.
    let _held = child.stdin.take();
    let told = child.stdout.take().context("nothing can be heard of the reading")?;
    let mut lines = BufReader::new(told).lines();
    while let Some(line) = lines.next_line().await? {
        outcomes.push(serde_json::from_str(&line).context("the reading said something else")?);
    }
    let status = child.wait().await?;
    anyhow::ensure!(
        status.success(),
        "the reading ended with {status}; it may take limits.reading_mb = {} of memory",
        config.limits.reading_mb()
    );
    Ok(())
}

/// What the process of its own does: a line of JSON for each outcome.
pub(crate) async fn run(config: &Path, parts: &[Part]) -> anyhow::Result<()> {
    // A node that has been killed leaves nobody behind who would hold its dictionaries.
    stop::end_with_parent();
    let config = Config::load(config)?;
    let most = u64::try_from(config.limits.reading_mb())?.saturating_mul(1 << 20);
    setrlimit(Resource::Data, Rlimit { current: Some(most), maximum: Some(most) }).context("limiting memory")?;
    let secret = RecordSecret::load_or_create(&secret_file(&config.state))?;
    let mut told = Ok(());
    read_here(&config, &secret, parts, |outcome| {
        let mut out = std::io::stdout();
        let line = serde_json::to_string(outcome).map_err(anyhow::Error::from);
        told = line.and_then(|line| Ok(writeln!(out, "{line}")?)).and(std::mem::replace(&mut told, Ok(())));
    })
    .await;
    told
}

/// Where a node's secret is.
pub(crate) fn secret_file(state: &Path) -> PathBuf {
    state.join("record.key")
}

async fn read_here(
    config: &Config,
    secret: &RecordSecret,
    parts: &[Part],
    mut told: impl FnMut(&Outcome),
) -> Vec<Outcome> {
    // Dictionaries have one writer: whoever a node that ended has left behind is waited for.
    let lock = lock(&config.state.join("reading.lock"));
    let mut outcomes = Vec::new();
    for part in parts {
        let fault = match (&lock, part) {
            (Err(fault), _) => Some(format!("reading.lock: {fault}")),
            (Ok(_), None) => read_residents(config, secret).await.err(),
            (Ok(_), Some(dataset)) => read_dataset(config, secret, dataset).await.err(),
        };
        let outcome = Outcome { part: part.clone(), fault: fault.map(|fault| named(part, &fault)) };
        told(&outcome);
        outcomes.push(outcome);
    }
    outcomes
}

/// A lock that nobody else of this host can hold.
fn lock(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    file.lock()?;
    Ok(file)
}

fn named(part: &Part, fault: &str) -> String {
    match part {
        None => format!("residents index: {fault}"),
        Some(dataset) => format!("dataset '{dataset}': {fault}"),
    }
}

async fn read_residents(config: &Config, secret: &RecordSecret) -> Result<(), String> {
    let Some(residents) = &config.residents else { return Err("there is no [residents]".to_owned()) };
    let report =
        residents::build(&config.state, residents, secret).await.map_err(|fault| plain(&fault, "residents"))?;
    tracing::info!("{}", report.summary());
    Ok(())
}

async fn read_dataset(config: &Config, secret: &RecordSecret, name: &str) -> Result<(), String> {
    for dataset in &config.datasets {
        let contract = Arc::new(Contract::load(&dataset.contract).map_err(|fault| fault.to_string())?);
        if contract.dataset != name {
            continue;
        }
        let residents = match &config.residents {
            Some(residents) if dataset.mapping.asks_for_residents() => {
                let path = residents::path(&config.state);
                Some(Residents::open(&path, secret, residents.names()).map_err(|fault| format!("{fault:#}"))?)
            }
            _ => None,
        };
        let residents = residents.map(Arc::new);
        let mode = Mode::Write { keep: config.limits.snapshots };
        let read = ingest(&config.state, secret, &contract, dataset, residents.as_ref(), mode).await;
        let (snapshot, report) = read.map_err(|fault| plain(&fault, "check"))?;
        return match snapshot {
            Some(_) => {
                tell(&report);
                Ok(())
            }
            None => Err(report.summary()),
        };
    }
    Err("the configuration has no such dataset".to_owned())
}

fn tell(report: &Report) {
    if report.left_out() == 0 {
        tracing::info!("{}", report.summary());
    } else {
        tracing::warn!("{}", report.summary());
    }
}

/// The engine alone wants so much.
pub(crate) const LEAST_MB: usize = 256;

impl crate::config::Limits {
    /// How much memory reading may take: half of what there is, where nothing is said.
    fn reading_mb(&self) -> usize {
        let half = loda_service::memory::limit().map_or(usize::MAX >> 20, |bytes| (bytes >> 21) as usize);
        self.reading_mb.unwrap_or(half).max(LEAST_MB)
    }

    fn reading_time(&self) -> Duration {
        Duration::from_secs(self.reading_minutes.saturating_mul(60))
    }
}
