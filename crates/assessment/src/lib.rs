//! An assessment, before a borough opens its tables: how much an unlimited asker would learn about people from them.
//!
//! A borough assesses its own data. It plants an attribute at random, releases every table with the attribute as a node
//! would, and attacks the release as well as it can. Only the release tells anything about a random attribute. So the
//! tables give away as much as is guessed rightly beyond chance.
//!
//! | module | content |
//! |---|---|
//! | [`population`] | people by class numbers, and the tables |
//! | [`known`] | a formula for an asker who knows everything about everybody, except one bit |
//! | `plant` | an attribute planted at random, and the people who are easiest to single out |
//! | `release` | cells with noise; cells below the threshold are withheld |
//! | `solve` | the likely class of each subject, by least squares over all released cells, for an asker who knows all else |
//! | [`attack`](mod@attack) | these three together, an asker who only asks, and scores |

#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod attack;
pub mod known;
mod plant;
pub mod population;
mod release;
mod solve;

pub use attack::{Attack, AttackScores, Guesses, attack, reconstruct};
pub use population::{Attribute, Column, Population, Rules, Tables};
pub use release::Told;

/// Random numbers by splitmix64 (Steele, Lea and Flood 2014). An assessment gives the same result each time.
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

    /// A number below `n`. `n` must not be 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n.max(1) as u64)).unwrap_or(0)
    }
}
