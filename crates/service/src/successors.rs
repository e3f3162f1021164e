//! Versions of the manifest that another party missed, as node and coordinator hand them on.
//!
//! It does not matter from whom they come: each counts with the signatures of members of the one before.

use loda_identity::{Identity, Version};
use loda_proto::v1::ManifestVersion;

/// Bytes of one message at most; the rest follows with the next.
const BYTES: usize = 200 << 10;

/// Versions that are read of one message.
const READ: usize = 64;

/// What follows a version that somebody has, as much as one message takes; nothing where there is nothing, or somebody says of
/// none that he has it.
#[must_use]
pub fn told(identity: &Identity, version: u64) -> Vec<ManifestVersion> {
    if version == 0 || version >= identity.manifest().version {
        return Vec::new();
    }
    let mut room = BYTES;
    let mut versions = Vec::new();
    for Version { manifest, signatures } in identity.successors(version) {
        let told = ManifestVersion { manifest: manifest.to_toml(), signatures: signatures.to_text() };
        match room.checked_sub(told.manifest.len().saturating_add(told.signatures.len())) {
            Some(left) => room = left,
            None => break,
        }
        versions.push(told);
    }
    versions
}

/// Takes up what was handed on; the version in use then.
#[must_use]
pub fn heard(identity: &Identity, versions: &[ManifestVersion]) -> u64 {
    if versions.is_empty() {
        return identity.manifest().version;
    }
    let read =
        |told: &ManifestVersion| Version::parse(&told.manifest, &told.signatures, "a manifest that was handed on");
    let offered: Result<Vec<Version>, _> = versions.iter().take(READ).map(read).collect();
    match offered {
        Ok(offered) => identity.adopt(&offered),
        Err(fault) => {
            tracing::error!("{fault}; what was handed on is not used");
            identity.manifest().version
        }
    }
}
