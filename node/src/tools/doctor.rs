//! `loda-node doctor`: the faults that would keep this node from serving, and their fixes. It changes nothing, except
//! that it makes a missing state folder.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use loda_contract::Contract;
use loda_identity::{Identity, PeerId, Role};
use loda_proto::VERSIONS;
use loda_transport::reach;

use crate::config::Config;
use crate::query::agreement::Agreement;
use crate::{epochs, snapshot};

const DAY: i64 = 24 * 60 * 60;
/// The report mentions certificates and lists that end within this many days.
const SOON: i64 = 14;
/// The free space that a node needs for its snapshots and log.
const DISK_MIB: u64 = 1024;
const REACH: Duration = Duration::from_secs(10);

/// The report, line by line, and the number of faults. Without a fault, the node can serve.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) faults: usize,
}

impl Report {
    fn good(&mut self, what: &str, found: &str) {
        let _infallible = writeln!(self.text, "  ok    {what}: {found}");
    }

    fn hint(&mut self, what: &str, found: &str, fix: &str) {
        let _infallible = writeln!(self.text, "  soon  {what}: {found}\n        fix: {fix}");
    }

    fn fault(&mut self, what: &str, found: &str, fix: &str) {
        self.faults = self.faults.saturating_add(1);
        let _infallible = writeln!(self.text, "  FAULT {what}: {found}\n        fix: {fix}");
    }
}

/// Examines a node's configuration and its surroundings.
pub(crate) async fn doctor(path: &Path) -> Report {
    let mut report = Report::default();
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            report.fault("configuration", &error.to_string(), "correct it as the message says");
            return report;
        }
    };
    report.good("configuration", &path.display().to_string());
    report.good("version", &format!("{}, protocol {VERSIONS:?}", env!("CARGO_PKG_VERSION")));
    disk(&config, &mut report);
    private(&config.identity.key, &mut report);
    match Agreement::load(&config.agreement) {
        Ok(agreement) => {
            let contracts = config.datasets.iter().filter_map(|dataset| Contract::load(&dataset.contract).ok());
            let held: Vec<String> = contracts.map(|contract| contract.dataset).collect();
            let doubts = agreement.doubts(&held, chrono::Utc::now().date_naive());
            if doubts.is_empty() {
                report.good("agreement", &config.agreement.display().to_string());
            }
            for doubt in doubts {
                report.fault("agreement", &doubt, "correct it, or have it renewed: what it does not grant is refused");
            }
        }
        Err(error) => report.fault("agreement", &error.to_string(), "correct it; without it every question is refused"),
    }
    standing(&config, &mut report);
    let mut paths = config.identity.clone();
    // A first start pins the manifest. A check does not.
    paths.pinned = paths.pinned.filter(|pinned| pinned.exists());
    match Identity::load(paths) {
        Ok(identity) => {
            certificates(&config, &identity, &mut report);
            contracts(&config, &identity, &mut report);
            coordinator(&config, &identity, &mut report).await;
        }
        Err(error) => report.fault(
            "certificates",
            &error.to_string(),
            "put the files that [tls] and manifest name in place; `loda pki show` says who a certificate is",
        ),
    }
    report
}

fn disk(config: &Config, report: &mut Report) {
    let state = &config.state;
    if let Err(error) = std::fs::create_dir_all(state).and_then(|()| tempfile_in(state)) {
        let fix = "give the node's account write access; nothing runs that cannot be logged there";
        return report.fault("state folder", &format!("{}: {error}", state.display()), fix);
    }
    #[cfg(unix)]
    match rustix::fs::statvfs(state) {
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize) >> 20;
            let found = format!("{} MiB free in {}", free, state.display());
            if free < DISK_MIB {
                report.fault("disk", &found, "make room: a full disk stops the log, and with it every answer");
            } else {
                report.good("disk", &found);
            }
        }
        Err(error) => report.fault("disk", &error.to_string(), "look at the mount of the state folder"),
    }
}

/// Writes, syncs and removes a file.
fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(".doctor");
    let file = std::fs::File::create(&path)?;
    file.sync_all()?;
    std::fs::remove_file(path)
}

fn private(key: &Path, report: &mut Report) {
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(key) {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let found = format!("{} can be read by others (mode {mode:o})", key.display());
            return report.fault(
                "private key",
                &found,
                "chmod 600 it, and have another certificate issued if others had access",
            );
        }
        report.good("private key", "readable by its owner alone");
    }
}

fn certificates(config: &Config, identity: &Identity, report: &mut Report) {
    let now = identity.now();
    let manifest = now.trust.manifest();
    match &now.own.id.role {
        Role::Node(gss) if *gss == config.borough => report.good("identity", &now.own.id.to_string()),
        _ => report.fault(
            "identity",
            &format!("the certificate is of {}, and the configuration of {}", now.own.id, config.borough),
            "correct borough = \"…\", or install this borough's certificate",
        ),
    }
    let clock = chrono::Utc::now().timestamp();
    let ends = |what: &str, end: i64, fix: &str, report: &mut Report| match end.saturating_sub(clock) / DAY {
        days if end < clock => report.fault(what, &format!("ended {} days ago", -days), fix),
        days if days < SOON => report.hint(what, &format!("ends in {days} days"), fix),
        days => report.good(what, &format!("{days} days left")),
    };
    ends("certificate", now.own.not_after, "renew it; a running node takes it up within seconds", report);
    if let Some(end) = now.trust.lists_until() {
        ends("revocation lists", end, "fetch the authorities' newest lists, by a timer: see deploy/sample", report);
    }
    for who in now.trust.unverifiable() {
        let fix = "put its newest list into the folder of revocation lists; until then its certificates are refused";
        // A node speaks only with the coordinator.
        if who == "the coordinator" || who.ends_with(config.borough.as_str()) {
            report.fault("revocation list", &format!("none that is current of {who}"), fix);
        } else {
            report.hint("revocation list", &format!("none that is current of {who}"), fix);
        }
    }
    for fault in identity.faults() {
        report.fault("files", &fault, "replace the file");
    }
    let hash = hex::encode(now.trust.manifest().sha256());
    report
        .good("manifest", &format!("version {}, sha256 {hash}: compare it with the other members'", manifest.version));
    match manifest.member(&config.borough) {
        None => report.fault("membership", "the manifest does not name this borough", "see `loda federation join`"),
        Some(member) if member.dials_out() && !config.dial_out => report.fault(
            "membership",
            "the manifest says that this node dials out, and the configuration does not",
            "set dial_out = true",
        ),
        Some(member) if !member.dials_out() && config.listen.is_none() => report.fault(
            "membership",
            &format!("the manifest says that this node listens at {}", member.address),
            "set listen, or have the manifest say \"dial-out\"",
        ),
        Some(member) => report.good("membership", &format!("{}, {}", member.name, member.address)),
    }
    if config.state.join("log.key").exists() {
        match loda_identity::SigningKey::load(&config.state.join("log.key")) {
            Ok(key) if manifest.member(&config.borough).is_some_and(|m| m.log_key == key.public_hex()) => {
                report.good("log key", "the manifest's");
            }
            Ok(_) => report.fault("log key", "not the one in the manifest", "restore state/log.key from its copy"),
            Err(error) => report.fault("log key", &error.to_string(), "restore state/log.key from its copy"),
        }
    }
}

fn contracts(config: &Config, identity: &Identity, report: &mut Report) {
    let manifest = identity.manifest();
    for dataset in &config.datasets {
        let name = dataset.contract.display().to_string();
        let read = std::fs::read_to_string(&dataset.contract).map_err(|error| error.to_string());
        match read.and_then(|text| Contract::parse(&text, &name).map_err(|error| error.to_string())) {
            Ok(contract) => {
                let pinned = manifest.datasets.iter().find(|d| d.name == contract.dataset);
                match pinned {
                    Some(d) if d.contract_sha256 == contract.sha256 => report.good("contract", &contract.dataset),
                    Some(d) => report.fault(
                        "contract",
                        &format!(
                            "{name} has been edited since the members agreed on it: its SHA-256 is {}, and the manifest's {}",
                            short(&contract.sha256),
                            short(&d.contract_sha256)
                        ),
                        "propose the edited contract to the members (in a trial: run loda federation trial again), or put \
                         the agreed one back; the dataset is not served until then",
                    ),
                    None => report.fault(
                        "contract",
                        &format!("the manifest has no dataset '{}'", contract.dataset),
                        "propose it to the members (in a trial: run loda federation trial again); it is not served until then",
                    ),
                }
            }
            Err(error) => report.fault("contract", &format!("{name}: {error}"), "correct it as the message says"),
        }
        for fault in dataset.mapping.sources.iter().filter_map(|source| source.files().err()) {
            report.fault("source", &format!("{fault:#}"), "put the extract there; the last good snapshot stays in use");
        }
    }
}

/// Enough of a hash to tell two contracts apart.
fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

/// For data about people: the snapshot that is served, its last day, and the data that wait.
fn standing(config: &Config, report: &mut Report) {
    for dataset in &config.datasets {
        // A contract that cannot be read is reported with the contracts.
        let Ok(contract) = Contract::load(&dataset.contract).map(Arc::new) else { continue };
        if !contract.protection.may_be_about_people() {
            continue;
        }
        let what = format!("epoch of {}", contract.dataset);
        let pin = match epochs::pinned(&config.state, &contract.dataset) {
            Ok(Some(pin)) => pin,
            Ok(None) => {
                report.good(&what, "opens with the first snapshot that is served");
                continue;
            }
            Err(error) => {
                report.fault(&what, &format!("{error:#}"), "restore epochs.json from the backup");
                continue;
            }
        };
        if pin.contract != contract.sha256 {
            let fix = format!("put the former contract back, or wait: it is not served before {}", pin.ends);
            report.fault(&what, &format!("the contract changed within epoch {}", pin.until), &fix);
            continue;
        }
        if let Some(rule) = &contract.closure.period {
            match epochs::listed(&config.state, &contract) {
                Ok(closed) => match closed.last() {
                    Some(last) => report.good(
                        &what,
                        &format!(
                            "{} periods are closed, the last {}; the next closes with data that describe {} or later; registers \
                             see {} of them until {} begins",
                            closed.len(),
                            last.period,
                            epochs::next_closing(rule, last.period),
                            pin.periods.len(),
                            pin.ends
                        ),
                    ),
                    None => report.good(&what, "no period is closed yet"),
                },
                Err(error) => report.fault(&what, &format!("{error:#}"), "restore the state folder from the backup"),
            }
            continue;
        }
        if let Err(error) = snapshot::by_id(&config.state, &contract, pin.snapshot) {
            let fix = format!("restore it and epochs.json from the backup, or wait: not served before {}", pin.ends);
            report.fault(&what, &format!("its pinned snapshot cannot be read: {error:#}"), &fix);
            continue;
        }
        match snapshot::newest(&config.state, &contract) {
            Ok(Some(newest)) if newest.id > pin.snapshot => report.hint(
                &what,
                &format!(
                    "snapshot {} is served until {} begins, and snapshot {} of {} waits for that day",
                    pin.snapshot, pin.ends, newest.id, newest.as_at
                ),
                "nothing, if `loda-node check` reads as it should: what opens on that day stands for an epoch",
            ),
            _ => report.good(&what, &format!("snapshot {} is served until {} begins", pin.snapshot, pin.ends)),
        }
    }
}

async fn coordinator(config: &Config, identity: &Identity, report: &mut Report) {
    let manifest = identity.manifest();
    let id = PeerId { domain: manifest.domain.clone(), role: Role::Coordinator };
    let address = &manifest.coordinator.address;
    match reach(address, identity, &id, REACH).await {
        Ok(()) => report.good("coordinator", &format!("{address} answers, and accepts our certificate")),
        Err(error) => {
            let found = format!("{address}: {error}");
            if config.dial_out {
                let fix = "ask the firewall's keeper to allow this host out to that address and port";
                report.fault("coordinator", &found, fix);
            } else {
                let fix = "a node that listens need not reach it; if it should, allow this host out to it";
                report.hint("coordinator", &found, fix);
            }
        }
    }
}
