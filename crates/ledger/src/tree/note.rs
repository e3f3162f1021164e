//! Signed notes, as <https://c2sp.org/signed-note> has them: a text, an empty line, and a line for each signature.
//!
//! ```text
//! london.example/log/coordinator
//! 1300
//! qvTjyzxXbTMkLmTYkE3sJUfQDXrLHz7vNc0E9hk5BNM=
//!
//! — london.example/log/coordinator rYd1SEq…
//! ```

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, UnparsedPublicKey};

/// The longest note in bytes.
pub const MAX_NOTE: usize = 64 << 10;
/// The most signatures of a note that are read.
pub const MAX_SIGNATURES: usize = 100;

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signs {
    /// The text of a note: Ed25519, 0x01.
    Text,
    /// The text of a checkpoint and a time: cosignature/v1, 0x04. See <https://c2sp.org/tlog-cosignature>.
    TextAtTime,
}

impl Signs {
    fn byte(self) -> u8 {
        match self {
            Self::Text => 0x01,
            Self::TextAtTime => 0x04,
        }
    }
}

/// A key that verifies signatures, with its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Verifier {
    name: String,
    signs: Signs,
    key: [u8; 32],
}

impl Verifier {
    /// `None`: notes cannot hold the name.
    #[must_use]
    pub fn new(name: &str, signs: Signs, key: [u8; 32]) -> Option<Self> {
        is_name(name).then(|| Self { name: name.to_owned(), signs, key })
    }

    /// Reads a verifier key: `name+hash+key`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('+')?;
        let (hash, key) = rest.split_once('+')?;
        let key = STANDARD.decode(key).ok()?;
        let (signs, key) = key.split_first()?;
        let signs = [Signs::Text, Signs::TextAtTime].into_iter().find(|known| known.byte() == *signs)?;
        let verifier = Self::new(name, signs, key.try_into().ok()?)?;
        (hex::encode(verifier.id()) == hash).then_some(verifier)
    }

    /// The name beside its signatures.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The four bytes that a signature begins with: of SHA-256 over name, line end, kind and key.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let of = [self.name.as_bytes(), &[b'\n', self.signs.byte()], &self.key].concat();
        digest(&SHA256, &of).as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// The time of the key's signature in seconds since 1970, where its kind has one; `None`: there is none that verifies.
    /// Of several all have to verify.
    #[must_use]
    pub fn verify(&self, note: &Note) -> Option<u64> {
        let own = note.signatures.iter().filter(|signature| signature.name == self.name && signature.id == self.id());
        let mut newest = None;
        for signature in own {
            let (time, message, bytes) = match self.signs {
                Signs::Text => (0, note.text.clone(), signature.bytes.as_slice()),
                Signs::TextAtTime => {
                    let (time, bytes) = signature.bytes.split_first_chunk::<8>()?;
                    let time = u64::from_be_bytes(*time);
                    (time, at_time(&note.text, time), bytes)
                }
            };
            UnparsedPublicKey::new(&ED25519, self.key).verify(message.as_bytes(), bytes).ok()?;
            newest = newest.max(Some(time));
        }
        newest
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[self.signs.byte()], self.key.as_slice()].concat());
        write!(f, "{}+{}+{key}", self.name, hex::encode(self.id()))
    }
}

/// A key's signature under a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

impl NoteSignature {
    /// The name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A text with its signatures. Nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A note without signatures. `None`: the text is none of a note's.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        is_text(text).then(|| Self { text: text.to_owned(), signatures: Vec::new() })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() > MAX_NOTE {
            return Err("a note of over 64 KiB");
        }
        let all = std::str::from_utf8(bytes).map_err(|_| "a note that is not UTF-8")?;
        let at = all.rfind("\n\n").ok_or("a note without signatures")?;
        let (text, signatures) = all.split_at(at.saturating_add(1));
        let lines =
            signatures.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n')).ok_or("a note that ends early")?;
        let signatures: Option<Vec<NoteSignature>> =
            lines.split('\n').take(MAX_SIGNATURES + 1).map(parse_line).collect();
        let signatures = signatures.ok_or("a signature that is none")?;
        if signatures.len() > MAX_SIGNATURES || !is_text(text) {
            return Err("a note of other signs or of too many signatures");
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The signed text, with its last line end.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in their order.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Signs the text, with the time in seconds since 1970 where the key's kind has one. `sign` makes the Ed25519 signature.
    pub fn sign(&mut self, by: &Verifier, time: u64, sign: &dyn Fn(&[u8]) -> [u8; 64]) {
        let bytes = match by.signs {
            Signs::Text => sign(self.text.as_bytes()).to_vec(),
            Signs::TextAtTime => [time.to_be_bytes().as_slice(), &sign(at_time(&self.text, time).as_bytes())].concat(),
        };
        let signature = NoteSignature { name: by.name.clone(), id: by.id(), bytes };
        self.signatures.retain(|other| (&other.name, other.id) != (&signature.name, signature.id));
        self.signatures.push(signature);
    }

    /// Takes a key's signature from another copy of the note. Whether that copy has one that verifies.
    pub fn take(&mut self, by: &Verifier, other: &Self) -> bool {
        if other.text != self.text || by.verify(other).is_none() {
            return false;
        }
        let is_its = |signature: &&NoteSignature| signature.name == by.name && signature.id == by.id();
        self.signatures.retain(|signature| !is_its(&signature));
        self.signatures.extend(other.signatures.iter().find(is_its).cloned());
        true
    }

    /// The note with its first `most` signatures: some verifiers read no more than 16.
    #[must_use]
    pub fn with_first(&self, most: usize) -> Self {
        Self { text: self.text.clone(), signatures: self.signatures.iter().take(most).cloned().collect() }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for NoteSignature { name, id, bytes } in &self.signatures {
            writeln!(f, "— {name} {}", STANDARD.encode([id.as_slice(), bytes].concat()))?;
        }
        Ok(())
    }
}

/// What a cosignature signs.
fn at_time(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

fn parse_line(line: &str) -> Option<NoteSignature> {
    let (name, bytes) = line.strip_prefix("— ")?.split_once(' ')?;
    let bytes = STANDARD.decode(bytes).ok()?;
    let (id, bytes) = bytes.split_first_chunk::<4>()?;
    (is_name(name) && !bytes.is_empty()).then(|| NoteSignature {
        name: name.to_owned(),
        id: *id,
        bytes: bytes.to_vec(),
    })
}

/// Whether notes can hold a key's name.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.chars().any(|sign| sign.is_whitespace() || sign.is_control() || sign == '+')
}

/// Whether notes can hold a text: whole lines without control characters.
fn is_text(text: &str) -> bool {
    text.ends_with('\n') && text.len() <= MAX_NOTE && !text.chars().any(|sign| sign.is_control() && sign != '\n')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// The example of the specification, and of Go's golang.org/x/mod/sumdb/note.
    #[test]
    fn the_key_and_note_of_the_go_authors_are_read_and_verified() {
        let key = Verifier::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let note = Note::parse(text.as_bytes()).unwrap();
        assert_eq!((key.verify(&note), note.to_string()), (Some(0), text.to_owned()));
        assert_eq!(key.to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
        let other = Note::parse(text.replace("cryptography", "cryptographie").as_bytes()).unwrap();
        assert_eq!(key.verify(&other), None);
        assert!(Verifier::parse("PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").is_none());
    }

    #[test]
    fn what_is_no_note_is_not_read() {
        for bytes in [
            &b""[..],
            b"text\n",
            b"text\n\n",
            b"text\n\n\xe2\x80\x94 name\n",
            b"text\n\n\xe2\x80\x94 name AAAA\n",
            b"text\n\n\xe2\x80\x94 na+me AAAAAAAA\n",
            b"text\n\n\xe2\x80\x94 name AAAAAAAA",
            b"te\x07xt\n\n\xe2\x80\x94 name AAAAAAAA\n",
            b"\xff\n\n\xe2\x80\x94 name AAAAAAAA\n",
        ] {
            assert!(Note::parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
        assert!(Note::parse(b"text\n\n\xe2\x80\x94 name AAAAAAAA\n").is_ok());
    }
}
