//! How many entries a log has, and the hash of the last: kept in a file beside it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::LogError;
use crate::seen::Mark;

/// Characters of the file: a number, a space, a hash, a line's end.
const LENGTH: usize = 20 + 1 + 64 + 1;

pub(crate) struct HeadFile {
    path: PathBuf,
    file: File,
    /// As the file said when it was opened.
    pub(crate) lines: u64,
    hash: String,
    /// Whether there was none.
    fresh: bool,
}

impl HeadFile {
    /// Of the log at `log`. A log without one, as earlier versions wrote it, gets one when it is taken up for the first time.
    ///
    /// # Errors
    /// Where the file cannot be used, or is not what was written.
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

    /// Whether a log of so many lines, the hash of whose line at our number is this, is the one that this is of. `expected`:
    /// the log's entries say that there is this file.
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

    /// Makes the file durable, with its name: entries say that there is one.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_all()?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Not made durable: the log is what is, and may be ahead of this after a crash.
    pub(crate) fn set(&mut self, mark: Mark) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(format!("{:020} {}\n", mark.entries, hex::encode(mark.hash)).as_bytes())
    }

    /// Whether the file at its path is the one that is written to.
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
