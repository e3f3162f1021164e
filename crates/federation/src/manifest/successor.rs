//! How one version of the manifest follows another: signed by enough of the members that the earlier one names.
//!
//! A party that could replace a manifest could name itself coordinator. So every party pins the version that it
//! believes, and a later one counts only with the signatures of [`Manifest::quorum`] members under their log keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::entries::Manifest;
use crate::borough::Gss;
use crate::error::FederationError;
use crate::private::read;
use crate::sign::{SigningKey, verify};

/// Members' signatures over one version of a manifest; they stand beside it, in `<manifest>.signatures`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures(BTreeMap<Gss, [u8; 64]>);

impl Signatures {
    /// The path of the signatures of a manifest file.
    pub fn beside(manifest: &Path) -> PathBuf {
        let mut name = manifest.file_name().unwrap_or_default().to_owned();
        name.push(".signatures");
        manifest.with_file_name(name)
    }

    /// Reads the file beside a manifest; none where there is no file.
    ///
    /// # Errors
    /// [`FederationError::File`], or [`FederationError::Unusable`] with the line.
    pub fn load_beside(manifest: &Path) -> Result<Self, FederationError> {
        let path = Self::beside(manifest);
        if !path.exists() {
            return Ok(Self::default());
        }
        let bytes = read(&path)?;
        Self::parse(&String::from_utf8_lossy(&bytes), &path.display().to_string())
    }

    /// Lines `<borough> <128 hex digits>`; `#` begins a comment.
    ///
    /// # Errors
    /// [`FederationError::Unusable`] with the line.
    pub fn parse(text: &str, origin: &str) -> Result<Self, FederationError> {
        let mut signatures = Self::default();
        for (line, number) in text.lines().zip(1_usize..) {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            let read = entry.split_once(char::is_whitespace).and_then(|(gss, hex)| {
                let mut signature = [0_u8; 64];
                hex::decode_to_slice(hex.trim(), &mut signature).ok()?;
                Some((gss.parse::<Gss>().ok()?, signature))
            });
            let Some((gss, signature)) = read else {
                let reason =
                    "is not a borough's code and a signature in hex; remove the line and have the borough sign again";
                return Err(FederationError::unusable(format!("{origin}:{number}"), reason));
            };
            signatures.0.insert(gss, signature);
        }
        Ok(signatures)
    }

    /// The text for [`Signatures::parse`].
    pub fn to_text(&self) -> String {
        self.0.iter().map(|(gss, signature)| format!("{gss} {}\n", hex::encode(signature))).collect()
    }

    /// Adds a member's signature.
    pub fn sign(&mut self, gss: Gss, manifest: &Manifest, key: &SigningKey) {
        self.0.insert(gss, key.sign(&manifest.message()));
    }
}

impl Manifest {
    /// The bytes that members sign. A log never holds them, since its lines begin with a brace.
    fn message(&self) -> Vec<u8> {
        format!("loda manifest\n{}\n{}\n", self.version, hex::encode(self.sha256())).into_bytes()
    }

    /// The members of this version that validly signed `next`.
    pub fn signers(&self, next: &Self, signatures: &Signatures) -> Vec<&Gss> {
        let message = next.message();
        let signed = |gss: &Gss, key: &str| signatures.0.get(gss).is_some_and(|s| verify(key, &message, s));
        self.members.iter().filter(|member| signed(&member.gss, &member.log_key)).map(|member| &member.gss).collect()
    }

    /// Whether `next` may take this one's place.
    ///
    /// # Errors
    /// A sentence that names the missing condition.
    pub fn may_become(&self, next: &Self, signatures: &Signatures) -> Result<(), String> {
        if self == next {
            return Ok(());
        }
        if next.domain != self.domain || next.federation != self.federation {
            return Err("it is the manifest of another federation".to_owned());
        }
        if next.members.is_empty() {
            return Err("it has no members, and nobody could sign what follows it".to_owned());
        }
        if next.version <= self.version {
            return Err(format!("version {} does not follow version {}", next.version, self.version));
        }
        if next.previous.as_deref() != Some(hex::encode(self.sha256()).as_str()) {
            return Err(format!("it was not made from version {} that is in use here", self.version));
        }
        let signed = self.signers(next, signatures).len();
        if signed < self.quorum() {
            let needed = self.quorum();
            return Err(format!(
                "{signed} of the {needed} members' signatures that it needs are there: see `loda federation sign`"
            ));
        }
        Ok(())
    }
}
