//! `loda-node`: a borough's program.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use loda_node::TableParameters;

/// Serves a borough's own data to the federation: protected figures only, and only under an agreement.
#[derive(Parser)]
#[command(
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
    /// Print what a perturbation table does: how far figures are off, and what attackers get.
    Ptable(Table),
}

#[derive(Args)]
struct Table {
    /// The largest noise on a count.
    #[arg(long, default_value_t = TableParameters::default().max_noise)]
    max_noise: u32,
    /// The variance of the noise.
    #[arg(long, default_value_t = TableParameters::default().variance)]
    variance: f64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Ptable(Table { max_noise, variance })) => {
            let parameters = TableParameters { max_noise, variance, ..TableParameters::default() };
            let text = loda_node::ptable(&parameters)?;
            return Ok(std::io::stdout().write_all(text.as_bytes())?);
        }
        Some(Command::Doctor { config }) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let report = runtime.block_on(loda_node::doctor(&config));
            std::io::stdout().write_all(report.text.as_bytes())?;
            anyhow::ensure!(report.faults == 0, "{} to mend before this node can serve", report.faults);
            return Ok(());
        }
        None => {}
    }
    let config = arguments.config.context("no configuration: give --config FILE, or see --help")?;
    loda_node::run(&config, arguments.ingest_only)
}
