//! `loda federation trial`: a whole federation in one folder, for a borough's first hour. All its keys are in this
//! folder, so it is for trying things out and never for service.

use std::fs;
use std::path::{Path, PathBuf};

use loda_contract::Contract;
use loda_identity::{
    AnalystAuthority, Authority, CoordinatorEntry, DatasetEntry, Gss, Manifest, Member, PeerId, Role, Signatures,
    SigningKey, write_private,
};

use super::manifest::{following, load, log_key};
use crate::args::federation::Trial;
use crate::commands::failure::Failure;
use crate::commands::files::{self, make_folder_of};
use crate::commands::session::Session;

const DOMAIN: &str = "trial.example";
const PURPOSE: &str = "trial";
const DAYS: i64 = 30;

/// The three authorities of a trial. Each revocation list has the name of its authority.
const AUTHORITIES: [&str; 3] = ["office", "people", "borough"];

pub(super) fn run(trial: &Trial, session: &mut Session<'_>) -> Result<(), Failure> {
    let folder = trial.folder.as_path();
    let gss: Gss = trial.borough.parse().map_err(|error| Failure::Usage(format!("{}: {error}", trial.borough)))?;
    let contracts = contracts(trial, folder)?;
    let datasets = contracts.iter().map(|(_, contract)| DatasetEntry {
        name: contract.dataset.clone(),
        contract_sha256: contract.sha256.clone(),
        protection: contract.protection.name().to_owned(),
    });
    let datasets: Vec<DatasetEntry> = datasets.collect();
    let manifest = folder.join("manifest.toml");
    if manifest.exists() {
        renew(&manifest, &gss, datasets, folder, session)?;
    } else {
        found(trial, &gss, datasets, folder, session)?;
    }
    doors(folder)?;
    let names: Vec<&str> = contracts.iter().map(|(_, contract)| contract.dataset.as_str()).collect();
    agreement(folder, &names, session)?;
    let quoted: Vec<String> = contracts.iter().map(|(path, _)| format!("\"../{}\"", path.display())).collect();
    write(
        &folder.join("coordinator/coordinator.toml"),
        &format!(
            "listen = \"127.0.0.1:{}\"\nmanifest = \"../manifest.toml\"\ncontracts = [{}]\nstate = \"state\"\n\n[tls]\n\
             certificate = \"tls.pem\"\nkey = \"tls.key\"\nrevocation_lists = \"../revocation\"\n\n[doors]\n\
             listen = \"127.0.0.1:{}\"\ncertificate = \"web.pem\"\nkey = \"web.key\"\n",
            trial.port,
            quoted.join(", "),
            trial.port.saturating_add(2)
        ),
    )?;
    let example = names.first().copied().unwrap_or("DATASET");
    writeln!(
        session.out,
        "\nNow, in three terminals in this folder:\n  loda-node --config node.toml\n  loda-coordinator --config \
         coordinator/coordinator.toml\n  loda query -p {PURPOSE} \"SELECT COUNT(*) AS n FROM {example}\"\n\nFor Python, a spreadsheet or \
         curl: `loda token new NAME`, and https://localhost:{} with web-ca.pem (docs/tools.md)",
        trial.port.saturating_add(2)
    )?;
    Ok(())
}

/// The named contracts, else all contracts of the folder. Paths are relative to the folder.
fn contracts(trial: &Trial, folder: &Path) -> Result<Vec<(PathBuf, Contract)>, Failure> {
    let mut paths = trial.contract.clone();
    if paths.is_empty() {
        let within = folder.join("contracts");
        let unread = |source| Failure::File { action: "read", path: within.clone(), source };
        for entry in fs::read_dir(&within).map_err(unread)? {
            let path = entry.map_err(unread)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
    }
    let parse = |path: PathBuf| {
        let contract = Contract::load(&path).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok((path.strip_prefix(folder).map(Path::to_owned).unwrap_or(path), contract))
    };
    paths.into_iter().map(parse).collect()
}

fn found(
    trial: &Trial,
    gss: &Gss,
    datasets: Vec<DatasetEntry>,
    folder: &Path,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let mut authorities = Vec::new();
    for name in AUTHORITIES {
        let authority = Authority::create(&format!("Trial authority: {name}"), DAYS)?;
        let kept = folder.join("authorities").join(name);
        authority.save(&kept)?;
        write(&folder.join("revocation").join(format!("{name}.pem")), &authority.revocation_list(&[], DAYS)?)?;
        authorities.push(authority);
    }
    let [office, people, borough] = authorities.as_slice() else {
        return Err(Failure::Usage("a trial has three authorities".to_owned()));
    };
    let issue = |authority: &Authority, role: Role, at: &Path, name: &str| -> Result<(), Failure> {
        let id = PeerId::new(DOMAIN, role).map_err(|error| Failure::Usage(error.to_string()))?;
        let issued = authority.issue(&id, DAYS)?;
        write(&at.join(format!("{name}.pem")), &issued.cert_pem)?;
        Ok(write_private(&at.join(format!("{name}.key")), issued.key_pem.as_bytes())?)
    };
    issue(office, Role::Coordinator, &folder.join("coordinator"), "tls")?;
    issue(people, Role::Analyst("you".to_owned()), folder, "analyst")?;
    issue(borough, Role::Node(gss.clone()), folder, "tls")?;
    let node_port = trial.port.saturating_add(1);
    let first = Manifest {
        federation: "A trial".to_owned(),
        domain: DOMAIN.to_owned(),
        version: 1,
        previous: None,
        approvals: None,
        witnesses: None,
        witness_minutes: None,
        coordinator: CoordinatorEntry {
            address: format!("127.0.0.1:{}", trial.port),
            ca: office.ca_pem().to_owned(),
            log_key: log_key(&folder.join("coordinator/state/log.key"), session)?.public_hex(),
        },
        members: vec![Member {
            gss: gss.clone(),
            name: gss.name().unwrap_or(gss.as_str()).to_owned(),
            address: format!("127.0.0.1:{node_port}"),
            ca: borough.ca_pem().to_owned(),
            log_key: log_key(&folder.join("state/log.key"), session)?.public_hex(),
        }],
        analysts: vec![AnalystAuthority { ca: people.ca_pem().to_owned() }],
        datasets,
    };
    first.check().map_err(|error| Failure::Usage(error.to_string()))?;
    write(&folder.join("manifest.toml"), &first.to_toml())?;
    write(
        &folder.join("loda.toml"),
        "manifest = \"manifest.toml\"\ncert = \"analyst.pem\"\nkey = \"analyst.key\"\nrevocation_lists = \"revocation\"\n",
    )?;
    writeln!(
        session.out,
        "wrote manifest.toml, certificates, loda.toml: a federation of one, with all its keys in this folder. For trying \
         things out, never for service; it ends in {DAYS} days"
    )?;
    Ok(())
}

/// Makes the certificate that people's own tools see, and copies the certificate of its authority.
fn doors(folder: &Path) -> Result<(), Failure> {
    let kept = folder.join("coordinator/web.pem");
    if kept.exists() {
        return Ok(());
    }
    let office = Authority::load(folder.join("authorities/office"))?;
    let web = office.issue_web(&["localhost".to_owned(), "127.0.0.1".to_owned()], DAYS)?;
    write(&kept, &web.cert_pem)?;
    write_private(&folder.join("coordinator/web.key"), web.key_pem.as_bytes())?;
    write(&folder.join("web-ca.pem"), office.ca_pem())
}

/// Makes the next version after a change of a contract, signed by the only member.
fn renew(
    manifest: &Path,
    gss: &Gss,
    datasets: Vec<DatasetEntry>,
    folder: &Path,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let current = load(manifest)?;
    if current.domain != DOMAIN {
        return Err(Failure::Usage(format!("{} is no trial's: name another folder", manifest.display())));
    }
    if current.datasets == datasets {
        return Ok(writeln!(session.out, "manifest.toml stays: its contracts have not changed")?);
    }
    let next = Manifest { datasets, ..following(&current) };
    let mut signatures = Signatures::load_beside(manifest)?;
    signatures.sign(gss.clone(), &next, &SigningKey::load(&folder.join("state/log.key"))?);
    write(&Signatures::beside(manifest), &signatures.to_text())?;
    write(manifest, &next.to_toml())?;
    writeln!(session.out, "wrote version {} of manifest.toml: start node and coordinator again", next.version)?;
    Ok(())
}

/// Writes an agreement. An existing agreement is the borough's own and stays as it is.
fn agreement(folder: &Path, datasets: &[&str], session: &mut Session<'_>) -> Result<(), Failure> {
    let path = folder.join("agreement.toml");
    let today = chrono::Utc::now().date_naive();
    let until = today.checked_add_signed(chrono::TimeDelta::days(DAYS)).unwrap_or(today);
    let grant = format!(
        "# What this borough has agreed to. Whatever no grant covers is refused.\nid = \"TRIAL\"\nversion = 1\n\n[[grant]]\n\
         analysts = [\"spiffe://{DOMAIN}/analyst/you\"]\npurposes = [\"{PURPOSE}\"]\ndatasets = {datasets:?}\n\
         from = \"{today}\"\nuntil = \"{until}\"\n"
    );
    if path.exists() {
        writeln!(session.out, "agreement.toml stays as it is: it has to name {}", datasets.join(", "))?;
        return Ok(());
    }
    write(&path, &grant)?;
    writeln!(session.out, "wrote agreement.toml: read it, it is what this borough agrees to")?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    make_folder_of(path)?;
    files::write(path, text)
}
