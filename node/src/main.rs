//! `loda-node`: a borough's program.

use std::path::PathBuf;

use clap::Parser;

/// Serves a borough's own data to the federation: protected figures only, and only under an agreement.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  loda-node --config node.toml\n\nSee deploy/sample/node.toml for every setting."
)]
struct Arguments {
    /// The node's configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Read the sources, write snapshots, print the report, and stop.
    #[arg(long)]
    ingest_only: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    loda_node::run(&arguments.config, arguments.ingest_only)
}
