//! A log of signed JSON lines, one for each entry.
//!
//! The head file beside the log holds the number of entries and the hash of the last one. A log that was cut or replaced does
//! not match it and is not opened. Before each write the process checks that no other process has touched the log.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use loda_federation::SigningKey;
use serde::Serialize;

use crate::check::{CheckedLog, check, line};
use crate::entry::Entry;
use crate::head_file::HeadFile;
use crate::index::Index;
use crate::log::{Log, LogError};
use crate::seen::Head;
use crate::sha256::{Hash, hash};
use crate::tree::tile::MAX_ENTRY;

/// A file of lines `{"entry":{…},"signature":"…"}`. The signature covers the bytes of `entry`. These bytes hold a sequence
/// number, the time and the SHA-256 of the previous line.
pub struct SignedLines {
    path: PathBuf,
    key: SigningKey,
    state: Mutex<State>,
}

struct State {
    file: File,
    index: Index,
    head: HeadFile,
    /// The file's state after this process last wrote to it.
    left: Option<FileState>,
    /// The reason why the last entry was not written.
    fault: Option<String>,
    /// The file's change time differs and its length does not. A later check reads the entries, apart from the writing.
    suspect: bool,
    /// The reason why this process will never write again: a failed fsync leaves the disk in an unknown state, and a file that
    /// another process has changed is not a log.
    stopped: Option<String>,
}

/// The signed part of a line.
#[derive(Serialize)]
struct Body<'a> {
    sequence: u64,
    time: String,
    previous: &'a str,
    head: bool,
    what: &'a Entry,
}

impl SignedLines {
    /// Opens or creates the log, checks its entries, and removes a last line that a crash cut short.
    ///
    /// # Errors
    /// If the file cannot be used, a whole line does not verify, or the log does not match its head file.
    pub fn open(path: &Path, key: SigningKey) -> Result<Self, LogError> {
        Self::open_telling(path, key, &mut |_| {})
    }

    /// As [`SignedLines::open`], and passes every existing entry to `told`, in order.
    ///
    /// # Errors
    /// As [`SignedLines::open`].
    pub fn open_telling(path: &Path, key: SigningKey, told: &mut dyn FnMut(Entry)) -> Result<Self, LogError> {
        let fault = |source| LogError::Write { path: path.display().to_string(), source };
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(fault)?;
        let mut head = HeadFile::open(path)?;
        let CheckedLog { index, headed } = check(path, &key.public_hex(), told)?;
        let at_head = index.hash_at(path, head.lines).map(hex::encode).unwrap_or_default();
        head.check(path, index.entries(), &at_head, headed)?;
        file.set_len(index.bytes()).and_then(|()| file.sync_all()).map_err(fault)?;
        // After a crash between an entry and its number, the head file is behind the log.
        head.set(index.mark()).and_then(|()| head.sync()).map_err(fault)?;
        let left = file.metadata().as_ref().map(FileState::of).ok();
        let state = State { file, index, head, left, fault: None, suspect: false, stopped: None };
        Ok(Self { path: path.to_owned(), key, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that the file is as this process left it. If another process has changed it, the log stops for good.
    fn look(&self, state: &mut State) -> Result<(), LogError> {
        if state.stopped.is_some() {
            return Err(LogError::Stopped);
        }
        match state.touched(&self.path) {
            Some(what) => Err(self.stop(state, what)),
            None => Ok(()),
        }
    }

    fn stop(&self, state: &mut State, what: String) -> LogError {
        let touched = LogError::Touched { path: self.path.display().to_string(), what };
        tracing::error!("{touched}");
        state.stopped = Some(touched.to_string());
        touched
    }

    /// Reads all entries and compares them with those that this process knows. Writing goes on meanwhile.
    fn reread(&self) -> Result<(), String> {
        let known = self.state().index.mark();
        match check(&self.path, &self.key.public_hex(), &mut |_| {}) {
            Ok(CheckedLog { index, .. }) if index.hash_at(&self.path, known.entries) == Some(known.hash) => Ok(()),
            Ok(CheckedLog { index, .. }) if known.entries == 0 && index.entries() == 0 => Ok(()),
            Ok(_) => Err("its entries were changed".to_owned()),
            Err(fault) => Err(fault.to_string()),
        }
    }
}

impl Log for SignedLines {
    fn append_all(&self, entries: &[Entry]) -> Result<u64, LogError> {
        let mut state = self.state();
        self.look(&mut state)?;
        let first = state.index.entries();
        let (mut previous, mut lines) = (state.index.previous(), Vec::new());
        for (sequence, entry) in (first..).zip(entries) {
            let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            let body = Body { sequence, time, previous: &previous, head: true, what: entry };
            // Texts and numbers always have a JSON form.
            let body = serde_json::to_string(&body).unwrap_or_default();
            let signature = hex::encode(self.key.sign(body.as_bytes()));
            let line = line(&body, &signature);
            // A longer entry would keep all that follow out of the tree.
            if line.len() > MAX_ENTRY {
                return Err(LogError::Long { path: self.path.display().to_string(), bytes: line.len() });
            }
            let hash = hash(&line);
            previous = hex::encode(hash);
            lines.push((line, hash));
        }
        let written = state.write(&lines);
        state.fault = written.as_ref().err().map(ToString::to_string);
        written.map(|()| first).map_err(|source| LogError::Write { path: self.path.display().to_string(), source })
    }

    fn fault(&self) -> Option<String> {
        let failed = {
            let state = self.state();
            if let Some(why) = &state.stopped {
                return Some(why.clone());
            }
            state.fault.is_some()
        };
        // Once the disk has space again, the time of this entry records it.
        let again = failed.then(|| self.append(&Entry::admin("the log could not be written before this entry")));
        again.and_then(Result::err).map(|fault| fault.to_string())
    }

    fn is_stopped(&self) -> bool {
        let suspect = {
            let mut state = self.state();
            if self.look(&mut state).is_err() {
                return true;
            }
            std::mem::take(&mut state.suspect)
        };
        match if suspect { self.reread() } else { Ok(()) } {
            Ok(()) => false,
            Err(what) => {
                self.stop(&mut self.state(), what);
                true
            }
        }
    }

    fn head(&self, at: u64) -> Head {
        let state = self.state();
        Head { now: state.index.mark(), at, at_hash: state.index.hash_at(&self.path, at) }
    }
}

impl State {
    /// Writes lines, each with its hash. Lines that do not fit are removed whole, so that shorter ones can follow.
    fn write(&mut self, lines: &[(String, Hash)]) -> std::io::Result<()> {
        let stopped = || Some(LogError::Stopped.to_string());
        let text: String = lines.iter().flat_map(|(line, _)| [line.as_str(), "\n"]).collect();
        if let Err(fault) = self.file.write_all(text.as_bytes()) {
            let undone = self.file.set_len(self.index.bytes()).and_then(|()| self.file.sync_data());
            self.stopped = undone.err().and_then(|_| stopped());
            self.left = self.file.metadata().as_ref().map(FileState::of).ok();
            return Err(fault);
        }
        if let Err(fault) = self.file.sync_data() {
            self.stopped = stopped();
            return Err(fault);
        }
        for (line, hash) in lines {
            self.index.push(*hash, (line.len() as u64).saturating_add(1));
        }
        // The metadata are those of the open file, even if another file has its name by now.
        self.left = self.file.metadata().as_ref().map(FileState::of).ok();
        // The entry is durable. If its number cannot be written, the next start reads a log that is longer than its head file.
        let _numbered = self.head.set(self.index.mark()).is_ok();
        Ok(())
    }

    /// The change that another process has made to the files since this process wrote to them.
    fn touched(&mut self, path: &Path) -> Option<String> {
        let Ok(now) = std::fs::metadata(path).as_ref().map(FileState::of) else {
            return Some("it went away".to_owned());
        };
        let left = self.left.as_ref()?;
        if now.file != left.file {
            return Some("another was put in its place".to_owned());
        }
        if now.bytes != self.index.bytes() {
            return Some(format!("it has {} bytes in place of {}", now.bytes, self.index.bytes()));
        }
        if !self.head.is_there() {
            return Some("the file beside it that says how many entries it has was replaced".to_owned());
        }
        if now.changed != left.changed {
            // Its permissions or its names may have changed, and its bytes not.
            self.suspect = true;
            self.left = Some(now);
        }
        None
    }
}

/// The file system's record of a file.
struct FileState {
    /// The file's identity: device and inode number.
    file: (u64, u64),
    bytes: u64,
    /// The time of the last change of its bytes or metadata, in seconds and nanoseconds.
    changed: (i64, i64),
}

impl FileState {
    #[cfg(unix)]
    fn of(about: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { file: (about.dev(), about.ino()), bytes: about.len(), changed: (about.ctime(), about.ctime_nsec()) }
    }

    #[cfg(not(unix))]
    fn of(about: &Metadata) -> Self {
        Self { file: (0, 0), bytes: about.len(), changed: (0, 0) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::event::Event;
    use crate::verify_lines;

    fn entry(query: &str) -> Entry {
        Entry { query: query.to_owned(), dataset: "d".to_owned(), ..Entry::of(Event::Accept { asked: None }) }
    }

    #[test]
    fn a_changed_dropped_or_reordered_line_shows_and_a_torn_one_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let key = || SigningKey::from_pkcs8(&std::fs::read(dir.path().join("key")).unwrap()).unwrap();
        SigningKey::generate().unwrap().0.save(&dir.path().join("key")).unwrap();
        let public = key().public_hex();
        let log = SignedLines::open(&path, key()).unwrap();
        for query in ["a", "b", "c"] {
            log.append(&entry(query)).unwrap();
        }
        assert_eq!(verify_lines(&path, &public).unwrap(), 3);
        let of = |query: Option<&str>, start, limit| {
            let wanted = crate::Search { query: query.map(str::to_owned), ..crate::Search::default() };
            let (found, next) = crate::search(&path, &wanted, start, limit).unwrap();
            let whole = found
                .iter()
                .all(|f| loda_federation::verify(&public, f.entry.as_bytes(), &hex::decode(&f.signature).unwrap()));
            assert!(whole);
            (found.len(), next)
        };
        assert_eq!([of(None, 0, 2), of(None, 2, 2), of(Some("b"), 0, 9)], [(2, Some(2)), (1, None), (1, None)]);
        assert_eq!([of(Some("x"), 0, 9), of(None, 9, 9), of(Some("b"), 2, 9)], [(0, None); 3]);
        let whole = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = whole.lines().collect();
        for bad in [
            whole.replace("\"b\"", "\"x\""),
            format!("{}\n{}\n", lines[0], lines[2]),
            format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]),
        ] {
            std::fs::write(&path, bad).unwrap();
            assert!(verify_lines(&path, &public).is_err());
        }
        std::fs::write(&path, format!("{whole}{}", &lines[0][..40])).unwrap();
        drop(SignedLines::open(&path, key()).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
    }

    #[test]
    fn a_log_that_went_back_is_not_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        SigningKey::generate().unwrap().0.save(&dir.path().join("key")).unwrap();
        let key = || SigningKey::from_pkcs8(&std::fs::read(dir.path().join("key")).unwrap()).unwrap();
        let write = |queries: &[&str]| {
            let log = SignedLines::open(&path, key()).unwrap();
            for query in queries {
                log.append(&entry(query)).unwrap();
            }
        };
        write(&["a", "b", "c"]);
        let head = dir.path().join("log.head");
        let (whole, of_whole) = (std::fs::read_to_string(&path).unwrap(), std::fs::read(&head).unwrap());
        let refused = |what: &str| {
            let said = SignedLines::open(&path, key()).err().unwrap_or_else(|| panic!("{what} was taken up"));
            assert!(matches!(said, LogError::Back { .. } | LogError::Head { .. }), "{what}: {said}");
            said.to_string()
        };
        // A log that was cut, emptied or removed.
        let lines: Vec<&str> = whole.lines().collect();
        std::fs::write(&path, format!("{}\n{}\n", lines[0], lines[1])).unwrap();
        assert!(refused("one that was cut").contains("held 3 entries"));
        std::fs::write(&path, "").unwrap();
        refused("an empty one");
        std::fs::remove_file(&path).unwrap();
        refused("none");
        // Another log of the same key.
        std::fs::remove_file(&head).unwrap();
        std::fs::remove_file(&path).unwrap();
        write(&["a", "b", "x", "y"]);
        std::fs::write(&head, &of_whole).unwrap();
        refused("another one");
        // A damaged and a lost head file.
        std::fs::write(&path, &whole).unwrap();
        std::fs::write(&head, "3").unwrap();
        refused("a damaged number");
        std::fs::remove_file(&head).unwrap();
        refused("a lost number");
        // A crash between an entry and its number is no fault.
        std::fs::write(&head, &of_whole).unwrap();
        write(&["d"]);
        std::fs::write(&head, &of_whole).unwrap();
        write(&["e"]);
        assert_eq!(verify_lines(&path, &key().public_hex()).unwrap(), 5);
    }

    #[test]
    fn what_somebody_else_changes_while_it_is_written_to_stops_it() {
        type Change = fn(&Path, &str);
        let changes: [(&str, Change); 9] = [
            ("cut", |path, whole| std::fs::write(path, &whole[..whole.len() / 2]).unwrap()),
            ("emptied", |path, _| std::fs::write(path, "").unwrap()),
            ("removed", |path, _| std::fs::remove_file(path).unwrap()),
            ("a word changed in its place", |path, whole| {
                let mut file = OpenOptions::new().write(true).open(path).unwrap();
                file.write_all(whole.replacen("\"a\"", "\"x\"", 1).as_bytes()).unwrap();
            }),
            ("a copy put in its place", |path, whole| {
                std::fs::write(path.with_extension("copy"), whole).unwrap();
                std::fs::rename(path.with_extension("copy"), path).unwrap();
            }),
            ("moved away", |path, _| std::fs::rename(path, path.with_extension("old")).unwrap()),
            ("a line added", |path, whole| {
                std::fs::write(path, format!("{whole}{}\n", whole.lines().next_back().unwrap())).unwrap();
            }),
            ("its number removed", |path, _| std::fs::remove_file(path.with_extension("head")).unwrap()),
            ("its number replaced", |path, _| {
                let head = path.with_extension("head");
                std::fs::copy(&head, path.with_extension("copy")).unwrap();
                std::fs::rename(path.with_extension("copy"), &head).unwrap();
            }),
        ];
        for (what, change) in changes {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log.jsonl");
            let log = SignedLines::open(&path, SigningKey::generate().unwrap().0).unwrap();
            assert_eq!(["a", "b", "c"].map(|query| log.append(&entry(query)).unwrap()), [0, 1, 2]);
            // Waits for a tick of the file system's clock.
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!log.is_stopped());
            change(&path, &std::fs::read_to_string(&path).unwrap());
            let said = log.append(&entry("d"));
            // A change in place is found by the check apart from the writing.
            assert!(matches!(said, Err(LogError::Touched { .. })) || what.starts_with("a word"), "{what}: {said:?}");
            assert!(log.is_stopped() && log.fault().unwrap().contains("while this ran"), "{what}");
        }
        // A hard link changes none of the bytes and does not stop the log.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let log = SignedLines::open(&path, SigningKey::generate().unwrap().0).unwrap();
        log.append(&entry("a")).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::hard_link(&path, dir.path().join("copy")).unwrap();
        assert!(!log.is_stopped() && log.append(&entry("b")).is_ok());
    }

    /// An asker who makes an entry too long for the tree loses this question, and nobody loses the tree.
    #[test]
    fn an_entry_that_no_tree_holds_is_not_logged() {
        let dir = tempfile::tempdir().unwrap();
        let log = SignedLines::open(&dir.path().join("log.jsonl"), SigningKey::generate().unwrap().0).unwrap();
        let long = Entry { fragment: "ab".repeat(40_000), ..entry("a") };
        assert!(matches!(log.append_all(&[entry("a"), long]), Err(LogError::Long { bytes: 80_000.., .. })));
        assert!(log.fault().is_none() && !log.is_stopped());
        log.append(&entry("b")).unwrap();
        assert_eq!(log.head(0).now.entries, 1);
    }

    #[test]
    fn another_file_that_is_put_there_while_an_entry_is_written_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let log = SignedLines::open(&path, SigningKey::generate().unwrap().0).unwrap();
        log.append(&entry("a")).unwrap();
        // The file is replaced after the check and before the write.
        std::fs::copy(&path, dir.path().join("copy")).unwrap();
        std::fs::rename(dir.path().join("copy"), &path).unwrap();
        log.state().write(&[("a line".to_owned(), hash("a line"))]).unwrap();
        assert!(log.is_stopped() && log.append(&entry("b")).is_err());
    }

    #[test]
    fn it_knows_the_hash_of_every_entry() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let saved = dir.path().join("key");
        SigningKey::generate().unwrap().0.save(&saved).unwrap();
        let log = SignedLines::open(&path, SigningKey::load(&saved).unwrap()).unwrap();
        for number in (0..1500).step_by(3) {
            log.append(&entry(&number.to_string())).unwrap();
            log.append_all(&[entry("the second"), entry("the third")]).unwrap();
        }
        drop(log);
        let lines = std::fs::read_to_string(&path).unwrap();
        let again = SignedLines::open(&path, SigningKey::load(&saved).unwrap()).unwrap();
        for (number, line) in (1_u64..).zip(lines.lines()) {
            assert_eq!(again.head(number).at_hash, Some(hash(line)), "{number}");
        }
        assert_eq!((again.head(0).at_hash, again.head(1501).at_hash, again.head(u64::MAX).at_hash), (None, None, None));
        assert_eq!(again.head(1).now.entries, 1500);
    }

    /// Runs on a file system of 64 KiB, if this process may mount one.
    #[test]
    fn a_full_disk_is_a_fault_until_there_is_space_again() {
        let dir = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "none"])
            .arg(dir.path())
            .output();
        if !mounted.is_ok_and(|said| said.status.success()) {
            return println!("skipped: no file system can be mounted here");
        }
        let path = dir.path().join("log.jsonl");
        let log = SignedLines::open(&path, SigningKey::generate().unwrap().0).unwrap();
        let filler = dir.path().join("filler");
        std::fs::write(&filler, vec![0_u8; 30 << 10]).unwrap();
        let failed = (0..500).any(|_| log.append(&entry("a")).is_err());
        let (full, stopped) = (log.fault(), log.is_stopped());
        std::fs::remove_file(&filler).unwrap();
        let (mended, lines) = (log.fault(), verify_lines(&path, &log.key.public_hex()));
        let again = log.append(&entry("b"));
        drop(log);
        std::process::Command::new("umount").arg(dir.path()).status().unwrap();
        assert!(failed && full.is_some() && !stopped, "{full:?}");
        assert!(mended.is_none() && again.is_ok() && lines.unwrap() > 10, "{mended:?}");
    }
}
