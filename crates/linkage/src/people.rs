//! From pairs that share keys to people.

use std::collections::{HashMap, HashSet};

use crate::Record;
use crate::keys::{KEYS, key_of};
use crate::normal::{Parts, alike};

/// A key value that more records share says nothing of a person.
const COMMON: usize = 50;

/// Where the bands lie, in bits of odds that a pair is one person.
#[derive(Clone, Copy, Debug)]
pub struct Bands {
    /// Pairs at least this sure are one person: 5 bits are 32 to 1.
    pub accept: f64,
    /// Pairs at least this sure, and less, are for review.
    pub review: f64,
}

impl Default for Bands {
    fn default() -> Self {
        Self { accept: 5.0, review: 0.0 }
    }
}

/// Two records that may be one person: for somebody who can look at both. `sure` is in bits of odds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Review {
    pub one: usize,
    pub other: usize,
    pub sure: f64,
}

/// Who each record is.
#[derive(Clone, Debug)]
pub struct Index {
    /// The person of each record, numbered in the order of first sight.
    pub people: Vec<usize>,
    /// How many people there are.
    pub count: usize,
    /// The surest first.
    pub review: Vec<Review>,
}

/// Joins records into people. `once`: services that hold each person once at most.
#[must_use]
pub fn people(records: &[Record], once: &[u16], bands: Bands) -> Index {
    let parts: Vec<Parts> = records.iter().map(Parts::of).collect();
    let mut judged = judged(&parts);
    judged.retain(|pair| pair.sure >= bands.review);
    // The surest first; equals in the order of the records, so that the same records give the same people.
    judged.sort_by(|a, b| b.sure.total_cmp(&a.sure).then((a.one, a.other).cmp(&(b.one, b.other))));
    let mut groups = Groups::new(records, &parts, once);
    let mut review = Vec::new();
    for pair in judged {
        if pair.sure < bands.accept {
            review.push(pair);
        } else {
            groups.join(pair.one, pair.other);
        }
    }
    groups.join_alone(records, once, &review);
    review.retain(|pair| groups.find(pair.one) != groups.find(pair.other));
    groups.index(review)
}

/// Every pair that shares a key, with how sure it is.
fn judged(parts: &[Parts]) -> Vec<Review> {
    let mut shared: HashSet<(u32, u32)> = HashSet::new();
    for key in 0..KEYS {
        // One key at a time: memory holds one table of hashes, and the pairs.
        let mut holders: HashMap<u128, Vec<u32>> = HashMap::new();
        for (at, parts) in (0_u32..).zip(parts) {
            if let Some(hash) = key_of(parts, key) {
                holders.entry(hash).or_default().push(at);
            }
        }
        for holders in holders.into_values().filter(|holders| (2..=COMMON).contains(&holders.len())) {
            for (place, one) in holders.iter().enumerate() {
                shared.extend(holders.iter().skip(place + 1).map(|other| (*one, *other)));
            }
        }
    }
    let rarity = Rarity::of(parts);
    let pairs = shared.into_iter().filter_map(|(one, other)| {
        let (one, other) = (one as usize, other as usize);
        let sure = rarity.sureness((one, parts.get(one)?), (other, parts.get(other)?))?;
        Some(Review { one, other, sure })
    });
    pairs.collect()
}

/// How many bits an agreement on each value says: the rarer it is, the more (W. E. Winkler's frequency-based weights for
/// the model of I. P. Fellegi and A. B. Sunter, 1969). By field and record.
struct Rarity {
    bits: [Vec<f32>; FIELDS],
    /// Bits that two records taken by chance lack to be one person.
    doubt: f64,
}

const FIELDS: usize = 6;

/// Fewer records than this are judged as if they were so many.
const FEW: usize = 1_000;

fn field(parts: &Parts, field: usize) -> String {
    match field {
        0 => parts.given.clone(),
        1 => parts.surname.clone(),
        2 => parts.born.clone(),
        3 if parts.street.is_empty() => String::new(),
        3 => format!("{} {}", parts.number, parts.street),
        4 => parts.postcode.clone(),
        _ => parts.town.clone(),
    }
}

/// Bits that a difference takes away, by field: people move and marry, and rarely change their date of birth.
const DIFFERENT: [f64; FIELDS] = [4.0, 4.0, 5.0, 1.0, 1.0, 0.5];

/// The share of an agreement's bits that a near one has.
const NEAR: f64 = 0.6;

/// Below the band of acceptance.
const LOOKED_AT: f64 = 4.9;

impl Rarity {
    fn of(parts: &[Parts]) -> Self {
        // Among a handful of records nothing is rare; among London's it would be.
        let all = parts.len().max(FEW) as f64;
        let bits = std::array::from_fn(|number| {
            let mut counts: HashMap<String, u32> = HashMap::new();
            for parts in parts {
                *counts.entry(field(parts, number)).or_default() += 1;
            }
            let bits = |parts: &Parts| {
                (all / f64::from(counts.get(&field(parts, number)).copied().unwrap_or(1))).log2() as f32
            };
            parts.iter().map(bits).collect()
        });
        Self { bits, doubt: all.log2() }
    }

    /// Bits of odds that two records are one person; none where they cannot be.
    fn sureness(&self, one: (usize, &Parts), other: (usize, &Parts)) -> Option<f64> {
        let ((one, a), (other, b)) = (one, other);
        let both = |x: &str, y: &str| !x.is_empty() && !y.is_empty();
        if both(&a.national, &b.national) {
            return (a.national == b.national).then_some(self.doubt);
        }
        let straight = (alike(&a.given, &b.given), alike(&a.surname, &b.surname));
        let swapped = (alike(&a.given, &b.surname), alike(&a.surname, &b.given));
        let swap = swapped.0 + swapped.1 > straight.0 + straight.1 + 0.2;
        let (given, surname) = if swap { swapped } else { straight };
        let born = if a.born == b.born { 1.0 } else { digits_alike(&a.born, &b.born) };
        // A household shares its address and often its surname: who differs in both of these is somebody else.
        if both(&a.given, &b.given) && both(&a.born, &b.born) && given < 0.7 && born < 0.99 {
            return None;
        }
        let address =
            if a.number == b.number { alike(&a.street, &b.street) } else { alike(&a.street, &b.street) * 0.92 };
        let likeness = [
            (both(&a.given, &b.given), given, 0.8),
            (both(&a.surname, &b.surname), surname, 0.8),
            (both(&a.born, &b.born), born, 0.8),
            (both(&a.street, &b.street), address, 0.85),
            (both(&a.postcode, &b.postcode), alike(&a.postcode, &b.postcode), 0.9),
            (both(&a.town, &b.town), alike(&a.town, &b.town), 0.9),
        ];
        let evidence =
            likeness.into_iter().zip(&self.bits).zip(DIFFERENT).map(|(((both, likeness, near), bits), different)| {
                let rare = |at: usize| bits.get(at).copied().map_or(0.0, f64::from);
                match likeness {
                    _ if !both => 0.0,
                    same if same >= 1.0 => rare(one).min(rare(other)),
                    close if close >= near => rare(one).min(rare(other)) * NEAR,
                    _ => -different,
                }
            });
        let sure = evidence.sum::<f64>() - self.doubt;
        // Twins share all but the given name: somebody has to look.
        let twins = both(&a.given, &b.given) && given < 0.7;
        Some(if twins { sure.min(LOOKED_AT) } else { sure })
    }
}

/// The share of digits that agree; two that are swapped count as one that differs.
fn digits_alike(a: &str, b: &str) -> f64 {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let same = a.iter().zip(b).filter(|(x, y)| x == y).count();
    let swap = a.windows(2).zip(b.windows(2)).any(|(x, y)| x != y && x.iter().eq(y.iter().rev()));
    (same + usize::from(swap)) as f64 / a.len().max(b.len()).max(1) as f64
}

/// Records that are one person so far.
struct Groups {
    parent: Vec<usize>,
    /// By group: the services that hold it once, and the national number.
    once: Vec<Vec<u16>>,
    national: Vec<String>,
}

impl Groups {
    fn new(records: &[Record], parts: &[Parts], once: &[u16]) -> Self {
        let service = |record: &Record| once.iter().copied().filter(|s| *s == record.service).collect();
        Self {
            parent: (0..records.len()).collect(),
            once: records.iter().map(service).collect(),
            national: parts.iter().map(|parts| parts.national.clone()).collect(),
        }
    }

    fn find(&mut self, mut at: usize) -> usize {
        while let Some(parent) = self.parent.get(at).copied().filter(|parent| *parent != at) {
            let above = self.parent.get(parent).copied().unwrap_or(parent);
            if let Some(slot) = self.parent.get_mut(at) {
                *slot = above;
            }
            at = above;
        }
        at
    }

    /// Makes two groups one, unless a service would hold the person twice or two numbers would be one person's.
    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.find(one), self.find(other));
        if one == other {
            return;
        }
        let twice = match (self.once.get(one), self.once.get(other)) {
            (Some(a), Some(b)) => a.iter().any(|service| b.contains(service)),
            _ => true,
        };
        let numbers = match (self.national.get(one), self.national.get(other)) {
            (Some(a), Some(b)) => !a.is_empty() && !b.is_empty() && a != b,
            _ => true,
        };
        if twice || numbers {
            return;
        }
        let (first, second) = (one.min(other), one.max(other));
        if let Some(slot) = self.parent.get_mut(second) {
            *slot = first;
        }
        let services = self.once.get_mut(second).map(std::mem::take).unwrap_or_default();
        let number = self.national.get_mut(second).map(std::mem::take).unwrap_or_default();
        if let Some(of) = self.once.get_mut(first) {
            of.extend(services);
        }
        if let Some(of) = self.national.get_mut(first).filter(|of| of.is_empty()) {
            *of = number;
        }
    }

    /// Joins what is left between two services that hold each person once, where neither record has another candidate:
    /// a twin would have his own.
    fn join_alone(&mut self, records: &[Record], once: &[u16], review: &[Review]) {
        let mut candidates: HashMap<usize, usize> = HashMap::new();
        for pair in review {
            *candidates.entry(pair.one).or_default() += 1;
            *candidates.entry(pair.other).or_default() += 1;
        }
        let single = |at: usize| records.get(at).is_some_and(|record| once.contains(&record.service));
        for Review { one, other, .. } in review.iter().copied() {
            let alone = |at: usize| candidates.get(&at) == Some(&1);
            if single(one) && single(other) && alone(one) && alone(other) {
                self.join(one, other);
            }
        }
    }

    fn index(mut self, review: Vec<Review>) -> Index {
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        let people: Vec<usize> = (0..self.parent.len())
            .map(|at| {
                let root = self.find(at);
                let next = numbers.len();
                *numbers.entry(root).or_insert(next)
            })
            .collect();
        Index { people, count: numbers.len(), review }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    fn record(given: &str, surname: &str, born: &str) -> Record {
        let text = |text: &str| text.to_owned();
        Record {
            given: text(given),
            surname: text(surname),
            born: text(born),
            number: text("12"),
            street: text("Acre Lane"),
            town: text("London"),
            postcode: text("SW2 5TN"),
            ..Record::default()
        }
    }

    #[test]
    fn a_household_is_not_one_person_and_a_misspelt_name_is_not_two() {
        let records = [
            record("Maria", "Okafor", "19840312"),
            record("Maria", "Okafour", "19840321"),
            record("Daniel", "Okafor", "20110907"),
            record("Ngozi", "Okafor", "19820112"),
            // Surname and given name in each other's place.
            record("Okafor", "Daniel", "20110907"),
        ];
        let index = people(&records, &[], Bands::default());
        assert_eq!(index.people, [0, 0, 1, 2, 1]);
    }

    #[test]
    fn two_numbers_are_two_people_and_a_service_holds_nobody_twice() {
        let twin = |national: &str, service: u16| Record {
            national: national.to_owned(),
            service,
            ..record("Sam", "Lee", "20010101")
        };
        let records = [twin("9434765919", 0), twin("4010232137", 0)];
        assert_eq!(people(&records, &[], Bands::default()).count, 2);
        let records = [twin("", 0), twin("", 0), twin("", 1)];
        assert_eq!(people(&records, &[], Bands::default()).count, 1);
        assert_eq!(people(&records, &[0], Bands::default()).count, 2);
    }
}
