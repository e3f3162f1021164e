//! The state folder of a service. One process uses it, and no other account reads it.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, bail};
use rustix::fs::Mode;
use rustix::process::umask;

/// Makes the files that this process writes private to its account, regardless of the umask that it was started with.
pub fn private() {
    umask(Mode::from_bits_truncate(0o077));
}

/// Locks a state folder for one process. The log is one chain, and one process may remove a file that another reads.
/// The lock holds for as long as the returned file is open. `what` names the service. A file system without locks gives
/// a warning and no lock.
///
/// # Errors
/// Another process has the lock, or the folder or the file cannot be made.
pub fn alone(state: &Path, what: &str) -> anyhow::Result<File> {
    std::fs::create_dir_all(state).with_context(|| format!("making {}", state.display()))?;
    let path = state.join(format!("{what}.lock"));
    let lock = File::options().create(true).append(true).open(&path);
    let lock = lock.with_context(|| format!("opening {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!(
            "a {what} runs on {} already: stop it first. A node takes up new extracts by itself where `refresh` says change or a time",
            state.display()
        ),
        // Some network file systems have no locks.
        Err(TryLockError::Error(fault)) => {
            tracing::warn!("{} cannot be locked ({fault}): see to it that no second {what} runs on it", path.display());
        }
    }
    Ok(lock)
}
