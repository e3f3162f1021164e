//! `loda pki`: certificates for development.
//!
//! In production, certificates come from a council's own authority. This command is for a first look, the demo and
//! tests. An authority's folder holds ca.pem, ca.key and the trust domain.

mod register;

use std::fs;
use std::path::{Path, PathBuf};

use loda_identity::{Authority, Peer, PeerId, Role, write_private};

use super::failure::Failure;
use super::files::write;
use super::session::Session;
use crate::args::{PkiCommand, PkiInit, PkiIssue, PkiList, PkiRevoke, PkiShow, PkiWeb, RoleKind};
use crate::client::identity;
use crate::config::Config;
use crate::error::ClientError;
use crate::exit;
use loda_answer::plain;
use register::Register;

/// The file in an authority's folder that holds its trust domain.
const DOMAIN: &str = "domain";
/// The number of days for which an authority's first revocation list is valid.
const FIRST_LIST: i64 = 30;

pub(super) fn run(command: &PkiCommand, config: Option<&Path>, session: &mut Session<'_>) -> Result<u8, Failure> {
    match command {
        PkiCommand::Init(init) => initialise(init, session)?,
        PkiCommand::Issue(issue) => issued(issue, session)?,
        PkiCommand::Web(web) => of_web(web, session)?,
        PkiCommand::Revoke(revoke) => revoked(revoke, session)?,
        PkiCommand::Crl(crl) => published(&crl.folder, crl.days, session)?,
        PkiCommand::List(list) => listed(list, session)?,
        PkiCommand::Show(show) => shown(show, config, session)?,
    }
    session.out.flush()?;
    Ok(exit::COMPLETE)
}

fn initialise(init: &PkiInit, session: &mut Session<'_>) -> Result<(), Failure> {
    // A second key under the same name would make all earlier certificates useless.
    if init.folder.join("ca.key").exists() {
        let there = format!("{} holds an authority already\n  fix: name another folder", init.folder.display());
        return Err(Failure::Usage(there));
    }
    peer_id(&init.domain, Role::Coordinator)?;
    let authority = Authority::create(&init.name, init.days)?;
    authority.save(&init.folder)?;
    write(&init.folder.join(DOMAIN), &format!("{}\n", init.domain))?;
    let list = Register::load(&init.folder)?.publish(&authority, FIRST_LIST)?;
    writeln!(
        session.out,
        "wrote {}: put ca.pem into the manifest and keep ca.key to yourself; valid {} days, for development only\n\
         wrote {}: put it into every party's folder of revocation lists; it ends in {FIRST_LIST} days (loda pki crl)",
        init.folder.display(),
        init.days,
        list.display()
    )?;
    Ok(())
}

fn of_web(web: &PkiWeb, session: &mut Session<'_>) -> Result<(), Failure> {
    let authority = Authority::load(&web.folder)?;
    let issued = authority.issue_web(&web.names, web.days)?;
    let (certificate, key) = (web.out.join("web.pem"), web.out.join("web.key"));
    write(&certificate, &issued.cert_pem)?;
    write_private(&key, issued.key_pem.as_bytes())?;
    writeln!(
        session.out,
        "wrote {} and {}: name them under [doors]; tools believe them with the authority's ca.pem, for {} days",
        certificate.display(),
        key.display(),
        web.days
    )?;
    Ok(())
}

fn issued(issue: &PkiIssue, session: &mut Session<'_>) -> Result<(), Failure> {
    let authority = Authority::load(&issue.folder)?;
    let file = issue.folder.join(DOMAIN);
    let domain = fs::read_to_string(&file).map_err(|source| Failure::File { action: "read", path: file, source })?;
    let id = peer_id(domain.trim(), role(issue)?)?;
    let name = issue.id.as_deref().unwrap_or("coordinator");
    let folder = issue.out.clone().unwrap_or_default();
    let at = |extension: &str| folder.join(format!("{name}.{extension}"));
    let (cert, key) = (at("pem"), at("key"));
    if let Some(there) = [&cert, &key].into_iter().find(|file| file.exists() && !issue.replace) {
        let taken = format!(
            "{} exists already\n  fix: renew it with --replace, or name another folder with --out",
            there.display()
        );
        return Err(Failure::Usage(taken));
    }

    let issued = authority.issue(&id, issue.days)?;
    if issue.out.is_some() {
        let unmade = |source| Failure::File { action: "make", path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(unmade)?;
    }
    Register::load(&issue.folder)?.add(&issued.cert_pem)?;
    write_private(&key, issued.key_pem.as_bytes())?;
    write(&cert, &issued.cert_pem)?;
    writeln!(session.out, "wrote {} and {}: {id}, valid {} days", cert.display(), key.display(), issue.days)?;
    Ok(())
}

fn revoked(revoke: &PkiRevoke, session: &mut Session<'_>) -> Result<(), Failure> {
    let mut register = Register::load(&revoke.folder)?;
    let count = register.revoke(&revoke.who)?;
    if count == 0 {
        let fix = format!("`loda pki list {}` shows what it issued", revoke.folder.display());
        return Err(Failure::Usage(format!("this authority issued nothing to {}\n  fix: {fix}", revoke.who)));
    }
    writeln!(session.out, "revoked {count} of {}", revoke.who)?;
    published(&revoke.folder, revoke.days, session)
}

fn published(folder: &Path, days: i64, session: &mut Session<'_>) -> Result<(), Failure> {
    let list = Register::load(folder)?.publish(&Authority::load(folder)?, days)?;
    let path = list.display();
    writeln!(
        session.out,
        "wrote {path}: put it into every party's folder of revocation lists; it ends in {days} days"
    )?;
    Ok(())
}

fn listed(list: &PkiList, session: &mut Session<'_>) -> Result<(), Failure> {
    let now = chrono::Utc::now().timestamp();
    let entries = Register::load(&list.folder)?.entries;
    if entries.is_empty() {
        writeln!(session.out, "this authority has issued nothing")?;
    }
    for entry in entries {
        let state = match entry.not_after.saturating_sub(now) {
            _ if entry.revoked => "revoked".to_owned(),
            left if left < 0 => "ended".to_owned(),
            left => format!("{} days left", left / (24 * 60 * 60)),
        };
        writeln!(session.out, "{state:<14} {}  {}", plain::line(&entry.id), plain::line(&entry.serial))?;
    }
    Ok(())
}

fn shown(show: &PkiShow, config: Option<&Path>, session: &mut Session<'_>) -> Result<(), Failure> {
    let config = match (&show.manifest, &show.cert, &show.key) {
        (Some(manifest), Some(cert), Some(key)) => {
            let lists = show.revocation_lists.clone().unwrap_or_else(|| PathBuf::from("revocation"));
            Config {
                coordinator: None,
                manifest: manifest.clone(),
                cert: cert.clone(),
                key: key.clone(),
                revocation_lists: lists,
            }
        }
        (manifest, cert, key) => {
            let found = Config::find(config).map_err(ClientError::from)?;
            let or = |named: &Option<PathBuf>, found: PathBuf| named.clone().unwrap_or(found);
            Config {
                coordinator: found.coordinator,
                manifest: or(manifest, found.manifest),
                cert: or(cert, found.cert),
                key: or(key, found.key),
                revocation_lists: or(&show.revocation_lists, found.revocation_lists),
            }
        }
    };
    let now = identity(&config).map_err(ClientError::from)?.now();
    let (manifest, peer) = (now.trust.manifest(), &now.own);
    writeln!(session.out, "{}  the certificate in {}", peer.id, config.cert.display())?;
    writeln!(session.out, "  role         {}", peer.id.role.kind())?;
    writeln!(session.out, "  valid until  {}", ends(peer))?;
    writeln!(session.out, "  fingerprint  {}", hex::encode(peer.fingerprint))?;
    writeln!(session.out, "  authority    {}", hex::encode(peer.ca_fingerprint))?;
    writeln!(
        session.out,
        "  federation   {}, manifest version {}, sha256 {}",
        plain::line(&manifest.federation),
        manifest.version,
        hex::encode(manifest.sha256())
    )?;
    Ok(())
}

fn role(issue: &PkiIssue) -> Result<Role, Failure> {
    let id = issue.id.clone().unwrap_or_default();
    Ok(match issue.role {
        RoleKind::Analyst => Role::Analyst(id),
        RoleKind::Auditor => Role::Auditor(id),
        RoleKind::Node => Role::Node(id.parse().map_err(|error| Failure::Usage(format!("{id}: {error}")))?),
        RoleKind::Coordinator if id.is_empty() => Role::Coordinator,
        RoleKind::Coordinator => {
            return Err(Failure::Usage(format!("the coordinator has no id\n  fix: leave out {id}")));
        }
    })
}

fn peer_id(domain: &str, role: Role) -> Result<PeerId, Failure> {
    let wrong = |_| {
        let fix = "a domain is like london.example, and an id of a to z, 0 to 9, and . _ -";
        Failure::Usage(format!("spiffe://{domain}{role} is not an identity\n  fix: {fix}"))
    };
    PeerId::new(domain, role.clone()).map_err(wrong)
}

fn ends(peer: &Peer) -> String {
    match chrono::DateTime::from_timestamp(peer.not_after, 0) {
        Some(time) => time.format("%-d %B %Y, %H:%M UTC").to_string(),
        None => "a time that no calendar has".into(),
    }
}
