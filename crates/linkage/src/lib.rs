//! Record linkage within one borough: deterministic matchkeys, inside the node.
//!
//! ```text
//! records ─ normalise ─► matchkeys ─► pairs that share a key ─► match weights ─► people, and pairs for review
//! ```
//!
//! A matchkey is a few normalised parts of a record that rarely agree by chance, for example a date of birth with a postcode's
//! characters, or two names by sound with the start of an address. Keys select the pairs to compare. The match weight of a
//! pair, in bits of odds, follows from the rarity of the agreeing values among these records. Three things rule a match out:
//! two different national numbers; a given name and a date of birth that both differ (a household shares its address); a
//! person's decision. Pairs between the bands are left to people.

#![deny(missing_docs)]

mod groups;
mod index;
mod keys;
mod match_weight;
mod normal;
mod people;
mod records;

pub use index::{Index, Review};
pub use normal::soundex;
pub use people::{Bands, Decision};
pub use records::{Record, Records};
