//! `loda audit`: what was asked and released, and proofs that nothing is missing.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Subcommand};

use super::list_format::ListFormat;

#[derive(Debug, Args)]
#[command(after_help = STEPS)]
pub(crate) struct Audit {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

const STEPS: &str = "\
With an auditor's certificate (loda pki issue FOLDER auditor NAME):
  loda audit search --dataset residents --from 2026-05-01 --until 2026-05-31
                                         who asked what, for what, and how it ended
  loda audit show 1b9d6bcd               one question, from its words to each borough
  loda audit reconcile --from 2026-05-01 do the coordinator and all boroughs agree,
                                         and is anything missing?

Without trust in anybody but the manifest's keys: every party publishes its log in
the folder `log` of its state folder, as `checkpoint` and `tile/`. Its operator
hands you a copy:
  loda audit keys manifest.toml          the keys that sign the logs
  loda audit verify camden manifest.toml each entry is there, and unchanged

The files are C2SP tlog-tiles. Other people's tools check them with the same keys:
  aics-tlog verify-checkpoint --tiles camden --log-key KEY";

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List questions: who asked what, for what purpose, and how each ended
    Search(AuditSearch),
    /// Show one question: its words, what each borough was sent, and what left it
    Show {
        /// The question's id or its beginning, or the number of an entry, as `search` lists them
        #[arg(value_name = "QUESTION")]
        question: String,
    },
    /// Compare the coordinator's log with every borough's, and name what does not agree
    Reconcile {
        /// The first day (UTC) [default: today]
        #[arg(long, value_name = "DAY")]
        from: Option<NaiveDate>,
        /// The last day (UTC) [default: today]
        #[arg(long, value_name = "DAY")]
        until: Option<NaiveDate>,
    },
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

#[derive(Debug, Args)]
pub(crate) struct AuditSearch {
    /// Only questions that read this dataset
    #[arg(long, value_name = "DATASET")]
    pub(crate) dataset: Option<String>,
    /// Only questions for this purpose
    #[arg(long, short, value_name = "PURPOSE")]
    pub(crate) purpose: Option<String>,
    /// Only this asker: the name in their certificate, or their whole SPIFFE id
    #[arg(long, value_name = "NAME")]
    pub(crate) analyst: Option<String>,
    /// Only questions that this borough was asked (its GSS code or name)
    #[arg(long, value_name = "BOROUGH")]
    pub(crate) borough: Option<String>,
    /// Only questions that this rule refused
    #[arg(long, value_name = "RULE")]
    pub(crate) rule: Option<String>,
    /// The first day (UTC)
    #[arg(long, value_name = "DAY")]
    pub(crate) from: Option<NaiveDate>,
    /// The last day (UTC)
    #[arg(long, value_name = "DAY")]
    pub(crate) until: Option<NaiveDate>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
}
