//! The check that the coordinator's log holds an answer.

use loda_answer::cells::thousands;
use loda_identity::Manifest;
use loda_ledger::tree::checkpoint::{Checkpoint, witnessed};
use loda_ledger::tree::note::{Note, Verifier};
use loda_ledger::tree::proof::{self, continues, includes};
use loda_ledger::{End, Event, SignedEntry, coordinator_key, witness_keys};
use loda_proto::v1::RecordedResponse;

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
    /// The number of boroughs that must have confirmed the log lately, as the manifest demands. 0: it demands nothing.
    pub demanded: usize,
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
                let lack = match self.demanded {
                    demanded if boroughs < demanded => {
                        format!(", fewer than the {demanded} that the manifest demands within some time")
                    }
                    _ => String::new(),
                };
                format!("{at}; {boroughs} of {} boroughs have confirmed {of}{lack}", self.members)
            }
        }
    }
}

/// The keys that a proof is checked with.
pub(crate) struct Keys {
    log_key: String,
    log: Verifier,
    witnesses: Vec<Verifier>,
    demanded: usize,
}

impl Keys {
    /// The keys that a manifest names. `None`: its domain is no name of a log.
    pub(crate) fn of(manifest: &Manifest) -> Option<Self> {
        let witnesses = witness_keys(manifest).into_iter().map(|(_, key)| key).collect();
        let demanded = manifest.witnessing().map_or(0, |quorum| quorum.members);
        Some(Self {
            log_key: manifest.coordinator.log_key.clone(),
            log: coordinator_key(manifest)?,
            witnesses,
            demanded,
        })
    }
}

/// What the log's entry of an answer has to say.
pub(crate) struct Expected<'a> {
    pub(crate) query_id: &'a str,
    /// The asker's SPIFFE id.
    pub(crate) analyst: &'a str,
    pub(crate) purpose: &'a str,
    /// The hash of what was fetched, as [`loda_answer::Answer`] has it.
    pub(crate) sha256: &'a str,
}

/// Checks the proof that the log holds an answer, as its asker knows it. The entry names no SQL, so an asker cannot see
/// that the logged words are theirs. An auditor can.
///
/// # Errors
/// What does not hold.
pub(crate) fn check(told: &RecordedResponse, keys: &Keys, expected: &Expected<'_>) -> Result<Recorded, &'static str> {
    let (_, now) = signed(&told.checkpoint, &keys.log)?;
    if !includes(&told.entry, told.number, now.size, &hashes(&told.inclusion)?, &now.root) {
        return Err("the entry that it shows is not in the log");
    }
    let entry = SignedEntry::of_line(&told.entry).filter(|entry| entry.is_signed_by(&keys.log_key));
    let read = entry.and_then(|entry| entry.read()).ok_or("the entry that it shows is not one that it signed")?;
    if read.sequence != told.number || read.what.query != expected.query_id {
        return Err("the entry that it shows is of another question");
    }
    if read.what.analyst != expected.analyst || read.what.purpose != expected.purpose {
        return Err("the entry that it shows names another asker, or another purpose");
    }
    match read.what.event {
        Event::Outcome(End::Answered { result_sha256, .. }) if result_sha256 == expected.sha256 => {}
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
    Ok(Recorded { number, entries: now.size, members, confirmed, demanded: keys.demanded })
}

fn signed(note: &[u8], log: &Verifier) -> Result<(Note, Checkpoint), &'static str> {
    let note = Note::parse(note)?;
    let checkpoint = Checkpoint::of_note(&note, log)?;
    Ok((note, checkpoint))
}

fn hashes(proof: &[Vec<u8>]) -> Result<Vec<[u8; 32]>, &'static str> {
    proof::of_bytes(proof).ok_or("a proof that is none")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::path::Path;

    use loda_identity::SigningKey;
    use loda_ledger::{COORDINATOR, Entry, Included, Log, PublishedTree, SignedLines, checkpoint_key, witness_key};

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
        let log = checkpoint_key(DOMAIN, COORDINATOR, &log_key).unwrap();
        let witnesses = ["E09000001", "E09000007"];
        let witnesses = witnesses.map(|gss| witness_key(DOMAIN, gss, &key(dir, gss).public_hex()).unwrap());
        Keys { log_key, log, witnesses: witnesses.to_vec(), demanded: 0 }
    }

    fn outcome(query: &str, result: &str) -> Entry {
        let end = End::Answered { result_sha256: result.to_owned(), boroughs: 2, released: None };
        let (analyst, purpose) = ("spiffe://d/analyst/a".to_owned(), "p".to_owned());
        Entry { query: query.to_owned(), analyst, purpose, ..Entry::of(Event::Outcome(end)) }
    }

    fn checked(told: &RecordedResponse, keys: &Keys, query_id: &str, sha256: &str) -> Result<Recorded, &'static str> {
        check(told, keys, &Expected { query_id, analyst: "spiffe://d/analyst/a", purpose: "p", sha256 })
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
        let (confirmed, continues) = confirmed.unwrap();
        RecordedResponse {
            entry,
            number,
            checkpoint: checkpoint.to_string().into_bytes(),
            inclusion: proof::to_bytes(&inclusion),
            confirmed: confirmed.to_string().into_bytes(),
            continues: proof::to_bytes(&continues),
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
        let found = checked(&good, &of, "mine", "cc").unwrap();
        assert_eq!(found, Recorded { number: 8, entries: 9, members: 2, confirmed: Some((1, 7)), demanded: 0 });
        let few = Recorded { demanded: 2, ..found };
        assert!(few.sentence().contains("fewer than the 2 that the manifest demands"), "{}", few.sentence());
        assert_eq!(
            found.sentence(),
            "recorded as entry 8 of 9 in the coordinator's query log; 1 of 2 boroughs have confirmed its first 7"
        );
        let early = RecordedResponse { confirmed: Vec::new(), continues: Vec::new(), ..good.clone() };
        let early = checked(&early, &of, "mine", "cc").unwrap();
        assert!(early.confirmed.is_none() && early.sentence().ends_with("no borough has confirmed the log yet"));

        // Another answer, another question, another entry, another place.
        let next = told(&mut tree, 8);
        assert!(checked(&good, &of, "mine", "cd").is_err() && checked(&good, &of, "other", "cc").is_err());
        assert!(checked(&next, &of, "mine", "cc").is_err());
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
            assert!(checked(&bad, &of, "mine", "cc").is_err());
        }
        // Logged as somebody else's, or for something else.
        for (analyst, purpose) in [("spiffe://d/analyst/b", "p"), ("spiffe://d/analyst/a", "q")] {
            assert!(check(&good, &of, &Expected { query_id: "mine", analyst, purpose, sha256: "cc" }).is_err());
        }
        // An entry that another key signed, in a log of its own.
        let thief = tempfile::tempdir().unwrap();
        let mut other = log(thief.path(), "log", &first, &then);
        let forged = told(&mut other, 7);
        assert!(checked(&forged, &of, "mine", "cc").is_err());
        assert!(
            checked(&RecordedResponse { checkpoint: good.checkpoint.clone(), ..forged }, &of, "mine", "cc").is_err()
        );
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
        assert!(checked(&answer, &of, "mine", "cc").is_ok());
        for continues in [Vec::new(), answer.continues.clone(), shown.continues.clone()] {
            let both = RecordedResponse { confirmed: shown.confirmed.clone(), continues, ..answer.clone() };
            assert!(checked(&both, &of, "mine", "cc").is_err());
        }
    }
}
