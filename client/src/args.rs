//! The command line.

pub(crate) mod audit;
pub(crate) mod federation;
mod list_format;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use list_format::ListFormat;

/// Ask London's boroughs a question. Only protected figures leave a borough, and every answer says
/// what is withheld and which borough is missing.
///
/// A node is a borough's own computer, with its data. The coordinator sends your question to the nodes
/// and puts together what they release.
#[derive(Debug, Parser)]
#[command(name = "loda", version, after_help = AFTER, max_term_width = 80)]
pub(crate) struct Loda {
    /// The configuration file [default: $LODA_CONFIG, else ./loda.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
First steps:
  loda catalogue                      which tables there are
  loda catalogue residents            its columns, and what may be asked of each
  loda purposes                       what you may ask for, and of whom
  loda query -p demo 'SELECT borough, COUNT(*) AS n FROM residents
                      GROUP BY borough'
  loda explain -p demo 'SELECT …'     what would be asked, and who would say no

The configuration file, with paths relative to it:
  coordinator = \"coordinator.example:7400\"   # optional; else the manifest's
  manifest    = \"manifest.toml\"
  cert        = \"alice.pem\"
  key         = \"alice.key\"
  revocation_lists = \"revocation\"   # the folder of the authorities' lists

Exit codes:
  0  complete
  1  the connection or the coordinator failed
  2  the command line or the configuration is wrong
  3  refused: rule, message and advice are on standard error
  4  partial: a borough refused or did not answer; the result is printed
  5  no answer at all, or too late
  6  cancelled
  7  the query logs do not agree with each other or with the answer, or one
     of them is not whole";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask, wait, and print the answer with its statement
    Query(Query),
    /// Show what a question would send to whom and who would refuse it, running nothing
    Explain(Explain),
    /// List the tables, or the columns of one
    Catalogue(Catalogue),
    /// List the boroughs' nodes and what they hold
    Nodes(Nodes),
    /// List the purposes that boroughs have agreed to for you
    Purposes(Purposes),
    /// Make, list or revoke tokens for programs that cannot show your certificate
    Token(Token),
    /// Make certificates for development, or show your own
    Pki(Pki),
    /// Show who belongs to the federation; join it, leave it, sign its next version
    Federation(federation::Federation),
    /// Find what was asked and released, and prove that nothing is missing (for auditors)
    Audit(audit::Audit),
    /// Print completions for your shell: loda completions bash > ~/.local/share/bash-completion/completions/loda
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one for each command
    Manual {
        /// The folder to write to
        #[arg(long, value_name = "DIR", default_value = "man")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
#[command(after_help = TOKEN)]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token, and print it once
    New(NewToken),
    /// List your tokens
    List,
    /// End one of them, at once
    Revoke {
        /// Its id, as listed
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewToken {
    /// What it is for, and where it lies: for your own list
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What it may do [default: all that you may]
    #[arg(long, value_enum)]
    pub(crate) scope: Vec<Scope>,
    /// The only purpose that it may be used for; may be given more than once
    #[arg(long, short, value_name = "PURPOSE")]
    pub(crate) purpose: Vec<String>,
    /// How many days it lives
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=366))]
    pub(crate) days: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// See the catalogue and the boroughs' nodes
    Read,
    /// Ask, and fetch answers
    Ask,
    /// Search the query log
    Audit,
}

impl Scope {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Ask => "ask",
            Self::Audit => "audit",
        }
    }
}

const TOKEN: &str = "\
Examples:
  loda token new 'laptop, Python' --purpose housing-safety --days 14 > token
  curl --cacert web-ca.pem -H \"Authorization: Bearer $(cat token)\" https://coordinator.example:8443/v1/me
  loda token list
  loda token revoke 3f2a…

A token goes to the coordinator's doors (HTTP and Flight SQL) instead of your certificate. It can do no more than
you, ends by itself, and dies when your certificate is revoked.";

/// The question, from one of three places.
#[derive(Debug, Args)]
pub(crate) struct Question {
    /// The question; without it and --file, standard input
    #[arg(value_name = "SQL", conflicts_with = "file")]
    pub(crate) sql: Option<String>,
    /// Read the question from a file; - is standard input
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// What the answer is for, as the agreements name it
    #[arg(long, short, value_name = "PURPOSE", default_value = "", hide_default_value = true)]
    pub(crate) purpose: String,
}

#[derive(Debug, Args)]
#[command(after_help = QUERY)]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) question: Question,
    /// How to print the answer [default: as the ending of --out says, otherwise table]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Write the answer to a file; needed for parquet and arrow unless standard output is a file or pipe
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// How long the boroughs have [default: the coordinator's limit]
    #[arg(long, short, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) timeout: Option<u32>,
    /// Print the query's id and go away; the question goes on without you
    #[arg(long, conflicts_with = "resume")]
    pub(crate) detach: bool,
    /// Wait for a query that was asked before, and print its answer; it is kept for ten minutes
    #[arg(long, value_name = "ID", conflicts_with_all = ["sql", "file", "timeout"])]
    pub(crate) resume: Option<String>,
    /// Ask only if boroughs would get exactly what `loda explain` showed under this digest
    #[arg(long, value_name = "DIGEST", conflicts_with = "resume")]
    pub(crate) as_explained: Option<String>,
    /// Name the method of protection too, with its parameters
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

impl Query {
    /// The format that is asked for, or that the file's name ends in.
    pub(crate) fn format(&self) -> Format {
        let ending = self.out.as_ref().and_then(|file| file.extension()).and_then(|ending| ending.to_str());
        let by_name = ending.and_then(|ending| Format::from_str(ending, true).ok());
        self.format.or(by_name).unwrap_or(Format::Table)
    }
}

const QUERY: &str = "\
Examples:
  loda query -p demo 'SELECT borough, COUNT(*) AS n FROM residents
                      GROUP BY borough'
  loda query -p demo -f tenures.sql --out tenures.csv
  echo 'SELECT …' | loda query -p demo --format json | jq .statement
  loda query -p demo -f long.sql --detach     prints an id …
  loda query --resume 0b54…                   … and this fetches the answer

The answer goes to standard output, and its statement to standard error (in
json and xlsx: inside; in parquet and arrow also inside, as the metadata
loda.statement).

Missing values: [c] is withheld, [x] is from a borough that did not answer,
[z] lies outside the time that a borough's data cover, and – is no value at
all. A note column appears where more is to be said, such as \"lacks 3
boroughs: 2 withheld, 1 no answer\". json, parquet and arrow have nulls
instead, and always the column `reason`.

Errors: a figure with ±2.2 is off by less than twice that, 4.4, in 19 of 20
cases: that is what protection changes. Of a sum or a mean whose values are
cut off at bounds, and of a quantile, the statement says what else to know.

table   shows the digits that the error leaves, and commas between
        thousands; on a terminal, 200 rows
csv     exact numbers; text that a spreadsheet would run as a formula (it
        begins with = + - @, a tab or a carriage return) gets a single quote
        before it; control characters in text are dropped
json    {\"columns\": […], \"rows\": [[…], …], \"statement\": {…}}
arrow   an Arrow IPC stream
xlsx    a workbook: figures on one sheet, on another who answered and what
        the symbols mean

Ctrl-C cancels the query at the boroughs, and so does a connection that is
lost and does not come back. Exit codes: see loda --help.";

#[derive(Debug, Args)]
#[command(after_help = EXPLAIN)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) question: Question,
    /// Also what each borough is sent as SQL, and its SHA-256 in the logs
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

const EXPLAIN: &str = "\
Example:
  loda explain -p demo 'SELECT tenure, COUNT(*) FROM residents
                        GROUP BY tenure'

In words what the boroughs are asked, how many figures can come back, and who
says no, why, and what would be allowed. Nothing is read.

Exit codes: 0 all would answer, 3 refused by the coordinator or by all, 4 some
would not answer, 5 none was reached.";

#[derive(Debug, Args)]
pub(crate) struct Catalogue {
    /// Show this table's columns
    #[arg(value_name = "TABLE")]
    pub(crate) table: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
}

#[derive(Debug, Args)]
pub(crate) struct Nodes {
    /// How to print it
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
}

#[derive(Debug, Args)]
pub(crate) struct Purposes {
    /// How to print it
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Csv,
    Json,
    Parquet,
    Arrow,
    Xlsx,
}

#[derive(Debug, Args)]
pub(crate) struct Pki {
    #[command(subcommand)]
    pub(crate) command: PkiCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PkiCommand {
    /// Make an authority in a folder, for development only
    ///
    /// Each borough, the coordinator, and the analysts together have an authority of their own;
    /// the manifest says which authority may issue what.
    #[command(after_help = "Example:\n  loda pki init camden-ca --domain london.example --name 'Camden (development)'")]
    Init(PkiInit),
    /// Issue a certificate and its key
    #[command(after_help = ISSUE)]
    Issue(PkiIssue),
    /// Issue a certificate for the web: what people's own tools see at the coordinator's doors
    #[command(after_help = "Example:\n  loda pki web coordinator-ca coordinator.example --out certificates")]
    Web(PkiWeb),
    /// Take certificates back, and sign the list that says so
    #[command(after_help = REVOKE)]
    Revoke(PkiRevoke),
    /// Sign a fresh revocation list: needed before the last one ends, revoked or not
    Crl(PkiCrl),
    /// Show what an authority has issued, what ends soon, and what is revoked
    List(PkiList),
    /// Show who your certificate says you are, under the manifest
    Show(PkiShow),
}

const ISSUE: &str = "\
Examples:
  loda pki issue people-ca analyst alice
  loda pki issue people-ca auditor bob --days 30
  loda pki issue camden-ca node E09000007 --out certificates
  loda pki issue coordinator-ca coordinator";

#[derive(Debug, Args)]
pub(crate) struct PkiInit {
    /// The folder to make
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// The federation's trust domain, as in the manifest
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: String,
    /// The authority's name, for people
    #[arg(long, default_value = "loda development authority")]
    pub(crate) name: String,
    /// How long it is valid
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(i64).range(1..=3650))]
    pub(crate) days: i64,
}

#[derive(Debug, Args)]
pub(crate) struct PkiWeb {
    /// The authority's folder
    #[arg(value_name = "AUTHORITY")]
    pub(crate) folder: PathBuf,
    /// Each name or address by which tools find the doors
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    /// Where to write web.pem and web.key
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(crate) out: PathBuf,
    /// How long it is valid
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(i64).range(1..=398))]
    pub(crate) days: i64,
}

#[derive(Debug, Args)]
pub(crate) struct PkiIssue {
    /// The authority's folder
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// What the holder is
    #[arg(value_enum)]
    pub(crate) role: RoleKind,
    /// Who: an analyst's or auditor's id, a node's GSS code; nothing for the coordinator
    #[arg(value_name = "ID", required_if_eq_any([("role", "analyst"), ("role", "auditor"), ("role", "node")]))]
    pub(crate) id: Option<String>,
    /// Where to write ID.pem and ID.key [default: the working folder]
    #[arg(long, short, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// How long it is valid
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(i64).range(1..=3650))]
    pub(crate) days: i64,
    /// Renew: write over the certificate and key that are there. A program that runs takes them up by itself
    #[arg(long)]
    pub(crate) replace: bool,
}

const REVOKE: &str = "\
Examples:
  loda pki revoke people-ca spiffe://london.example/analyst/alice
  loda pki revoke people-ca 5f3a…                     one certificate, by its serial number (loda pki list)
Then put FOLDER/crl.pem into every party's folder of revocation lists: it counts within two seconds.";

#[derive(Debug, Args)]
pub(crate) struct PkiRevoke {
    /// The authority's folder
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// Whose: a whole SPIFFE id (all its certificates) or a serial number
    #[arg(value_name = "WHO")]
    pub(crate) who: String,
    /// How long the list counts
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=365))]
    pub(crate) days: i64,
}

#[derive(Debug, Args)]
pub(crate) struct PkiCrl {
    /// The authority's folder
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// How long the list counts
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=365))]
    pub(crate) days: i64,
}

#[derive(Debug, Args)]
pub(crate) struct PkiList {
    /// The authority's folder
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleKind {
    Analyst,
    Auditor,
    Node,
    Coordinator,
}

#[derive(Debug, Args)]
pub(crate) struct PkiShow {
    /// Another certificate than the configuration's
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Another manifest than the configuration's
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// Another folder of revocation lists than the configuration's
    #[arg(long, value_name = "FOLDER")]
    pub(crate) revocation_lists: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Loda::command().debug_assert();
    }

    #[test]
    fn help_gives_every_exit_code() {
        let help = Loda::command().render_long_help().to_string();
        for code in 0..=6 {
            assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{code}  "))), "{code}: {help}");
        }
    }

    #[test]
    fn a_question_has_one_source() {
        assert!(Loda::try_parse_from(["loda", "query", "SELECT 1", "--file", "x.sql"]).is_err());
        assert!(Loda::try_parse_from(["loda", "query", "--timeout", "0", "SELECT 1"]).is_err());
        assert!(Loda::try_parse_from(["loda", "pki", "issue", "ca", "analyst"]).is_err());
        assert!(Loda::try_parse_from(["loda", "pki", "issue", "ca", "coordinator"]).is_ok());
    }
}
