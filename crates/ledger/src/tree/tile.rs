//! Tiles: the hashes of a tree in files of up to 256, and the entries in bundles of up to 256. As C2SP tlog-tiles has
//! them: <https://c2sp.org/tlog-tiles>.
//!
//! ```text
//! tile/0/x001/x234/067        256 hashes of entries
//! tile/1/000.p/12             the roots of 12 tiles of level 0
//! tile/entries/x001/234       256 entries, each behind its length in two bytes
//! ```

use std::fmt::Write;

use super::hash::{Hash, node};

/// The hashes of a whole tile, and the entries of a whole bundle.
pub const WIDTH: usize = 256;

/// The levels of a tree that one level of tiles holds.
pub const HEIGHT: u32 = 8;

/// The longest entry in bytes.
pub const MAX_ENTRY: usize = 65_535;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Hashes of nodes at this level of tiles.
    Hashes(u32),
    /// Entries.
    Entries,
}

/// A file of a tree. Its first hash or entry has the number `index * 256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// What it holds.
    pub kind: Kind,
    /// Its number at its level.
    pub index: u64,
    /// How many hashes or entries it holds: 1 to 256.
    pub width: usize,
}

impl Tile {
    /// The path below the tree's folder, with `/`.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = match self.kind {
            Kind::Hashes(level) => format!("tile/{level}/"),
            Kind::Entries => "tile/entries/".to_owned(),
        };
        let mut groups = vec![self.index % 1_000];
        let mut rest = self.index / 1_000;
        while rest > 0 {
            groups.push(rest % 1_000);
            rest /= 1_000;
        }
        for (place, group) in groups.iter().enumerate().rev() {
            let more = if place > 0 { "x" } else { "" };
            let slash = if place > 0 { "/" } else { "" };
            let _infallible = write!(path, "{more}{group:03}{slash}");
        }
        if self.width < WIDTH {
            let _infallible = write!(path, ".p/{}", self.width);
        }
        path
    }

    /// The files of a tree with `size` entries: of each level, the last of them in part.
    pub fn of_tree(size: u64) -> impl Iterator<Item = Self> {
        let levels = (0..8).map(move |level| (Kind::Hashes(level), size >> (HEIGHT * level)));
        let levels = levels.take_while(|(_, count)| *count > 0);
        levels.chain([(Kind::Entries, size)]).flat_map(|(kind, count)| Self::of_level(kind, count))
    }

    /// The files of one level with `count` hashes or entries.
    pub fn of_level(kind: Kind, count: u64) -> impl Iterator<Item = Self> {
        let whole = (0..count / WIDTH as u64).map(move |index| Self { kind, index, width: WIDTH });
        let rest = usize::try_from(count % WIDTH as u64).unwrap_or(0);
        whole.chain((rest > 0).then_some(Self { kind, index: count / WIDTH as u64, width: rest }))
    }
}

/// The root over the first `1 << level` hashes of a slice, from `from` on. `None`: there are not so many.
#[must_use]
pub fn fold(hashes: &[Hash], from: usize, level: u32) -> Option<Hash> {
    let mut row: Vec<Hash> = hashes.get(from..from.checked_add(1_usize.checked_shl(level)?)?)?.to_vec();
    while row.len() > 1 {
        row = row.chunks_exact(2).filter_map(|pair| Some(node(pair.first()?, pair.last()?))).collect();
    }
    row.first().copied()
}

/// The hashes of a tile's file. `None`: it does not hold `width` of them.
#[must_use]
pub fn hashes(bytes: &[u8], width: usize) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() == width).then(|| hashes.to_vec())
}

/// An entry as a bundle holds it. `None`: it is too long.
#[must_use]
pub fn bundled(entry: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(entry.len()).ok()?;
    Some([length.to_be_bytes().as_slice(), entry].concat())
}

/// The entries of a bundle. `None`: it does not hold `width` whole ones.
#[must_use]
pub fn entries(bytes: &[u8], width: usize) -> Option<Vec<&[u8]>> {
    let (mut rest, mut entries) = (bytes, Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (entry, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        rest = after;
    }
    (rest.is_empty() && entries.len() == width).then_some(entries)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let hashes = |level, index, width| Tile { kind: Kind::Hashes(level), index, width }.path();
        assert_eq!(hashes(0, 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(hashes(0, 0, 256), "tile/0/000");
        assert_eq!(hashes(1, 273, 112), "tile/1/273.p/112");
        assert_eq!(hashes(2, 1_000, 1), "tile/2/x001/000.p/1");
        assert_eq!(Tile { kind: Kind::Entries, index: 273, width: 112 }.path(), "tile/entries/273.p/112");
    }

    #[test]
    fn a_tree_has_the_files_of_the_specification() {
        // Its example: a tree of 70,000 entries.
        let names: Vec<String> = Tile::of_tree(70_000).map(|tile| tile.path()).collect();
        let of = |prefix: &str| names.iter().filter(|name| name.starts_with(prefix)).count();
        assert_eq!((of("tile/0/"), of("tile/1/"), of("tile/2/"), of("tile/entries/")), (274, 2, 1, 274));
        for name in ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1", "tile/entries/273.p/112"] {
            assert!(names.contains(&name.to_owned()), "{name}");
        }
        assert_eq!(Tile::of_tree(0).count(), 0);
    }

    #[test]
    fn bundles_are_read_as_they_were_written_or_not_at_all() {
        let bytes = [&b"one"[..], b"", b"three"].map(|entry| bundled(entry).unwrap()).concat();
        assert_eq!(entries(&bytes, 3).unwrap(), [&b"one"[..], b"", b"three"]);
        assert!(entries(&bytes, 2).is_none() && entries(&bytes[..bytes.len() - 1], 3).is_none());
        assert!(bundled(&vec![0; MAX_ENTRY + 1]).is_none() && bundled(&vec![0; MAX_ENTRY]).is_some());
        assert!(hashes(&[0; 64], 2).is_some() && hashes(&[0; 64], 1).is_none() && hashes(&[0; 63], 1).is_none());
    }
}
