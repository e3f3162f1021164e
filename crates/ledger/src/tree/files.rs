//! A tree in files, as any web server can serve them and any text tool can look at them.
//!
//! A tile is written once it is full, and then never again. What is not full stays in memory, and is written under the name
//! of its width when a checkpoint needs it. A file is whole or not there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use loda_federation::{FederationError, write_private};

use super::hash::{Hash, leaf};
use super::note::{MAX_NOTE, Note};
use super::proof::{self, Nodes};
use super::tile::{self, HEIGHT, Kind, MAX_ENTRY, Tile, WIDTH};

/// The most tiles that are kept in memory, 8 KiB each.
const KEPT: usize = 256;

/// A tree that grows in a folder.
pub struct TreeFiles {
    folder: PathBuf,
    size: u64,
    /// Of each level of tiles: the hashes after the last full tile.
    open: Vec<Vec<Hash>>,
    /// The entries after the last full bundle.
    bundle: Vec<u8>,
    read: Mutex<BTreeMap<Tile, Vec<Hash>>>,
}

impl TreeFiles {
    /// An empty tree. Files of one that was there before are written over where they differ.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), size: 0, open: Vec::new(), bundle: Vec::new(), read: Mutex::default() }
    }

    /// The number of entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over all entries.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn root(&self) -> io::Result<Hash> {
        proof::root(self, self.size)
    }

    /// Adds an entry. It is not durable before [`TreeFiles::publish`].
    ///
    /// # Errors
    /// The entry is too long, or a full tile cannot be written. The tree is then as it was.
    pub fn push(&mut self, entry: &[u8]) -> io::Result<()> {
        let too_long = || io::Error::new(io::ErrorKind::InvalidInput, format!("an entry of over {MAX_ENTRY} bytes"));
        let size = self.size.saturating_add(1);
        let mut bundle = tile::bundled(entry).ok_or_else(too_long)?;
        let full = |level: u32| (size >> (HEIGHT * level)).saturating_sub(1);
        let ends_bundle = size.is_multiple_of(WIDTH as u64);
        // What is full is on the disk before the tree counts it.
        if ends_bundle {
            bundle.splice(0..0, self.bundle.iter().copied());
            self.write(&Tile { kind: Kind::Entries, index: full(1), width: WIDTH }, &bundle)?;
        }
        let (mut hash, mut level) = (leaf(entry), 0_u32);
        let mut ended = 0;
        for open in self.open.iter().take_while(|open| open.len().saturating_add(1) == WIDTH) {
            let row = [open.as_slice(), &[hash]].concat();
            level = level.saturating_add(1);
            let tile = Tile { kind: Kind::Hashes(level.saturating_sub(1)), index: full(level), width: WIDTH };
            self.write(&tile, row.as_flattened())?;
            hash = tile::fold(&row, 0, HEIGHT).ok_or_else(|| damaged(&tile))?;
            ended += 1;
        }
        self.size = size;
        self.open.iter_mut().take(ended).for_each(Vec::clear);
        match self.open.get_mut(ended) {
            Some(open) => open.push(hash),
            None => self.open.push(vec![hash]),
        }
        if ends_bundle {
            self.bundle.clear();
        } else {
            self.bundle.append(&mut bundle);
        }
        Ok(())
    }

    /// Writes the tiles that are not full, so that the files hold every entry.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn publish(&self) -> io::Result<()> {
        for tile in Tile::of_tree(self.size).filter(|tile| tile.width < WIDTH) {
            match tile.kind {
                Kind::Entries => self.write(&tile, &self.bundle)?,
                Kind::Hashes(level) => {
                    let open = usize::try_from(level).ok().and_then(|level| self.open.get(level));
                    self.write(&tile, open.map_or(&[][..], |open| open.as_flattened()))?;
                }
            }
        }
        Ok(())
    }

    fn write(&self, tile: &Tile, bytes: &[u8]) -> io::Result<()> {
        let path = self.folder.join(tile.path());
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        write_whole(&path, bytes)?;
        match tile.width {
            // What is full stands for its parts.
            WIDTH => match fs::remove_dir_all(path.with_extension("p")) {
                Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
                _ => Ok(()),
            },
            width => forget_parts(&path, width),
        }
    }

    /// The proof that entry `number` (from 0) is among the first `size`.
    ///
    /// # Errors
    /// It is not, or a file cannot be read.
    pub fn inclusion(&self, number: u64, size: u64) -> io::Result<Vec<Hash>> {
        proof::inclusion(self, number, size.min(self.size))?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// The proof that the tree of `size` entries continues that of `old`.
    ///
    /// # Errors
    /// It is shorter, or a file cannot be read.
    pub fn consistency(&self, old: u64, size: u64) -> io::Result<Vec<Hash>> {
        proof::consistency(self, old, size.min(self.size))?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// The entry with a number.
    ///
    /// # Errors
    /// There is none, or a file cannot be read.
    pub fn entry(&self, number: u64) -> io::Result<Vec<u8>> {
        if number >= self.size {
            return Err(io::ErrorKind::NotFound.into());
        }
        let index = number / WIDTH as u64;
        let tile = Tile { kind: Kind::Entries, index, width: WIDTH };
        let (bytes, width) = if index < self.size / WIDTH as u64 {
            (read_file(&self.folder, &tile)?, WIDTH)
        } else {
            (self.bundle.clone(), usize::try_from(self.size % WIDTH as u64).unwrap_or(0))
        };
        let entries = tile::entries(&bytes, width).ok_or_else(|| damaged(&tile))?;
        let place = usize::try_from(number % WIDTH as u64).unwrap_or(0);
        entries.get(place).map(|entry| entry.to_vec()).ok_or_else(|| damaged(&tile))
    }
}

impl Nodes for TreeFiles {
    type Fault = io::Error;

    fn node(&self, level: u32, index: u64) -> io::Result<Hash> {
        let (of_tiles, within) = (level / HEIGHT, level % HEIGHT);
        let first = index << within;
        let (number, from) = (first / WIDTH as u64, usize::try_from(first % WIDTH as u64).unwrap_or(0));
        let tile = Tile { kind: Kind::Hashes(of_tiles), index: number, width: WIDTH };
        let full = self.size.checked_shr(HEIGHT * (of_tiles + 1)).unwrap_or(0);
        if number >= full {
            let open = usize::try_from(of_tiles).ok().and_then(|level| self.open.get(level));
            return open.and_then(|open| tile::fold(open, from, within)).ok_or_else(|| damaged(&tile));
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hashes) = read.get(&tile) {
            return tile::fold(hashes, from, within).ok_or_else(|| damaged(&tile));
        }
        let hashes = tile::hashes(&read_file(&self.folder, &tile)?, WIDTH).ok_or_else(|| damaged(&tile))?;
        let hash = tile::fold(&hashes, from, within);
        if read.len() >= KEPT {
            read.clear();
        }
        read.insert(tile, hashes);
        hash.ok_or_else(|| damaged(&tile))
    }
}

/// The bytes of a tile's file. The sender of a folder decides how long its files are, so one that is too long for its
/// name is not read.
fn read_file(folder: &Path, tile: &Tile) -> io::Result<Vec<u8>> {
    let each = match tile.kind {
        Kind::Hashes(_) => size_of::<Hash>(),
        Kind::Entries => MAX_ENTRY.saturating_add(2),
    };
    let bytes = read_up_to(&folder.join(tile.path()), tile.width.saturating_mul(each));
    match bytes {
        Ok(bytes) => bytes.ok_or_else(|| damaged(tile)),
        Err(fault) => Err(io::Error::new(fault.kind(), format!("{}: {fault}", tile.path()))),
    }
}

/// Removes the parts of a tile that are older than the last one before this. A copy that is being made may still want that
/// one. All of them would take many times the room of the tile.
fn forget_parts(newest: &Path, width: usize) -> io::Result<()> {
    let Some(folder) = newest.parent() else { return Ok(()) };
    let mut older: Vec<usize> = Vec::new();
    for part in fs::read_dir(folder)? {
        let number = part?.file_name().to_str().and_then(|name| name.parse::<usize>().ok());
        older.extend(number.filter(|number| *number < width));
    }
    older.sort_unstable();
    older.pop();
    older.iter().try_for_each(|number| fs::remove_file(folder.join(number.to_string())))
}

/// A file of at most so many bytes. `None`: it is longer.
fn read_up_to(path: &Path, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let limit = (most as u64).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= most).then_some(bytes))
}

/// Reads a signed note.
///
/// # Errors
/// It cannot be read, or is none.
pub fn read_note(path: &Path) -> io::Result<Note> {
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let bytes = read_up_to(path, MAX_NOTE)?.ok_or_else(|| wrong("it is too long for a note"))?;
    Note::parse(&bytes).map_err(wrong)
}

fn damaged(tile: &Tile) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} is not a file of this log", tile.path()))
}

/// Writes a file durably, with the folders above it.
///
/// # Errors
/// It cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    write_private(path, bytes).map_err(|fault| match fault {
        FederationError::File { source, .. } => source,
        other => io::Error::other(other),
    })
}

/// Checks that the files of a folder are the tree of a size and a root, to the last byte of the last entry, and passes
/// each entry to `told`, in order. Returns the tree.
///
/// # Errors
/// The first file that is missing or is not one of that tree.
pub fn check(folder: &Path, size: u64, root: &Hash, told: &mut dyn FnMut(u64, &[u8])) -> io::Result<TreeFiles> {
    let mut levels: Vec<Vec<Hash>> = Vec::new();
    let mut bundle = Vec::new();
    let mut row: Vec<Hash> = Vec::new();
    let mut number = 0_u64;
    for tile in Tile::of_level(Kind::Entries, size) {
        let bytes = read_tile(folder, &tile)?;
        let entries = tile::entries(&bytes, tile.width).ok_or_else(|| damaged(&tile))?;
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf(entry)).collect();
        let hashes = Tile { kind: Kind::Hashes(0), ..tile };
        if tile::hashes(&read_tile(folder, &hashes)?, tile.width).as_ref() != Some(&leaves) {
            return Err(damaged(&hashes));
        }
        for entry in entries {
            told(number, entry);
            number += 1;
        }
        match tile.width {
            WIDTH => row.push(tile::fold(&leaves, 0, HEIGHT).unwrap_or_default()),
            _ => (levels, bundle) = (vec![leaves], bytes),
        }
    }
    if levels.is_empty() {
        levels.push(Vec::new());
    }
    // Each level of tiles holds the roots of the full tiles below it.
    while !row.is_empty() {
        let level = u32::try_from(levels.len()).unwrap_or(u32::MAX);
        let mut above = Vec::new();
        let mut rest = Vec::new();
        for tile in Tile::of_level(Kind::Hashes(level), row.len() as u64) {
            let from = usize::try_from(tile.index).unwrap_or(usize::MAX).saturating_mul(WIDTH);
            let expected = row.get(from..from.saturating_add(tile.width)).unwrap_or(&[]);
            if read_tile(folder, &tile)? != expected.as_flattened() {
                return Err(damaged(&tile));
            }
            match tile.width {
                WIDTH => above.push(tile::fold(expected, 0, HEIGHT).unwrap_or_default()),
                _ => rest = expected.to_vec(),
            }
        }
        levels.push(rest);
        row = above;
    }
    let tree = TreeFiles { size, open: levels, bundle, ..TreeFiles::new(folder) };
    if tree.root()? != *root {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the root is not that of the checkpoint"));
    }
    Ok(tree)
}

/// A tile of a checkpoint. A log that has grown since may hold it in full alone.
fn read_tile(folder: &Path, tile: &Tile) -> io::Result<Vec<u8>> {
    let part = match read_file(folder, tile) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound && tile.width < WIDTH => fault,
        read => return read,
    };
    let full = Tile { width: WIDTH, ..*tile };
    let bytes = read_file(folder, &full).map_err(|_| part)?;
    let cut = match tile.kind {
        Kind::Hashes(_) => bytes.get(..tile.width.saturating_mul(32)).map(<[u8]>::to_vec),
        Kind::Entries => tile::entries(&bytes, WIDTH).map(|entries| {
            entries.iter().take(tile.width).filter_map(|entry| tile::bundled(entry)).collect::<Vec<_>>().concat()
        }),
    };
    cut.ok_or_else(|| damaged(&full))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::tree::proof::{continues, includes};

    fn entry(number: u64) -> Vec<u8> {
        format!("{{\"entry\":{{\"sequence\":{number}}}}}").repeat(usize::try_from(number % 5).unwrap()).into_bytes()
    }

    #[test]
    fn a_tree_grows_is_taken_up_and_proves_what_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = TreeFiles::new(dir.path());
        let mut roots = vec![tree.root().unwrap()];
        for number in 0..700 {
            tree.push(&entry(number)).unwrap();
            roots.push(tree.root().unwrap());
            if [1, 255, 256, 257, 400, 511, 512, 600].contains(&(number + 1)) {
                tree.publish().unwrap();
                let root = tree.root().unwrap();
                // What is read again grows as what was written does.
                tree = check(dir.path(), tree.size(), &root, &mut |number, bytes| assert_eq!(bytes, entry(number)))
                    .unwrap();
            }
        }
        tree.publish().unwrap();
        for (number, size) in [(0, 1), (255, 256), (256, 257), (300, 700), (699, 700), (12, 512)] {
            let proof = tree.inclusion(number, size).unwrap();
            assert!(includes(&entry(number), number, size, &proof, &roots[usize::try_from(size).unwrap()]));
            assert_eq!(tree.entry(number).unwrap(), entry(number));
        }
        for (old, size) in [(1, 2), (255, 257), (256, 700), (300, 700), (512, 513), (699, 700)] {
            let root = |size: u64| &roots[usize::try_from(size).unwrap()];
            assert!(continues(old, size, &tree.consistency(old, size).unwrap(), root(old), root(size)), "{old} {size}");
        }
        assert!(tree.entry(700).is_err() && tree.inclusion(700, 701).is_err() && tree.push(&vec![0; 65_536]).is_err());
        // An older checkpoint is still whole, from full tiles too.
        for size in [1, 255, 256, 400, 600, 700] {
            check(dir.path(), size, &roots[usize::try_from(size).unwrap()], &mut |_, _| {}).unwrap();
        }
        // The number of full tiles is what is left of the parts of them.
        assert!(!dir.path().join("tile/0/000.p").exists() && dir.path().join("tile/0/002.p/188").exists());
    }

    /// A tile that cannot be written, as on a full disk, leaves the tree as it was: the same entry can follow.
    #[test]
    fn a_tile_that_cannot_be_written_counts_no_entry() {
        let roots = |obstacles: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            let mut tree = TreeFiles::new(dir.path());
            (0..255).for_each(|number| tree.push(&entry(number)).unwrap());
            let before = tree.root().unwrap();
            for obstacle in obstacles {
                fs::create_dir_all(dir.path().join(obstacle).join("full")).unwrap();
                assert!(tree.push(&entry(255)).is_err(), "{obstacle}");
                assert_eq!((tree.size(), tree.root().unwrap()), (255, before));
                fs::remove_dir_all(dir.path().join(obstacle)).unwrap();
            }
            (255..600).for_each(|number| tree.push(&entry(number)).unwrap());
            tree.publish().unwrap();
            check(dir.path(), 600, &tree.root().unwrap(), &mut |number, bytes| assert_eq!(bytes, entry(number)))
                .unwrap();
            tree.root().unwrap()
        };
        assert_eq!(roots(&["tile/entries/000", "tile/0/000"]), roots(&[]));
    }

    /// Long entries and frequent checkpoints would else fill the disk: each part holds all that the one before it held.
    #[test]
    fn parts_take_no_more_room_than_two_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = TreeFiles::new(dir.path());
        for number in 0..255 {
            tree.push(&entry(number)).unwrap();
            tree.publish().unwrap();
        }
        for level in ["0", "entries"] {
            let parts = fs::read_dir(dir.path().join(format!("tile/{level}/000.p"))).unwrap();
            let mut parts: Vec<_> = parts.map(|part| part.unwrap().file_name().into_string().unwrap()).collect();
            parts.sort();
            assert_eq!(parts, ["254", "255"]);
        }
        check(dir.path(), 255, &tree.root().unwrap(), &mut |_, _| {}).unwrap();
    }

    #[test]
    fn a_file_that_is_too_long_for_its_name_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = TreeFiles::new(dir.path());
        tree.push(b"one").unwrap();
        tree.publish().unwrap();
        let root = tree.root().unwrap();
        check(dir.path(), 1, &root, &mut |_, _| {}).unwrap();
        // A hole of a terabyte, and a note as long.
        let long = |path: &str| {
            let file =
                fs::OpenOptions::new().write(true).create(true).truncate(false).open(dir.path().join(path)).unwrap();
            file.set_len(1 << 40).unwrap();
        };
        for path in ["tile/0/000.p/1", "tile/entries/000.p/1"] {
            long(path);
            assert!(check(dir.path(), 1, &root, &mut |_, _| {}).is_err(), "{path}");
            tree.publish().unwrap();
        }
        long("checkpoint");
        assert!(read_note(&dir.path().join("checkpoint")).is_err());
    }

    #[test]
    fn every_byte_of_every_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = TreeFiles::new(dir.path());
        (0..300).for_each(|number| tree.push(&entry(number)).unwrap());
        tree.publish().unwrap();
        let root = tree.root().unwrap();
        let whole = || check(dir.path(), 300, &root, &mut |_, _| {});
        whole().unwrap();
        for tile in Tile::of_tree(300) {
            let path = dir.path().join(tile.path());
            let bytes = fs::read(&path).unwrap();
            for place in [0, 1, bytes.len() / 2, bytes.len() - 1] {
                let mut other = bytes.clone();
                other[place] ^= 1;
                fs::write(&path, &other).unwrap();
                assert!(whole().is_err(), "{} at {place}", tile.path());
            }
            for other in [&bytes[..bytes.len() - 1], &[], &[&bytes[..], &[0]].concat()] {
                fs::write(&path, other).unwrap();
                assert!(whole().is_err(), "{}", tile.path());
            }
            fs::remove_file(&path).unwrap();
            assert!(whole().is_err(), "{}", tile.path());
            fs::write(&path, &bytes).unwrap();
        }
        whole().unwrap();
        assert!(
            check(dir.path(), 299, &root, &mut |_, _| {}).is_err()
                && check(dir.path(), 300, &[0; 32], &mut |_, _| {}).is_err()
        );
    }
}
