//! A log of signed lines as a tree in files, so that anybody's tools can check it: `checkpoint` and `tile/` in a folder
//! beside the log.
//!
//! The tree follows the log: each whole line is an entry, byte for byte, those of earlier software too. It can be made anew
//! from the log at any time. What cannot be made anew is what was signed: no checkpoint is signed that does not continue the
//! newest one on the disk. So a log that was cut, changed or restored from an older copy is told, and not signed.
//!
//! Of an answer that is being given, a checkpoint is signed at once, and is on the disk with the next one that is published.
//! The entries themselves are durable before it is signed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use loda_federation::{Manifest, SigningKey};

use crate::head_file;
use crate::log::LogError;
use crate::tree::checkpoint::Checkpoint;
use crate::tree::files::{TreeFiles, read_note, write_whole};
use crate::tree::hash::Hash;
use crate::tree::note::{Note, Signs, Verifier};

/// The name of the file that holds the newest checkpoint.
pub const CHECKPOINT: &str = "checkpoint";

/// The name of the file that holds the newest checkpoint that other parties have confirmed, with their signatures.
pub const CONFIRMED: &str = "checkpoint.confirmed";

/// The key that verifies the checkpoints of a party's log. `place`: `coordinator`, or a borough's GSS code. `log_key`: the
/// party's, as the manifest has it. `None`: it is no key, or notes cannot hold the name.
#[must_use]
pub fn checkpoint_key(domain: &str, place: &str, log_key: &str) -> Option<Verifier> {
    let key = hex::decode(log_key).ok()?.try_into().ok()?;
    Verifier::new(&format!("{domain}/log/{place}"), Signs::Text, key)
}

/// The place of the coordinator's log in the federation.
pub const COORDINATOR: &str = "coordinator";

/// The key that verifies the checkpoints of the coordinator's log. `None`: notes cannot hold its name.
#[must_use]
pub fn coordinator_key(manifest: &Manifest) -> Option<Verifier> {
    checkpoint_key(&manifest.domain, COORDINATOR, &manifest.coordinator.log_key)
}

/// Keeps the tree of one log.
pub struct PublishedTree {
    lines: PathBuf,
    folder: PathBuf,
    key: SigningKey,
    verifier: Verifier,
    tree: TreeFiles,
    /// The bytes of the log that are in the tree.
    read: u64,
    /// The newest checkpoint that was published.
    signed: Option<Checkpoint>,
    /// The newest checkpoint that was signed, with its note.
    newest: Option<(Checkpoint, Note)>,
    confirmed: Option<(Checkpoint, Note)>,
}

/// An entry, with the proof that a signed log holds it.
pub struct Included {
    /// The entry's line, as it was signed.
    pub entry: Vec<u8>,
    /// The checkpoint of the log now.
    pub checkpoint: Note,
    /// The proof that the entry is in it.
    pub inclusion: Vec<Hash>,
    /// The newest checkpoint that other parties have confirmed, and the proof that the one of now continues it.
    pub confirmed: Option<(Note, Vec<Hash>)>,
}

impl PublishedTree {
    /// Makes the tree of the log at `lines` in a folder, and signs a checkpoint of it. `key` is the log's, and `verifier`
    /// is made of it.
    ///
    /// # Errors
    /// A file cannot be read or written, or the log does not continue the checkpoint in the folder.
    pub fn open(lines: &Path, folder: &Path, key: SigningKey, verifier: Verifier) -> Result<Self, LogError> {
        let path = folder.join(CHECKPOINT);
        let wrong = |what: String| LogError::Checkpoint { path: path.display().to_string(), what };
        let signed = match read_note(&path) {
            Ok(note) => Some(Checkpoint::of_note(&note, &verifier).map_err(|what| wrong(what.to_owned()))?),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => None,
            Err(fault) if fault.kind() == io::ErrorKind::InvalidData => return Err(wrong(fault.to_string())),
            Err(source) => return Err(LogError::Write { path: path.display().to_string(), source }),
        };
        // Confirmations can be had again.
        let confirmed = read_note(&folder.join(CONFIRMED)).ok();
        let confirmed = confirmed.and_then(|note| Some((Checkpoint::of_note(&note, &verifier).ok()?, note)));
        let (lines, folder) = (lines.to_owned(), folder.to_owned());
        let tree = TreeFiles::new(&folder);
        let mut published = Self { lines, folder, key, verifier, tree, read: 0, signed, newest: None, confirmed };
        published.publish()?;
        // Files of the tree may have been lost, though the checkpoint was not.
        let made = published.tree.publish();
        made.map_err(|source| LogError::Write { path: published.folder.display().to_string(), source })?;
        Ok(published)
    }

    /// Takes up the log's new entries, and signs a checkpoint if there are any.
    ///
    /// # Errors
    /// As [`PublishedTree::open`].
    pub fn publish(&mut self) -> Result<&Option<Checkpoint>, LogError> {
        let (checkpoint, note) = self.sign()?;
        if self.signed.as_ref().is_none_or(|signed| checkpoint.size > signed.size) {
            self.tree.publish().map_err(|source| self.unread(source))?;
            self.write(CHECKPOINT, &note)?;
            self.signed = Some(checkpoint);
        }
        Ok(&self.signed)
    }

    fn write(&self, name: &str, note: &Note) -> Result<(), LogError> {
        let path = self.folder.join(name);
        let written = write_whole(&path, note.to_string().as_bytes());
        written.map_err(|source| LogError::Write { path: path.display().to_string(), source })
    }

    /// Takes up the log's new entries, and signs the tree if there are any.
    fn sign(&mut self) -> Result<(Checkpoint, Note), LogError> {
        self.take_up().map_err(|source| LogError::Write { path: self.lines.display().to_string(), source })??;
        let size = self.tree.size();
        let known = self.signed.as_ref().map_or(0, |signed| signed.size);
        if size < known {
            return Err(self.back(format!("it has {size} entries, and {known} were signed")));
        }
        if let Some(newest) = self.newest.as_ref().filter(|(checkpoint, _)| checkpoint.size == size) {
            return Ok(newest.clone());
        }
        let root = self.tree.root().map_err(|source| self.unread(source))?;
        let checkpoint = Checkpoint { origin: self.verifier.name().to_owned(), size, root };
        let not_text = || self.unread(io::Error::from(io::ErrorKind::InvalidData));
        let mut note = Note::new(&checkpoint.text()).ok_or_else(not_text)?;
        note.sign(&self.verifier, 0, &|text| self.key.sign(text));
        Ok(self.newest.insert((checkpoint, note)).clone())
    }

    /// The newest checkpoint that was signed.
    #[must_use]
    pub fn newest(&self) -> Option<&(Checkpoint, Note)> {
        self.newest.as_ref()
    }

    /// The newest checkpoint that others have confirmed, with their signatures.
    #[must_use]
    pub fn confirmed(&self) -> Option<Note> {
        self.confirmed.as_ref().map(|(_, note)| note.clone())
    }

    /// An entry (from 0) that the log has acknowledged, with the proof that the log as it is now holds it.
    ///
    /// # Errors
    /// There is no such entry, a file cannot be read, or the log does not continue what was signed.
    pub fn included(&mut self, number: u64) -> Result<Included, LogError> {
        let (checkpoint, note) = self.sign()?;
        let inclusion = self.tree.inclusion(number, checkpoint.size).map_err(|source| self.unread(source))?;
        let entry = self.tree.entry(number).map_err(|source| self.unread(source))?;
        let confirmed = match &self.confirmed {
            Some((confirmed, with)) => Some((with.clone(), self.continuing(confirmed.size, checkpoint.size)?)),
            None => None,
        };
        Ok(Included { entry, checkpoint: note, inclusion, confirmed })
    }

    /// The proofs that the log holds some entries (from 0), in one checkpoint: the one that others have confirmed, if it
    /// reaches so far, else that of the log as it is now.
    ///
    /// # Errors
    /// As [`PublishedTree::included`].
    pub fn proofs(&mut self, numbers: &[u64]) -> Result<(Note, Vec<Vec<Hash>>), LogError> {
        let holds = |size: u64| numbers.iter().all(|number| *number < size);
        let confirmed = self.confirmed.clone().filter(|(confirmed, _)| holds(confirmed.size));
        let (checkpoint, note) = confirmed.map_or_else(|| self.sign(), Ok)?;
        let inclusion =
            |number: &u64| self.tree.inclusion(*number, checkpoint.size).map_err(|source| self.unread(source));
        Ok((note, numbers.iter().map(inclusion).collect::<Result<_, _>>()?))
    }

    /// The proof that the first `size` entries continue the first `old`.
    ///
    /// # Errors
    /// There are fewer, or a file cannot be read.
    pub fn continuing(&self, old: u64, size: u64) -> Result<Vec<Hash>, LogError> {
        self.tree.consistency(old, size).map_err(|source| self.unread(source))
    }

    /// Keeps a checkpoint of this log that others have confirmed, in place of an older one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_confirmed(&mut self, note: Note) -> Result<(), LogError> {
        let Ok(checkpoint) = Checkpoint::of_note(&note, &self.verifier) else { return Ok(()) };
        if self.confirmed.as_ref().is_some_and(|(before, _)| before.size > checkpoint.size) {
            return Ok(());
        }
        self.write(CONFIRMED, &note)?;
        self.confirmed = Some((checkpoint, note));
        Ok(())
    }

    fn unread(&self, source: io::Error) -> LogError {
        LogError::Write { path: self.folder.display().to_string(), source }
    }

    /// Adds the lines that the tree does not have, as far as they are acknowledged: one that could not be written whole is
    /// taken back, and must not have been signed.
    fn take_up(&mut self) -> io::Result<Result<(), LogError>> {
        let acknowledged = head_file::entries_beside(&self.lines)?;
        let mut file = File::open(&self.lines)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while self.tree.size() < acknowledged {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if line.pop() != Some(b'\n') {
                return Ok(Ok(()));
            }
            self.tree.push(&line)?;
            self.read = self.read.saturating_add(read as u64);
            if let Some(signed) = self.signed.as_ref().filter(|signed| signed.size == self.tree.size())
                && self.tree.root()? != signed.root
            {
                return Ok(Err(self.back(format!("its first {} entries are not those that were signed", signed.size))));
            }
        }
        Ok(Ok(()))
    }

    fn back(&self, what: String) -> LogError {
        LogError::Checkpoint { path: self.lines.display().to_string(), what }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use std::fs;

    use super::*;
    use crate::entry::Entry;
    use crate::log::Log;
    use crate::signed_log::SignedLines;
    use crate::tree::files::check;
    use crate::tree::proof::{continues, includes};

    struct Place {
        dir: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            SigningKey::generate().unwrap().0.save(&dir.path().join("key")).unwrap();
            Self { dir }
        }

        fn key(&self) -> SigningKey {
            SigningKey::load(&self.dir.path().join("key")).unwrap()
        }

        fn verifier(&self) -> Verifier {
            checkpoint_key("london.example", "coordinator", &self.key().public_hex()).unwrap()
        }

        fn lines(&self) -> PathBuf {
            self.dir.path().join("log.jsonl")
        }

        fn folder(&self) -> PathBuf {
            self.dir.path().join("log")
        }

        fn log(&self, entries: usize) {
            let log = SignedLines::open(&self.lines(), self.key()).unwrap();
            let entries: Vec<Entry> = (0..entries).map(|number| Entry::admin(number.to_string())).collect();
            log.append_all(&entries).unwrap();
        }

        fn open(&self) -> Result<PublishedTree, LogError> {
            PublishedTree::open(&self.lines(), &self.folder(), self.key(), self.verifier())
        }

        /// The number of entries of the published tree, each checked.
        fn checked(&self) -> u64 {
            let note = read_note(&self.folder().join(CHECKPOINT)).unwrap();
            let checkpoint = Checkpoint::of_note(&note, &self.verifier()).unwrap();
            let lines = fs::read_to_string(self.lines()).unwrap();
            let mut expected = lines.lines();
            check(&self.folder(), checkpoint.size, &checkpoint.root, &mut |_, entry| {
                assert_eq!(entry, expected.next().unwrap().as_bytes());
            })
            .unwrap();
            checkpoint.size
        }
    }

    #[test]
    fn a_tree_follows_its_log_and_is_taken_up_after_a_start() {
        let place = Place::new();
        place.log(300);
        let mut published = place.open().unwrap();
        assert_eq!(place.checked(), 300);
        place.log(1);
        assert_eq!(published.publish().unwrap().as_ref().unwrap().size, 301);
        assert_eq!(place.checked(), 301);
        drop(published);
        place.log(500);
        drop(place.open().unwrap());
        assert_eq!(place.checked(), 801);
        // What is written and not yet acknowledged is no entry: it may be taken back.
        let whole = fs::read(place.lines()).unwrap();
        for more in [&b"{\"entry\":"[..], b"{}\n"] {
            fs::write(place.lines(), [&whole[..], more].concat()).unwrap();
            drop(place.open().unwrap());
            assert_eq!(place.checked(), 801);
        }
        // Lost files are made anew; the checkpoint is all that a start needs.
        fs::write(place.lines(), &whole).unwrap();
        fs::remove_dir_all(place.folder().join("tile")).unwrap();
        drop(place.open().unwrap());
        assert_eq!(place.checked(), 801);
    }

    #[test]
    fn an_entry_is_proven_at_once_and_what_is_confirmed_is_continued() {
        let place = Place::new();
        place.log(300);
        let mut published = place.open().unwrap();
        let log = place.verifier();
        let proven = |published: &mut PublishedTree, number: u64| {
            let Included { entry, checkpoint, inclusion, confirmed } = published.included(number).unwrap();
            let lines = fs::read_to_string(place.lines()).unwrap();
            assert_eq!(entry, lines.lines().nth(usize::try_from(number).unwrap()).unwrap().as_bytes());
            let now = Checkpoint::of_note(&checkpoint, &log).unwrap();
            assert!(includes(&entry, number, now.size, &inclusion, &now.root), "{number}");
            let confirmed = confirmed.map(|(note, proof)| {
                let before = Checkpoint::of_note(&note, &log).unwrap();
                assert!(continues(before.size, now.size, &proof, &before.root, &now.root));
                before.size
            });
            (now.size, confirmed)
        };
        assert_eq!(proven(&mut published, 299), (300, None));
        let note = published.newest().unwrap().1.clone();
        published.keep_confirmed(note).unwrap();
        place.log(2);
        assert_eq!(proven(&mut published, 301), (302, Some(300)));
        assert_eq!(proven(&mut published, 0), (302, Some(300)));
        assert!(published.included(302).is_err());
        // The checkpoint of now is not on the disk before it is published, and no start minds.
        assert_eq!(place.checked(), 300);
        drop(published);
        let mut published = place.open().unwrap();
        assert_eq!((place.checked(), proven(&mut published, 301)), (302, (302, Some(300))));
        // Neither an older one nor another log's takes its place.
        place.log(1);
        published.publish().unwrap();
        let newer = published.newest().unwrap().1.clone();
        let older = proven(&mut published, 301);
        assert_eq!(older, (303, Some(300)));
        published.keep_confirmed(newer).unwrap();
        let before = read_note(&place.folder().join(CONFIRMED)).unwrap();
        published.keep_confirmed(Note::new("another text\n").unwrap()).unwrap();
        assert_eq!(read_note(&place.folder().join(CONFIRMED)).unwrap(), before);
        assert_eq!(proven(&mut published, 301), (303, Some(303)));
    }

    /// Nothing is signed while a tile cannot be written, and then the log as it is.
    #[test]
    fn a_full_disk_puts_no_entry_into_the_tree_twice() {
        let place = Place::new();
        place.log(200);
        let mut published = place.open().unwrap();
        place.log(400);
        let obstacle = place.folder().join("tile/0/000");
        fs::create_dir_all(obstacle.join("full")).unwrap();
        for _ in 0..3 {
            assert!(matches!(published.publish(), Err(LogError::Write { .. })));
            assert_eq!(place.checked(), 200);
        }
        fs::remove_dir_all(obstacle).unwrap();
        published.publish().unwrap();
        assert_eq!(place.checked(), 600);
    }

    #[test]
    fn no_checkpoint_is_signed_of_a_log_that_went_back_or_was_changed() {
        let place = Place::new();
        place.log(600);
        drop(place.open().unwrap());
        let whole = fs::read_to_string(place.lines()).unwrap();
        let signed = fs::read(place.folder().join(CHECKPOINT)).unwrap();
        let lines: Vec<&str> = whole.lines().collect();
        let cut = format!("{}\n", lines[..599].join("\n"));
        let changed = whole.replacen("\"5\"", "\"6\"", 1);
        let swapped = format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2..].join("\n"));
        let longer = format!("{changed}{}\n", lines[0]);
        for (what, other) in
            [("cut", cut), ("empty", String::new()), ("changed", changed), ("swapped", swapped), ("longer", longer)]
        {
            fs::write(place.lines(), other).unwrap();
            let said = place.open().err().unwrap_or_else(|| panic!("{what} was signed"));
            assert!(matches!(said, LogError::Checkpoint { .. }), "{what}: {said}");
            assert_eq!(fs::read(place.folder().join(CHECKPOINT)).unwrap(), signed, "{what}");
        }
        // While it runs, too.
        fs::write(place.lines(), &whole).unwrap();
        let mut published = place.open().unwrap();
        assert!(published.publish().is_ok());
        // A checkpoint of another key, and a damaged one.
        let other = SigningKey::generate().unwrap().0;
        let thief = checkpoint_key("london.example", "coordinator", &other.public_hex()).unwrap();
        assert!(PublishedTree::open(&place.lines(), &place.folder(), other, thief).is_err());
        fs::write(place.folder().join(CHECKPOINT), "600").unwrap();
        assert!(matches!(place.open().err(), Some(LogError::Checkpoint { .. })));
    }
}
