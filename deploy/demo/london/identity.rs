//! A person's identity on paper: names, date of birth and numbers. The place where the person was drawn decides it.
//!
//! Numbers are a permutation of the person's position in London, so no two people share one up to scale 1. No number
//! can be real: NHS numbers begin with 9 (England issues those from 4 to 7), and National Insurance numbers have the
//! prefixes that HMRC reserves for its own accounts.

use std::sync::LazyLock;

use crate::boroughs::BOROUGHS;
use crate::random::Random;

use super::calendar;
use super::home::{For, Person, Place, count_homes};
use super::names::{self, Which};

/// Prefixes of National Insurance numbers that no person has (HMRC manual NIM39110).
const PREFIXES: [&str; 6] = ["CR", "MW", "NC", "PP", "PY", "PZ"];
/// Check letters of a Unique Pupil Number, by remainder (Department for Education, UPN guidance).
const UPN_LETTERS: &str = "ABCDEFGHJKLMNPQRTUVWXYZ";
/// The most people in one home.
const SLOTS: u64 = 6;
/// The size of the permutation: at least the number of people in London at scale 1.
const NUMBERS: u64 = 24_000_000;

/// For each borough, the homes of the boroughs before it, at scale 1.
static HOMES_BEFORE: LazyLock<Vec<u64>> = LazyLock::new(|| {
    BOROUGHS.iter().scan(0, |sum, b| Some(std::mem::replace(sum, *sum + count_homes(b, 1.0)))).collect()
});

/// A person's particulars, as all correct papers state them.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) given: &'static str,
    pub(crate) surname: &'static str,
    /// The name before marriage, if it was different.
    pub(crate) maiden: Option<&'static str>,
    pub(crate) born: i32,
    number: u64,
}

impl Identity {
    /// The person's identity; a household mostly shares its first member's surname.
    pub(crate) fn of(origin: Place, person: &Person) -> Self {
        let mut shared = origin.stream_of(For::Identity, person.household);
        let household = names::community(&mut shared);
        let family = names::name(household, Which::Surnames, &mut shared);
        let mut own = origin.stream_of(For::Identity, 100 + person.slot);
        let partner = person.age >= 18 && person.slot > person.household;
        let community = if partner && own.chance(120) { names::community(&mut own) } else { household };
        let given = names::name(community, if person.female { Which::Women } else { Which::Men }, &mut own);
        let before = names::name(community, Which::Surnames, &mut own);
        let surname = if partner && own.chance(260) { before } else { family };
        let maiden = (person.female && person.age >= 22 && before != surname && own.chance(450)).then_some(before);
        // A person's age on the last day of a year gives the year of birth.
        let born = calendar::day(2025 - person.age as i32, 1, 1) + own.below(365) as i32;
        Self { given, surname, maiden, born, number: number(origin, person.slot) }
    }

    /// The identity of a person outside the model, such as a landlord.
    pub(crate) fn of_stranger(mut random: Random) -> Self {
        let community = names::community(&mut random);
        let given = names::name(community, random.pick(&[(Which::Men, 60), (Which::Women, 40)]), &mut random);
        let surname = names::name(community, Which::Surnames, &mut random);
        Self { given, surname, maiden: None, born: calendar::day(1970, 1, 1), number: 0 }
    }

    /// Ten digits with a correct check digit. Test systems use numbers with 999, but only a million begin with 999.
    /// That is too few for London, so these begin with 9.
    pub(crate) fn nhs_number(&self) -> String {
        // Of two consecutive numbers, at least one has a check digit.
        let valid = |n: u64| nhs_check(900_000_000 + n).map(|check| format!("{}{check}", 900_000_000 + n));
        let first = self.number * 2;
        valid(first).or_else(|| valid(first + 1)).unwrap_or_default()
    }

    pub(crate) fn nino(&self) -> String {
        let (prefix, suffix) = (self.number / 4_000_000, self.number / 1_000_000 % 4);
        let prefix = PREFIXES.get(prefix as usize).copied().unwrap_or("PZ");
        format!("{prefix}{:06}{}", self.number % 1_000_000, ["A", "B", "C", "D"].get(suffix as usize).unwrap_or(&"D"))
    }

    /// A permanent pupil number of a local authority that does not exist.
    pub(crate) fn upn(&self) -> String {
        let digits = format!("999{:09}", self.number);
        let sum: u64 = digits.bytes().zip(2..).map(|(digit, weight)| u64::from(digit - b'0') * weight).sum();
        let letter = UPN_LETTERS.chars().nth((sum % 23) as usize).unwrap_or('A');
        format!("{letter}{digits}")
    }
}

/// A permutation: the multiplier has no common divisor with [`NUMBERS`].
fn number(origin: Place, slot: u64) -> u64 {
    let before = HOMES_BEFORE.get(origin.borough as usize).copied().unwrap_or_default();
    let index = ((before + origin.home) * SLOTS + slot) % NUMBERS;
    (index * 9_699_697 + origin.seed % NUMBERS) % NUMBERS
}

/// The check digit of nine digits by modulus 11. Some numbers have none.
fn nhs_check(nine: u64) -> Option<u64> {
    let sum: u64 = (2..=10).scan(nine, |rest, weight| Some(std::mem::replace(rest, *rest / 10) % 10 * weight)).sum();
    match (11 - sum % 11) % 11 {
        10 => None,
        check => Some(check),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_are_valid_and_unique() {
        assert_eq!(nhs_check(943_476_591), Some(9), "the example of the NHS data dictionary");
        let mut seen = BTreeSet::new();
        for home in 0..4000 {
            let origin = Place { seed: 1, borough: 21, home };
            for (_, people) in crate::london::home::occupants(origin).1.into_iter().map(|h| (h.key, h.people)) {
                for person in people {
                    let identity = Identity::of(origin, &person);
                    let (nhs, nino, upn) = (identity.nhs_number(), identity.nino(), identity.upn());
                    assert_eq!((nhs.len(), nino.len(), upn.len()), (10, 9, 13), "{nhs} {nino} {upn}");
                    assert!(seen.insert(nhs) && seen.insert(nino) && seen.insert(upn));
                    let (year, ..) = calendar::parts(identity.born);
                    assert_eq!(year, 2025 - person.age as i32);
                }
            }
        }
    }
}
