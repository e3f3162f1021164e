//! The check that the coordinator's log holds an answer.

use loda_answer::cells::thousands;
use loda_identity::Manifest;
use loda_ledger::tree::checkpoint::{Checkpoint, witnessed};
use loda_ledger::tree::note::{Note, Verifier};
use loda_ledger::tree::proof::{continues, includes};
use loda_ledger::{End, Event, SignedEntry, checkpoint_key, witness_key};
use loda_proto::v1::RecordedResponse;

/// The most hashes of a proof: enough for 2^63 entries.
const MAX_PROOF: usize = 64;

/// The place of an answer's entry in the coordinator's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The entry's number, from 1.
    pub number: u64,
    /// The number of entries now.
    pub entries: u64,
    /// The number of boroughs of the federation.
    pub members: usize,
    /// The number of boroughs that have confirmed the log's first entries, and the number of these. Never more entries than
    /// there are now.
    pub confirmed: Option<(usize, u64)>,
}

impl Recorded {
    /// The place, in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let number = |number: u64| thousands(&number.to_string());
        let at = format!(
            "recorded as entry {} of {} in the coordinator's query log",
            number(self.number),
            number(self.entries)
        );
        match self.confirmed {
            None => format!("{at}; no borough has confirmed the log yet"),
            Some((boroughs, entries)) => {
                let of =
                    if entries == self.entries { "it".to_owned() } else { format!("its first {}", number(entries)) };
                format!("{at}; {boroughs} of {} boroughs have confirmed {of}", self.members)
            }
        }
    }
}

/// The keys that a proof is checked with.
pub(crate) struct Keys {
    log_key: String,
    log: Verifier,
    witnesses: Vec<Verifier>,
}

impl Keys {
    /// The keys that a manifest names. `None`: its domain is no name of a log.
    pub(crate) fn of(manifest: &Manifest) -> Option<Self> {
        let log_key = manifest.coordinator.log_key.clone();
        let log = checkpoint_key(&manifest.domain, "coordinator", &log_key)?;
        let witness = |gss: &str, log_key: &str| witness_key(&manifest.domain, gss, log_key);
        let witnesses = manifest.members.iter().map(|member| witness(member.gss.as_str(), &member.log_key));
        Some(Self { log_key, log, witnesses: witnesses.collect::<Option<_>>()? })
    }
}

/// Checks the proof that the log holds the answer with this id and hash.
///
/// # Errors
/// What does not hold.
pub(crate) fn check(
    told: &RecordedResponse,
    keys: &Keys,
    query_id: &str,
    sha256: &str,
) -> Result<Recorded, &'static str> {
    let (_, now) = signed(&told.checkpoint, &keys.log)?;
    if !includes(&told.entry, told.number, now.size, &hashes(&told.inclusion)?, &now.root) {
        return Err("the entry that it shows is not in the log");
    }
    let entry = SignedEntry::of_line(&told.entry).filter(|entry| entry.is_signed_by(&keys.log_key));
    let read = entry.and_then(|entry| entry.read()).ok_or("the entry that it shows is not one that it signed")?;
    if read.sequence != told.number || read.what.query != query_id {
        return Err("the entry that it shows is of another question");
    }
    match read.what.event {
        Event::Outcome(End::Answered { result_sha256, .. }) if result_sha256 == sha256 => {}
        _ => return Err("its entry names another answer than the one that came"),
    }
    let confirmed = match told.confirmed.as_slice() {
        [] => None,
        note => {
            let (note, before) = signed(note, &keys.log)?;
            if !continues(before.size, now.size, &hashes(&told.continues)?, &before.root, &now.root) {
                return Err("the log is not the one that boroughs have confirmed");
            }
            Some((witnessed(&note, &keys.witnesses), before.size)).filter(|(boroughs, _)| *boroughs > 0)
        }
    };
    let (number, members) = (told.number.saturating_add(1), keys.witnesses.len());
    Ok(Recorded { number, entries: now.size, members, confirmed })
}

fn signed(note: &[u8], log: &Verifier) -> Result<(Note, Checkpoint), &'static str> {
    let note = Note::parse(note)?;
    let checkpoint = Checkpoint::of_note(&note, log)?;
    Ok((note, checkpoint))
}

fn hashes(proof: &[Vec<u8>]) -> Result<Vec<[u8; 32]>, &'static str> {
    let hashes: Option<Vec<[u8; 32]>> = proof.iter().map(|hash| hash.as_slice().try_into().ok()).collect();
    hashes.filter(|hashes| hashes.len() <= MAX_PROOF).ok_or("a proof that is none")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::path::Path;

    use loda_identity::SigningKey;
    use loda_ledger::{Entry, Included, Log, PublishedTree, SignedLines};

    use super::*;

    const DOMAIN: &str = "london.example";

    fn key(dir: &Path, name: &str) -> SigningKey {
        let path = dir.join(name);
        if !path.exists() {
            SigningKey::generate().unwrap().0.save(&path).unwrap();
        }
        SigningKey::load(&path).unwrap()
    }

    fn keys(dir: &Path) -> Keys {
        let log_key = key(dir, "log.key").public_hex();
        let log = checkpoint_key(DOMAIN, "coordinator", &log_key).unwrap();
        let witnesses = ["E09000001", "E09000007"];
        let witnesses = witnesses.map(|gss| witness_key(DOMAIN, gss, &key(dir, gss).public_hex()).unwrap());
        Keys { log_key, log, witnesses: witnesses.to_vec() }
    }

    fn outcome(query: &str, result: &str) -> Entry {
        let end = End::Answered { result_sha256: result.to_owned(), boroughs: 2, released: None };
        Entry { query: query.to_owned(), ..Entry::of(Event::Outcome(end)) }
    }

    /// A log of these entries in a folder of its own, with the first ones confirmed by the first borough.
    fn log(dir: &Path, name: &str, confirmed: &[Entry], then: &[Entry]) -> PublishedTree {
        let folder = dir.join(name);
        std::fs::create_dir(&folder).unwrap();
        let lines = folder.join("log.jsonl");
        let log = SignedLines::open(&lines, key(dir, "log.key")).unwrap();
        log.append_all(confirmed).unwrap();
        let of = keys(dir);
        let mut tree = PublishedTree::open(&lines, &folder, key(dir, "log.key"), of.log).unwrap();
        let mut note = tree.newest().unwrap().1.clone();
        note.sign(&of.witnesses[0], 1_790_000_000, &|text| key(dir, "E09000001").sign(text));
        tree.keep_confirmed(note).unwrap();
        log.append_all(then).unwrap();
        tree
    }

    fn told(tree: &mut PublishedTree, number: u64) -> RecordedResponse {
        let Included { entry, checkpoint, inclusion, confirmed } = tree.included(number).unwrap();
        let bytes = |proof: Vec<[u8; 32]>| proof.into_iter().map(|hash| hash.to_vec()).collect();
        let (confirmed, continues) = confirmed.unwrap();
        RecordedResponse {
            entry,
            number,
            checkpoint: checkpoint.to_string().into_bytes(),
            inclusion: bytes(inclusion),
            confirmed: confirmed.to_string().into_bytes(),
            continues: bytes(continues),
        }
    }

    #[test]
    fn an_answer_is_found_in_the_log_and_nothing_else_is_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let of = keys(dir.path());
        let first: Vec<Entry> = (0..7).map(|number| outcome(&format!("q{number}"), "aa")).collect();
        let then = [outcome("mine", "cc"), outcome("other", "dd")];
        let mut tree = log(dir.path(), "log", &first, &then);
        let good = told(&mut tree, 7);
        let found = check(&good, &of, "mine", "cc").unwrap();
        assert_eq!(found, Recorded { number: 8, entries: 9, members: 2, confirmed: Some((1, 7)) });
        assert_eq!(
            found.sentence(),
            "recorded as entry 8 of 9 in the coordinator's query log; 1 of 2 boroughs have confirmed its first 7"
        );
        let early = RecordedResponse { confirmed: Vec::new(), continues: Vec::new(), ..good.clone() };
        let early = check(&early, &of, "mine", "cc").unwrap();
        assert!(early.confirmed.is_none() && early.sentence().ends_with("no borough has confirmed the log yet"));

        // Another answer, another question, another entry, another place.
        let next = told(&mut tree, 8);
        assert!(check(&good, &of, "mine", "cd").is_err() && check(&good, &of, "other", "cc").is_err());
        assert!(check(&next, &of, "mine", "cc").is_err());
        for bad in [
            RecordedResponse { number: 8, ..good.clone() },
            RecordedResponse { number: 6, ..good.clone() },
            RecordedResponse { entry: next.entry.clone(), ..good.clone() },
            RecordedResponse { entry: b"{}".to_vec(), ..good.clone() },
            RecordedResponse { inclusion: next.inclusion.clone(), ..good.clone() },
            RecordedResponse { inclusion: vec![vec![0; 31]], ..good.clone() },
            RecordedResponse { inclusion: vec![vec![0; 32]; 65], ..good.clone() },
            RecordedResponse { checkpoint: Vec::new(), ..good.clone() },
            RecordedResponse { checkpoint: good.confirmed.clone(), ..good.clone() },
            RecordedResponse { continues: Vec::new(), ..good.clone() },
            RecordedResponse { confirmed: b"no note".to_vec(), ..good.clone() },
        ] {
            assert!(check(&bad, &of, "mine", "cc").is_err());
        }
        // An entry that another key signed, in a log of its own.
        let thief = tempfile::tempdir().unwrap();
        let mut other = log(thief.path(), "log", &first, &then);
        let forged = told(&mut other, 7);
        assert!(check(&forged, &of, "mine", "cc").is_err());
        assert!(check(&RecordedResponse { checkpoint: good.checkpoint.clone(), ..forged }, &of, "mine", "cc").is_err());
    }

    /// The coordinator shows one log to the boroughs and another to an asker: each is signed by its own key.
    #[test]
    fn an_answer_of_a_second_log_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let of = keys(dir.path());
        let first: Vec<Entry> = (0..7).map(|number| outcome(&format!("q{number}"), "aa")).collect();
        let shown = told(&mut log(dir.path(), "shown", &first, &[]), 0);
        let mut hidden = log(dir.path(), "hidden", &first[..3], &[outcome("mine", "cc"), outcome("q4", "aa")]);
        let answer = told(&mut hidden, 3);
        assert!(check(&answer, &of, "mine", "cc").is_ok());
        for continues in [Vec::new(), answer.continues.clone(), shown.continues.clone()] {
            let both = RecordedResponse { confirmed: shown.confirmed.clone(), continues, ..answer.clone() };
            assert!(check(&both, &of, "mine", "cc").is_err());
        }
    }
}
