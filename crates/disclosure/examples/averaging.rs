//! The averaging attack on cell keys, measured.
//!
//! Among 5,000 people half have an attribute. For a target the attacker asks m random, overlapping
//! sets of people how many have the attribute, each set without and with the target, and subtracts.
//! Two attackers guess whether the target has it:
//!
//! - *averaging*: the mean of the m differences is above one half;
//! - *change*: any of the differences is not zero. A target without the attribute leaves the
//!   counted set as it was, and the same set has the same answer: its differences are all zero.
//!
//! The guess without any question is right for 50 %. Such sets cannot be formed with conditions on
//! dimensions alone unless the target is alone in some combination of them; grid limits, quotas and
//! the log exist to keep that rare. The figures say what happens where they fail.
//!
//! `cargo run -p loda-disclosure --example averaging`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

use loda_disclosure::{PTable, PTableError, default_table};

const PEOPLE: usize = 5_000;
const TARGETS: usize = 300;
const QUESTIONS: [usize; 4] = [1, 20, 100, 1_000];
/// Random sets are drawn once for this many targets, to bound the run to seconds.
const TARGETS_PER_FAMILY: usize = 30;

/// SplitMix64: a fixed seed gives the same figures in every run.
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

/// A random half of the population: its members with the attribute, as (n, Σ keys).
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
        self.members[index / 64] >> (index % 64) & 1 == 1
    }

    /// The released counts of people with the attribute, (without, with) the target.
    fn answers(&self, table: &PTable, people: &[Person], target: usize) -> (i64, i64) {
        let person = &people[target];
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
    let cell_key = u32::try_from(keys % u64::from(table.modulus())).unwrap();
    i64::try_from(count).unwrap() + i64::from(table.lookup(count, cell_key))
}

fn main() -> Result<(), PTableError> {
    let table = default_table()?;
    let mut random = Random(20_26);
    let people: Vec<Person> = (0..PEOPLE)
        .map(|_| Person { key: random.next() % u64::from(table.modulus()), has_attribute: random.next() & 1 == 1 })
        .collect();
    // As many targets with the attribute as without: a guess without questions is right for 50 %.
    let with = (0..PEOPLE).filter(|index| people[*index].has_attribute).take(TARGETS / 2);
    let without = (0..PEOPLE).filter(|index| !people[*index].has_attribute).take(TARGETS / 2);
    let targets: Vec<usize> = with.zip(without).flat_map(|(yes, no)| [yes, no]).collect();

    let mut right_by_mean = [0_usize; QUESTIONS.len()];
    let mut right_by_change = [0_usize; QUESTIONS.len()];
    let most = QUESTIONS[QUESTIONS.len() - 1];
    for family in targets.chunks(TARGETS_PER_FAMILY) {
        let sets: Vec<RandomSet> = (0..most).map(|_| RandomSet::draw(&people, &mut random)).collect();
        for target in family {
            let differences: Vec<i64> = sets
                .iter()
                .map(|set| set.answers(&table, &people, *target))
                .map(|(without, with)| with - without)
                .collect();
            for (index, questions) in QUESTIONS.into_iter().enumerate() {
                let asked = &differences[..questions];
                let mean = asked.iter().sum::<i64>() as f64 / questions as f64;
                let truth = people[*target].has_attribute;
                right_by_mean[index] += usize::from((mean > 0.5) == truth);
                right_by_change[index] += usize::from(asked.iter().any(|d| *d != 0) == truth);
            }
        }
    }

    println!("table: {:?}", table.summary());
    println!("{TARGETS} targets among {PEOPLE} people; a guess without questions is right for 50.0 %");
    println!("{:>18}  {:>10}  {:>10}", "pairs of questions", "averaging", "change");
    let percent = |right: usize| right as f64 * 100.0 / targets.len() as f64;
    for (index, questions) in QUESTIONS.into_iter().enumerate() {
        let (mean, change) = (percent(right_by_mean[index]), percent(right_by_change[index]));
        println!("{questions:>18}  {mean:>8.1} %  {change:>8.1} %");
    }
    Ok(())
}
