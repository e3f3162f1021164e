//! Who is who among a borough's own records: deterministic matchkeys, inside the node.
//!
//! ```text
//! records ─ normalise ─► matchkeys ─► pairs that share some ─► judged ─► people, and pairs for review
//! ```
//!
//! A matchkey is a few normalised parts of a record that rarely agree by chance (a date of birth with a postcode's
//! characters; two names by sound with the start of an address). Keys say which pairs are looked at; how sure a pair is, in
//! bits of odds, follows from how rare the values are that agree, among these very records. What says no: two different
//! national numbers; a given name and a date of birth that both differ (a household shares its address). Pairs between the
//! bands are left to people.

mod keys;
mod normal;
mod people;

pub use normal::soundex;
pub use people::{Bands, Index, Review, people};

/// What is known of somebody in one record of one service, as it was written.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The service that holds the record, from 0.
    pub service: u16,
    pub given: String,
    pub surname: String,
    /// Year, month and day as digits: `19841231`.
    pub born: String,
    pub number: String,
    pub street: String,
    pub town: String,
    pub postcode: String,
    /// A checked national number (NHS, National Insurance); empty where there is none.
    pub national: String,
}
