//! The hashes of the log: SHA-256.

use ring::digest::{Context, SHA256, digest};

/// SHA-256 of an entry's line.
pub(crate) type Hash = [u8; 32];

/// SHA-256 in hexadecimal, as entries name fragments, agreements and answers.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

/// SHA-256 of parts in a row, in hexadecimal.
#[must_use]
pub fn sha256_hex_of(parts: &[&[u8]]) -> String {
    let mut hashed = Context::new(&SHA256);
    parts.iter().for_each(|part| hashed.update(part));
    hex::encode(hashed.finish())
}

/// The hash of a line, without its line end.
pub(crate) fn hash(line: &str) -> Hash {
    hash_bytes(line.as_bytes())
}

/// SHA-256 of bytes.
pub(crate) fn hash_bytes(bytes: &[u8]) -> Hash {
    let mut hash = Hash::default();
    hash.iter_mut().zip(digest(&SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    hash
}
