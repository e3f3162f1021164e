//! Commitments: HMAC-SHA-256 of a text under a random key of its own.
//!
//! Somebody who hashes all likely texts finds a short text by its plain hash. Without the key, a commitment tells nothing.

use std::fmt;
use std::str::FromStr;

use ring::hmac::{HMAC_SHA256, Key, sign, verify};
use ring::rand::{SecureRandom, SystemRandom};

/// A commitment to a text. As text: 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commitment([u8; 32]);

/// A text with the key that opens its commitment.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// The key.
    pub key: [u8; 32],
    /// The text.
    pub text: Vec<u8>,
}

impl Opening {
    /// A text under a new random key. `None`: the system gives no random bytes.
    #[must_use]
    pub fn new(text: Vec<u8>) -> Option<Self> {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).ok()?;
        Some(Self { key, text })
    }

    /// The commitment that this opens.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        let mut digest = [0; 32];
        let tag = sign(&Key::new(HMAC_SHA256, &self.key), &self.text);
        digest.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        Commitment(digest)
    }

    /// Whether this opens a commitment.
    #[must_use]
    pub fn opens(&self, commitment: &Commitment) -> bool {
        verify(&Key::new(HMAC_SHA256, &self.key), &self.text, &commitment.0).is_ok()
    }
}

impl Commitment {
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Commitment {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // One text for one commitment.
        let lower = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let bytes = lower.then(|| hex::decode(text).ok()).flatten().ok_or(())?;
        bytes.try_into().map(Self).map_err(|_| ())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_its_own_text_and_key_open_a_commitment() {
        let (one, two) = (Opening::new(b"a".to_vec()).unwrap(), Opening::new(b"a".to_vec()).unwrap());
        let commitment = one.commitment();
        assert_ne!(commitment, two.commitment());
        assert!(one.opens(&commitment) && !two.opens(&commitment));
        assert!(!Opening { text: b"b".to_vec(), ..one.clone() }.opens(&commitment));
        assert_eq!(commitment.to_string().parse(), Ok(commitment));
        assert_eq!(format!("{one:?}"), "Opening { bytes: 1, .. }");
        for wrong in ["", "ab", &commitment.to_string().to_uppercase(), &format!("{commitment}00")] {
            assert_eq!(wrong.parse::<Commitment>(), Err(()), "{wrong}");
        }
    }

    /// Test case 2 of RFC 4231, which an independent tool gives too.
    #[test]
    fn it_is_the_standard_hmac() {
        let mut key = [0; 32];
        key.iter_mut().zip(b"Jefe").for_each(|(to, from)| *to = *from);
        let of = Opening { key, text: b"what do ya want for nothing?".to_vec() }.commitment();
        // A key that ends in zeros is the shorter key: HMAC fills keys up with zeros.
        assert_eq!(of.to_string(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
