//! One signed JSON line an entry.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use loda_identity::SigningKey;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

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
    next: u64,
    previous: String,
    /// An fsync that failed once leaves the disk's state unknown: nothing is appended after it.
    stopped: bool,
}

impl SignedLines {
    /// Opens or creates the log, checks what is there, and mends a last line that a crash cut short.
    ///
    /// # Errors
    /// Where the file cannot be used, or a whole line in it does not verify.
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
        let checked = check(path, &key.public_hex(), told)?;
        file.set_len(checked.whole_bytes).and_then(|()| file.sync_all()).map_err(fault)?;
        let state = State { file, next: checked.lines, previous: checked.last, stopped: false };
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
            "what": entry,
        })
        .to_string();
        let signature = hex::encode(self.key.sign(body.as_bytes()));
        let line = format!("{{\"entry\":{body},\"signature\":\"{signature}\"}}\n");
        let written = state.file.write_all(line.as_bytes()).and_then(|()| state.file.sync_data());
        if let Err(source) = written {
            state.stopped = true;
            return Err(LogError::Write { path: self.path.display().to_string(), source });
        }
        state.next = state.next.saturating_add(1);
        state.previous = hash(line.trim_end());
        Ok(())
    }
}

/// Checks every line of a log with the public key of the party that wrote it, and counts them.
///
/// # Errors
/// The first line that does not verify, or does not follow the one before.
pub fn verify_lines(path: &Path, public_hex: &str) -> Result<u64, LogError> {
    check(path, public_hex, &mut |_| {}).map(|checked| checked.lines)
}

struct Checked {
    lines: u64,
    last: String,
    whole_bytes: u64,
}

fn check(path: &Path, public_hex: &str, told: &mut dyn FnMut(Entry)) -> Result<Checked, LogError> {
    let fault = |source| LogError::Write { path: path.display().to_string(), source };
    let mut reader = BufReader::new(File::open(path).map_err(fault)?);
    let mut checked = Checked { lines: 0, last: String::new(), whole_bytes: 0 };
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
        let what = value.get_mut("what").map(Value::take).unwrap_or_default();
        told(serde_json::from_value(what).map_err(|_| damaged("not an entry of this log"))?);
        checked.lines = checked.lines.saturating_add(1);
        checked.whole_bytes = checked.whole_bytes.saturating_add(read as u64);
        checked.last = hash(text);
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
}
