//! Checks that a log is whole: each line is signed and follows the previous line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use crate::entry::Entry;
use crate::index::Index;
use crate::log::LogError;
use crate::sha256::hash;

/// Checks every line of a log with the public key of the party that wrote it. Returns the number of entries.
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

/// Checks every line, and passes each entry to `told` in order.
pub(crate) fn check(path: &Path, public_hex: &str, told: &mut dyn FnMut(Entry)) -> Result<CheckedLog, LogError> {
    let fault = |source| LogError::Write { path: path.display().to_string(), source };
    let mut reader = BufReader::new(File::open(path).map_err(fault)?);
    let mut checked = CheckedLog { index: Index::default(), headed: false };
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(fault)?;
        // A crash cut short a line without its end, before the line was acknowledged.
        if read == 0 || line.pop() != Some(b'\n') {
            return Ok(checked);
        }
        let number = usize::try_from(checked.index.entries()).unwrap_or(usize::MAX).saturating_add(1);
        let damaged = |problem| LogError::Damaged { path: path.display().to_string(), line: number, problem };
        let text = std::str::from_utf8(&line).map_err(|_| damaged("not UTF-8"))?;
        let (body, signature) = split(text).ok_or_else(|| damaged("not a signed entry"))?;
        if !loda_federation::verify(public_hex, body.as_bytes(), &signature) {
            return Err(damaged("the signature does not verify"));
        }
        let mut value: Value = serde_json::from_str(body).map_err(|_| damaged("not JSON"))?;
        let follows = value.get("previous").and_then(Value::as_str) == Some(checked.index.previous().as_str())
            && value.get("sequence").and_then(Value::as_u64) == Some(checked.index.entries());
        if !follows {
            return Err(damaged("it does not follow the line before"));
        }
        checked.headed = value.get("head").and_then(Value::as_bool) == Some(true);
        let what = value.get_mut("what").map(Value::take).unwrap_or_default();
        told(serde_json::from_value(what).map_err(|_| damaged("not an entry of this log"))?);
        checked.index.push(hash(text), read as u64);
    }
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
