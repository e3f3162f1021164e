//! Who is who among a borough's own records: deterministic matchkeys, inside the node.
//!
//! ```text
//! records ─ normalise ─► matchkeys ─► pairs that share some ─► judged ─► people, and pairs for review
//! ```
//!
//! A matchkey is a few normalised parts of a record that rarely agree by chance (a date of birth with a postcode's
//! characters; two names by sound with the start of an address). Keys say which pairs are looked at; how sure a pair is, in
//! bits of odds, follows from how rare the values are that agree, among these very records. What says no: two different
//! national numbers; a given name and a date of birth that both differ (a household shares its address); somebody who has
//! looked. Pairs between the bands are left to people.

mod groups;
mod keys;
mod normal;
mod people;
mod records;
mod sure;

pub use normal::soundex;
pub use people::{Bands, Decision, Index, Review};
pub use records::{Record, Records};
