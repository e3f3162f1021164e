//! Match weights: the odds that two records are the same person.

use std::collections::HashMap;

use crate::normal::{RecordParts, alike};
use crate::records::{NUMBERS, Records, Text};

/// The bits of evidence in an agreement on each record's values: a rarer value gives more bits (W. E. Winkler's
/// frequency-based weights for the model of I. P. Fellegi and A. B. Sunter, 1969).
pub(crate) struct Rarity<'a> {
    records: &'a Records,
    numbers: Vec<[Text; NUMBERS]>,
    /// The bits, by field and record.
    bits: [Vec<f32>; FIELDS],
    /// The bits against a match of two records drawn at random.
    doubt: f64,
}

/// The number of compared fields: given name, surname, date of birth, address, postcode, town.
const FIELDS: usize = 6;

/// A smaller number of records is judged as if there were this many.
const FEW: usize = 1_000;

/// A record's value in a field, as one number; 0 if it is missing.
fn field(records: &Records, at: usize, field: usize) -> u64 {
    let [given, surname, born, number, street, town, postcode, ..] = records.places(at).map(u64::from);
    match field {
        0 => given,
        1 => surname,
        2 => born,
        3 if street == 0 && !records.has_reference(at) => 0,
        3 if records.has_reference(at) => number << 32,
        3 => (number << 32) | street,
        4 => postcode,
        _ => town,
    }
}

/// The bits that a difference takes away, by field. People move and marry, but rarely change their date of birth.
const DIFFERENT: [f64; FIELDS] = [4.0, 4.0, 5.0, 1.0, 1.0, 0.5];

/// The share of an agreement's bits that a near agreement gives.
const NEAR: f64 = 0.6;

/// A weight just below the band of acceptance: the pair goes to review.
const LOOKED_AT: f64 = 4.9;

/// The most bits that an address and a surname give.
pub(crate) const HOUSEHOLD: f64 = 0.5;

impl<'a> Rarity<'a> {
    pub(crate) fn of(records: &'a Records) -> Self {
        // A value that is common among a handful of records may be rare among London's.
        let all = records.len().max(FEW) as f64;
        let bits = std::array::from_fn(|number| {
            let mut counts: HashMap<u64, u32> = HashMap::new();
            for at in 0..records.len() {
                *counts.entry(field(records, at, number)).or_default() += 1;
            }
            let count = |at| counts.get(&field(records, at, number)).copied().unwrap_or(1);
            (0..records.len()).map(|at| (all / f64::from(count(at))).log2() as f32).collect()
        });
        Self { records, numbers: records.numbers(), bits, doubt: all.log2() }
    }

    /// The bits of odds that two records are the same person; `None` if they cannot be.
    pub(crate) fn sureness(&self, one: usize, other: usize) -> Option<f64> {
        match agreement(self.numbers.get(one)?, self.numbers.get(other)?) {
            (true, false) => return Some(self.doubt),
            (false, true) => return None,
            // One number agrees and another differs: a person has to look at the pair.
            (true, true) => return Some(LOOKED_AT),
            (false, false) => {}
        }
        let (a, b) = (self.records.parts(one), self.records.parts(other));
        let Personal { given, surname, born } = Personal::of(&a, &b);
        if both(a.given, b.given) && both(a.born, b.born) && given < OTHER_NAME && born < 1.0 {
            return None;
        }
        let references = self.records.has_reference(one) && self.records.has_reference(other);
        let address = match (a.number == b.number, references) {
            (true, true) => 1.0,
            (false, true) => 0.0,
            (true, false) => alike(a.street, b.street),
            (false, false) => alike(a.street, b.street) * 0.92,
        };
        let likeness = [
            (both(a.given, b.given), given, NEAR_NAME),
            (both(a.surname, b.surname), surname, NEAR_NAME),
            (both(a.born, b.born), born, NEAR_BORN),
            (references || both(a.street, b.street), address, 0.85),
            (both(a.postcode, b.postcode), alike(a.postcode, b.postcode), 0.9),
            (both(a.town, b.town), alike(a.town, b.town), 0.9),
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
        // Twins share all but the given name. Households share a surname and an address. A parent and a child may share a name.
        // Without evidence that is a person's own, a person has to look at the pair.
        let names = both(a.given, b.given);
        let (name, twins) = (names && given >= NEAR_NAME, names && given < OTHER_NAME);
        let dates = both(a.born, b.born);
        let (date, generations) = (dates && born >= NEAR_BORN, dates && born < SLIP_OF_BORN);
        Some(match (name, date) {
            (_, true) if !twins => sure,
            (true, _) if !generations => sure,
            (false, false) if names => sure.min(HOUSEHOLD),
            _ => sure.min(LOOKED_AT),
        })
    }

    /// Whether two records that other records would join are different people: their national numbers differ, or their given
    /// names and dates of birth differ, or no writing error explains the difference of their dates of birth.
    pub(crate) fn contradict(&self, one: usize, other: usize) -> bool {
        let numbers = self.numbers.get(one).zip(self.numbers.get(other)).map(|(x, y)| agreement(x, y));
        match numbers {
            Some((true, _)) => return false,
            Some((false, true)) => return true,
            _ => {}
        }
        let (a, b) = (self.records.parts(one), self.records.parts(other));
        if !both(a.born, b.born) || a.born == b.born {
            return false;
        }
        let Personal { given, born, .. } = Personal::of(&a, &b);
        born < SLIP_OF_BORN || (both(a.given, b.given) && given < OTHER_NAME)
    }
}

/// Names that are less alike than this are different names.
const OTHER_NAME: f64 = 0.7;

/// Names that are at least this alike agree nearly.
const NEAR_NAME: f64 = 0.8;
/// Dates that are at least this alike agree nearly.
const NEAR_BORN: f64 = 0.8;

/// The likeness of two dates whose day and month are swapped.
const TURNED: f64 = 0.9;

/// Dates that are less alike than this are different dates.
const SLIP_OF_BORN: f64 = 0.6;

fn both(x: &str, y: &str) -> bool {
    !x.is_empty() && !y.is_empty()
}

/// The likeness of two records in the parts that are a person's own.
struct Personal {
    given: f64,
    surname: f64,
    born: f64,
}

impl Personal {
    fn of(a: &RecordParts<'_>, b: &RecordParts<'_>) -> Self {
        let straight = (alike(a.given, b.given), alike(a.surname, b.surname));
        let swapped = (alike(a.given, b.surname), alike(a.surname, b.given));
        let swap = swapped.0 + swapped.1 > straight.0 + straight.1 + 0.2;
        let (given, surname) = if swap { swapped } else { straight };
        Self { given, surname, born: dates_alike(a.born, b.born) }
    }
}

/// Whether any national number of two records agrees, and whether any differs.
pub(crate) fn agreement(one: &[Text; NUMBERS], other: &[Text; NUMBERS]) -> (bool, bool) {
    let both = one.iter().zip(other).filter(|(x, y)| **x != 0 && **y != 0);
    both.fold((false, false), |(same, differs), (x, y)| (same || x == y, differs || x != y))
}

/// The share of digits that agree. Two swapped digits count as one difference. A swapped day and month give [`TURNED`].
fn dates_alike(a: &str, b: &str) -> f64 {
    let parts = |text: &str| Some((text.get(..4)?.to_owned(), text.get(4..6)?.to_owned(), text.get(6..)?.to_owned()));
    if let (Some((year, month, day)), Some(other)) = (parts(a), parts(b))
        && a != b
        && other == (year, day, month)
    {
        return TURNED;
    }
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let same = a.iter().zip(b).filter(|(x, y)| x == y).count();
    let swap = a.windows(2).zip(b.windows(2)).any(|(x, y)| x != y && x.iter().eq(y.iter().rev()));
    (same + usize::from(swap)) as f64 / a.len().max(b.len()).max(1) as f64
}
