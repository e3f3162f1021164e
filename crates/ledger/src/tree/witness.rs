//! A witness of other parties' logs, as <https://c2sp.org/tlog-witness> has it: it confirms a checkpoint only if that one
//! continues the one that it confirmed before.
//!
//! What is confirmed is on the disk before it is signed, and one at a time. Otherwise two askers at once, or a crash, could
//! get confirmations of two logs that differ.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use loda_federation::{Gss, Manifest, Member, SigningKey};

use super::checkpoint::Checkpoint;
use super::files::{read_note, write_whole};
use super::hash::{Hash, empty};
use super::note::{Note, Signs, Verifier};
use super::proof::continues;

/// The key that verifies a borough's confirmations of other logs. `log_key`: the borough's, as the manifest has it. One
/// private key makes both kinds of signature: what they sign begins with other words. `None`: it is no key, or notes
/// cannot hold the name.
#[must_use]
pub fn witness_key(domain: &str, borough: &str, log_key: &str) -> Option<Verifier> {
    let key = hex::decode(log_key).ok()?.try_into().ok()?;
    Verifier::new(&format!("{domain}/witness/{borough}"), Signs::TextAtTime, key)
}

/// Each borough of a federation as a witness, in the manifest's order.
#[must_use]
pub fn witness_keys(manifest: &Manifest) -> Vec<(Gss, Verifier)> {
    let members = manifest.members.iter();
    let key = |m: &Member| Some((m.gss.clone(), witness_key(&manifest.domain, m.gss.as_str(), &m.log_key)?));
    members.filter_map(key).collect()
}

/// A checkpoint that a witness is asked to confirm.
pub struct Offered<'a> {
    /// The signed note.
    pub note: &'a [u8],
    /// The number of entries that the witness confirmed last, as far as the asker knows.
    pub old: u64,
    /// The proof that the checkpoint continues these.
    pub proof: &'a [Hash],
}

/// Why a checkpoint is not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum Unconfirmed {
    /// It is none of that log's.
    #[error("{0}")]
    NotIts(&'static str),
    /// The proof is to begin at another size.
    #[error("{0} entries were confirmed last: the proof has to begin there")]
    ProofFrom(u64),
    /// The log is shorter than it was.
    #[error("the log went back: it had {had} entries, and has {has}")]
    Back {
        /// The number of entries that were confirmed.
        had: u64,
        /// The number of entries now.
        has: u64,
    },
    /// Two checkpoints of one size, both signed by the log, have different roots.
    #[error("the log is signed twice: its {at} entries differ from those that were confirmed")]
    Forked {
        /// The number of entries.
        at: u64,
    },
    /// The proof does not show that the log continues.
    #[error("the log does not show that it continues the {had} entries that were confirmed")]
    Unproven {
        /// The number of entries that were confirmed.
        had: u64,
    },
    /// What was confirmed before cannot be read, or what is to be confirmed cannot be kept.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// Confirms checkpoints of other parties' logs. A file for each log, in a folder, holds the newest one.
pub struct Witness {
    folder: PathBuf,
    key: SigningKey,
    verifier: Verifier,
    turn: Mutex<()>,
}

impl Witness {
    /// `key`: the party's log key. `verifier`: as [`witness_key`] makes it of that key.
    #[must_use]
    pub fn new(folder: &Path, key: SigningKey, verifier: Verifier) -> Self {
        Self { folder: folder.to_owned(), key, verifier, turn: Mutex::new(()) }
    }

    /// Where a log was signed twice, if this witness holds the proof of that.
    ///
    /// # Errors
    /// The file of the proof cannot be read.
    pub fn forked(&self, log: &Verifier) -> io::Result<Option<u64>> {
        match read_note(&self.file(log).with_extension("fork")) {
            Ok(second) => Ok(Some(Checkpoint::parse(second.text()).map_or(0, |second| second.size))),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(source),
        }
    }

    /// Whether a note is the checkpoint of a log that this witness confirmed last.
    #[must_use]
    pub fn has_confirmed(&self, log: &Verifier, note: &Note) -> bool {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        read_note(&self.file(log)).is_ok_and(|before| before.text() == note.text())
    }

    /// Confirms a checkpoint of a log at a time, in seconds since 1970. Returns its text with this witness's signature.
    ///
    /// # Errors
    /// Why it is not confirmed. Of a fork, the second checkpoint is kept beside the first, as evidence: nothing of the log is
    /// confirmed any more until somebody has looked into it and taken the file away.
    pub fn confirm(&self, log: &Verifier, offered: &Offered<'_>, now: u64) -> Result<Note, Unconfirmed> {
        let note = Note::parse(offered.note).map_err(Unconfirmed::NotIts)?;
        let checkpoint = Checkpoint::of_note(&note, log).map_err(Unconfirmed::NotIts)?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.file(log);
        let fault = |source| Unconfirmed::File { path: file.display().to_string(), source };
        let evidence = file.with_extension("fork");
        match self.forked(log) {
            Ok(Some(at)) => return Err(Unconfirmed::Forked { at }),
            Ok(None) => {}
            Err(source) => return Err(Unconfirmed::File { path: evidence.display().to_string(), source }),
        }
        let (had, root) = match read_note(&file) {
            Ok(before) => {
                let of_log = Checkpoint::of_note(&before, log);
                let before = of_log.map_err(|what| fault(io::Error::new(io::ErrorKind::InvalidData, what)))?;
                (before.size, before.root)
            }
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => (0, empty()),
            Err(source) => return Err(fault(source)),
        };
        let has = checkpoint.size;
        if has == had && had > 0 && checkpoint.root != root {
            write_whole(&evidence, offered.note).map_err(fault)?;
            return Err(Unconfirmed::Forked { at: had });
        }
        if offered.old != had {
            return Err(Unconfirmed::ProofFrom(had));
        }
        // A request that was overtaken by a later one has begun at an older size. This one says that it has not.
        if has < had {
            return Err(Unconfirmed::Back { had, has });
        }
        if !continues(had, has, offered.proof, &root, &checkpoint.root) {
            return Err(Unconfirmed::Unproven { had });
        }
        if has > had {
            write_whole(&file, offered.note).map_err(fault)?;
        }
        let mut own = Note::new(note.text()).ok_or(Unconfirmed::NotIts("a note of other signs"))?;
        own.sign(&self.verifier, now, &|text| self.key.sign(text));
        Ok(own)
    }

    /// A log with another key is another log.
    fn file(&self, log: &Verifier) -> PathBuf {
        let place = log.name().rsplit('/').next().unwrap_or_default();
        let place: String = place.chars().filter(char::is_ascii_alphanumeric).collect();
        self.folder.join(format!("{place}-{}", hex::encode(log.id())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use std::sync::Arc;

    use super::*;
    use crate::checkpoint_key;
    use crate::tree::checkpoint::witnessed;
    use crate::tree::files::TreeFiles;

    struct Place {
        dir: tempfile::TempDir,
        log_key: SigningKey,
        log: Verifier,
        own: Verifier,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let log_key = SigningKey::generate().unwrap().0;
            let log = checkpoint_key("london.example", "coordinator", &log_key.public_hex()).unwrap();
            let own = SigningKey::generate().unwrap().0;
            own.save(&dir.path().join("key")).unwrap();
            let own = witness_key("london.example", "E09000007", &own.public_hex()).unwrap();
            Self { dir, log_key, log, own }
        }

        fn witness(&self) -> Witness {
            let key = SigningKey::load(&self.dir.path().join("key")).unwrap();
            Witness::new(&self.dir.path().join("witness"), key, self.own.clone())
        }

        fn tree(&self, name: &str, entries: impl IntoIterator<Item = u64>) -> TreeFiles {
            let mut tree = TreeFiles::new(&self.dir.path().join(name));
            entries.into_iter().for_each(|number| tree.push(&number.to_be_bytes()).unwrap());
            tree
        }

        fn signed(&self, tree: &TreeFiles) -> Vec<u8> {
            let (size, root) = (tree.size(), tree.root().unwrap());
            let checkpoint = Checkpoint { origin: self.log.name().to_owned(), size, root };
            let mut note = Note::new(&checkpoint.text()).unwrap();
            note.sign(&self.log, 0, &|text| self.log_key.sign(text));
            note.to_string().into_bytes()
        }

        fn confirm(&self, witness: &Witness, tree: &TreeFiles, old: u64) -> Result<Note, Unconfirmed> {
            let proof = tree.consistency(old, tree.size()).unwrap_or_default();
            witness.confirm(&self.log, &Offered { note: &self.signed(tree), old, proof: &proof }, 1_790_000_000)
        }
    }

    #[test]
    fn what_continues_is_confirmed_over_restarts_and_nothing_else_is() {
        let place = Place::new();
        let witness = place.witness();
        let nothing = place.tree("nothing", []);
        let few = place.tree("few", 0..5);
        let many = place.tree("many", 0..700);
        let note = place.confirm(&witness, &nothing, 0).unwrap();
        assert_eq!(witnessed(&note, std::slice::from_ref(&place.own)), 1);
        for (tree, old) in [(&few, 0), (&few, 5)] {
            let note = place.confirm(&witness, tree, old).unwrap();
            assert_eq!(witnessed(&note, std::slice::from_ref(&place.own)), 1);
        }
        drop(witness);
        let witness = place.witness();
        let as_note = |tree: &TreeFiles| Note::parse(&place.signed(tree)).unwrap();
        assert!(
            witness.has_confirmed(&place.log, &as_note(&few)) && !witness.has_confirmed(&place.log, &as_note(&many))
        );
        assert!(matches!(place.confirm(&witness, &many, 0), Err(Unconfirmed::ProofFrom(5))));
        place.confirm(&witness, &many, 5).unwrap();
        // A request that was overtaken; a restored copy, and one that was written again.
        assert!(matches!(place.confirm(&witness, &few, 5), Err(Unconfirmed::ProofFrom(700))));
        assert!(matches!(place.confirm(&witness, &few, 700), Err(Unconfirmed::Back { had: 700, has: 5 })));
        let longer = place.tree("longer", (0..699).chain([7, 8]));
        assert!(matches!(place.confirm(&witness, &longer, 700), Err(Unconfirmed::Unproven { had: 700 })));
        // Another key's log is another one, and bytes of anybody are none.
        let thief = SigningKey::generate().unwrap().0;
        let thief = checkpoint_key("london.example", "coordinator", &thief.public_hex()).unwrap();
        let offered = Offered { note: &place.signed(&many), old: 700, proof: &[] };
        assert!(matches!(witness.confirm(&thief, &offered, 1), Err(Unconfirmed::NotIts(_))));
        for bad in [&b""[..], b"\n\n", &[0xff; 70_000]] {
            let offered = Offered { note: bad, old: 700, proof: &[] };
            assert!(matches!(witness.confirm(&place.log, &offered, 1), Err(Unconfirmed::NotIts(_))));
        }
        place.confirm(&witness, &many, 700).unwrap();
        // A log that is signed twice is confirmed no more, whatever of it is shown.
        let other = place.tree("other", (0..699).chain([7]));
        for tree in [&other, &other, &many] {
            assert!(matches!(place.confirm(&witness, tree, 700), Err(Unconfirmed::Forked { at: 700 })));
        }
        assert_eq!(place.witness().forked(&place.log).unwrap(), Some(700));
        // Both checkpoints of the fork are kept.
        let kept: Vec<Vec<u8>> = std::fs::read_dir(place.dir.path().join("witness"))
            .unwrap()
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .collect();
        assert!(kept.len() == 2 && kept.contains(&place.signed(&many)) && kept.contains(&place.signed(&other)));
        std::fs::remove_file(witness.file(&place.log).with_extension("fork")).unwrap();
        place.confirm(&witness, &many, 700).unwrap();
    }

    /// A file that was damaged confirms nothing, rather than everything.
    #[test]
    fn without_its_memory_a_witness_confirms_nothing() {
        let place = Place::new();
        let witness = place.witness();
        let tree = place.tree("tree", 0..300);
        place.confirm(&witness, &tree, 0).unwrap();
        let file = witness.file(&place.log);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert!(matches!(place.confirm(&witness, &tree, 300), Err(Unconfirmed::File { .. })));
        assert!(matches!(place.confirm(&witness, &tree, 0), Err(Unconfirmed::File { .. })));
    }

    /// Askers of two logs at once get confirmations of one.
    #[test]
    fn two_forks_at_once_are_not_both_confirmed() {
        for round in 0..20 {
            let place = Arc::new(Place::new());
            let witness = Arc::new(place.witness());
            let asked: Vec<_> = [round, round + 1_000]
                .map(|last| {
                    let (place, witness) = (Arc::clone(&place), Arc::clone(&witness));
                    std::thread::spawn(move || {
                        let tree = place.tree(&last.to_string(), (0..50).chain([last]));
                        place.confirm(&witness, &tree, 0).is_ok()
                    })
                })
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect();
            assert_eq!(asked.iter().filter(|confirmed| **confirmed).count(), 1);
        }
    }
}
