//! The head file: the number of a log's entries and the hash of the last one, in a file beside the log.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::log::LogError;
use crate::seen::Mark;

/// The file's length in characters: a number, a space, a hash, a line end.
const LENGTH: usize = 20 + 1 + 64 + 1;

/// How often a head file is read that changes meanwhile.
const TRIES: usize = 100;

/// The number of entries that the head file beside a log gives: those that are acknowledged. The log's own process may be
/// writing it, so what is read twice alike counts.
pub(crate) fn entries_beside(log: &Path) -> std::io::Result<u64> {
    let damaged = || std::io::Error::new(std::io::ErrorKind::InvalidData, "the log's head file is damaged");
    let path = log.with_extension("head");
    let mut before = std::fs::read(&path)?;
    for _ in 0..TRIES {
        let again = std::fs::read(&path)?;
        if again == before {
            let text = std::str::from_utf8(&again).map_err(|_| damaged())?;
            return text.split(' ').next().and_then(|number| number.parse().ok()).ok_or_else(damaged);
        }
        before = again;
    }
    Err(damaged())
}

/// An open head file.
pub(crate) struct HeadFile {
    path: PathBuf,
    file: File,
    /// The number of entries that the file held when it was opened.
    pub(crate) lines: u64,
    hash: String,
    /// Whether the file was new or empty when it was opened.
    fresh: bool,
}

impl HeadFile {
    /// Opens the head file of the log at `log`. Earlier versions wrote no head file; such a log gets one at its first opening.
    ///
    /// # Errors
    /// If the file cannot be used, or is damaged.
    pub(crate) fn open(log: &Path) -> Result<Self, LogError> {
        let path = log.with_extension("head");
        let fault = |source| LogError::Write { path: path.display().to_string(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(fault)?;
        let mut text = String::new();
        let damaged = |problem: &str| LogError::Head { path: path.display().to_string(), problem: problem.to_owned() };
        file.read_to_string(&mut text).map_err(|fault| damaged(&fault.to_string()))?;
        if text.is_empty() {
            return Ok(Self { path, file, lines: 0, hash: String::new(), fresh: true });
        }
        let parts = text.strip_suffix('\n').and_then(|line| line.split_once(' '));
        let parts = parts.filter(|_| text.len() == LENGTH).and_then(|(lines, hash)| Some((lines.parse().ok()?, hash)));
        let (lines, hash) = parts.ok_or_else(|| damaged("it is not what was written"))?;
        let hash = if lines == 0 { String::new() } else { hash.to_owned() };
        Ok(Self { path, file, lines, hash, fresh: false })
    }

    /// Checks that a log matches this file. `lines` is the log's number of entries, and `at_head` the hash of its entry at this
    /// file's number. `expected`: the log's entries say that this file exists.
    ///
    /// # Errors
    /// If the log is shorter or another one, or if an expected file was missing.
    pub(crate) fn check(&self, log: &Path, lines: u64, at_head: &str, expected: bool) -> Result<(), LogError> {
        if self.fresh && expected {
            let problem = "it is not there any more, and entries of the log say that it was".to_owned();
            return Err(LogError::Head { path: self.path.display().to_string(), problem });
        }
        let back = |what: String| LogError::Back {
            path: log.display().to_string(),
            head: self.path.display().to_string(),
            had: self.lines,
            what,
        };
        if lines < self.lines {
            return Err(back(format!("has {lines}")));
        }
        if self.lines > 0 && at_head != self.hash {
            return Err(back("the last of them is another now".to_owned()));
        }
        Ok(())
    }

    /// Makes the file and its name durable, since later entries say that it exists.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_all()?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Writes a mark, without making it durable: after a crash the log may be ahead of this file.
    pub(crate) fn set(&mut self, mark: Mark) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(format!("{:020} {}\n", mark.entries, hex::encode(mark.hash)).as_bytes())
    }

    /// Whether the file at the path is still the one that this process writes to.
    pub(crate) fn is_there(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let numbers = |of: std::io::Result<std::fs::Metadata>| of.ok().map(|of| (of.dev(), of.ino(), of.len()));
            let there = numbers(std::fs::metadata(&self.path));
            there.is_some()
                && there == numbers(self.file.metadata())
                && there.is_some_and(|(.., size)| size == LENGTH as u64)
        }
        #[cfg(not(unix))]
        self.path.is_file()
    }
}
