//! `loda audit keys` and `loda audit verify`: proofs from the files that a party publishes.

use std::io;
use std::path::Path;

use loda_answer::cells::thousands;
use loda_answer::plain;
use loda_identity::{Manifest, Member};
use loda_ledger::tree::checkpoint::{Checkpoint, witnessed};
use loda_ledger::tree::files::{TreeFiles, check, read_note};
use loda_ledger::tree::note::Verifier;
use loda_ledger::tree::proof;
use loda_ledger::{CHECKPOINT, CONFIRMED, checkpoint_key, coordinator_key, witness_keys};

use crate::commands::failure::Failure;
use crate::commands::federation::manifest::load;
use crate::commands::session::Session;

/// Prints the key of each party's log, and each borough's as a witness.
pub(super) fn print_keys(manifest: &Path, session: &mut Session<'_>) -> Result<(), Failure> {
    let manifest = load(manifest)?;
    let witnesses = witness_keys(&manifest).into_iter().map(|(_, key)| key);
    for key in keys(&manifest).into_iter().chain(witnesses) {
        writeln!(session.out, "{key}")?;
    }
    Ok(())
}

/// Checks the tree in a folder, and that it continues an older checkpoint.
pub(super) fn verify(
    folder: &Path,
    manifest: &Path,
    since: Option<&Path>,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let (key, now) = signed(&folder.join(CHECKPOINT), &load(manifest)?)?;
    let cannot = |source| Failure::File { action: "verify", path: folder.to_owned(), source };
    let tree = check(folder, now.size, &now.root, &mut |_, _| {}).map_err(cannot)?;
    writeln!(session.out, "{}", plain::line(&now.origin))?;
    writeln!(session.out, "  signed by    {key}")?;
    writeln!(session.out, "  root         {}", hex::encode(now.root))?;
    let entries = thousands(&now.size.to_string());
    writeln!(session.out, "  entries      {entries}: each is the one that was signed, and none is missing")?;
    if let Some((boroughs, confirmed)) = confirmed(folder, &load(manifest)?, &key, &tree, &now)? {
        let of = |number: u64| thousands(&number.to_string());
        let demanded = load(manifest)?.witnessing().map_or(0, |quorum| quorum.members);
        let lack =
            if boroughs < demanded { format!(", of {demanded} that the manifest demands") } else { String::new() };
        writeln!(session.out, "  confirmed    its first {} entries, by {boroughs} boroughs{lack}", of(confirmed))?;
    }
    if let Some(since) = since {
        let (older_key, before) = signed(since, &load(manifest)?)?;
        let same = older_key == key && before.size <= now.size;
        if !same || proof::root(&tree, before.size).map_err(cannot)? != before.root {
            let what = format!("does not continue the log of {}", since.display());
            return Err(cannot(io::Error::new(io::ErrorKind::InvalidData, what)));
        }
        let entries = thousands(&before.size.to_string());
        writeln!(session.out, "  continues    the {entries} entries of {}", since.display())?;
    }
    Ok(())
}

/// The keys of the parties' logs.
fn keys(manifest: &Manifest) -> Vec<Verifier> {
    let of = |member: &Member| checkpoint_key(&manifest.domain, member.gss.as_str(), &member.log_key);
    coordinator_key(manifest).into_iter().chain(manifest.members.iter().filter_map(of)).collect()
}

/// How many boroughs have confirmed how many of a log's entries. `None`: no file says so.
fn confirmed(
    folder: &Path,
    manifest: &Manifest,
    key: &Verifier,
    tree: &TreeFiles,
    now: &Checkpoint,
) -> Result<Option<(usize, u64)>, Failure> {
    let path = folder.join(CONFIRMED);
    if !path.exists() {
        return Ok(None);
    }
    let fault = |source| Failure::File { action: "verify", path: path.clone(), source };
    let wrong = |what: &str| fault(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
    let (signed_by, before) = signed(&path, manifest)?;
    let continues = before.size <= now.size && proof::root(tree, before.size).map_err(fault)? == before.root;
    if signed_by != *key || !continues {
        return Err(wrong("boroughs have confirmed another log than this one"));
    }
    let note = read_note(&path).map_err(fault)?;
    let witnesses: Vec<Verifier> = witness_keys(manifest).into_iter().map(|(_, key)| key).collect();
    Ok(Some((witnessed(&note, &witnesses), before.size)))
}

/// A checkpoint that a log of the federation signed, and the log's key.
fn signed(path: &Path, manifest: &Manifest) -> Result<(Verifier, Checkpoint), Failure> {
    let fault = |source| Failure::File { action: "read", path: path.to_owned(), source };
    let wrong = |what: &str| fault(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
    let note = read_note(path).map_err(fault)?;
    let origin = Checkpoint::parse(note.text()).ok_or_else(|| wrong("it is no checkpoint"))?.origin;
    let key = keys(manifest).into_iter().find(|key| key.name() == origin);
    let key = key.ok_or_else(|| wrong("it is of a log that the manifest does not name"))?;
    let checkpoint = Checkpoint::of_note(&note, &key).map_err(wrong)?;
    Ok((key, checkpoint))
}
