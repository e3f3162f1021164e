//! Where the entries of a log are, and what their hashes are: the last ones by heart, earlier ones by their place.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use crate::check::hash;
use crate::seen::{Hash, Mark};

/// Hashes that are known without reading.
const RECENT: usize = 1024;

/// One place is kept for so many entries.
const EVERY: u64 = 256;

#[derive(Default)]
pub(crate) struct Index {
    entries: u64,
    /// Bytes of whole lines.
    bytes: u64,
    /// Of the last entries, the newest last.
    recent: VecDeque<Hash>,
    /// Where the entries 0, [`EVERY`], 2 × [`EVERY`], … begin.
    places: Vec<u64>,
}

impl Index {
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How far the log has come.
    pub(crate) fn mark(&self) -> Mark {
        Mark { entries: self.entries, hash: self.recent.back().copied().unwrap_or_default() }
    }

    /// What the next entry names as the hash of the one before: nothing where there is none.
    pub(crate) fn previous(&self) -> String {
        self.recent.back().map(hex::encode).unwrap_or_default()
    }

    /// One entry more, whose line has so many bytes with its end.
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

    /// The hash of the last of the first so many entries; none where there are fewer, or the file cannot be read.
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
