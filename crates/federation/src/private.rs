//! Files that only their owner may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

use crate::error::FederationError;

/// Writes `bytes` to `path`, readable by the owner alone (mode 0600), and replaces the file that was there.
///
/// The file is written under another name in the same directory, synced and renamed, so a crash
/// leaves the old file or the new one and never a part; no moment exists in which others may read it.
///
/// # Errors
/// [`FederationError::File`]; the old file is then as it was.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FederationError> {
    let temporary = beside(path)?;
    let written = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(source) = written {
        // Best effort: the failure to report is the first one.
        let _ = fs::remove_file(&temporary);
        return Err(FederationError::File { action: "write", path: path.to_owned(), source });
    }
    sync_directory(path).map_err(|source| FederationError::File { action: "write", path: path.to_owned(), source })
}

/// Reads a whole file.
///
/// # Errors
/// [`FederationError::File`], with the file's name.
pub fn read(path: &Path) -> Result<Vec<u8>, FederationError> {
    fs::read(path).map_err(|source| FederationError::File { action: "read", path: path.to_owned(), source })
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A name in the same directory, so that the rename is atomic; random, so that nobody can wait there.
fn beside(path: &Path) -> Result<PathBuf, FederationError> {
    let mut tag = [0_u8; 8];
    SystemRandom::new().fill(&mut tag).map_err(|_| FederationError::Crypto)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", hex::encode(tag)));
    Ok(path.with_file_name(name))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}
