//! Checks that a log is whole: each line names the hash of the line before it, so the signature of the last one holds for
//! all.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;

use crate::entry::Entry;
use crate::index::Index;
use crate::log::LogError;
use crate::sha256::hash;

/// Checks that every line of a log follows the line before it, and that the party with the public key signed the last one.
/// Returns the number of entries.
///
/// # Errors
/// The first line that does not verify, or does not follow the previous line.
pub fn verify_lines(path: &Path, public_hex: &str) -> Result<u64, LogError> {
    check(path, public_hex, &mut |_| {}).map(|checked| checked.index.entries())
}

/// A log that was read and checked.
pub(crate) struct CheckedLog {
    pub(crate) index: Index,
    /// Whether a head file existed when the last entry was written.
    pub(crate) headed: bool,
}

/// The signed part of a line, as it is checked.
#[derive(Deserialize)]
struct Body {
    sequence: u64,
    previous: String,
    #[serde(default)]
    head: bool,
    what: Entry,
}

/// Checks every line, and passes each entry to `told` in order. What was told counts only if all lines are good.
pub(crate) fn check(path: &Path, public_hex: &str, told: &mut dyn FnMut(Entry)) -> Result<CheckedLog, LogError> {
    let fault = |source| LogError::Write { path: path.display().to_string(), source };
    let mut reader = BufReader::new(File::open(path).map_err(fault)?);
    let mut checked = CheckedLog { index: Index::default(), headed: false };
    let (mut line, mut before) = (Vec::new(), Vec::new());
    loop {
        std::mem::swap(&mut line, &mut before);
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(fault)?;
        // A crash cut short a line without its end, before the line was acknowledged.
        let is_whole = read > 0 && line.pop() == Some(b'\n');
        let number = usize::try_from(checked.index.entries()).unwrap_or(usize::MAX);
        let damaged = |line, problem| LogError::Damaged { path: path.display().to_string(), line, problem };
        if !is_whole {
            let signed = number == 0 || is_signed(&before, public_hex);
            return signed.then_some(checked).ok_or_else(|| damaged(number, "the signature does not verify"));
        }
        let number = number.saturating_add(1);
        let damaged = |problem| damaged(number, problem);
        let text = std::str::from_utf8(&line).map_err(|_| damaged("not UTF-8"))?;
        let (body, _) = split(text).ok_or_else(|| damaged("not a signed entry"))?;
        let body: Body = serde_json::from_str(body).map_err(|_| damaged("not an entry of this log"))?;
        if body.previous != checked.index.previous() || body.sequence != checked.index.entries() {
            return Err(damaged("it does not follow the line before"));
        }
        checked.headed = body.head;
        told(body.what);
        checked.index.push(hash(text), read as u64);
    }
}

/// Whether the key signed a line, which comes without its line end.
fn is_signed(line: &[u8], public_hex: &str) -> bool {
    let parts = std::str::from_utf8(line).ok().and_then(split);
    parts.is_some_and(|(body, signature)| loda_federation::verify(public_hex, body.as_bytes(), &signature))
}

/// The exact signed bytes and the signature of a line.
pub(crate) fn split(line: &str) -> Option<(&str, Vec<u8>)> {
    let inner = line.strip_prefix("{\"entry\":")?.strip_suffix("\"}")?;
    let (body, signature) = inner.rsplit_once(",\"signature\":\"")?;
    Some((body, hex::decode(signature).ok()?))
}

/// The line of an entry's bytes with their signature in hexadecimal.
pub(crate) fn line(body: &str, signature: &str) -> String {
    format!("{{\"entry\":{body},\"signature\":\"{signature}\"}}")
}
