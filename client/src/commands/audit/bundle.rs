//! One question as a file that verifies offline, with other people's tools and with ours.

use std::io::{Cursor, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use loda_answer::plain;
use loda_identity::Manifest;
use loda_ledger::payload::Opening;
use loda_ledger::tree::note::Verifier;
use loda_ledger::{SignedEntry, checkpoint_key, coordinator_key, witness_keys};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::commands::failure::Failure;

/// The name of the coordinator's folder.
pub(super) const COORDINATOR: &str = "coordinator";

/// One party's entries of a question, with the proofs that its log holds them.
pub(super) struct Proven {
    /// `coordinator`, or the borough's GSS code.
    pub(super) party: String,
    pub(super) entries: Vec<ProvenEntry>,
    /// The checkpoint that the proofs are of, as a signed note. Empty: the party shows no proofs.
    pub(super) checkpoint: Vec<u8>,
}

pub(super) struct ProvenEntry {
    pub(super) number: u64,
    pub(super) signed: SignedEntry,
    pub(super) opening: Option<Opening>,
    pub(super) inclusion: Vec<[u8; 32]>,
}

/// Writes the file. `told`: the question in words. `missing`: parties whose entries are not in it, and why.
pub(super) fn zipped(
    manifest: &Manifest,
    text: &str,
    told: &str,
    parties: &[Proven],
    missing: &[(String, String)],
) -> Result<Vec<u8>, Failure> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    // The same question gives the same bytes: no file has a time.
    let options = SimpleFileOptions::default();
    let mut file = |name: &str, bytes: &[u8]| -> Result<(), zip::result::ZipError> {
        zip.start_file(name, options)?;
        zip.write_all(bytes).map_err(Into::into)
    };
    let mut put = || {
        file("README.txt", readme(manifest, parties, missing).as_bytes())?;
        file("question.txt", told.as_bytes())?;
        file("manifest.toml", text.as_bytes())?;
        for party in parties {
            let place = &party.party;
            if let Some((key, pem)) = log_key(manifest, place) {
                file(&format!("{place}/log.vkey"), format!("{key}\n").as_bytes())?;
                file(&format!("{place}/log.pem"), pem.as_bytes())?;
            }
            if !party.checkpoint.is_empty() {
                file(&format!("{place}/checkpoint"), &party.checkpoint)?;
            }
            for entry in &party.entries {
                let at = format!("{place}/{}", entry.number);
                file(&format!("{at}.entry"), entry.signed.line().as_bytes())?;
                file(&format!("{at}.json"), entry.signed.entry.as_bytes())?;
                file(&format!("{at}.sig"), &hex::decode(&entry.signed.signature).unwrap_or_default())?;
                if !party.checkpoint.is_empty() {
                    let proof: String = entry.inclusion.iter().map(|hash| STANDARD.encode(hash) + "\n").collect();
                    file(&format!("{at}.proof"), proof.as_bytes())?;
                }
                if let Some(Opening { key, text }) = &entry.opening {
                    file(&format!("{at}.words"), text)?;
                    file(&format!("{at}.words.key"), hex::encode(key).as_bytes())?;
                }
            }
        }
        let witnesses: String = witness_keys(manifest).iter().map(|(_, key)| format!("{key}\n")).collect();
        file("witnesses.vkeys", witnesses.as_bytes())
    };
    let wrong = |fault: zip::result::ZipError| Failure::Usage(format!("the file cannot be made: {fault}"));
    put().map_err(wrong)?;
    Ok(zip.finish().map_err(wrong)?.into_inner())
}

/// The key of a party's log, as tools for transparency logs read it, and in PEM for everything else (RFC 8410).
fn log_key(manifest: &Manifest, party: &str) -> Option<(Verifier, String)> {
    const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let (verifier, hex) = if party == COORDINATOR {
        (coordinator_key(manifest)?, &manifest.coordinator.log_key)
    } else {
        let member = manifest.members.iter().find(|member| member.gss.as_str() == party)?;
        (checkpoint_key(&manifest.domain, party, &member.log_key)?, &member.log_key)
    };
    let der = [ED25519.as_slice(), &hex::decode(hex).ok()?].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
    Some((verifier, pem))
}

fn readme(manifest: &Manifest, parties: &[Proven], missing: &[(String, String)]) -> String {
    let mut text = format!(
        "One question to {}, from its words to what left each borough, with proofs.\n\n\
         question.txt    the question in plain words\n\
         manifest.toml   the federation's manifest: it names the key of each log. Compare its\n\
         \u{20}               SHA-256 with the one that your own federation's members have\n\
         FOLDER          one for each party: the coordinator, and boroughs by their GSS codes\n\n\
         In each folder, for an entry with the number N:\n\
         N.entry         the line of the party's log: a leaf of its tree\n\
         N.json, N.sig   what is signed in it, and the Ed25519 signature\n\
         N.proof         the proof that the log of `checkpoint` holds it\n\
         N.words         what was asked or released; N.words.key opens the entry's commitment to it\n\
         checkpoint      the log's signed size and root (C2SP tlog-checkpoint), with the\n\
         \u{20}               signatures of boroughs that have confirmed it, if there are any\n\
         log.vkey        the key of the log, and log.pem the same for OpenSSL\n\n\
         How to check it without this federation's software:\n\n",
        plain::line(&manifest.federation)
    );
    let example = parties.iter().find_map(|party| Some((party.party.as_str(), party.entries.last()?.number)));
    if let Some((party, number)) = example {
        text.push_str(&format!(
            "1. Each entry is signed by the party's key (OpenSSL 3):\n\
             \u{20}  openssl pkeyutl -verify -pubin -inkey {party}/log.pem -rawin \\\n\
             \u{20}    -in {party}/{number}.json -sigfile {party}/{number}.sig\n\n\
             2. The words are those that the entry is a commitment to: it holds this number\n\
             \u{20}  (HMAC-SHA-256) behind `asked` or `released`:\n\
             \u{20}  openssl dgst -sha256 -mac HMAC -macopt hexkey:$(cat {party}/{number}.words.key) \\\n\
             \u{20}    {party}/{number}.words\n\n\
             3. The log holds the entry (aics-tlog, from PyPI, or another tool for C2SP logs):\n\
             \u{20}  aics-tlog verify-inclusion --leaf {party}/{number}.entry --index {number} \\\n\
             \u{20}    --checkpoint {party}/checkpoint --proof {party}/{number}.proof \\\n\
             \u{20}    --log-key \"$(cat {party}/log.vkey)\"\n\
             \u{20}  Add --witness-key for lines of witnesses.vkeys, and --quorum, to see who has\n\
             \u{20}  confirmed the coordinator's log.\n\n\
             4. One question has one id in all entries (`query` or `question`), and the nodes'\n\
             \u{20}  entries name the hashes (`fragment`) that the coordinator's INTENT names.\n"
        ));
    }
    if !missing.is_empty() {
        text.push_str("\nNot in this file:\n");
        missing.iter().for_each(|(party, why)| text.push_str(&format!("  {party}: {}\n", plain::line(why))));
    }
    text
}
