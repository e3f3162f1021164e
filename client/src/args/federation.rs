//! `loda federation`: who belongs, and how that changes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(after_help = STEPS)]
pub(crate) struct Federation {
    #[command(subcommand)]
    pub(crate) command: FederationCommand,
}

const STEPS: &str = "\
A federation begins: `loda federation found` writes a draft, boroughs are invited and ask to join as below, and one
`loda federation add draft.toml request-a.toml request-b.toml --out manifest.toml` makes the first version. Everybody
compares its hash (loda federation show), by telephone and not by mail.

A borough joins later:
  1  a member:      loda federation invite manifest.toml E09000007 'Camden' --out invitation.toml
  2  the borough:   loda federation join invitation.toml --address dial-out --ca ca.pem --log-key state/log.key
  3  a member:      loda federation add manifest.toml request.toml --out next/manifest.toml
  4  members:       loda federation sign next/manifest.toml --current manifest.toml --borough E09000012 --log-key state/log.key
  5  everybody:     put next/manifest.toml and next/manifest.toml.signatures in place of the old ones; programs that
                    run take them up within seconds, once enough members have signed
A borough leaves: `loda federation leave` makes the next version, and steps 4 and 5 are the same.";

#[derive(Debug, Subcommand)]
pub(crate) enum FederationCommand {
    /// Write the draft of a new federation's manifest: its coordinator, its authorities, its datasets
    Found(Found),
    /// Show the members, the manifest's hash to compare, and who has signed the next version
    Show(Show),
    /// Write what a borough needs to know to ask to join
    Invite(Invite),
    /// Ask to join: write a request with the borough's authority, address and log key
    Join(Join),
    /// Make the next version of the manifest, with a borough that asked to join
    Add(Add),
    /// Make the next version of the manifest, without a borough
    Leave(Leave),
    /// Sign the next version in a member's name, after showing what it changes
    Sign(Sign),
    /// Get the versions of the manifest that this one missed, from the coordinator; each is checked against the one before
    #[command(
        after_help = "It writes MANIFEST, its signatures and MANIFEST.chain, which hands all versions on to others:\n\
    copied beside a node's manifest, it brings the node up to date by itself."
    )]
    Update(Update),
    /// Make a federation of one in this folder, to try things out on one machine
    #[command(after_help = "Example, after `loda-node init`:\n  loda federation trial --borough E09000022")]
    Trial(Trial),
}

#[derive(Debug, Args)]
pub(crate) struct Found {
    /// The federation's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Its trust domain
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: String,
    /// host:port of the coordinator
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) coordinator: String,
    /// The certificate (PEM) of the authority that issues for the coordinator
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: PathBuf,
    /// The coordinator's log key; made where there is none
    #[arg(long, value_name = "FILE")]
    pub(crate) log_key: PathBuf,
    /// The certificate (PEM) of an authority that issues for analysts and auditors; more than once for several
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) people: Vec<PathBuf>,
    /// A dataset's contract; more than once for several
    #[arg(long, value_name = "FILE")]
    pub(crate) contract: Vec<PathBuf>,
    /// How many members must sign each later version [default: more than half]
    #[arg(long, value_name = "K")]
    pub(crate) approvals: Option<u32>,
    /// How many members must have confirmed the coordinator's query log lately, or nodes answer nothing: two thirds of
    /// them is a good number
    #[arg(long, value_name = "K")]
    pub(crate) witnesses: Option<u32>,
    /// Within how many minutes they must [default: 60]
    #[arg(long, value_name = "MINUTES", requires = "witnesses")]
    pub(crate) witness_minutes: Option<u32>,
    /// Where to write the draft
    #[arg(long, short, value_name = "FILE", default_value = "draft.toml")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The manifest
    #[arg(value_name = "MANIFEST", default_value = "manifest.toml")]
    pub(crate) manifest: PathBuf,
    /// The version in use, to see what changes and who has signed
    #[arg(long, value_name = "MANIFEST")]
    pub(crate) current: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The manifest in use
    #[arg(value_name = "MANIFEST", default_value = "manifest.toml")]
    pub(crate) manifest: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Invite {
    /// The manifest in use
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    /// The borough's GSS code
    #[arg(value_name = "CODE")]
    pub(crate) borough: String,
    /// Its name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Where to write the invitation
    #[arg(long, short, value_name = "FILE", default_value = "invitation.toml")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Join {
    /// The invitation
    #[arg(value_name = "INVITATION")]
    pub(crate) invitation: PathBuf,
    /// host:port where the coordinator reaches the node, or "dial-out" where the firewall lets nothing in
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: String,
    /// The certificate (PEM) of the authority that issues for this borough's node
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: PathBuf,
    /// The node's log key; made where there is none
    #[arg(long, value_name = "FILE")]
    pub(crate) log_key: PathBuf,
    /// Where to write the request
    #[arg(long, short, value_name = "FILE", default_value = "request.toml")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The manifest in use
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    /// The boroughs' requests
    #[arg(value_name = "REQUEST", required = true)]
    pub(crate) requests: Vec<PathBuf>,
    /// Where to write the next version
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Leave {
    /// The manifest in use
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    /// The GSS code of the borough that leaves
    #[arg(value_name = "CODE")]
    pub(crate) borough: String,
    /// Where to write the next version
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The next version
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    /// The version in use
    #[arg(long, value_name = "MANIFEST")]
    pub(crate) current: PathBuf,
    /// The GSS code of the member that signs
    #[arg(long, value_name = "CODE")]
    pub(crate) borough: String,
    /// Its log key
    #[arg(long, value_name = "FILE")]
    pub(crate) log_key: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Trial {
    /// The borough's GSS code
    #[arg(long, value_name = "CODE")]
    pub(crate) borough: String,
    /// A dataset's contract; more than once for several [default: all in FOLDER/contracts]
    #[arg(long, value_name = "FILE")]
    pub(crate) contract: Vec<PathBuf>,
    /// The port of the coordinator; the node has the next
    #[arg(long, default_value_t = 7443)]
    pub(crate) port: u16,
    /// Where to make it
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(crate) folder: PathBuf,
}
