//! Reads the parts of a configuration, the residents index first, in a process of its own. That process may fail, and
//! the system gets its memory back when it ends.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context;
use loda_contract::Contract;
use loda_service::{Program, stop};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::config::Config;
use crate::ingest::conformance::report::Report;
use crate::ingest::pipeline::{Mode, ingest};
use crate::ingest::redacted_error::plain;
use crate::ingest::residents::{self, Residents};
use crate::ingest::served_dataset::{Part, ReadOutcome};
use crate::ingest::unit_ids::RecordSecret;

/// All parts of a configuration, the residents index first.
pub(crate) fn all(config: &Config, datasets: impl Iterator<Item = String>) -> Vec<Part> {
    config.residents.iter().map(|_| None).chain(datasets.map(Some)).collect()
}

/// Reads some parts of a configuration, one after another, and returns the outcome of each.
pub(crate) async fn read(config: &Config, secret: &RecordSecret, parts: &[Part]) -> Vec<ReadOutcome> {
    let Some(program) = &config.program else { return read_here(config, secret, parts, |_| {}).await };
    let mut outcomes = Vec::new();
    let ended = match timeout(config.limits.reading_time(), read_apart(program, config, parts, &mut outcomes)).await {
        Ok(Ok(())) => "the reading ended early".to_owned(),
        Ok(Err(fault)) => format!("{fault:#}"),
        Err(_) => format!("the reading took more than limits.reading_minutes = {}", config.limits.reading_minutes),
    };
    // A part that was not reached failed for the reason of the end.
    let missing = parts.iter().filter(|part| outcomes.iter().all(|outcome| outcome.part != **part));
    let missing: Vec<ReadOutcome> =
        missing.map(|part| ReadOutcome { part: part.clone(), fault: Some(named(part, &ended)) }).collect();
    outcomes.extend(missing);
    outcomes
}

async fn read_apart(
    program: &Program,
    config: &Config,
    parts: &[Part],
    outcomes: &mut Vec<ReadOutcome>,
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
    // The process ends when this one does, for any reason.
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

/// The work of the process of its own. It prints one line of JSON for each outcome.
pub(crate) async fn run(config: &Path, parts: &[Part]) -> anyhow::Result<()> {
    // A killed node must leave no process behind that holds its dictionaries.
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

/// The file of a node's secret.
pub(crate) fn secret_file(state: &Path) -> PathBuf {
    state.join("record.key")
}

async fn read_here(
    config: &Config,
    secret: &RecordSecret,
    parts: &[Part],
    mut told: impl FnMut(&ReadOutcome),
) -> Vec<ReadOutcome> {
    // Dictionaries have one writer. If a node that ended left a reading process behind, this waits for it.
    let lock = lock(&config.state.join("reading.lock"));
    let mut outcomes = Vec::new();
    for part in parts {
        let fault = match (&lock, part) {
            (Err(fault), _) => Some(format!("reading.lock: {fault}")),
            (Ok(_), None) => read_residents(config, secret).await.err(),
            (Ok(_), Some(dataset)) => read_dataset(config, secret, dataset).await.err(),
        };
        let outcome = ReadOutcome { part: part.clone(), fault: fault.map(|fault| named(part, &fault)) };
        told(&outcome);
        outcomes.push(outcome);
    }
    outcomes
}

/// Waits for a lock that no other process on this host can hold at the same time.
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
