//! Versions of the manifest in the order in which they followed one another, for parties that missed some.
//!
//! A version counts only after the one that it was made from, with signatures of members that the earlier one names. So a
//! party that was away needs every version that it missed, with its signatures. It may take them from anybody.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::entries::Manifest;
use super::successor::Signatures;
use crate::error::FederationError;
use crate::private::read;

/// Versions that are kept: the newest.
const KEPT: usize = 100;

/// A version, with the signatures that let it follow the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The version.
    pub manifest: Manifest,
    /// Signatures of members of the version before; none for the first.
    pub signatures: Signatures,
}

/// Versions in the order in which they followed one another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain(Vec<Version>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    versions: Vec<ChainEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChainEntry {
    manifest: String,
    signatures: String,
}

impl Version {
    /// Reads a version as parties hand it on: the text of the manifest and the text of the signatures.
    ///
    /// # Errors
    /// [`FederationError`] where either text cannot be used.
    pub fn parse(manifest: &str, signatures: &str, origin: &str) -> Result<Self, FederationError> {
        let manifest = Manifest::parse(manifest, origin)?;
        Ok(Self { manifest, signatures: Signatures::parse(signatures, origin)? })
    }
}

impl Chain {
    /// The path of the chain of a manifest file, where somebody handed one on.
    pub fn beside(manifest: &Path) -> PathBuf {
        let mut name = manifest.file_name().unwrap_or_default().to_owned();
        name.push(".chain");
        manifest.with_file_name(name)
    }

    /// Reads a chain; an empty one where there is no file.
    ///
    /// # Errors
    /// [`FederationError`] where the file cannot be read, or is no chain.
    pub fn load(path: &Path) -> Result<Self, FederationError> {
        if !path.exists() {
            return Ok(Self::default());
        }
        Self::parse(&String::from_utf8_lossy(&read(path)?), &path.display().to_string())
    }

    /// Reads a text of [`Chain::to_text`].
    ///
    /// # Errors
    /// [`FederationError`] for any other text.
    pub fn parse(text: &str, origin: &str) -> Result<Self, FederationError> {
        let file: File = toml::from_str(text).map_err(|fault| {
            let fault = fault.message().replace('\n', " ");
            FederationError::unusable(origin, format!("is no chain of manifests: {fault}; get it again"))
        })?;
        let versions = file.versions.iter().zip(1_usize..);
        let versions = versions.map(|(entry, number)| {
            Version::parse(&entry.manifest, &entry.signatures, &format!("{origin}, version {number} in it"))
        });
        Ok(Self(versions.collect::<Result<_, _>>()?))
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let entry = |version: &Version| ChainEntry {
            manifest: version.manifest.to_toml(),
            signatures: version.signatures.to_text(),
        };
        toml::to_string(&File { versions: self.0.iter().map(entry).collect() }).unwrap_or_default()
    }

    /// All of them, the oldest first.
    pub fn versions(&self) -> &[Version] {
        &self.0
    }

    /// Those after a version number.
    pub fn after(&self, version: u64) -> impl Iterator<Item = &Version> {
        self.0.iter().filter(move |link| link.manifest.version > version)
    }

    /// Whether this is one of them.
    pub fn knows(&self, manifest: &Manifest) -> bool {
        self.0.iter().any(|version| version.manifest == *manifest)
    }

    /// The newest version that can be reached from `current` through the offered ones, each following the one before. The versions
    /// on the way join the chain.
    pub fn advance(&mut self, current: &Manifest, offered: &[Version]) -> Manifest {
        if !self.knows(current) {
            self.push(Version { manifest: current.clone(), signatures: Signatures::default() });
        }
        let mut now = current.clone();
        while let Some(next) =
            offered.iter().find(|next| now != next.manifest && now.may_become(&next.manifest, &next.signatures).is_ok())
        {
            now = next.manifest.clone();
            if !self.knows(&now) {
                self.push(next.clone());
            }
        }
        now
    }

    fn push(&mut self, version: Version) {
        if self.0.len() >= KEPT {
            self.0.remove(0);
        }
        self.0.push(version);
    }
}
