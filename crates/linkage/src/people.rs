//! From pairs that share keys to people.

use crate::groups::Groups;
use crate::index::{Index, Review};
use crate::keys::{KEYS, key_of};
use crate::match_weight::{HOUSEHOLD, Rarity};
use crate::records::{COMMON, Records};

/// The limits of the bands, in bits of odds that a pair is the same person.
#[derive(Clone, Copy, Debug)]
pub struct Bands {
    /// Pairs of at least this weight are accepted as the same person. 5 bits are odds of 32 to 1.
    pub accept: f64,
    /// Pairs of at least this weight, below `accept`, are for review.
    pub review: f64,
}

impl Default for Bands {
    fn default() -> Self {
        Self { accept: 5.0, review: 0.0 }
    }
}

/// A person's decision about two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The place of the first record.
    pub one: usize,
    /// The place of the second record.
    pub other: usize,
    /// Whether the two are the same person.
    pub same: bool,
}

impl Records {
    /// Joins records into people. `once`: the services that hold each person at most once. A decision overrides the records'
    /// evidence.
    #[must_use]
    pub fn people(&self, once: &[u16], decided: &[Decision], bands: Bands) -> Index {
        let rarity = Rarity::of(self);
        let mut judged = self.judged(&rarity);
        judged.retain(|pair| pair.sure >= bands.review);
        // In descending order of weight, then in the order of the records: the same records give the same people.
        judged.sort_by(|a, b| b.sure.total_cmp(&a.sure).then((a.one, a.other).cmp(&(b.one, b.other))));
        let mut groups = Groups::new(self, &rarity, once);
        for Decision { one, other, .. } in decided.iter().filter(|decision| !decision.same) {
            groups.keep_apart(*one, *other);
        }
        for Decision { one, other, .. } in decided.iter().filter(|decision| decision.same) {
            groups.join_decided(*one, *other);
        }
        let mut review = Vec::new();
        for pair in judged {
            if pair.sure < bands.accept {
                review.push(pair);
            } else {
                groups.join(pair.one, pair.other);
            }
        }
        groups.join_alone(self.services(), once, &review);
        // Two people at one address are not worth a review.
        review.retain(|pair| pair.sure > HOUSEHOLD && groups.are_open(pair.one, pair.other));
        groups.index(review)
    }

    /// Every pair that shares a key and may match, with its weight.
    fn judged(&self, rarity: &Rarity<'_>) -> Vec<Review> {
        let mut shared: Vec<(u32, u32)> = Vec::new();
        for key in 0..KEYS {
            // One key at a time, so that memory holds only one list of hashes beside the pairs.
            let keyed = (0_u32..).zip(0..self.len());
            let keyed = keyed.filter_map(|(number, at)| Some((key_of(&self.parts(at), key)?, number)));
            let mut keyed: Vec<(u128, u32)> = keyed.collect();
            keyed.sort_unstable();
            for holders in keyed.chunk_by(|a, b| a.0 == b.0).filter(|all| (2..=COMMON).contains(&all.len())) {
                for (place, (_, one)) in holders.iter().enumerate() {
                    shared.extend(holders.iter().skip(place + 1).map(|(_, other)| (*one, *other)));
                }
            }
            shared.sort_unstable();
            shared.dedup();
        }
        let pairs = shared.into_iter().filter_map(|(one, other)| {
            let (one, other) = (one as usize, other as usize);
            Some(Review { one, other, sure: rarity.sureness(one, other)? })
        });
        pairs.collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;
    use crate::Record;

    fn people(records: &[Record], once: &[u16], decided: &[Decision]) -> Index {
        records.iter().collect::<Records>().people(once, decided, Bands::default())
    }

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
            // Surname and given name are swapped.
            record("Okafor", "Daniel", "20110907"),
        ];
        let index = people(&records, &[], &[]);
        assert_eq!(index.people, [0, 0, 1, 2, 1]);
    }

    #[test]
    fn two_numbers_are_two_people_and_a_service_holds_nobody_twice() {
        let twin = |national: &str, service: u16| Record {
            nhs: national.to_owned(),
            service,
            ..record("Sam", "Lee", "20010101")
        };
        let records = [twin("9434765919", 0), twin("4010232137", 0)];
        assert_eq!(people(&records, &[], &[]).count, 2);
        let records = [twin("", 0), twin("", 0), twin("", 1)];
        assert_eq!(people(&records, &[], &[]).count, 1);
        assert_eq!(people(&records, &[0], &[]).count, 2);
    }

    #[test]
    fn what_somebody_decided_holds() {
        let records = [
            record("Maria", "Okafor", "19840312"),
            record("Maria", "Okafor", "19840312"),
            record("Chidi", "Obi", "19840312"),
        ];
        let decision = |one, other, same| Decision { one, other, same };
        assert_eq!(people(&records, &[], &[]).people, [0, 0, 1]);
        assert_eq!(people(&records, &[], &[decision(0, 1, false), decision(1, 2, true)]).people, [0, 1, 1]);
        let all = people(&records, &[0], &[decision(0, 1, true), decision(2, 1, true)]);
        assert_eq!((all.people, all.review.len()), (vec![0, 0, 0], 0));
        // Two records that are kept apart stay so when a third record joins either.
        let apart = people(&records, &[], &[decision(0, 1, false), decision(1, 2, true), decision(2, 0, true)]);
        assert_eq!(apart.people, [0, 1, 1]);
    }

    #[test]
    fn numbers_of_two_kinds_are_compared_with_their_own() {
        let numbered = |nhs: &str, nino: &str| Record {
            nhs: nhs.to_owned(),
            nino: nino.to_owned(),
            ..record("Sam", "Lee", "20010101")
        };
        // The third record has both numbers, and so joins the first two.
        let records = [numbered("9434765919", ""), numbered("", "QQ123456C"), numbered("9434765919", "QQ123456C")];
        assert_eq!(people(&records, &[], &[]).count, 1);
        let records = [numbered("9434765919", "QQ123456C"), numbered("4010232137", "QQ123456C")];
        assert_eq!((people(&records, &[], &[]).count, people(&records, &[], &[]).review.len()), (2, 1));
    }

    #[test]
    fn a_number_that_everybody_has_is_nobodys() {
        let born = |at: usize| format!("{}0312", 1920 + at);
        let mut records: Vec<Record> = (0..60).map(|at| record("Ann", "Lee", &born(at))).collect();
        records.iter_mut().for_each(|record| record.nhs = "9999999999".to_owned());
        assert!(people(&records, &[], &[]).count > 50);
    }
}
