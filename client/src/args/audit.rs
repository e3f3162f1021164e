//! `loda audit`: proofs that a query log holds everything.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(after_help = STEPS)]
pub(crate) struct Audit {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

const STEPS: &str = "\
Every party publishes its query log in the folder `log` of its state folder, as
`checkpoint` and `tile/`. Its operator hands you a copy. You need to trust the
manifest's keys, and nothing else:
  loda audit keys manifest.toml          the keys that sign the logs
  loda audit verify camden manifest.toml each entry is there, and unchanged

The files are C2SP tlog-tiles. Other people's tools check them with the same keys:
  aics-tlog verify-checkpoint --tiles camden --log-key KEY";

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Print the key of each party's log, as tools for transparency logs read it
    Keys {
        /// The manifest
        #[arg(value_name = "MANIFEST", default_value = "manifest.toml")]
        manifest: PathBuf,
    },
    /// Check the tree of a log, entry by entry, against its signed checkpoint
    Verify {
        /// The folder with `checkpoint` and `tile`
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// The manifest, which names the key of each log
        #[arg(value_name = "MANIFEST", default_value = "manifest.toml")]
        manifest: PathBuf,
        /// An older checkpoint of the same log, which this one has to continue
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
    },
}
