//! `loda-coordinator`: plans questions, asks the boroughs, merges protected figures.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use loda_service::Program;

/// Takes analysts' SQL, asks the boroughs' nodes, and returns protected figures.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  loda-coordinator --config coordinator.toml",
    subcommand_negates_reqs = true
)]
struct Arguments {
    /// The coordinator's configuration file.
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Plans and finishes questions for a coordinator that started it.
    #[command(hide = true)]
    Work,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse() {
        Arguments { role: Some(Role::Work), .. } => loda_coordinator::work(),
        Arguments { config, .. } => loda_coordinator::run(&config.unwrap_or_default(), Program::this(&["work"])?),
    }
}
