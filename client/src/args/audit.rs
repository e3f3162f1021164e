//! `loda audit`: what was asked and released, and proofs that nothing is missing.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Subcommand, ValueEnum};

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
  loda audit export --as csv --out q.csv the same for other tools (ndjson, csv, ocsf)
  loda audit show 1b9d6bcd               one question, from its words to each borough
  loda audit bundle 1b9d6bcd -o q.zip    the same as a file that proves itself offline
  loda audit coverage --from 2026-05-01  how much each analyst has had of each dataset
  loda audit transparency --out public   a page for residents: purposes and datasets
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
    /// Write questions for other tools: lines of JSON, CSV, or OCSF events for a SIEM
    Export(AuditExport),
    /// Show one question: its words, what each borough was sent, and what left it
    Show {
        /// The question's id or its beginning, or the number of an entry, as `search` lists them
        #[arg(value_name = "QUESTION")]
        question: String,
    },
    /// Show how much of each dataset's tables each analyst has had, and who is refused often or asks at night
    Coverage(AuditConditions),
    /// Write a page for residents: which data were used for which purposes. It names nobody, and comes late
    Transparency {
        /// The folder for index.html and transparency.json
        #[arg(long, short, value_name = "FOLDER", default_value = "transparency")]
        out: PathBuf,
        /// How many days a month has to be over before it is told
        #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(7..))]
        delay: u16,
    },
    /// Write one question as a file that verifies offline, with other people's tools: its README says how
    Bundle {
        /// The question's id or its beginning, as `search` lists it
        #[arg(value_name = "QUESTION")]
        question: String,
        /// The file, a zip
        #[arg(long, short, value_name = "FILE", default_value = "question.zip")]
        out: PathBuf,
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
pub(crate) struct AuditExport {
    #[command(flatten)]
    pub(crate) wanted: AuditConditions,
    /// The form
    #[arg(long = "as", value_enum, default_value_t = ExportFormat::Ndjson, value_name = "FORM")]
    pub(crate) form: ExportFormat,
    /// The file [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// How questions are written for other tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One JSON object a line, with the words of the question and what was released
    Ndjson,
    /// A table for a spreadsheet
    Csv,
    /// Events of the class Datastore Activity (6005) of the Open Cybersecurity Schema Framework, one a line
    Ocsf,
}

#[derive(Debug, Args)]
pub(crate) struct AuditSearch {
    #[command(flatten)]
    pub(crate) wanted: AuditConditions,
    /// How to print it
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
}

/// Which questions are wanted.
#[derive(Debug, Default, Args)]
pub(crate) struct AuditConditions {
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
}
