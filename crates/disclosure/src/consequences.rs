//! The protection that a perturbation table gives, measured by the averaging attack.
//!
//! Half of 5,000 people have an attribute. For each target the attacker asks for the number of people with the attribute in m
//! random, overlapping sets, each without and with the target, and subtracts. Two attackers guess whether the target has it:
//!
//! - *averaging*: the mean of the m differences is above one half;
//! - *change*: any of the differences is not zero. A target without the attribute does not change the counted set, and the same
//!   set has the same answer, so all its differences are zero.
//!
//! A guess without questions is right for 50 %. Conditions on dimensions cannot form such sets unless the target is alone in
//! some combination of them. Grid limits, quotas and the log keep that rare. The figures show the effect if they fail.
#![allow(clippy::cast_precision_loss, reason = "shares of a few hundred targets")]

use crate::ptable::PTable;

/// The success of the attackers with a number of pairs of questions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Consequence {
    /// The number of pairs: overlapping sets, each with and without the target.
    pub pairs: usize,
    /// The share of targets whose attribute is guessed right from the mean difference, from 0 to 1.
    pub by_averaging: f64,
    /// The share of targets whose attribute is guessed right from any change, from 0 to 1.
    pub by_change: f64,
    /// The root mean square error of one person's value from the mean difference of two sums, in widths of the measure's bounds,
    /// computed from the variances. A guess of the middle has 0.29 for evenly spread values.
    pub value_error: f64,
}

/// The size of the population.
const PEOPLE: usize = 5_000;
/// The number of targets.
const TARGETS: usize = 300;
/// The numbers of pairs of questions that the attackers ask.
const QUESTIONS: [usize; 5] = [1, 5, 20, 100, 1_000];
/// Random sets are drawn once for this many targets, to bound the run to seconds.
const TARGETS_PER_FAMILY: usize = 30;

/// SplitMix64. A fixed seed gives the same figures in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

struct Person {
    key: u64,
    has_attribute: bool,
}

/// A random half of the population, with the number and Σ keys of its members with the attribute.
struct RandomSet {
    members: Vec<u64>,
    count: u64,
    keys: u64,
}

impl RandomSet {
    fn draw(people: &[Person], random: &mut Random) -> Self {
        let members: Vec<u64> = (0..people.len().div_ceil(64)).map(|_| random.next()).collect();
        let mut set = Self { members, count: 0, keys: 0 };
        for (index, person) in people.iter().enumerate() {
            if person.has_attribute && set.contains(index) {
                set.count += 1;
                set.keys += person.key;
            }
        }
        set
    }

    fn contains(&self, index: usize) -> bool {
        self.members.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// The released counts of people with the attribute, (without, with) the target.
    fn answers(&self, table: &PTable, person: &Person, target: usize) -> (i64, i64) {
        let (mut count, mut keys) = (self.count, self.keys);
        if person.has_attribute && self.contains(target) {
            count -= 1;
            keys -= person.key;
        }
        let without = released(table, count, keys);
        if !person.has_attribute {
            return (without, without);
        }
        (without, released(table, count + 1, keys + person.key))
    }
}

/// n + ptable(pcv(n), Σ keys mod M), as the method `cell-key` computes it.
fn released(table: &PTable, count: u64, keys: u64) -> i64 {
    let cell_key = u32::try_from(keys % u64::from(table.modulus())).unwrap_or(0);
    i64::try_from(count).unwrap_or(i64::MAX).saturating_add(i64::from(table.lookup(count, cell_key)))
}

/// Runs the attacks on a table, which takes about a second. The seed is fixed, so the same table gives the same figures.
#[must_use]
pub fn consequences(table: &PTable) -> Vec<Consequence> {
    let mut random = Random(20_26);
    let people: Vec<Person> = (0..PEOPLE)
        .map(|_| Person { key: random.next() % u64::from(table.modulus()), has_attribute: random.next() & 1 == 1 })
        .collect();
    // Half of the targets have the attribute, so that a guess without questions is right for 50 %.
    let has = |wanted: bool| people.iter().enumerate().filter(move |(_, p)| p.has_attribute == wanted);
    let targets: Vec<(usize, &Person)> =
        has(true).zip(has(false)).take(TARGETS / 2).flat_map(|(yes, no)| [yes, no]).collect();
    let most = QUESTIONS.into_iter().max().unwrap_or(0);
    let mut right = [(0_usize, 0_usize); QUESTIONS.len()];
    for family in targets.chunks(TARGETS_PER_FAMILY) {
        let sets: Vec<RandomSet> = (0..most).map(|_| RandomSet::draw(&people, &mut random)).collect();
        for (target, person) in family {
            let differences: Vec<i64> =
                sets.iter().map(|set| set.answers(table, person, *target)).map(|(a, b)| b - a).collect();
            for ((by_mean, by_change), pairs) in right.iter_mut().zip(QUESTIONS) {
                let asked = differences.get(..pairs).unwrap_or_default();
                let mean = asked.iter().sum::<i64>() as f64 / pairs as f64;
                *by_mean += usize::from((mean > 0.5) == person.has_attribute);
                *by_change += usize::from(asked.iter().any(|d| *d != 0) == person.has_attribute);
            }
        }
    }
    let variance = table.summary().variance;
    // A sum has noise on the part about the middle, and on the middle times a perturbed count: half a width each.
    let of_pair = (2.0 * (variance + 1.0 / 12.0) / 4.0 + 2.0 * variance / 4.0).sqrt();
    let share = |right: usize| right as f64 / targets.len().max(1) as f64;
    let each = QUESTIONS.into_iter().zip(right);
    each.map(|(pairs, (by_mean, by_change))| Consequence {
        pairs,
        by_averaging: share(by_mean),
        by_change: share(by_change),
        value_error: of_pair / (pairs as f64).sqrt(),
    })
    .collect()
}
