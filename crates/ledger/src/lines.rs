//! One signed JSON line an entry.
//!
//! How many there are, and the hash of the last, stand in a file of their own: a log that was cut, or that another was put in
//! place of, is not taken up.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use loda_identity::SigningKey;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::head::Head;
use crate::{Entry, Log, LogError};

/// A file of lines `{"entry":{…},"signature":"…"}`. The signature covers the bytes of `entry`, which
/// hold a sequence number, the time and the SHA-256 of the line before.
pub struct SignedLines {
    path: PathBuf,
    key: SigningKey,
    state: Mutex<State>,
}

struct State {
    file: File,
    /// Bytes of whole lines.
    size: u64,
    next: u64,
    previous: String,
    head: Head,
    /// Why the last entry was not written.
    fault: Option<String>,
    /// An fsync that failed once leaves the disk's state unknown: nothing is appended after it.
    stopped: bool,
}

impl SignedLines {
    /// Opens or creates the log, checks what is there, and mends a last line that a crash cut short.
    ///
    /// # Errors
    /// Where the file cannot be used, a whole line in it does not verify, or it is not what it was.
    pub fn open(path: &Path, key: SigningKey) -> Result<Self, LogError> {
        Self::open_telling(path, key, &mut |_| {})
    }

    /// As [`SignedLines::open`], and tells every entry that is there, in order.
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
        let head = Head::open(path)?;
        let mut at_head = String::new();
        let checked = check(path, &key.public_hex(), told, &mut |lines, hash| {
            if lines == head.lines {
                at_head = hash.to_owned();
            }
        })?;
        head.check(path, checked.lines, &at_head, checked.headed)?;
        file.set_len(checked.whole_bytes).and_then(|()| file.sync_all()).map_err(fault)?;
        let mut state = State {
            file,
            size: checked.whole_bytes,
            next: checked.lines,
            previous: checked.last,
            head,
            fault: None,
            stopped: false,
        };
        // A crash came between an entry and its number.
        state.head.set(state.next, &state.previous).and_then(|()| state.head.sync()).map_err(fault)?;
        Ok(Self { path: path.to_owned(), key, state: Mutex::new(state) })
    }
}

impl Log for SignedLines {
    fn append(&self, entry: &Entry) -> Result<(), LogError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return Err(LogError::Stopped);
        }
        let body = json!({
            "sequence": state.next,
            "time": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            "previous": state.previous,
            "head": true,
            "what": entry,
        })
        .to_string();
        let signature = hex::encode(self.key.sign(body.as_bytes()));
        let line = format!("{{\"entry\":{body},\"signature\":\"{signature}\"}}\n");
        let written = state.write(&line);
        state.fault = written.as_ref().err().map(ToString::to_string);
        written.map_err(|source| LogError::Write { path: self.path.display().to_string(), source })
    }

    fn fault(&self) -> Option<String> {
        let failed = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.stopped {
                return Some(LogError::Stopped.to_string());
            }
            state.fault.is_some()
        };
        // Space that has come back is taken up, and the log says since when.
        let again = failed.then(|| self.append(&Entry::admin("the log could not be written before this entry")));
        again.and_then(Result::err).map(|fault| fault.to_string())
    }

    fn is_stopped(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopped
    }
}

impl State {
    /// Of an entry that did not fit nothing is left, so that the next may.
    fn write(&mut self, line: &str) -> std::io::Result<()> {
        if let Err(fault) = self.file.write_all(line.as_bytes()) {
            let undone = self.file.set_len(self.size).and_then(|()| self.file.sync_data());
            self.stopped = undone.is_err();
            return Err(fault);
        }
        if let Err(fault) = self.file.sync_data() {
            self.stopped = true;
            return Err(fault);
        }
        self.size = self.size.saturating_add(line.len() as u64);
        self.next = self.next.saturating_add(1);
        self.previous = hash(line.trim_end());
        // The entry stands: where its number cannot be written, the next start reads a log that is longer.
        let _numbered = self.head.set(self.next, &self.previous).is_ok();
        Ok(())
    }
}

/// Checks every line of a log with the public key of the party that wrote it, and counts them.
///
/// # Errors
/// The first line that does not verify, or does not follow the one before.
pub fn verify_lines(path: &Path, public_hex: &str) -> Result<u64, LogError> {
    check(path, public_hex, &mut |_| {}, &mut |_, _| {}).map(|checked| checked.lines)
}

struct Checked {
    lines: u64,
    last: String,
    whole_bytes: u64,
    /// Whether the number of entries was kept when the last was written.
    headed: bool,
}

/// `passed` is told how many lines there are after each, and its hash.
fn check(
    path: &Path,
    public_hex: &str,
    told: &mut dyn FnMut(Entry),
    passed: &mut dyn FnMut(u64, &str),
) -> Result<Checked, LogError> {
    let fault = |source| LogError::Write { path: path.display().to_string(), source };
    let mut reader = BufReader::new(File::open(path).map_err(fault)?);
    let mut checked = Checked { lines: 0, last: String::new(), whole_bytes: 0, headed: false };
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(fault)?;
        // A line without its end was cut short by a crash, before it was acknowledged.
        if read == 0 || line.pop() != Some(b'\n') {
            return Ok(checked);
        }
        let number = usize::try_from(checked.lines).unwrap_or(usize::MAX).saturating_add(1);
        let damaged = |problem| LogError::Damaged { path: path.display().to_string(), line: number, problem };
        let text = std::str::from_utf8(&line).map_err(|_| damaged("not UTF-8"))?;
        let (body, signature) = split(text).ok_or_else(|| damaged("not a signed entry"))?;
        if !loda_identity::verify(public_hex, body.as_bytes(), &signature) {
            return Err(damaged("the signature does not verify"));
        }
        let mut value: Value = serde_json::from_str(body).map_err(|_| damaged("not JSON"))?;
        let follows = value.get("previous").and_then(Value::as_str) == Some(checked.last.as_str())
            && value.get("sequence").and_then(Value::as_u64) == Some(checked.lines);
        if !follows {
            return Err(damaged("it does not follow the line before"));
        }
        checked.headed = value.get("head").and_then(Value::as_bool) == Some(true);
        let what = value.get_mut("what").map(Value::take).unwrap_or_default();
        told(serde_json::from_value(what).map_err(|_| damaged("not an entry of this log"))?);
        checked.lines = checked.lines.saturating_add(1);
        checked.whole_bytes = checked.whole_bytes.saturating_add(read as u64);
        checked.last = hash(text);
        passed(checked.lines, &checked.last);
    }
}

/// The exact signed bytes and the signature of a line.
pub(crate) fn split(line: &str) -> Option<(&str, Vec<u8>)> {
    let inner = line.strip_prefix("{\"entry\":")?.strip_suffix("\"}")?;
    let (body, signature) = inner.rsplit_once(",\"signature\":\"")?;
    Some((body, hex::decode(signature).ok()?))
}

fn hash(line: &str) -> String {
    hex::encode(digest(&SHA256, line.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Kind;

    fn entry(query: &str) -> Entry {
        Entry {
            kind: Kind::Accept,
            query: query.to_owned(),
            analyst: String::new(),
            purpose: String::new(),
            dataset: "d".to_owned(),
            agreement: String::new(),
            fragment: String::new(),
            detail: String::new(),
        }
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
                .all(|f| loda_identity::verify(&public, f.entry.as_bytes(), &hex::decode(&f.signature).unwrap()));
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
            queries.iter().for_each(|query| log.append(&entry(query)).unwrap());
        };
        write(&["a", "b", "c"]);
        let head = dir.path().join("log.head");
        let (whole, of_whole) = (std::fs::read_to_string(&path).unwrap(), std::fs::read(&head).unwrap());
        let refused = |what: &str| {
            let said = SignedLines::open(&path, key()).err().unwrap_or_else(|| panic!("{what} was taken up"));
            assert!(matches!(said, LogError::Back { .. } | LogError::Head { .. }), "{what}: {said}");
            said.to_string()
        };
        // Cut, emptied, removed.
        let lines: Vec<&str> = whole.lines().collect();
        std::fs::write(&path, format!("{}\n{}\n", lines[0], lines[1])).unwrap();
        assert!(refused("one that was cut").contains("held 3 entries"));
        std::fs::write(&path, "").unwrap();
        refused("an empty one");
        std::fs::remove_file(&path).unwrap();
        refused("none");
        // Another of the same key, as long and longer.
        std::fs::remove_file(&head).unwrap();
        std::fs::remove_file(&path).unwrap();
        write(&["a", "b", "x", "y"]);
        std::fs::write(&head, &of_whole).unwrap();
        refused("another one");
        // The number damaged, and lost.
        std::fs::write(&path, &whole).unwrap();
        std::fs::write(&head, "3").unwrap();
        refused("a damaged number");
        std::fs::remove_file(&head).unwrap();
        refused("a lost number");
        // A crash between an entry and its number is none of these.
        std::fs::write(&head, &of_whole).unwrap();
        write(&["d"]);
        std::fs::write(&head, &of_whole).unwrap();
        write(&["e"]);
        assert_eq!(verify_lines(&path, &key().public_hex()).unwrap(), 5);
    }

    /// A file system of 64 KiB, where this process may make one.
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
