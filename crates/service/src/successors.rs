//! Versions of the manifest that another party missed, as node and coordinator hand them on.
//!
//! The sender does not matter: a version counts only with the signatures of members of the version before it.

use loda_identity::{Identity, Version};
use loda_proto::v1::ManifestVersion;

/// The most bytes of one message. The rest follows in the next.
const BYTES: usize = 200 << 10;

/// The most versions that are read from one message.
const READ: usize = 64;

/// The versions after `version`, as many as one message takes. Empty if there is none after it, or if `version` is 0,
/// which means that the other party named none.
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

/// Adopts versions that were handed on, and returns the version in use afterwards.
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
