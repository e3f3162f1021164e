//! The hashes of a tree: RFC 6962, section 2.1, with SHA-256.

use ring::digest::{Context, SHA256};

/// SHA-256 of a node.
pub type Hash = [u8; 32];

fn hashed(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = Hash::default();
    hash.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

/// The root of a tree without entries.
#[must_use]
pub fn empty() -> Hash {
    hashed(&[])
}

/// The hash of an entry.
#[must_use]
pub fn leaf(entry: &[u8]) -> Hash {
    hashed(&[&[0], entry])
}

/// The hash of a node above two others.
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    hashed(&[&[1], left, right])
}
