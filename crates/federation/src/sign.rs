//! Ed25519 keys that sign log entries. They are not TLS keys: a certificate is replaced every few
//! weeks, while a log must verify for years, and a stolen TLS key must not be able to rewrite a log.

use std::path::Path;

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::error::FederationError;
use crate::private::{read, write_private};

/// A private log key. It has no `Debug`, so that it cannot be printed by accident.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    pkcs8: Vec<u8>,
}

impl SigningKey {
    /// A new random key, and its PKCS#8 DER bytes, which are secret.
    ///
    /// # Errors
    /// [`FederationError::Crypto`] if the system has no randomness to give.
    pub fn generate() -> Result<(Self, Vec<u8>), FederationError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| FederationError::Crypto)?;
        let key = Self::from_pkcs8(pkcs8.as_ref())?;
        Ok((key, pkcs8.as_ref().to_vec()))
    }

    /// The key in PKCS#8 DER, with or without the public half.
    ///
    /// # Errors
    /// [`FederationError::Unusable`] if the bytes are no Ed25519 key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, FederationError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
            .map_err(|_| FederationError::unusable("log key", "is not an Ed25519 private key in PKCS#8 DER"))?;
        Ok(Self { pair, pkcs8: pkcs8.to_vec() })
    }

    /// Reads a file that [`SigningKey::save`] wrote: PKCS#8 DER.
    ///
    /// # Errors
    /// [`FederationError::File`], or [`FederationError::Unusable`] with the file's name.
    pub fn load(path: &Path) -> Result<Self, FederationError> {
        Self::from_pkcs8(&read(path)?).map_err(|_| {
            FederationError::unusable(
                format!("log key {}", path.display()),
                "is not an Ed25519 private key in PKCS#8 DER; restore it from a copy, since a new key starts a new log",
            )
        })
    }

    /// Writes PKCS#8 DER, readable by the owner alone.
    ///
    /// # Errors
    /// [`FederationError::File`].
    pub fn save(&self, path: &Path) -> Result<(), FederationError> {
        write_private(path, &self.pkcs8)
    }

    /// The signature of `message`; the same message has the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.pair.sign(message);
        let mut bytes = [0_u8; 64];
        for (to, from) in bytes.iter_mut().zip(signature.as_ref()) {
            *to = *from;
        }
        bytes
    }

    /// The public key as 64 lower-case hex digits, as in the manifest's `log_key`.
    pub fn public_hex(&self) -> String {
        hex::encode(self.pair.public_key())
    }
}

/// Whether `signature` is that of `message` under the public key in hex. Anything malformed is `false`.
pub fn verify(public_hex: &str, message: &[u8], signature: &[u8]) -> bool {
    let Ok(public) = hex::decode(public_hex) else {
        return false;
    };
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn signatures_survive_saving_and_notice_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.key");
        let (key, pkcs8) = SigningKey::generate().unwrap();
        key.save(&path).unwrap();
        assert_eq!(read(&path).unwrap(), pkcs8);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let loaded = SigningKey::load(&path).unwrap();
        let mut signature = loaded.sign(b"entry");
        assert!(verify(&key.public_hex(), b"entry", &signature));
        assert!(!verify(&key.public_hex(), b"entrY", &signature));
        assert!(!verify("zz", b"entry", &signature));
        assert!(!verify("", b"entry", &signature));
        signature[0] ^= 1;
        assert!(!verify(&key.public_hex(), b"entry", &signature));
        assert!(!verify(&key.public_hex(), b"entry", &signature[..63]));

        write_private(&path, b"junk").unwrap();
        assert!(SigningKey::load(&path).err().unwrap().to_string().contains("log.key"));
        // The temporary files are gone.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
