//! The folder that a service keeps its state in: one process to each, and nobody else reads it.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, bail};
use rustix::fs::Mode;
use rustix::process::umask;

/// Keeps what this process writes from everybody else on this host, whatever umask it was started with.
pub fn private() {
    umask(Mode::from_bits_truncate(0o077));
}

/// One process to a state: the log is one chain, and what one removes another may be reading. It holds for as long as the file.
///
/// # Errors
/// Where another process has it.
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
        // Some file systems over a network have no locks.
        Err(TryLockError::Error(fault)) => {
            tracing::warn!("{} cannot be locked ({fault}): see to it that no second {what} runs on it", path.display());
        }
    }
    Ok(lock)
}
