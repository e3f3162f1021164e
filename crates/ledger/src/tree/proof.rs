//! Roots and proofs of a tree: what RFC 6962 calls Merkle tree hash, audit path and consistency proof, and the checks of
//! RFC 9162, sections 2.1.3.2 and 2.1.4.2.
//!
//! A proof is made by recursion over ranges of entries, and checked by another algorithm, step by step. So an error in one
//! of them does not hide in the other.

use super::hash::{Hash, empty, leaf, node};

/// The most hashes of a proof, as <https://c2sp.org/tlog-witness> has it.
const MAX_PROOF: usize = 63;

/// Reads a proof from a message. `None`: it is none.
#[must_use]
pub fn of_bytes(hashes: &[Vec<u8>]) -> Option<Vec<Hash>> {
    let fits = hashes.len() <= MAX_PROOF;
    fits.then(|| hashes.iter().map(|hash| hash.as_slice().try_into().ok()).collect())?
}

/// A proof as messages hold it.
#[must_use]
pub fn to_bytes(proof: &[Hash]) -> Vec<Vec<u8>> {
    proof.iter().map(|hash| hash.to_vec()).collect()
}

/// The hashes of a tree's complete subtrees.
pub trait Nodes {
    /// A fault that reading one may have.
    type Fault;

    /// The hash over the entries `index << level` to `(index + 1) << level`, all of which exist.
    ///
    /// # Errors
    /// The hash cannot be had.
    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Fault>;
}

/// The root of the first `size` entries.
///
/// # Errors
/// A hash cannot be had.
pub fn root<N: Nodes>(nodes: &N, size: u64) -> Result<Hash, N::Fault> {
    if size == 0 { Ok(empty()) } else { range(nodes, 0, size) }
}

/// The proof that entry `number` (from 0) is among the first `size`; `None`: it is not.
///
/// # Errors
/// A hash cannot be had.
pub fn inclusion<N: Nodes>(nodes: &N, number: u64, size: u64) -> Result<Option<Vec<Hash>>, N::Fault> {
    if number >= size {
        return Ok(None);
    }
    let (mut from, mut to, mut path) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from);
        if number < middle {
            path.push(range(nodes, middle, to)?);
            to = middle;
        } else {
            path.push(range(nodes, from, middle)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(Some(path))
}

/// The proof that the tree of `size` entries continues that of `old`; `None`: it is shorter.
///
/// # Errors
/// A hash cannot be had.
pub fn consistency<N: Nodes>(nodes: &N, old: u64, size: u64) -> Result<Option<Vec<Hash>>, N::Fault> {
    if old > size {
        return Ok(None);
    }
    if old == 0 || old == size {
        return Ok(Some(Vec::new()));
    }
    let (mut from, mut to, mut whole, mut path) = (0, size, true, Vec::new());
    while old != to {
        let middle = from + split(to - from);
        if old <= middle {
            path.push(range(nodes, middle, to)?);
            to = middle;
        } else {
            path.push(range(nodes, from, middle)?);
            (from, whole) = (middle, false);
        }
    }
    if !whole {
        path.push(range(nodes, from, to)?);
    }
    path.reverse();
    Ok(Some(path))
}

/// The hash over entries `from` to `to` of a tree in which they are a subtree.
fn range<N: Nodes>(nodes: &N, from: u64, to: u64) -> Result<Hash, N::Fault> {
    let length = to - from;
    if length.is_power_of_two() {
        return nodes.node(length.trailing_zeros(), from >> length.trailing_zeros());
    }
    let middle = from + split(length);
    Ok(node(&range(nodes, from, middle)?, &range(nodes, middle, to)?))
}

/// The largest power of two below a length of two or more.
fn split(length: u64) -> u64 {
    1 << (u64::BITS - 1 - (length - 1).leading_zeros())
}

/// Whether a proof shows that `entry` has the number `number` among the `size` entries of a root.
#[must_use]
pub fn includes(entry: &[u8], number: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    includes_leaf(leaf(entry), number, size, proof, root)
}

/// As [`includes`], of an entry of which only the hash is known.
#[must_use]
pub fn includes_leaf(leaf: Hash, number: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if number >= size {
        return false;
    }
    let (mut place, mut last, mut hash) = (number, size - 1, leaf);
    for step in proof {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            hash = node(step, &hash);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, step);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Whether a proof shows that the tree of `size` entries continues that of `old`.
#[must_use]
pub fn continues(old: u64, size: u64, proof: &[Hash], old_root: &Hash, root: &Hash) -> bool {
    if old > size {
        return false;
    }
    if old == size {
        return proof.is_empty() && old_root == root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == empty();
    }
    // The root of a tree that is itself a subtree of the new one is not told.
    let told = old.is_power_of_two().then_some(old_root);
    let mut steps = told.into_iter().chain(proof);
    let Some(first) = steps.next() else { return false };
    let (mut place, mut last) = (old - 1, size - 1);
    while place & 1 == 1 {
        (place, last) = (place >> 1, last >> 1);
    }
    let (mut before, mut now) = (*first, *first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            (before, now) = (node(step, &before), node(step, &now));
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            now = node(&now, step);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && before == *old_root && now == *root
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_proof_is_whole_hashes_and_not_too_many() {
        let proof = vec![[7; 32]; MAX_PROOF];
        assert_eq!(of_bytes(&to_bytes(&proof)), Some(proof));
        assert_eq!([of_bytes(&vec![vec![0; 32]; MAX_PROOF + 1]), of_bytes(&[vec![0; 31]])], [None, None]);
    }

    struct Entries(Vec<Hash>);

    impl Nodes for Entries {
        type Fault = ();

        fn node(&self, level: u32, index: u64) -> Result<Hash, ()> {
            if level == 0 {
                return self.0.get(usize::try_from(index).unwrap()).copied().ok_or(());
            }
            Ok(node(&self.node(level - 1, index * 2)?, &self.node(level - 1, index * 2 + 1)?))
        }
    }

    fn entries(size: u8) -> Entries {
        Entries((0..size).map(|number| leaf(&[number])).collect())
    }

    #[test]
    fn roots_are_those_of_the_rfcs_authors() {
        // Certificate Transparency's test vectors: inputs and the roots of their first entries.
        let inputs: [&[u8]; 8] = [
            b"",
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
        ];
        let nodes = Entries(inputs.iter().map(|entry| leaf(entry)).collect());
        let roots = [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ];
        for (size, expected) in roots {
            assert_eq!(hex::encode(root(&nodes, size).unwrap()), expected, "{size}");
        }
    }

    #[test]
    fn every_proof_holds_and_no_other_place_size_or_root_does() {
        let nodes = entries(70);
        for size in 1..=70_u64 {
            let whole = root(&nodes, size).unwrap();
            assert_eq!(inclusion(&nodes, size, size).unwrap(), None);
            for number in 0..size {
                let entry = [u8::try_from(number).unwrap()];
                let proof = inclusion(&nodes, number, size).unwrap().unwrap();
                assert!(includes(&entry, number, size, &proof, &whole), "{number} of {size}");
                assert!(!includes(&[99], number, size, &proof, &whole));
                assert!(!includes(&entry, number, size, &proof, &leaf(b"x")));
                assert!(!includes(&entry, size, size, &proof, &whole));
                if let [first, rest @ ..] = proof.as_slice() {
                    assert!(!includes(&entry, number, size, rest, &whole), "{number} of {size}");
                    assert!(!includes(&entry, number, size, &[&proof[..], &[*first]].concat(), &whole));
                    let mut other = proof.clone();
                    other[0][0] ^= 1;
                    assert!(!includes(&entry, number, size, &other, &whole));
                }
                for wrong in (0..size).filter(|wrong| *wrong != number) {
                    assert!(!includes(&entry, wrong, size, &proof, &whole), "{number} as {wrong} of {size}");
                }
            }
            for old in 0..=size {
                let before = root(&nodes, old).unwrap();
                let proof = consistency(&nodes, old, size).unwrap().unwrap();
                assert!(continues(old, size, &proof, &before, &whole), "{old} to {size}");
                assert!(
                    !continues(old, size, &proof, &leaf(b"x"), &whole)
                        && !continues(size + 1, size, &proof, &before, &whole)
                );
                if old > 0 && old < size {
                    assert!(!continues(old, size, &proof, &before, &leaf(b"x")), "{old} to {size}");
                    assert!(!continues(old, size, &proof[1..], &before, &whole), "{old} to {size}");
                    for wrong in (1..size).filter(|wrong| *wrong != old) {
                        assert!(!continues(wrong, size, &proof, &before, &whole), "{old} as {wrong} to {size}");
                    }
                }
            }
            assert_eq!(consistency(&nodes, size + 1, size).unwrap(), None);
        }
    }
}
