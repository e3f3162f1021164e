//! The manifest and the log keys that `loda federation` works on.

use std::path::Path;

use loda_identity::{Manifest, ManifestError, SigningKey};

use crate::commands::failure::Failure;
use crate::commands::files::make_folder_of;
use crate::commands::session::Session;

/// Reads a manifest.
pub(crate) fn load(path: &Path) -> Result<Manifest, Failure> {
    Manifest::load(path).map_err(|error: ManifestError| Failure::Usage(error.to_string()))
}

/// The next version after `current`, with no other change yet.
pub(super) fn following(current: &Manifest) -> Manifest {
    Manifest {
        version: current.version.saturating_add(1),
        previous: Some(hex::encode(current.sha256())),
        ..current.clone()
    }
}

/// Reads a log key from its file. A missing file is made, with a new key.
pub(super) fn log_key(path: &Path, session: &mut Session<'_>) -> Result<SigningKey, Failure> {
    if path.exists() {
        return Ok(SigningKey::load(path)?);
    }
    make_folder_of(path)?;
    let (key, _) = SigningKey::generate()?;
    key.save(path)?;
    writeln!(session.out, "made {}: keep a copy, the log cannot go on without it", path.display())?;
    Ok(key)
}
