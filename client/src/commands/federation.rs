//! `loda federation`: joining, leaving, signing. People exchange files; only `update` needs a network.

pub(super) mod manifest;
mod trial;

use std::path::Path;

use loda_contract::Contract;
use loda_identity::{
    AnalystAuthority, Chain, CoordinatorEntry, DIAL_OUT, DatasetEntry, Gss, Manifest, Member, Signatures, SigningKey,
    Version, verify, write_private,
};
use loda_proto::v1::ManifestVersion;
use serde::{Deserialize, Serialize};

use super::connection::connect;
use super::failure::Failure;
use super::files::{make_folder_of, read};
use super::session::Session;
use crate::args::federation::{Add, FederationCommand, Found, Invite, Join, Leave, Show, Sign, Update};
use crate::exit;
use loda_answer::plain;
use manifest::{following, load, log_key};

/// The invitation that a borough gets.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invitation {
    federation: String,
    domain: String,
    coordinator: String,
    /// The version of the manifest in use. People compare its hash by telephone.
    manifest_version: u64,
    manifest_sha256: String,
    gss: Gss,
    name: String,
}

/// The borough's request to join.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    federation: String,
    /// The log key's signature over all other fields. It proves that the sender holds the key.
    proof: String,
    member: Member,
}

impl Request {
    fn message(federation: &str, member: &Member) -> Vec<u8> {
        let Member { gss, name, address, ca, log_key } = member;
        format!("loda request to join\n{federation}\n{gss}\n{name}\n{address}\n{log_key}\n{ca}\n").into_bytes()
    }
}

pub(super) async fn run(
    command: &FederationCommand,
    config: Option<&Path>,
    session: &mut Session<'_>,
) -> Result<u8, Failure> {
    match command {
        FederationCommand::Found(found) => founded(found, session)?,
        FederationCommand::Show(show) => shown(show, session)?,
        FederationCommand::Invite(invite) => invited(invite, session)?,
        FederationCommand::Join(join) => joined(join, session)?,
        FederationCommand::Add(add) => added(add, session)?,
        FederationCommand::Leave(leave) => left(leave, session)?,
        FederationCommand::Sign(sign) => signed(sign, session)?,
        FederationCommand::Update(update) => updated(update, config, session).await?,
        FederationCommand::Trial(trial) => trial::run(trial, session)?,
    }
    session.out.flush()?;
    Ok(exit::COMPLETE)
}

async fn updated(update: &Update, config: Option<&Path>, session: &mut Session<'_>) -> Result<(), Failure> {
    let current = load(&update.manifest)?;
    let path = Chain::beside(&update.manifest);
    let mut chain = Chain::load(&path)?;
    let mut newest = chain.advance(&current, &[]);
    let client = connect(config).await?;
    loop {
        let parse =
            |told: ManifestVersion| Version::parse(&told.manifest, &told.signatures, "the coordinator's answer");
        let told = client.successors(newest.version).await?;
        let offered = told.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let next = chain.advance(&newest, &offered);
        if next == newest {
            let refused = |offered: &Version| newest.may_become(&offered.manifest, &offered.signatures).err();
            if let Some(reason) = offered.iter().find_map(refused) {
                writeln!(session.out, "the coordinator has a later version that cannot follow: {reason}")?;
            }
            break;
        }
        changes(&newest, &next, session)?;
        newest = next;
    }
    if newest == current {
        writeln!(session.out, "version {} is the newest", current.version)?;
        return Ok(());
    }
    let signatures = chain.versions().last().map(|version| version.signatures.to_text()).unwrap_or_default();
    write(&path, &chain.to_text())?;
    write(&Signatures::beside(&update.manifest), &signatures)?;
    write(&update.manifest, &newest.to_toml())?;
    let hash = hex::encode(newest.sha256());
    writeln!(session.out, "wrote {}, version {}, sha256 {hash}", update.manifest.display(), newest.version)?;
    writeln!(session.out, "  {} hands all versions on to others", path.display())?;
    Ok(())
}

fn shown(show: &Show, session: &mut Session<'_>) -> Result<(), Failure> {
    let manifest = load(&show.manifest)?;
    let out = &mut session.out;
    writeln!(out, "{}, version {}", plain::line(&manifest.federation), manifest.version)?;
    writeln!(out, "  sha256       {}  (compare it with the other members')", hex::encode(manifest.sha256()))?;
    writeln!(out, "  coordinator  {}", plain::line(&manifest.coordinator.address))?;
    writeln!(
        out,
        "  the next version needs the signatures of {} of {} members",
        manifest.quorum(),
        manifest.members.len()
    )?;
    for member in &manifest.members {
        let key: String = member.log_key.chars().take(16).collect();
        writeln!(
            out,
            "  {}  {:<24} {:<28} log key {key}…",
            member.gss,
            plain::line(&member.name),
            plain::line(&member.address)
        )?;
    }
    if let Some(current) = &show.current {
        let current = load(current)?;
        changes(&current, &manifest, session)?;
        let signatures = Signatures::load_beside(&show.manifest)?;
        let signers: Vec<String> = current.signers(&manifest, &signatures).iter().map(ToString::to_string).collect();
        writeln!(
            session.out,
            "signed by {} of the {} it needs: {}",
            signers.len(),
            current.quorum(),
            signers.join(", ")
        )?;
        match current.may_become(&manifest, &signatures) {
            Ok(()) => writeln!(session.out, "it may be put in place")?,
            Err(reason) => writeln!(session.out, "not yet: {reason}")?,
        }
    }
    Ok(())
}

fn invited(invite: &Invite, session: &mut Session<'_>) -> Result<(), Failure> {
    let manifest = load(&invite.manifest)?;
    let gss = borough(&invite.borough)?;
    if manifest.member(&gss).is_some() {
        return Err(Failure::Usage(format!("{gss} is a member already")));
    }
    let invitation = Invitation {
        federation: manifest.federation.clone(),
        domain: manifest.domain.clone(),
        coordinator: manifest.coordinator.address.clone(),
        manifest_version: manifest.version,
        manifest_sha256: hex::encode(manifest.sha256()),
        gss,
        name: invite.name.clone(),
    };
    write(&invite.out, &to_toml(&invitation)?)?;
    writeln!(
        session.out,
        "wrote {}: send it to the borough with the manifest; they compare the hash with you, and run `loda federation join`",
        invite.out.display()
    )?;
    Ok(())
}

fn joined(join: &Join, session: &mut Session<'_>) -> Result<(), Failure> {
    let invitation: Invitation = from_toml(&join.invitation)?;
    let key = log_key(&join.log_key, session)?;
    let ca = read(&join.ca)?;
    let member = Member {
        gss: invitation.gss,
        name: invitation.name,
        address: join.address.clone(),
        ca,
        log_key: key.public_hex(),
    };
    let proof = hex::encode(key.sign(&Request::message(&invitation.federation, &member)));
    let request = Request { federation: invitation.federation, proof, member };
    write(&join.out, &to_toml(&request)?)?;
    let how = if join.address == DIAL_OUT {
        "the node dials out".to_owned()
    } else {
        format!("the node listens at {}", join.address)
    };
    writeln!(session.out, "wrote {}: send it back ({how})", join.out.display())?;
    writeln!(session.out, "  its log key, to compare: {}", request.member.log_key)?;
    Ok(())
}

fn founded(found: &Found, session: &mut Session<'_>) -> Result<(), Failure> {
    let datasets = found.contract.iter().map(|path| {
        let contract = Contract::parse(&read(path)?, &path.display().to_string());
        let contract = contract.map_err(|error| Failure::Usage(error.to_string()))?;
        let protection = contract.protection.name().to_owned();
        Ok(DatasetEntry { name: contract.dataset, contract_sha256: contract.sha256, protection })
    });
    let draft = Manifest {
        federation: found.name.clone(),
        domain: found.domain.clone(),
        version: 1,
        previous: None,
        approvals: found.approvals,
        witnesses: found.witnesses,
        witness_minutes: found.witness_minutes,
        coordinator: CoordinatorEntry {
            address: found.coordinator.clone(),
            ca: read(&found.ca)?,
            log_key: log_key(&found.log_key, session)?.public_hex(),
        },
        members: Vec::new(),
        analysts: found
            .people
            .iter()
            .map(|path| Ok(AnalystAuthority { ca: read(path)? }))
            .collect::<Result<_, Failure>>()?,
        datasets: datasets.collect::<Result<_, Failure>>()?,
    };
    // The number of approvals and of witnesses is checked once there are members.
    let checked = Manifest { approvals: None, witnesses: None, witness_minutes: None, ..draft.clone() };
    checked.check().map_err(|error| Failure::Usage(error.to_string()))?;
    write(&found.out, &draft.to_toml())?;
    writeln!(session.out, "wrote {}: invite boroughs with `loda federation invite`", found.out.display())?;
    Ok(())
}

fn added(add: &Add, session: &mut Session<'_>) -> Result<(), Failure> {
    let current = load(&add.manifest)?;
    // A draft becomes the first version, because nobody uses it yet.
    let is_draft = current.members.is_empty();
    let mut next = if is_draft { current.clone() } else { following(&current) };
    for path in &add.requests {
        let request: Request = from_toml(path)?;
        let proof = hex::decode(&request.proof).unwrap_or_default();
        let message = Request::message(&request.federation, &request.member);
        if request.federation != current.federation || !verify(&request.member.log_key, &message, &proof) {
            let fix = "have the borough run `loda federation join` again, and send the file as it is";
            return Err(Failure::Usage(format!("{}: not signed by its own log key\n  fix: {fix}", path.display())));
        }
        next.members.push(request.member);
    }
    next.members.sort_by(|a, b| a.gss.cmp(&b.gss));
    proposed(&current, &next, &add.out, session)
}

fn left(leave: &Leave, session: &mut Session<'_>) -> Result<(), Failure> {
    let current = load(&leave.manifest)?;
    let gss = borough(&leave.borough)?;
    let mut next = following(&current);
    next.members.retain(|member| member.gss != gss);
    if next.members.len() == current.members.len() {
        return Err(Failure::Usage(format!("{gss} is not a member\n  fix: `loda federation show` lists them")));
    }
    if next.members.is_empty() {
        return Err(Failure::Usage(format!(
            "{gss} is the last member\n  fix: end the federation: stop its coordinator"
        )));
    }
    // The number of signatures cannot exceed the number of members.
    let members = u32::try_from(next.members.len()).unwrap_or(u32::MAX);
    next.approvals = next.approvals.map(|k| k.min(members.max(1)));
    proposed(&current, &next, &leave.out, session)
}

fn signed(sign: &Sign, session: &mut Session<'_>) -> Result<(), Failure> {
    let (current, next) = (load(&sign.current)?, load(&sign.manifest)?);
    let gss = borough(&sign.borough)?;
    let key = SigningKey::load(&sign.log_key)?;
    let member =
        current.member(&gss).ok_or_else(|| Failure::Usage(format!("{gss} is not a member of the version in use")))?;
    if member.log_key != key.public_hex() {
        return Err(Failure::Usage(format!("{} is not the log key of {gss} in the manifest", sign.log_key.display())));
    }
    changes(&current, &next, session)?;
    let mut signatures = Signatures::load_beside(&sign.manifest)?;
    signatures.sign(gss.clone(), &next, &key);
    let path = Signatures::beside(&sign.manifest);
    write(&path, &signatures.to_text())?;
    let (have, need) = (current.signers(&next, &signatures).len(), current.quorum());
    writeln!(session.out, "signed as {gss} in {}: {have} of {need} signatures", path.display())?;
    Ok(())
}

fn proposed(current: &Manifest, next: &Manifest, out: &Path, session: &mut Session<'_>) -> Result<(), Failure> {
    next.check().map_err(|error| Failure::Usage(error.to_string()))?;
    make_folder_of(out)?;
    write(out, &next.to_toml())?;
    changes(current, next, session)?;
    if current.members.is_empty() {
        let hash = hex::encode(next.sha256());
        writeln!(
            session.out,
            "wrote {}, the first version: send it to everybody, and compare sha256 {hash}",
            out.display()
        )?;
        return Ok(());
    }
    let need = current.quorum();
    writeln!(session.out, "wrote {}: {need} members sign it with `loda federation sign`", out.display())?;
    Ok(())
}

/// Prints the changes of a version, so that nobody signs unread changes.
fn changes(current: &Manifest, next: &Manifest, session: &mut Session<'_>) -> Result<(), Failure> {
    let out = &mut session.out;
    writeln!(out, "version {} → {}", current.version, next.version)?;
    for member in &next.members {
        match current.member(&member.gss) {
            None => {
                writeln!(out, "  + {} {} at {}", member.gss, plain::line(&member.name), plain::line(&member.address))?
            }
            Some(before) if before != member => {
                let of = |what: &str, same: bool| if same { String::new() } else { format!(" {what}") };
                let what = [
                    of("name", before.name == member.name),
                    of("address", before.address == member.address),
                    of("AUTHORITY", before.ca == member.ca),
                    of("LOG KEY", before.log_key == member.log_key),
                ];
                writeln!(out, "  ~ {} changes:{}", member.gss, what.concat())?;
            }
            Some(_) => {}
        }
    }
    for member in current.members.iter().filter(|member| next.member(&member.gss).is_none()) {
        writeln!(out, "  - {} {}", member.gss, plain::line(&member.name))?;
    }
    for (what, same) in [
        ("the COORDINATOR", current.coordinator == next.coordinator),
        ("the AUTHORITIES of analysts and auditors", current.analysts == next.analysts),
        ("the datasets", current.datasets == next.datasets),
        ("how many members must sign", current.approvals == next.approvals),
    ] {
        if !same {
            writeln!(out, "  ~ changes {what}")?;
        }
    }
    Ok(())
}

fn borough(code: &str) -> Result<Gss, Failure> {
    code.parse().map_err(|error| Failure::Usage(format!("{code}: {error}")))
}

fn to_toml(value: &impl Serialize) -> Result<String, Failure> {
    toml::to_string(value).map_err(|error| Failure::Usage(error.to_string()))
}

fn from_toml<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, Failure> {
    toml::from_str(&read(path)?).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    Ok(write_private(path, text.as_bytes())?)
}
