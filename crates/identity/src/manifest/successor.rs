//! How one version of the manifest follows another: signed by enough of the members that the earlier one names.
//!
//! Whoever could replace a manifest could name himself coordinator. So every party pins the version that it
//! believes, and a later one counts only with the signatures of [`Manifest::quorum`] members under their log keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Manifest;
use crate::borough::Gss;
use crate::error::IdentityError;
use crate::private::read;
use crate::sign::{SigningKey, verify};

/// Members' signatures over one version of a manifest; they stand beside it, in `<manifest>.signatures`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures(BTreeMap<Gss, [u8; 64]>);

impl Signatures {
    /// Where the signatures of a manifest file stand.
    pub fn beside(manifest: &Path) -> PathBuf {
        let mut name = manifest.file_name().unwrap_or_default().to_owned();
        name.push(".signatures");
        manifest.with_file_name(name)
    }

    /// Reads the file beside a manifest; none where there is no file.
    ///
    /// # Errors
    /// [`IdentityError::File`], or [`IdentityError::Unusable`] with the line.
    pub fn load_beside(manifest: &Path) -> Result<Self, IdentityError> {
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
    /// [`IdentityError::Unusable`] with the line.
    pub fn parse(text: &str, origin: &str) -> Result<Self, IdentityError> {
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
                return Err(IdentityError::unusable(format!("{origin}:{number}"), reason));
            };
            signatures.0.insert(gss, signature);
        }
        Ok(signatures)
    }

    /// The text that [`Signatures::parse`] reads.
    pub fn to_text(&self) -> String {
        self.0.iter().map(|(gss, signature)| format!("{gss} {}\n", hex::encode(signature))).collect()
    }

    /// Adds a member's signature.
    pub fn sign(&mut self, gss: Gss, manifest: &Manifest, key: &SigningKey) {
        self.0.insert(gss, key.sign(&manifest.message()));
    }
}

impl Manifest {
    /// What members sign: never bytes that a log could hold, whose lines begin with a brace.
    fn message(&self) -> Vec<u8> {
        format!("loda manifest\n{}\n{}\n", self.version, hex::encode(self.sha256())).into_bytes()
    }

    /// How many members must sign what follows: as stated, or more than half.
    pub fn quorum(&self) -> usize {
        let majority = (self.members.len() / 2).saturating_add(1);
        self.approvals.map_or(majority, |k| usize::try_from(k).unwrap_or(usize::MAX))
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
    /// A sentence that says what is missing.
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
