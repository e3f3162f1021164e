//! Finds entries in a log of signed lines.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use chrono::NaiveDate;
use serde::Deserialize;

use crate::check::{line, split};
use crate::entry::Entry;
use crate::log::LogError;
use crate::sha256::sha256_hex;

/// The conditions of a search. An entry must meet all of them; `None` accepts every entry.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The id of a query, or of the whole question.
    pub query: Option<String>,
    /// The asker's SPIFFE id.
    pub analyst: Option<String>,
    /// The purpose.
    pub purpose: Option<String>,
    /// One of the entry's datasets.
    pub dataset: Option<String>,
    /// The first day (UTC).
    pub from: Option<NaiveDate>,
    /// The last day (UTC).
    pub to: Option<NaiveDate>,
}

/// An entry as it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedEntry {
    /// The bytes that the signature covers.
    pub entry: String,
    /// The signature in hexadecimal.
    pub signature: String,
}

/// The contents of a signed entry.
#[derive(Clone, Debug, Deserialize)]
pub struct ReadEntry {
    /// The entry's number in its log, from 0.
    pub sequence: u64,
    /// When it was written, in UTC (RFC 3339).
    pub time: String,
    /// The SHA-256 of the line before, in hexadecimal; empty for the first.
    pub previous: String,
    /// The entry.
    pub what: Entry,
}

impl SignedEntry {
    /// Reads a line of a log, without its line end. `None`: it is none.
    #[must_use]
    pub fn of_line(line: &[u8]) -> Option<Self> {
        let (body, signature) = split(std::str::from_utf8(line).ok()?)?;
        Some(Self { entry: body.to_owned(), signature: hex::encode(signature) })
    }

    /// Whether the key in hexadecimal signed it.
    #[must_use]
    pub fn is_signed_by(&self, public_hex: &str) -> bool {
        hex::decode(&self.signature)
            .is_ok_and(|signature| loda_federation::verify(public_hex, self.entry.as_bytes(), &signature))
    }

    /// Its line in the log, without the line end: a leaf of the log's tree.
    #[must_use]
    pub fn line(&self) -> String {
        line(&self.entry, &self.signature)
    }

    /// The SHA-256 of its line in the log, in hexadecimal: the next entry names it.
    #[must_use]
    pub fn line_sha256(&self) -> String {
        sha256_hex(self.line().as_bytes())
    }

    /// What it says. `None`: it is no entry.
    #[must_use]
    pub fn read(&self) -> Option<ReadEntry> {
        serde_json::from_str(&self.entry).ok()
    }
}

/// Finds at most `limit` entries from the sequence number `start` on. Also returns the number at which the next search
/// continues, or `None` if there are no more. Signatures are not checked: the reader has to check them.
///
/// # Errors
/// If the log cannot be read.
pub fn search(
    path: &Path,
    search: &Search,
    start: u64,
    limit: usize,
) -> Result<(Vec<SignedEntry>, Option<u64>), LogError> {
    let fault = |source| LogError::Write { path: path.display().to_string(), source };
    let mut reader = BufReader::new(File::open(path).map_err(fault)?);
    let (mut found, mut line, mut number) = (Vec::new(), Vec::new(), 0_u64);
    loop {
        line.clear();
        // A line without its end is still being written.
        if reader.read_until(b'\n', &mut line).map_err(fault)? == 0 || line.pop() != Some(b'\n') {
            return Ok((found, None));
        }
        let here = number;
        number = number.saturating_add(1);
        if here < start {
            continue;
        }
        let Some(entry) =
            SignedEntry::of_line(&line).filter(|entry| entry.read().is_some_and(|body| search.is_met(&body)))
        else {
            continue;
        };
        if found.len() >= limit {
            return Ok((found, Some(here)));
        }
        found.push(entry);
    }
}

impl Search {
    fn is_met(&self, body: &ReadEntry) -> bool {
        let is = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
        let day: Option<NaiveDate> = body.time.get(..10).and_then(|day| day.parse().ok());
        let since = self.from.is_none_or(|from| day.is_some_and(|day| day >= from));
        let until = self.to.is_none_or(|to| day.is_some_and(|day| day <= to));
        let what = &body.what;
        let dataset = self.dataset.as_ref().is_none_or(|wanted| what.dataset.split(' ').any(|has| has == wanted));
        let query = self.query.as_ref().is_none_or(|wanted| [&what.query, &what.question].contains(&wanted));
        let who = query && is(&self.analyst, &what.analyst) && is(&self.purpose, &what.purpose);
        who && dataset && since && until
    }
}
