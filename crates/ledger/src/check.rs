//! Whether a log is whole: each line signed, and following the one before.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::index::Index;
use crate::seen::Hash;
use crate::{Entry, LogError};

/// Checks every line of a log with the public key of the party that wrote it, and counts them.
///
/// # Errors
/// The first line that does not verify, or does not follow the one before.
pub fn verify_lines(path: &Path, public_hex: &str) -> Result<u64, LogError> {
    check(path, public_hex, &mut |_| {}).map(|checked| checked.index.entries())
}

pub(crate) struct Checked {
    pub(crate) index: Index,
    /// Whether the number of entries was kept when the last was written.
    pub(crate) headed: bool,
}

/// Tells every entry, in order.
pub(crate) fn check(path: &Path, public_hex: &str, told: &mut dyn FnMut(Entry)) -> Result<Checked, LogError> {
    let fault = |source| LogError::Write { path: path.display().to_string(), source };
    let mut reader = BufReader::new(File::open(path).map_err(fault)?);
    let mut checked = Checked { index: Index::default(), headed: false };
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(fault)?;
        // A line without its end was cut short by a crash, before it was acknowledged.
        if read == 0 || line.pop() != Some(b'\n') {
            return Ok(checked);
        }
        let number = usize::try_from(checked.index.entries()).unwrap_or(usize::MAX).saturating_add(1);
        let damaged = |problem| LogError::Damaged { path: path.display().to_string(), line: number, problem };
        let text = std::str::from_utf8(&line).map_err(|_| damaged("not UTF-8"))?;
        let (body, signature) = split(text).ok_or_else(|| damaged("not a signed entry"))?;
        if !loda_identity::verify(public_hex, body.as_bytes(), &signature) {
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

/// Of a line without its end.
pub(crate) fn hash(line: &str) -> Hash {
    let mut hash = Hash::default();
    hash.iter_mut().zip(digest(&SHA256, line.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
    hash
}
