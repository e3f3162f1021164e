//! The resident of each record of a service, and the file that remembers it. The file holds keyed hashes, numbers, and
//! each service's name with its number of records.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, bail};

use crate::ingest::unit_ids::{Hash, RecordSecret};

/// The first bytes of a file of this format.
const MARK: &[u8; 8] = b"loda-ri1";

/// The bytes of an entry: a hash and a number.
const WIDTH: usize = 24;

/// Every record that was ever seen, by its keyed hash, with its resident.
#[derive(Clone, Debug)]
pub(crate) struct Residents {
    of: HashMap<Hash, u64>,
    /// The number for the next resident. No number is used twice.
    next: u64,
    /// The number of records of each service in the last reading.
    counts: BTreeMap<String, u64>,
    services: Vec<String>,
    secret: RecordSecret,
}

/// The differences between an index and the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Residents without any earlier record.
    pub(crate) new: u64,
    /// Earlier residents who are now one with another resident.
    pub(crate) joined: u64,
    /// Residents who were part of another resident before.
    pub(crate) parted: u64,
}

impl Residents {
    pub(crate) fn empty(secret: &RecordSecret, services: Vec<String>) -> Self {
        // The numbers of an index that was lost are not given to other people.
        let next = u64::try_from(chrono::Utc::now().timestamp()).unwrap_or(0) << 20;
        Self { of: HashMap::new(), next, counts: BTreeMap::new(), services, secret: secret.clone() }
    }

    /// The index as it was written last, or an empty one if there is no file.
    ///
    /// # Errors
    /// The file cannot be read. The error gives the fix.
    pub(crate) fn open(path: &Path, secret: &RecordSecret, services: Vec<String>) -> anyhow::Result<Self> {
        let mut residents = Self::empty(secret, services);
        if !path.exists() {
            return Ok(residents);
        }
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let broken = || {
            format!(
                "{} is no residents index: restore it from the backup, or remove it (everybody then gets a new number, and \
                 fresh noise)",
                path.display()
            )
        };
        let rest = bytes.strip_prefix(MARK.as_slice()).with_context(broken)?;
        let (next, rest) = rest.split_first_chunk::<8>().with_context(broken)?;
        let (length, rest) = rest.split_first_chunk::<8>().with_context(broken)?;
        let length = usize::try_from(u64::from_be_bytes(*length)).with_context(broken)?;
        let (counts, entries) = rest.split_at_checked(length).with_context(broken)?;
        residents.next = u64::from_be_bytes(*next);
        residents.counts = serde_json::from_slice(counts).with_context(broken)?;
        if entries.len() % WIDTH != 0 {
            bail!(broken());
        }
        for entry in entries.chunks_exact(WIDTH) {
            let (hash, number) = entry.split_first_chunk::<16>().with_context(broken)?;
            let number = u64::from_be_bytes(number.try_into().with_context(broken)?);
            residents.of.insert(*hash, number);
        }
        Ok(residents)
    }

    /// Replaces the last file in one step.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut entries: Vec<(&Hash, &u64)> = self.of.iter().collect();
        entries.sort_unstable();
        let mut bytes = Vec::with_capacity(entries.len().saturating_mul(WIDTH).saturating_add(24));
        bytes.extend_from_slice(MARK);
        bytes.extend_from_slice(&self.next.to_be_bytes());
        let counts = serde_json::to_vec(&self.counts)?;
        bytes.extend_from_slice(&(counts.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&counts);
        for (hash, number) in entries {
            bytes.extend_from_slice(hash);
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        Ok(loda_identity::write_private(path, &bytes)?)
    }

    /// The keyed hash of a record.
    pub(crate) fn hash(&self, service: &str, key: &str) -> Hash {
        self.secret.unit(&format!("residents.{service}"), key.trim().as_bytes())
    }

    /// The services of the index.
    pub(crate) fn services(&self) -> &[String] {
        &self.services
    }

    /// The resident of a record, as a name that stands for nothing else.
    pub(crate) fn resident(&self, service: &str, key: &str) -> Option<String> {
        let number = self.of.get(&self.hash(service, key))?;
        Some(format!("resident {number}"))
    }

    /// The number of records of each service in the last reading.
    pub(crate) fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// The index with the people of a new reading. A person keeps the number that most of their records had. If two
    /// people had one number, the one with more of its records keeps it. Records that are gone keep their numbers, so a
    /// person who comes back has the same number.
    pub(crate) fn renewed(&self, counts: BTreeMap<String, u64>, records: &[Hash], people: &[usize]) -> (Self, Changes) {
        let mut votes: HashMap<(usize, u64), u64> = HashMap::new();
        for (hash, person) in records.iter().zip(people) {
            if let Some(number) = self.of.get(hash) {
                *votes.entry((*person, *number)).or_default() += 1;
            }
        }
        let mut votes: Vec<(u64, u64, usize)> =
            votes.into_iter().map(|((person, number), count)| (count, number, person)).collect();
        // The most records come first, and then the lower number.
        votes.sort_unstable_by_key(|(count, number, person)| (std::cmp::Reverse(*count), *number, *person));
        let (mut number_of, mut taken): (HashMap<usize, u64>, HashSet<u64>) = (HashMap::new(), HashSet::new());
        for (_, number, person) in &votes {
            if !number_of.contains_key(person) && taken.insert(*number) {
                number_of.insert(*person, *number);
            }
        }
        let voted: HashSet<usize> = votes.iter().map(|(_, _, person)| *person).collect();
        let before: HashSet<u64> = votes.iter().map(|(_, number, _)| *number).collect();
        let mut changes = Changes {
            joined: before.difference(&taken).count() as u64,
            parted: voted.iter().filter(|person| !number_of.contains_key(*person)).count() as u64,
            new: 0,
        };
        let mut renewed = Self { counts, ..self.clone() };
        for (hash, person) in records.iter().zip(people) {
            let number = *number_of.entry(*person).or_insert_with(|| {
                let number = renewed.next;
                renewed.next = renewed.next.saturating_add(1);
                changes.new += u64::from(!voted.contains(person));
                number
            });
            renewed.of.insert(*hash, number);
        }
        (renewed, changes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_outlive_what_comes_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let secret = RecordSecret::passing().unwrap();
        let path = dir.path().join("residents");
        let counts = || BTreeMap::from([("care".to_owned(), 5)]);
        let open = || Residents::open(&path, &secret, vec!["care".to_owned()]);
        let first = open().unwrap();
        let hash = |key: &str| first.hash("care", key);
        let name = |residents: &Residents, key: &str| residents.resident("care", key);
        let hashes = ["a", "b", "c", "d", "e"].map(hash);
        // a and b are one person. c, d and e are three.
        let (index, changes) = first.renewed(counts(), &hashes, &[0, 0, 1, 2, 3]);
        assert_eq!(changes, Changes { new: 4, joined: 0, parted: 0 });
        index.write(&path).unwrap();
        let index = open().unwrap();
        assert_eq!(index.counts(), &counts());
        let before = ["a", "b", "c", "d", "e"].map(|key| name(&index, key).unwrap());
        assert!(before[0] == before[1] && before[2] != before[3]);
        // e is gone, f is new, c and d turn out to be one person, and b to be somebody else.
        let (later, changes) = index.renewed(counts(), &["f", "c", "d", "a", "b"].map(hash), &[0, 1, 1, 2, 3]);
        assert_eq!(changes, Changes { new: 1, joined: 1, parted: 1 });
        let after = ["a", "b", "c", "d", "e", "f"].map(|key| name(&later, key).unwrap());
        assert_eq!((&after[0], &after[2], &after[3], &after[4]), (&before[0], &before[2], &before[2], &before[4]));
        assert!(!before.contains(&after[1]) && !before.contains(&after[5]) && after[1] != after[5]);
        assert_eq!(name(&later, "g"), None);
        // The same records give the same people in any order.
        let (again, changes) = later.renewed(counts(), &["b", "a", "d", "c"].map(hash), &[0, 1, 2, 2]);
        assert_eq!(changes, Changes::default());
        assert_eq!(["a", "b", "c"].map(|key| name(&again, key)), ["a", "b", "c"].map(|key| name(&later, key)));
        std::fs::write(&path, b"loda-ri1torn").unwrap();
        assert!(open().unwrap_err().to_string().contains("backup"));
    }
}
