//! The command line of `loda-node`.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use chrono::NaiveDate;
use clap::{Args, CommandFactory, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use loda_contract::Contract;
use loda_disclosure::TableParameters;
use loda_service::{Program, log};

use crate::assess;
use crate::config::Config;
use crate::ingest::config::DatasetConfig;
use crate::ingest::residents::{clerical_review, in_full, look, review_page};
use crate::ingest::served_dataset::Part;
use crate::ingest::unit_ids::RecordSecret;
use crate::query::agreement::Agreement;
use crate::refresh::subprocess;
use loda_identity::write_private;

use crate::ingest::conformance::page;
use crate::tools::audit::{Wanted, audit};
use crate::tools::decide::{Decision, decide};
use crate::tools::doctor::doctor;
use crate::tools::init::{Request, init};
use crate::tools::list_snapshots::snapshots;
use crate::tools::ptable::ptable;

/// Serves a borough's own data to the federation: protected figures only, and only under an agreement.
#[derive(Parser)]
#[command(
    name = "loda-node",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  loda-node doctor --config node.toml\n  loda-node --config node.toml\n  loda-node ptable --max-noise 8 --variance 6\n\n\
                  See deploy/sample/node.toml for every setting."
)]
struct Arguments {
    /// The node's configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read the sources, write snapshots, print the report, and stop.
    #[arg(long)]
    ingest_only: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Check clock, certificates, reachability, disk, versions and files, and say the fix; changes nothing.
    Doctor {
        /// The node's configuration file.
        #[arg(long, value_name = "FILE", default_value = "node.toml")]
        config: PathBuf,
    },
    /// Look at extracts, and write a first mapping and the questions that remain.
    ///
    /// Without --contract it drafts a contract too, as a proposal to the federation.
    #[command(after_help = INIT)]
    Init(Init),
    /// Write down who decided about what init asked and check found, and why.
    ///
    /// The decision stands in node.toml, and the node's log records it.
    #[command(after_help = DECIDE)]
    Decide(Decide),
    /// Say of every row whether it would be served: read, kept, left out with file, line and reason. Writes nothing but
    /// the page that --html names.
    Check(Check),
    /// Say who is who over the services of [residents]: people, services, and pairs that somebody has to look at.
    ///
    /// It makes the index anew and leaves nothing behind but the list that --review names.
    Residents {
        /// The node's configuration file.
        #[arg(long, value_name = "FILE", default_value = "node.toml")]
        config: PathBuf,
        /// Write the pairs for review, by the services' own references, to decide on: see `decided` in [residents].
        #[arg(long, value_name = "FILE")]
        review: Option<PathBuf>,
        /// Write a page that shows the pairs side by side, with a key for yes and one for no. It holds names, and saves the
        /// same list.
        #[arg(long, value_name = "FILE")]
        page: Option<PathBuf>,
    },
    /// Say what an unlimited asker would learn of people from a dataset, before it is opened, and keep it.
    ///
    /// It releases every table that the contracts would allow from the newest snapshot, with throwaway noise, and attacks
    /// them. The node that serves believes what it found from its next start on: it answers no larger tables than were found
    /// good, unless the steward decides otherwise in node.toml.
    #[command(after_help = ASSESS)]
    Assess(Assess),
    /// Say what this node was asked, by whom and for what, and what left it: its own log, in words.
    Audit {
        /// The node's configuration file.
        #[arg(long, value_name = "FILE", default_value = "node.toml")]
        config: PathBuf,
        /// Only questions that read this dataset.
        #[arg(long, value_name = "DATASET")]
        dataset: Option<String>,
        /// The first day (UTC).
        #[arg(long, value_name = "DAY")]
        from: Option<NaiveDate>,
        /// The last day (UTC).
        #[arg(long, value_name = "DAY")]
        until: Option<NaiveDate>,
        /// How many questions are listed one by one, the newest.
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        most: usize,
    },
    /// List the snapshots that are kept, and their sizes.
    Snapshots {
        /// The node's configuration file.
        #[arg(long, value_name = "FILE", default_value = "node.toml")]
        config: PathBuf,
    },
    /// Read extracts for the node that serves, which starts this in a process of its own.
    #[command(hide = true)]
    Read {
        #[arg(long)]
        config: PathBuf,
        #[arg(long)]
        residents: bool,
        #[arg(long)]
        dataset: Vec<String>,
    },
    /// Print what a perturbation table does: how far figures are off, and what attackers get.
    Ptable(PtableArguments),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one for each command.
    Manual {
        /// The folder to write to.
        #[arg(long, value_name = "DIR", default_value = "man")]
        out: PathBuf,
    },
}

const INIT: &str = "Examples:\n  loda-node init --borough E09000022 --name planning extracts/planning-*.csv\n  \
                    loda-node init --borough E09000022 --contract contracts/residents.toml people.xlsx\n\n\
                    Databases and every other setting: deploy/sample/node.toml.";

const DECIDE: &str = "Examples:\n  loda-node decide unit protection --by \"A. Khan\" --why \"as agreed on 3 March\"\n  \
                      loda-node decide --by \"A. Khan\" --why \"contract and mapping are corrected\"";

const ASSESS: &str = "Examples:\n  loda-node assess residents\n  \
                      loda-node assess residents --config node.toml --html residents.html\n  \
                      loda-node assess stops --column outcome --until 2027-12-31";

#[derive(Args)]
struct Assess {
    /// The dataset.
    #[arg(value_name = "DATASET")]
    dataset: String,
    /// The node's configuration file.
    #[arg(long, value_name = "FILE", default_value = "node.toml")]
    config: PathBuf,
    /// One column alone; what is found is printed, and not kept.
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Until when the data will be served, as YYYY-MM-DD [default: as the agreement says].
    #[arg(long, value_name = "DATE")]
    until: Option<NaiveDate>,
    /// Write what is found as a page too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Args)]
struct Init {
    /// The extracts: csv, ndjson, xlsx, xls, ods or parquet files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The borough's GSS code.
    #[arg(long, value_name = "CODE")]
    borough: String,
    /// The dataset's name in a draft [default: the first file's name].
    #[arg(long)]
    name: Option<String>,
    /// The contract that the federation has agreed.
    #[arg(long, value_name = "FILE")]
    contract: Option<PathBuf>,
    /// The day that the data describe, as YYYY-MM-DD [default: today].
    #[arg(long, value_name = "DATE")]
    as_at: Option<String>,
    /// A sheet of the workbooks; several, of one shape, are read together [default: the largest table].
    #[arg(long, value_name = "NAME")]
    sheet: Vec<String>,
    /// The folder to write to.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    out: PathBuf,
}

#[derive(Args)]
struct Decide {
    /// The keys, as init and check print them [default: all that init asked].
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// The person who decides.
    #[arg(long, value_name = "NAME")]
    by: String,
    /// The reason, in words.
    #[arg(long, value_name = "REASON")]
    why: String,
    /// The dataset, where there are several.
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// The node's configuration file.
    #[arg(long, value_name = "FILE", default_value = "node.toml")]
    config: PathBuf,
}

#[derive(Args)]
struct Check {
    /// The node's configuration file.
    #[arg(long, value_name = "FILE", default_value = "node.toml")]
    config: PathBuf,
    /// One dataset alone.
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Write the reports as a page too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Args)]
struct PtableArguments {
    /// The largest noise on a count.
    #[arg(long, default_value_t = TableParameters::default().max_noise)]
    max_noise: u32,
    /// The variance of the noise.
    #[arg(long, default_value_t = TableParameters::default().variance)]
    variance: f64,
}

/// Runs a command line. Its first argument is the program's name.
///
/// `before`: if this program contains several programs, the arguments of its own command line that come before these.
pub fn command(before: &[&str], arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run(before, Arguments::parse_from(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            // If standard error is closed, nothing is left to do.
            let _told = writeln!(std::io::stderr(), "loda-node: {fault:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(before: &[&str], arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Some(Command::Ptable(PtableArguments { max_noise, variance })) => {
            let parameters = TableParameters { max_noise, variance, ..TableParameters::default() };
            let text = ptable(&parameters)?;
            return Ok(std::io::stdout().write_all(text.as_bytes())?);
        }
        Some(Command::Doctor { config }) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let report = runtime.block_on(doctor(&config));
            std::io::stdout().write_all(report.text.as_bytes())?;
            anyhow::ensure!(report.faults == 0, "{} to mend before this node can serve", report.faults);
            return Ok(());
        }
        Some(Command::Init(arguments)) => return first_mapping(arguments),
        Some(Command::Decide(Decide { keys, by, why, dataset, config })) => {
            let on = chrono::Utc::now().date_naive();
            let decided = decide(&Decision { config, dataset, keys, by, why, on })?;
            return Ok(writeln!(std::io::stdout(), "decided: {}", decided.join(", "))?);
        }
        Some(Command::Check(arguments)) => return check(&arguments),
        Some(Command::Read { config, residents, dataset }) => {
            log::begin();
            let parts: Vec<Part> = residents.then_some(None).into_iter().chain(dataset.into_iter().map(Some)).collect();
            // The stack of every thread counts as memory, and the parts are read one after another.
            let mut threads = tokio::runtime::Builder::new_multi_thread();
            let threads = threads.worker_threads(1).max_blocking_threads(8).thread_stack_size(16 << 20).enable_all();
            let runtime = threads.build()?;
            return runtime.block_on(runtime.spawn(async move { subprocess::run(&config, &parts).await }))?;
        }
        Some(Command::Residents { config, review, page }) => {
            return residents(&config, review.as_deref(), page.as_deref());
        }
        Some(Command::Assess(arguments)) => return assess(&arguments),
        Some(Command::Audit { config, dataset, from, until, most }) => {
            let text = audit(&Config::load(&config)?, &Wanted { dataset, from, until, most })?;
            return Ok(std::io::stdout().write_all(text.as_bytes())?);
        }
        Some(Command::Snapshots { config }) => {
            let text = snapshots(&Config::load(&config)?)?;
            return Ok(std::io::stdout().write_all(text.as_bytes())?);
        }
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "loda-node", &mut script);
            return Ok(std::io::stdout().write_all(&script)?);
        }
        Some(Command::Manual { out }) => {
            let within = || format!("writing manual pages into {}", out.display());
            std::fs::create_dir_all(&out).with_context(within)?;
            return clap_mangen::generate_to(Arguments::command(), &out).with_context(within);
        }
        None => {}
    }
    let config = arguments.config.context("no configuration: give --config FILE, or see --help")?;
    crate::serve::run(&config, Program::this(before)?, arguments.ingest_only)
}

fn assess(arguments: &Assess) -> anyhow::Result<()> {
    let config = Config::load(&arguments.config)?;
    let contracts = config.datasets.iter().map(|dataset| Ok((Contract::load(&dataset.contract)?, dataset)));
    let contracts: Vec<(Contract, &DatasetConfig)> = contracts.collect::<anyhow::Result<_>>()?;
    let held = contracts.iter().find(|(contract, _)| contract.dataset == arguments.dataset);
    let (contract, dataset) = held.with_context(|| {
        let known = contracts.iter().map(|(contract, _)| contract.dataset.as_str()).collect::<Vec<_>>().join(", ");
        format!("the configuration has no dataset '{}': it has {known}", arguments.dataset)
    })?;
    let bar = ProgressBar::new(1_000).with_message("releasing and attacking tables");
    bar.set_style(ProgressStyle::with_template("{msg} [{bar:30}] {percent} %, {elapsed}, {eta} to go")?);
    bar.enable_steady_tick(Duration::from_millis(500));
    let today = chrono::Utc::now().date_naive();
    let granted = Agreement::load(&config.agreement)?.until(&arguments.dataset);
    let request = assess::Request {
        config: &config,
        dataset: &arguments.dataset,
        column: arguments.column.as_deref(),
        until: arguments.until.or(granted).unwrap_or(today),
        today,
    };
    let found = assess::assess(&request, &|share| bar.set_position((share * 1_000.0) as u64));
    bar.finish_and_clear();
    let (found, standing) = (found?, assess::Standing::of(contract, dataset));
    let mut out = std::io::stdout();
    out.write_all(found.text(contract, &standing).as_bytes())?;
    if let Some(path) = &arguments.html {
        std::fs::write(path, found.html(contract, &standing)).with_context(|| format!("writing {}", path.display()))?;
        writeln!(out, "\nwrote {}", path.display())?;
    }
    if arguments.column.is_none() {
        let path = found.keep(&config.state)?;
        writeln!(out, "\nkept in {}; the node believes it from its next start on", path.display())?;
    }
    anyhow::ensure!(
        standing.decided.is_some() || standing.wanted() <= found.passes(),
        "tables of {} are too much for {}: {} are good",
        standing.wanted(),
        arguments.dataset,
        found.passes()
    );
    Ok(())
}

fn first_mapping(arguments: Init) -> anyhow::Result<()> {
    let first = arguments.files.first().and_then(|file| file.file_stem()).and_then(|stem| stem.to_str());
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name = arguments.name.unwrap_or_else(|| first.unwrap_or("dataset").chars().map(plain).collect());
    let as_at = match arguments.as_at {
        Some(text) => text.parse().with_context(|| format!("--as-at {text}: write YYYY-MM-DD"))?,
        None => chrono::Utc::now().date_naive(),
    };
    let request = Request {
        borough: arguments.borough.parse().with_context(|| format!("--borough {}", arguments.borough))?,
        name,
        files: arguments.files,
        contract: arguments.contract,
        out: arguments.out,
        as_at,
        sheets: arguments.sheet,
    };
    let waiting = waiting("reading the extracts");
    let told = init(&request);
    waiting.finish_and_clear();
    Ok(std::io::stdout().write_all(told?.as_bytes())?)
}

/// Shows on a terminal that work goes on, and for how long.
fn waiting(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn residents(config: &Path, review: Option<&Path>, page: Option<&Path>) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let residents = config.residents.context("the configuration has no [residents]: see deploy/sample/node.toml")?;
    let secret = RecordSecret::passing()?;
    let waiting = waiting("reading the services and finding who is who");
    let runtime = runtime()?;
    let with_page = page.is_some();
    let looking = runtime.spawn(async move {
        let (_, report) = look(&residents, &secret).await?;
        let pairs = if with_page { in_full(&residents, &report.review).await? } else { Vec::new() };
        anyhow::Ok((report, pairs))
    });
    let looked = runtime.block_on(looking)?;
    waiting.finish_and_clear();
    let (report, pairs) = looked?;
    let mut out = std::io::stdout();
    out.write_all(report.text().as_bytes())?;
    if let Some(path) = review {
        clerical_review::write(path, &report.review)?;
        writeln!(out, "\nwrote {}", path.display())?;
    }
    if let Some(path) = page {
        write_private(path, review_page::page(&pairs).as_bytes())
            .with_context(|| format!("writing {}", path.display()))?;
        writeln!(out, "\nwrote {}: it holds names", path.display())?;
    }
    Ok(())
}

/// The planner of the mapping's SQL needs deep stacks.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().thread_stack_size(16 << 20).enable_all().build()
}

fn check(arguments: &Check) -> anyhow::Result<()> {
    let (config, only) = (Config::load(&arguments.config)?, arguments.dataset.clone());
    let runtime = runtime()?;
    let waiting = waiting("reading the sources");
    let checked =
        runtime.block_on(runtime.spawn(async move { crate::tools::check::check(&config, only.as_deref()).await }))?;
    waiting.finish_and_clear();
    let (mut reports, mut refused) = (Vec::new(), 0_usize);
    let mut out = std::io::stdout();
    for (dataset, report) in checked? {
        match report {
            Ok(report) => {
                refused += usize::from(!report.refusals.is_empty());
                out.write_all(report.text().as_bytes())?;
                reports.push(report);
            }
            Err(fault) => {
                refused += 1;
                writeln!(out, "{dataset}: cannot be read\n\n  refused: {fault:#}")?;
            }
        }
    }
    if let Some(path) = &arguments.html {
        std::fs::write(path, page(&reports)).with_context(|| format!("writing {}", path.display()))?;
        writeln!(out, "\nwrote {}", path.display())?;
    }
    anyhow::ensure!(refused == 0, "{refused} of the datasets would not be served");
    Ok(())
}
