//! The shape of a question, before any rule has been applied.
//!
//! A draft need not be allowed: it can name a column that no contract has. Only
//! [`Question::derive`](crate::Question::derive) turns a draft into a question.
//!
//! *Attack: a selector of one's own.* A hash, a modulo or a random number over records picks an arbitrary set of them, and
//! two such sets can differ by one record. None of these has a variant in these types, so a draft cannot express them.

pub(crate) mod column_name;
mod expression;
mod operators;
mod rows;

pub use column_name::bare_name;
pub use expression::{Predicate, Scalar};
pub use operators::{Arithmetic, Comparison, DatePart};
pub use rows::{Draft, Figure, Join, JoinKind, Measure, PerUnit, Rows, Source};
