//! The places and hashes of a log's entries. Recent hashes are in memory; earlier ones are read from the file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use crate::seen::Mark;
use crate::sha256::{Hash, hash};

/// The number of recent hashes in memory.
const RECENT: usize = 1024;

/// The index keeps the place of every 256th entry.
const EVERY: u64 = 256;

/// The length of a log, its recent hashes, and the places of some entries.
#[derive(Default)]
pub(crate) struct Index {
    entries: u64,
    /// The number of bytes in whole lines.
    bytes: u64,
    /// The hashes of the last entries, the newest last.
    recent: VecDeque<Hash>,
    /// The byte offsets of the entries 0, [`EVERY`], 2 × [`EVERY`], ….
    places: Vec<u64>,
}

impl Index {
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The log's length and last hash.
    pub(crate) fn mark(&self) -> Mark {
        Mark { entries: self.entries, hash: self.recent.back().copied().unwrap_or_default() }
    }

    /// The hash that the next entry names as the previous one, in hexadecimal; empty for the first entry.
    pub(crate) fn previous(&self) -> String {
        self.recent.back().map(hex::encode).unwrap_or_default()
    }

    /// Adds an entry. `bytes` is the length of its line, with the line end.
    pub(crate) fn push(&mut self, hash: Hash, bytes: u64) {
        if self.entries.is_multiple_of(EVERY) {
            self.places.push(self.bytes);
        }
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(hash);
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The hash of entry number `entries`, counted from 1; `None` if the log has fewer, or the file cannot be read.
    pub(crate) fn hash_at(&self, path: &Path, entries: u64) -> Option<Hash> {
        let back = self.entries.checked_sub(entries)?;
        let number = entries.checked_sub(1)?;
        let recent = usize::try_from(back).ok().and_then(|back| self.recent.len().checked_sub(1)?.checked_sub(back));
        if let Some(hash) = recent.and_then(|place| self.recent.get(place)) {
            return Some(*hash);
        }
        let place = self.places.get(usize::try_from(number / EVERY).ok()?)?;
        let mut file = File::open(path).ok()?;
        file.seek(SeekFrom::Start(*place)).ok()?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        for _ in 0..=number % EVERY {
            line.clear();
            reader.read_until(b'\n', &mut line).ok()?;
        }
        (line.pop() == Some(b'\n')).then_some(())?;
        Some(hash(std::str::from_utf8(&line).ok()?))
    }
}
