//! What has to outlive a restart, beside the log: one small file for each id, whole or not there.
//!
//! A file is written under another name and renamed, so that a killed process leaves no half of one. It is not synced:
//! after a power cut a file may be missing or cut short, which its checksum shows, and then counts as missing. What
//! must not be lost stands in the log.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use uuid::Uuid;

/// A folder of such files, private to the process's account.
#[derive(Debug, Clone)]
pub struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// Opens or makes the folder (mode 0700).
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Writes or replaces the file of an id.
    ///
    /// # Errors
    /// Where it cannot be written; what was there stays.
    pub fn put(&self, id: &Uuid, bytes: &[u8]) -> io::Result<()> {
        let partial = self.folder.join(format!("{id}.partial"));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&partial).and_then(|mut file| {
            file.write_all(digest(&SHA256, bytes).as_ref())?;
            file.write_all(bytes)
        });
        written.and_then(|()| fs::rename(&partial, self.path(id)))
    }

    /// What was put for an id; none where there is nothing, or only a part of it.
    pub fn get(&self, id: &Uuid) -> Option<Vec<u8>> {
        let bytes = fs::read(self.path(id)).ok()?;
        let (sum, rest) = bytes.split_at_checked(SHA256_OUTPUT_LEN)?;
        (digest(&SHA256, rest).as_ref() == sum).then(|| rest.to_vec())
    }

    /// Forgets an id.
    pub fn remove(&self, id: &Uuid) {
        // What is not there is forgotten already.
        let _gone = fs::remove_file(self.path(id));
    }

    /// The ids whose files are younger than `age`; the others are removed.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn younger_than(&self, age: Duration) -> io::Result<Vec<Uuid>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let written = entry.metadata()?.modified()?;
            let old = SystemTime::now().duration_since(written).is_ok_and(|passed| passed > age);
            match entry.file_name().to_str().and_then(|name| Uuid::try_parse(name).ok()) {
                Some(id) if !old => ids.push(id),
                // Old, half written, or none of ours.
                _ => fs::remove_file(entry.path())?,
            }
        }
        // In one order, wherever the folder lies.
        ids.sort_unstable();
        Ok(ids)
    }

    fn path(&self, id: &Uuid) -> PathBuf {
        self.folder.join(id.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_cut_short_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(&dir.path().join("spool")).unwrap();
        let id = Uuid::from_u128(7);
        assert_eq!(spool.get(&id), None);
        spool.put(&id, b"figures").unwrap();
        spool.put(&id, b"other figures").unwrap();
        assert_eq!(spool.get(&id).unwrap(), b"other figures");
        assert_eq!(spool.younger_than(Duration::from_secs(60)).unwrap(), [id]);
        let whole = fs::read(spool.path(&id)).unwrap();
        for at in 0..whole.len() {
            fs::write(spool.path(&id), &whole[..at]).unwrap();
            assert_eq!(spool.get(&id), None);
        }
        assert!(spool.younger_than(Duration::ZERO).unwrap().is_empty());
        assert_eq!(fs::read_dir(&spool.folder).unwrap().count(), 0);
    }
}
