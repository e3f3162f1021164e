//! The files of one party, and their section in a program's configuration.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The paths of one party's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The federation's manifest.
    pub manifest: PathBuf,
    /// Our own certificate (PEM), alone.
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// The folder of revocation lists (PEM or DER).
    pub revocation: PathBuf,
    /// The deny list; nobody is denied where it is not named.
    pub denied: Option<PathBuf>,
    /// A copy of the manifest in use, so that a restart does not believe another; clients keep none.
    pub pinned: Option<PathBuf>,
}

/// The section `[tls]` of a program's configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    certificate: PathBuf,
    key: PathBuf,
    revocation_lists: PathBuf,
    denied: Option<PathBuf>,
}

impl TlsSection {
    /// Its files and the manifest, relative to the configuration's folder `base`; pinned files stand in `state`.
    #[must_use]
    pub fn paths(self, base: &Path, manifest: &Path, state: &Path) -> Paths {
        Paths {
            manifest: base.join(manifest),
            certificate: base.join(self.certificate),
            key: base.join(self.key),
            revocation: base.join(self.revocation_lists),
            denied: self.denied.map(|path| base.join(path)),
            pinned: Some(state.join("manifest.pinned.toml")),
        }
    }
}
