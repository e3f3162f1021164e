//! `loda-coordinator`: plans questions, asks the boroughs, merges protected figures.

use std::path::PathBuf;

use clap::Parser;

/// Takes analysts' SQL, asks the boroughs' nodes, and returns protected figures.
#[derive(Parser)]
#[command(version, after_help = "Example:\n  loda-coordinator --config coordinator.toml")]
struct Arguments {
    /// The coordinator's configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> anyhow::Result<()> {
    loda_coordinator::run(&Arguments::parse().config)
}
