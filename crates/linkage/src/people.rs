//! From pairs that share keys to people.

use std::collections::HashMap;

use crate::Record;
use crate::keys::{KEYS, WEIGHTS, Weight, keys};
use crate::normal::{Parts, alike};

/// A key value that more records share says nothing of a person.
const COMMON: usize = 50;

/// From this many records on, one strong key is not enough: what rarely agrees by chance does so somewhere.
const MANY: usize = 50_000;

/// Where the bands lie.
#[derive(Clone, Copy, Debug)]
pub struct Bands {
    /// Pairs at least this sure are one person.
    pub accept: f64,
    /// Pairs at least this sure, and less, are for review.
    pub review: f64,
}

impl Default for Bands {
    fn default() -> Self {
        Self { accept: 1.0, review: 0.6 }
    }
}

/// Two records that may be one person: for somebody who can look at both.
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
    let mut judged = judged(&parts, records.len() >= MANY);
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
    review.retain(|pair| groups.find(pair.one) != groups.find(pair.other));
    groups.index(review)
}

/// Every pair that shares a key, with how sure it is.
fn judged(parts: &[Parts], many: bool) -> Vec<Review> {
    let mut shared: HashMap<(u32, u32), u16> = HashMap::new();
    for key in 0..KEYS {
        // One key at a time: memory holds one table of hashes, and the pairs.
        let mut holders: HashMap<u128, Vec<u32>> = HashMap::new();
        for (at, parts) in (0_u32..).zip(parts) {
            if let Some(Some(hash)) = keys(parts).get(key) {
                holders.entry(*hash).or_default().push(at);
            }
        }
        for holders in holders.into_values().filter(|holders| (2..=COMMON).contains(&holders.len())) {
            for (place, one) in holders.iter().enumerate() {
                for other in holders.iter().skip(place + 1) {
                    *shared.entry((*one, *other)).or_default() |= 1 << key;
                }
            }
        }
    }
    let pairs = shared.into_iter().filter_map(|((one, other), keys)| {
        let (one, other) = (one as usize, other as usize);
        let sure = sureness(parts.get(one)?, parts.get(other)?, keys, many);
        (sure > 0.0).then_some(Review { one, other, sure })
    });
    pairs.collect()
}

/// How sure two records that share these keys are one person: 1 is enough.
fn sureness(a: &Parts, b: &Parts, keys: u16, many: bool) -> f64 {
    let weights = WEIGHTS.iter().enumerate().filter(|(key, _)| keys & (1 << key) != 0).map(|(_, weight)| weight);
    let weight: f64 = weights
        .map(|weight| match weight {
            Weight::Certain => 2.0,
            Weight::Strong if many => 0.5,
            Weight::Strong => 0.7,
            Weight::Fair => 0.4,
        })
        .sum();
    let both = |x: &str, y: &str| !x.is_empty() && !y.is_empty();
    if both(&a.national, &b.national) && a.national != b.national {
        return 0.0;
    }
    let straight = (alike(&a.given, &b.given), alike(&a.surname, &b.surname));
    let swapped = (alike(&a.given, &b.surname), alike(&a.surname, &b.given));
    let names = if straight.0 + straight.1 >= swapped.0 + swapped.1 { straight } else { swapped };
    let born = if both(&a.born, &b.born) { digits_alike(&a.born, &b.born) } else { 0.5 };
    // Each says a little for or against; a household shares everything but these.
    let evidence = |likeness: f64| match likeness {
        l if l >= 0.9 => 0.3,
        l if l >= 0.8 => 0.1,
        l if l >= 0.65 => -0.1,
        _ => -0.4,
    };
    let given = if both(&a.given, &b.given) { evidence(names.0) } else { 0.0 };
    let surname = if both(&a.surname, &b.surname) { evidence(names.1) } else { 0.0 };
    let born = match born {
        same if same >= 1.0 => 0.4,
        near if near >= 0.75 => 0.2,
        half if half >= 0.5 => 0.0,
        _ => -0.5,
    };
    weight + given + surname + born
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
