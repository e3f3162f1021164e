//! What an unlimited asker would learn of people from a closed collection of tables, before a borough opens it.
//!
//! A borough assesses its own data: it plants an attribute at random, releases every table that holds it as a node would, and
//! attacks the release as well as it can. What is guessed right beyond chance is what the tables give away, for nothing else
//! tells of what dice decided.
//!
//! | module | what it does |
//! |---|---|
//! | [`population`] | people by class numbers, and the tables |
//! | [`known`] | an asker who knows everything about everybody but one bit (a formula) |
//! | `plant` | an attribute of some people at random; who is easiest to single out |
//! | `release` | cells with noise, those below the threshold withheld |
//! | `solve` | who has what, by least squares over all released cells, for one who knows all else of everybody |
//! | [`attack`] | the three together, and one who only asks; scores |

#![forbid(unsafe_code)]

pub mod attack;
pub mod known;
mod plant;
pub mod population;
mod release;
mod solve;

pub use attack::{Attack, Found, Guesses, attack, reconstruct};
pub use population::{Attribute, Column, Population, Rules, Tables};
pub use release::Told;

/// Random numbers by splitmix64 (Steele, Lea and Flood 2014): an assessment is the same whenever it is made.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below another, which is not 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n.max(1) as u64)).unwrap_or(0)
    }
}
