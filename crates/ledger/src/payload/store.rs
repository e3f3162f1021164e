//! The payload store: a SQLite file beside the log.
//!
//! One thread writes. Texts that arrive while it writes go to disk together with the next one, so that many askers wait for
//! one write. SQLite overwrites what is deleted (`secure_delete`), and an erasure ends with an empty write-ahead log.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{NaiveDate, Utc};
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use crate::payload::commitment::{Commitment, Opening};
use crate::sha256::{Hash, hash_bytes};

/// The most texts that go to disk together, and that wait for it.
const TOGETHER: usize = 256;

/// The most texts of a day whose commitments are at hand, so that the same text is not stored again.
const AT_HAND: usize = 4096;

/// How long the write-ahead log is tried to be emptied. SQLite itself waits some seconds for a lock.
const EMPTYING: Duration = Duration::from_secs(8);

/// What a text is about. Each class has its own time to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordClass {
    /// What was asked.
    Question,
    /// What was released.
    Result,
}

impl RecordClass {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Question => "question",
            Self::Result => "result",
        }
    }

    /// The class with this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::Question, Self::Result].into_iter().find(|class| class.name() == name)
    }
}

/// A fault of the store.
#[derive(Debug, thiserror::Error)]
pub enum PayloadFault {
    /// SQLite cannot read or write the file.
    #[error("the words of the query log, {path}: {source}; nothing runs until they can be written")]
    File {
        /// The file.
        path: String,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// The system gives no random bytes, or the writing thread has ended.
    #[error("the words of the query log: {0}")]
    Stopped(&'static str),
}

/// The texts of one party's log.
pub struct PayloadStore {
    path: PathBuf,
    jobs: SyncSender<Job>,
    stored: Mutex<Stored>,
}

/// The texts that were stored today, by the hash of class and text.
#[derive(Default)]
struct Stored {
    day: NaiveDate,
    known: HashMap<Hash, Commitment>,
}

impl Stored {
    fn of(&mut self, day: NaiveDate) -> &mut HashMap<Hash, Commitment> {
        if self.day != day {
            *self = Self { day, known: HashMap::new() };
        }
        &mut self.known
    }
}

enum Job {
    Put { class: RecordClass, day: NaiveDate, commitment: Commitment, opening: Opening, done: Done },
    Erase { class: RecordClass, before: NaiveDate, done: SyncSender<rusqlite::Result<u64>> },
}

type Done = SyncSender<Result<(), Arc<rusqlite::Error>>>;

impl PayloadStore {
    /// Opens or creates the store.
    ///
    /// # Errors
    /// The file cannot be used, or is no store.
    pub fn open(path: &Path) -> Result<Self, PayloadFault> {
        let fault = |source| Self::fault(path, source);
        // The folder is the party's own; the file's permissions are set before it holds anything.
        private(path).map_err(|source| fault(rusqlite::Error::ToSqlConversionFailure(source.into())))?;
        Self::over(path, Connection::open(path).map_err(fault)?)
    }

    /// A store that ends with the process, for simulations.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn in_memory() -> Result<Self, PayloadFault> {
        let path = Path::new("in memory");
        Self::over(path, Connection::open_in_memory().map_err(|source| Self::fault(path, source))?)
    }

    fn over(path: &Path, connection: Connection) -> Result<Self, PayloadFault> {
        let fault = |source| Self::fault(path, source);
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
                 CREATE TABLE IF NOT EXISTS payload(
                     commitment BLOB PRIMARY KEY, key BLOB NOT NULL, text BLOB NOT NULL, class TEXT NOT NULL, day TEXT NOT NULL
                 ) WITHOUT ROWID;
                 CREATE INDEX IF NOT EXISTS payload_by_day ON payload(class, day);",
            )
            .map_err(fault)?;
        // A crash may have come between an erasure and this.
        empty_wal(&connection).map_err(fault)?;
        let (jobs, waiting) = sync_channel(TOGETHER);
        std::thread::Builder::new()
            .name("payloads".to_owned())
            .spawn(move || write_all(connection, &waiting))
            .map_err(|_| PayloadFault::Stopped("no thread can be started"))?;
        Ok(Self { path: path.to_owned(), jobs, stored: Mutex::default() })
    }

    /// Stores a text, and returns its commitment once the text is on disk. `same`: bytes that stand for the text. A text
    /// that was stored today keeps its commitment, and is not made again. The entry that names the commitment is written
    /// after this, so no entry lacks its words.
    ///
    /// # Errors
    /// The text may not be on disk.
    pub fn keep(
        &self,
        class: RecordClass,
        same: &[u8],
        text: impl FnOnce() -> Vec<u8>,
    ) -> Result<Commitment, PayloadFault> {
        let day = Utc::now().date_naive();
        let known_as = hash_bytes(&[class.name().as_bytes(), b"\n", same].concat());
        let known = lock(&self.stored).of(day).get(&known_as).copied();
        if let Some(commitment) = known {
            return Ok(commitment);
        }
        let opening = Opening::new(text()).ok_or(PayloadFault::Stopped("the system gives no random bytes"))?;
        let commitment = opening.commitment();
        let (done, wait) = sync_channel(1);
        self.jobs.send(Job::Put { class, day, commitment, opening, done }).map_err(|_| ended())?;
        let written = wait.recv().map_err(|_| ended())?;
        written.map_err(|fault| Self::fault(&self.path, owned(&fault)))?;
        let mut stored = lock(&self.stored);
        let known = stored.of(day);
        if known.len() < AT_HAND {
            known.insert(known_as, commitment);
        }
        Ok(commitment)
    }

    /// What reads the store.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn reader(&self) -> Result<PayloadReader, PayloadFault> {
        PayloadReader::open(&self.path)
    }

    /// Destroys the texts of a class of the days before `before`, with their keys. Returns their number.
    ///
    /// # Errors
    /// The file cannot be written, or the thread has ended.
    pub fn erase(&self, class: RecordClass, before: NaiveDate) -> Result<u64, PayloadFault> {
        lock(&self.stored).known.clear();
        let (done, wait) = sync_channel(1);
        self.jobs.send(Job::Erase { class, before, done }).map_err(|_| ended())?;
        wait.recv().map_err(|_| ended())?.map_err(|source| Self::fault(&self.path, source))
    }

    fn fault(path: &Path, source: rusqlite::Error) -> PayloadFault {
        PayloadFault::File { path: path.display().to_string(), source }
    }
}

/// Reads the texts of a log. The store may be open elsewhere.
pub struct PayloadReader {
    path: PathBuf,
    connection: Connection,
}

impl PayloadReader {
    /// Opens the file of a store.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(path: &Path) -> Result<Self, PayloadFault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|source| PayloadStore::fault(path, source))?;
        Ok(Self { path: path.to_owned(), connection })
    }

    /// The number of texts of a class of the days before `before`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn count(&self, class: RecordClass, before: NaiveDate) -> Result<u64, PayloadFault> {
        let count = "SELECT COUNT(*) FROM payload WHERE class = ?1 AND day < ?2";
        let counted =
            self.connection.query_row(count, params![class.name(), before.to_string()], |row| row.get::<_, i64>(0));
        let counted = counted.map_err(|source| PayloadStore::fault(&self.path, source))?;
        Ok(u64::try_from(counted).unwrap_or(0))
    }

    /// The day of the newest text. `None`: there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn newest(&self) -> Result<Option<NaiveDate>, PayloadFault> {
        let newest =
            self.connection.query_row("SELECT MAX(day) FROM payload", [], |row| row.get::<_, Option<String>>(0));
        let newest = newest.map_err(|source| PayloadStore::fault(&self.path, source))?;
        Ok(newest.and_then(|day| day.parse().ok()))
    }

    /// The opening of a commitment. `None`: it was never stored, or is erased.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn get(&self, commitment: &Commitment) -> Result<Option<Opening>, PayloadFault> {
        let fault = |source| PayloadStore::fault(&self.path, source);
        let mut find = self.connection.prepare("SELECT key, text FROM payload WHERE commitment = ?1").map_err(fault)?;
        let row = find
            .query_row(params![commitment.bytes()], |row| Ok(Opening { key: row.get(0)?, text: row.get(1)? }))
            .optional()
            .map_err(fault)?;
        // A text that was changed in the file does not open its commitment.
        Ok(row.filter(|opening| opening.opens(commitment)))
    }
}

fn ended() -> PayloadFault {
    PayloadFault::Stopped("the writing thread has ended")
}

/// SQLite's errors cannot be copied, and several texts may share one.
fn owned(fault: &rusqlite::Error) -> rusqlite::Error {
    let code = fault.sqlite_error().copied().unwrap_or(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR));
    rusqlite::Error::SqliteFailure(code, Some(fault.to_string()))
}

fn lock(stored: &Mutex<Stored>) -> MutexGuard<'_, Stored> {
    stored.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the file, readable by its owner alone.
fn private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Writes until nobody can send a job any more.
fn write_all(mut connection: Connection, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut puts = Vec::new();
        let mut erase = None;
        for job in std::iter::once(first).chain(jobs.try_iter().take(TOGETHER)) {
            match job {
                Job::Put { class, day, commitment, opening, done } => {
                    puts.push((class, day, commitment, opening, done))
                }
                Job::Erase { class, before, done } => {
                    erase = Some((class, before, done));
                    break;
                }
            }
        }
        let written = insert(&mut connection, &puts).map_err(Arc::new);
        for (.., done) in puts {
            // The caller may have gone away.
            let _told = done.send(written.clone()).is_ok();
        }
        if let Some((class, before, done)) = erase {
            let _told = done.send(delete(&connection, class, before)).is_ok();
        }
    }
}

type Put = (RecordClass, NaiveDate, Commitment, Opening, Done);

fn insert(connection: &mut Connection, puts: &[Put]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut add = transaction
            .prepare("INSERT OR IGNORE INTO payload(commitment, key, text, class, day) VALUES (?1, ?2, ?3, ?4, ?5)")?;
        for (class, day, commitment, opening, _) in puts {
            add.execute(params![commitment.bytes(), opening.key, opening.text, class.name(), day.to_string()])?;
        }
    }
    transaction.commit()
}

fn delete(connection: &Connection, class: RecordClass, before: NaiveDate) -> rusqlite::Result<u64> {
    let gone = connection
        .execute("DELETE FROM payload WHERE class = ?1 AND day < ?2", params![class.name(), before.to_string()])?;
    empty_wal(connection)?;
    Ok(gone as u64)
}

/// Empties the write-ahead log: it holds copies of pages until then. Readers of a page may hold it up for a moment.
fn empty_wal(connection: &Connection) -> rusqlite::Result<()> {
    let began = Instant::now();
    while began.elapsed() < EMPTYING {
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy == 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn store(dir: &tempfile::TempDir) -> PayloadStore {
        PayloadStore::open(&dir.path().join("payloads.db")).unwrap()
    }

    fn keep(store: &PayloadStore, class: RecordClass, text: &str) -> Commitment {
        store.keep(class, text.as_bytes(), || text.as_bytes().to_vec()).unwrap()
    }

    fn get(store: &PayloadStore, commitment: &Commitment) -> Option<Opening> {
        store.reader().unwrap().get(commitment).unwrap()
    }

    #[test]
    fn a_text_is_there_before_its_commitment_is_told_and_opens_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = store(&dir);
        let commitment = keep(&first, RecordClass::Question, "SELECT 1");
        // The same text of the same day is not stored again; of another class it is.
        assert_eq!(keep(&first, RecordClass::Question, "SELECT 1"), commitment);
        assert_ne!(keep(&first, RecordClass::Result, "SELECT 1"), commitment);
        drop(first);
        let opening = get(&store(&dir), &commitment).unwrap();
        assert!(opening.text == b"SELECT 1" && opening.opens(&commitment));
        let other = Opening::new(b"x".to_vec()).unwrap().commitment();
        assert_eq!(get(&store(&dir), &other), None);
    }

    #[test]
    fn many_wait_for_few_writes_and_none_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let commitments: Vec<Commitment> = std::thread::scope(|scope| {
            let of = |number: usize| {
                let store = &store;
                scope.spawn(move || {
                    let texts = (0..50).map(|text| keep(store, RecordClass::Result, &format!("{number} {text}")));
                    texts.collect::<Vec<Commitment>>()
                })
            };
            let threads: Vec<_> = (0..8).map(of).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(commitments.len(), 400);
        assert!(commitments.iter().all(|commitment| get(&store, commitment).is_some()));
    }

    /// The raw bytes of all files are searched: neither the file nor the write-ahead log keeps an erased word.
    #[test]
    fn an_erased_text_is_in_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let word = "Waltham-Forest-erased-word";
        let text = |number: usize| format!("SELECT {word} {number} {}", "filler ".repeat(number % 900));
        let commitments: Vec<Commitment> = (0..300).map(|n| keep(&store, RecordClass::Question, &text(n))).collect();
        let result = keep(&store, RecordClass::Result, "a result");
        let found = || {
            let files = std::fs::read_dir(dir.path()).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
            files.filter(|bytes| bytes.windows(word.len()).any(|part| part == word.as_bytes())).count()
        };
        assert!(found() > 0);
        let tomorrow = Utc::now().date_naive().succ_opt().unwrap();
        assert_eq!(store.erase(RecordClass::Question, Utc::now().date_naive()).unwrap(), 0);
        assert_eq!(store.erase(RecordClass::Question, tomorrow).unwrap(), 300);
        assert_eq!(found(), 0);
        assert!(commitments.iter().all(|commitment| get(&store, commitment).is_none()));
        assert!(get(&store, &result).is_some());
    }

    #[test]
    fn a_text_that_was_changed_in_the_file_is_not_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let commitment = keep(&store, RecordClass::Question, "SELECT 1");
        let other = Connection::open(dir.path().join("payloads.db")).unwrap();
        other.execute("UPDATE payload SET text = CAST('SELECT 2' AS BLOB)", []).unwrap();
        assert_eq!(get(&store, &commitment), None);
    }
}
