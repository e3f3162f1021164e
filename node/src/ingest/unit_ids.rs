//! Dense unit ids, from a borough's own secret.
//!
//! Each unit domain has a dictionary file. It holds only keyed hashes of 16 bytes, in the order in which units were
//! first seen. The position of a hash is the unit's id. The file only grows, so no id is ever reused.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, bail};
use loda_disclosure::NoiseKey;
use ring::hmac;

const WIDTH: usize = 16;

pub(crate) type Hash = [u8; WIDTH];

/// The borough's secret for unit hashes and for noise. It never leaves the node and is never printed.
#[derive(Clone)]
pub(crate) struct RecordSecret(hmac::Key);

impl std::fmt::Debug for RecordSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordSecret")
    }
}

impl RecordSecret {
    /// Loads the secret, or makes one at the first start.
    pub(crate) fn load_or_create(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() {
            let mut secret = [0_u8; 32];
            ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut secret)
                .map_err(|_| anyhow::anyhow!("the system gives no randomness"))?;
            loda_identity::write_private(path, hex::encode(secret).as_bytes())?;
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let bytes = hex::decode(text.trim()).ok().filter(|b| b.len() == 32);
        let Some(bytes) = bytes else {
            bail!(
                "{}: not 64 hexadecimal digits. Restore it from the backup: a new secret would give everybody fresh noise",
                path.display()
            );
        };
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// A secret for a check, which leaves nothing behind.
    pub(crate) fn passing() -> anyhow::Result<Self> {
        let mut secret = [0_u8; 32];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut secret)
            .map_err(|_| anyhow::anyhow!("the system gives no randomness"))?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    /// The keyed hash of a unit in its domain.
    pub(crate) fn unit(&self, domain: &str, unit: &[u8]) -> Hash {
        let tag = self.tag("unit", domain, unit);
        let mut hash = [0; WIDTH];
        hash.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        hash
    }

    /// The secret of all noise.
    pub(crate) fn noise_key(&self) -> NoiseKey {
        let tag = self.tag("noise", "", b"");
        let mut secret = [0; 32];
        secret.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        NoiseKey::new(&secret)
    }

    /// A text that distinguishes this secret from others, and tells nothing about it.
    pub(crate) fn fingerprint(&self) -> String {
        hex::encode(self.tag("fingerprint", "", b""))
    }

    fn tag(&self, use_: &str, domain: &str, unit: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [use_.as_bytes(), domain.as_bytes(), unit] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign()
    }
}

/// One domain's dictionary.
pub(crate) struct Dictionary {
    file: File,
    ids: HashMap<Hash, u64>,
    fresh: Vec<u8>,
}

impl Dictionary {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).with_context(|| format!("opening {}", path.display()))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // A crash during an append leaves part of an entry. Nothing has used it yet.
        let whole = bytes.len() - bytes.len() % WIDTH;
        file.set_len(whole as u64)?;
        let mut ids = HashMap::with_capacity(whole / WIDTH);
        for (id, entry) in bytes.chunks_exact(WIDTH).enumerate() {
            let hash: Hash = entry.try_into().context("a dictionary entry has another width")?;
            ids.insert(hash, id as u64);
        }
        Ok(Self { file, ids, fresh: Vec::new() })
    }

    pub(crate) fn get(&self, hash: &Hash) -> Option<u64> {
        self.ids.get(hash).copied()
    }

    /// The id of a unit. A unit that was never seen gets a new one.
    pub(crate) fn id(&mut self, hash: Hash) -> u64 {
        let next = self.ids.len() as u64;
        *self.ids.entry(hash).or_insert_with(|| {
            self.fresh.extend_from_slice(&hash);
            next
        })
    }

    /// Makes new ids durable. This comes before the snapshot that uses them is durable.
    pub(crate) fn sync(&mut self) -> anyhow::Result<()> {
        self.file.write_all(&self.fresh)?;
        self.file.sync_all()?;
        self.fresh.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_are_dense_stable_and_survive_a_torn_write() {
        let dir = tempfile::tempdir().unwrap();
        let secret = RecordSecret::load_or_create(&dir.path().join("secret")).unwrap();
        let path = dir.path().join("person");
        let hash = |name: &str| secret.unit("person", name.as_bytes());
        let mut dictionary = Dictionary::open(&path).unwrap();
        assert_eq!(["a", "b", "a"].map(|n| dictionary.id(hash(n))), [0, 1, 0]);
        dictionary.sync().unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"torn").unwrap();
        let mut dictionary = Dictionary::open(&path).unwrap();
        assert_eq!(["c", "b"].map(|n| dictionary.id(hash(n))), [2, 1]);
    }

    #[test]
    fn domains_and_lengths_do_not_run_into_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let secret = RecordSecret::load_or_create(&dir.path().join("secret")).unwrap();
        assert_ne!(secret.unit("ab", b"c"), secret.unit("a", b"bc"));
    }
}
