//! The result: the person of each record, and pairs for review.

/// A pair of records that may be the same person, for somebody who can look at both records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Review {
    /// The place of the first record.
    pub one: usize,
    /// The place of the second record.
    pub other: usize,
    /// The pair's match weight, in bits of odds.
    pub sure: f64,
}

/// The person of each record.
#[derive(Clone, Debug)]
pub struct Index {
    /// The person of each record. People are numbered from 0, in the order of their first record.
    pub people: Vec<usize>,
    /// The number of people.
    pub count: usize,
    /// The pairs for review, in descending order of match weight.
    pub review: Vec<Review>,
}
