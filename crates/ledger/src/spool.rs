//! A store for bytes that outlive a restart, beside the log. The bytes of an id are either whole or missing.
//!
//! ```text
//! 00000007.spool   records, one after another: bytes that were put, or the note that an id is forgotten
//!   record         SHA-256 of the rest ─ length of the bytes ─ id ─ Unix milliseconds ─ bytes
//! ```
//!
//! Records are appended and read back by their place; a file for each record would cost more than a small answer does.
//! Segments without live records are removed. When more than half of the space is waste, live records move out of the oldest
//! segments. Nothing is synced: after a power failure the last records may be missing or cut short. Their checksums show this,
//! and such records count as missing. Data that must not be lost are in the log.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use uuid::Uuid;

/// A segment of this many bytes gets no more records.
const SEGMENT: u64 = 4 << 20;

/// The number of waste bytes below which no record moves.
const WASTE: u64 = 64 << 20;

/// The length of a record's head: checksum, length, id, time.
const HEAD: usize = SHA256_OUTPUT_LEN + 8 + 16 + 8;

/// The value in the length field of a record that forgets its id.
const FORGOTTEN: u64 = u64::MAX;

/// A folder of records, private to the process's account.
#[derive(Debug, Clone)]
pub struct Spool(Arc<Mutex<Segments>>);

#[derive(Debug)]
struct Segments {
    folder: PathBuf,
    all: BTreeMap<u64, Segment>,
    /// The segment that gets the next record, if it can still be written to.
    growing: Option<u64>,
    kept: HashMap<Uuid, RecordPlace>,
    /// The number of bytes of all segments.
    size: u64,
    /// The number of bytes of live records.
    kept_size: u64,
}

#[derive(Debug)]
struct Segment {
    file: File,
    size: u64,
    /// The number of live records in it.
    kept: usize,
}

/// The place of a record.
#[derive(Debug, Clone, Copy)]
struct RecordPlace {
    segment: u64,
    /// The record's offset in the segment, in bytes.
    start: u64,
    /// The number of bytes without the head.
    length: u64,
    /// The time of writing, in Unix milliseconds.
    written: u64,
}

impl RecordPlace {
    fn size(&self) -> u64 {
        self.length.saturating_add(HEAD as u64)
    }
}

impl Spool {
    /// Opens or makes the folder (mode 0700), and reads its segments. Other files in the folder are removed.
    ///
    /// # Errors
    /// If the folder cannot be made or read.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
        let mut segments = Segments {
            folder: folder.to_owned(),
            all: BTreeMap::new(),
            growing: None,
            kept: HashMap::new(),
            size: 0,
            kept_size: 0,
        };
        let mut numbers = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".spool"));
            match name.and_then(|name| name.parse().ok()) {
                Some(number) if path == segments.path(number) => numbers.push(number),
                _ => fs::remove_file(path)?,
            }
        }
        numbers.sort_unstable();
        for number in numbers {
            segments.read(number)?;
        }
        segments.tidy();
        Ok(Self(Arc::new(Mutex::new(segments))))
    }

    fn segments(&self) -> MutexGuard<'_, Segments> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores or replaces the bytes of an id.
    ///
    /// # Errors
    /// If they cannot be written. Earlier bytes of the id stay.
    pub fn put(&self, id: &Uuid, bytes: &[u8]) -> io::Result<()> {
        let mut segments = self.segments();
        segments.append(id, bytes, now())?;
        segments.tidy();
        Ok(())
    }

    /// The bytes of an id; `None` if there are none, or only a part of them.
    #[must_use]
    pub fn get(&self, id: &Uuid) -> Option<Vec<u8>> {
        let mut segments = self.segments();
        let place = *segments.kept.get(id)?;
        segments.bytes(id, place).ok().flatten()
    }

    /// Forgets an id.
    pub fn remove(&self, id: &Uuid) {
        let mut segments = self.segments();
        if segments.forget(id) {
            // If this cannot be written, the id is back after a restart, as an id that was not removed would be.
            let _noted = segments.write(id, &[], FORGOTTEN, now());
            segments.tidy();
        }
    }

    /// The ids whose bytes are younger than `age`, sorted. All other ids are forgotten.
    #[must_use]
    pub fn younger_than(&self, age: Duration) -> Vec<Uuid> {
        let mut segments = self.segments();
        let oldest = now().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let old: Vec<Uuid> = segments.kept.iter().filter(|(_, at)| at.written < oldest).map(|(id, _)| *id).collect();
        for id in old {
            segments.forget(&id);
        }
        segments.tidy();
        let mut ids: Vec<Uuid> = segments.kept.keys().copied().collect();
        // The order does not depend on the folder or the process.
        ids.sort_unstable();
        ids
    }
}

impl Segments {
    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:08}.spool"))
    }

    /// Reads a segment of an earlier process, up to the first record that is not whole.
    fn read(&mut self, number: u64) -> io::Result<()> {
        let mut file = File::open(self.path(number))?;
        let size = file.metadata()?.len();
        let mut records = Vec::new();
        let mut start = 0;
        while let Some((id, length, written)) = head(&mut file, start)? {
            let place = RecordPlace { segment: number, start, length, written };
            let bytes = if length == FORGOTTEN { 0 } else { length };
            let Some(end) =
                start.checked_add(HEAD as u64).and_then(|at| at.checked_add(bytes)).filter(|at| *at <= size)
            else {
                break;
            };
            if checked(&mut file, &id, place)?.is_none() {
                break;
            }
            records.push((id, place));
            start = end;
        }
        self.size = self.size.saturating_add(size);
        self.all.insert(number, Segment { file, size, kept: 0 });
        for (id, place) in records {
            self.forget(&id);
            if place.length != FORGOTTEN {
                self.keep(id, place);
            }
        }
        Ok(())
    }

    fn keep(&mut self, id: Uuid, place: RecordPlace) {
        if let Some(segment) = self.all.get_mut(&place.segment) {
            segment.kept = segment.kept.saturating_add(1);
            self.kept_size = self.kept_size.saturating_add(place.size());
            self.kept.insert(id, place);
        }
    }

    /// Forgets an id. Returns whether it was known.
    fn forget(&mut self, id: &Uuid) -> bool {
        let Some(place) = self.kept.remove(id) else { return false };
        self.kept_size = self.kept_size.saturating_sub(place.size());
        if let Some(segment) = self.all.get_mut(&place.segment) {
            segment.kept = segment.kept.saturating_sub(1);
        }
        true
    }

    fn append(&mut self, id: &Uuid, bytes: &[u8], written: u64) -> io::Result<()> {
        let length = bytes.len() as u64;
        let (segment, start) = self.write(id, bytes, length, written)?;
        self.forget(id);
        self.keep(*id, RecordPlace { segment, start, length, written });
        Ok(())
    }

    /// Writes a record at the end. If that fails, the next record goes to another segment.
    fn write(&mut self, id: &Uuid, bytes: &[u8], length: u64, written: u64) -> io::Result<(u64, u64)> {
        let mut record = vec![0; SHA256_OUTPUT_LEN];
        record.extend(length.to_be_bytes());
        record.extend(id.as_bytes());
        record.extend(written.to_be_bytes());
        record.extend(bytes);
        let sum = digest(&SHA256, record.get(SHA256_OUTPUT_LEN..).unwrap_or_default());
        record.iter_mut().zip(sum.as_ref()).for_each(|(to, from)| *to = *from);
        let number = self.growing()?;
        let segment = self.all.get_mut(&number).ok_or(io::ErrorKind::NotFound)?;
        let start = segment.size;
        if let Err(fault) = segment.file.write_all(&record) {
            self.growing = None;
            return Err(fault);
        }
        segment.size = segment.size.saturating_add(record.len() as u64);
        self.size = self.size.saturating_add(record.len() as u64);
        Ok((number, start))
    }

    fn growing(&mut self) -> io::Result<u64> {
        let growing = self.growing.filter(|number| self.all.get(number).is_some_and(|s| s.size < SEGMENT));
        if let Some(number) = growing {
            return Ok(number);
        }
        let number = self.all.last_key_value().map_or(1, |(last, _)| last.saturating_add(1));
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.path(number))?;
        self.all.insert(number, Segment { file, size: 0, kept: 0 });
        self.growing = Some(number);
        Ok(number)
    }

    fn bytes(&mut self, id: &Uuid, place: RecordPlace) -> io::Result<Option<Vec<u8>>> {
        match self.all.get_mut(&place.segment) {
            Some(segment) => checked(&mut segment.file, id, place),
            None => Ok(None),
        }
    }

    /// Removes segments without live records, and moves live records out of the oldest one while most of the space is waste.
    fn tidy(&mut self) {
        self.remove_empty();
        while self.size > self.kept_size.saturating_mul(2).saturating_add(WASTE) {
            let Some((oldest, _)) = self.all.first_key_value() else { return };
            let oldest = *oldest;
            self.growing = self.growing.filter(|growing| *growing != oldest);
            let moving: Vec<(Uuid, RecordPlace)> =
                self.kept.iter().filter(|(_, at)| at.segment == oldest).map(|(id, at)| (*id, *at)).collect();
            for (id, place) in moving {
                let moved = match self.bytes(&id, place) {
                    Ok(Some(bytes)) => self.append(&id, &bytes, place.written).is_ok(),
                    _ => self.forget(&id),
                };
                if !moved {
                    return;
                }
            }
            self.remove_empty();
        }
    }

    /// Removes segments without live records, oldest first. A record that forgets an id has to outlive the records of that id.
    fn remove_empty(&mut self) {
        while let Some(first) = self.all.first_entry() {
            if first.get().kept > 0 || self.growing == Some(*first.key()) {
                return;
            }
            let number = *first.key();
            let size = first.remove().size;
            self.size = self.size.saturating_sub(size);
            let path = self.path(number);
            // If the file stays, none of its records counts: each is forgotten, or repeated in a later segment.
            let _gone = fs::remove_file(path);
        }
    }
}

/// A record's id, length and time; `None` at the end of the file.
fn head(file: &mut File, start: u64) -> io::Result<Option<(Uuid, u64, u64)>> {
    let mut head = [0_u8; HEAD];
    file.seek(SeekFrom::Start(start))?;
    if let Err(fault) = file.read_exact(&mut head) {
        return if fault.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(fault) };
    }
    let rest = head.get(SHA256_OUTPUT_LEN..).unwrap_or_default();
    let parsed = || {
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (written, _) = rest.split_first_chunk::<8>()?;
        Some((Uuid::from_bytes(*id), u64::from_be_bytes(*length), u64::from_be_bytes(*written)))
    };
    Ok(parsed())
}

/// The bytes of a record; `None` if it is not whole, or belongs to another id.
fn checked(file: &mut File, id: &Uuid, place: RecordPlace) -> io::Result<Option<Vec<u8>>> {
    let length = if place.length == FORGOTTEN { 0 } else { place.length };
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut record = vec![0; length.saturating_add(HEAD)];
    file.seek(SeekFrom::Start(place.start))?;
    if let Err(fault) = file.read_exact(&mut record) {
        return if fault.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(fault) };
    }
    let Some((sum, rest)) = record.split_first_chunk::<SHA256_OUTPUT_LEN>() else { return Ok(None) };
    let whole = digest(&SHA256, rest).as_ref() == sum && rest.get(8..24) == Some(id.as_bytes().as_slice());
    Ok(whole.then(|| record.split_off(HEAD)))
}

fn now() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    const AGES: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_cut_short_is_not_there_and_what_was_before_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("spool");
        let (first, second) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let spool = Spool::open(&folder).unwrap();
        assert_eq!(spool.get(&first), None);
        spool.put(&first, b"figures").unwrap();
        let before = fs::metadata(&files(&folder)[0]).unwrap().len() as usize;
        spool.put(&first, b"other figures").unwrap();
        let between = fs::metadata(&files(&folder)[0]).unwrap().len() as usize;
        spool.put(&second, b"").unwrap();
        drop(spool);
        let file = files(&folder)[0].clone();
        let whole = fs::read(&file).unwrap();
        for at in 0..=whole.len() {
            for more in files(&folder) {
                fs::remove_file(more).unwrap();
            }
            fs::write(&file, &whole[..at]).unwrap();
            let spool = Spool::open(&folder).unwrap();
            let expected = match at {
                at if at >= between => Some(b"other figures".as_slice()),
                at if at >= before => Some(b"figures".as_slice()),
                _ => None,
            };
            assert_eq!(spool.get(&first).as_deref(), expected, "{at}");
            assert_eq!(spool.get(&second).is_some(), at == whole.len());
            // Records after a cut are whole again.
            spool.put(&second, b"again").unwrap();
            drop(spool);
            assert_eq!(Spool::open(&folder).unwrap().get(&second).as_deref(), Some(b"again".as_slice()));
        }
        for at in 0..whole.len() {
            for more in files(&folder) {
                fs::remove_file(more).unwrap();
            }
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&file, &damaged).unwrap();
            let spool = Spool::open(&folder).unwrap();
            let known = [None, Some(b"figures".to_vec()), Some(b"other figures".to_vec())];
            assert!(known.contains(&spool.get(&first)) && spool.get(&second).is_none_or(|bytes| bytes.is_empty()));
        }
    }

    #[test]
    fn what_is_forgotten_stays_so_and_nothing_is_left_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let ids: Vec<Uuid> = (0..100).map(Uuid::from_u128).collect();
        for id in &ids {
            spool.put(id, &[1; 100_000]).unwrap();
        }
        assert!(files(dir.path()).len() > 2);
        for id in &ids[..99] {
            spool.remove(id);
        }
        drop(spool);
        fs::write(dir.path().join("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), "another's").unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        assert_eq!(spool.younger_than(AGES), [ids[99]]);
        spool.remove(&ids[99]);
        drop(spool);
        let spool = Spool::open(dir.path()).unwrap();
        assert!(spool.younger_than(AGES).is_empty() && files(dir.path()).is_empty());
        spool.put(&ids[0], b"old").unwrap();
        std::thread::sleep(Duration::from_millis(5));
        assert!(spool.younger_than(Duration::from_millis(1)).is_empty());
        assert_eq!(spool.get(&ids[0]), None);
    }

    #[test]
    fn its_room_is_bounded_by_what_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let (stays, comes) = (Uuid::from_u128(1), Uuid::from_u128(2));
        spool.put(&stays, b"from the beginning").unwrap();
        for round in 0..300_u32 {
            spool.put(&comes, &vec![round as u8; 1 << 20]).unwrap();
        }
        let room = |folder: &Path| files(folder).iter().map(|file| fs::metadata(file).unwrap().len()).sum::<u64>();
        assert!(room(dir.path()) < WASTE + 3 * SEGMENT, "{}", room(dir.path()));
        for spool in [spool, Spool::open(dir.path()).unwrap()] {
            assert_eq!(spool.get(&stays).unwrap(), b"from the beginning");
            assert_eq!(spool.get(&comes).unwrap(), vec![43; 1 << 20]);
        }
    }
}
