//! The rules: which drafts are questions, judged on contracts and draft alone.
//!
//! Each module uses the ones above it alone:
//!
//! | module | its subject |
//! |---|---|
//! | `spelling` | one spelling for conditions on measures |
//! | `conditions` | conditions and scalars over one scope |
//! | `joins` | which sources meet, and which units their rows tell of |
//! | `keys` | group keys and their grid |
//! | `figures` | counts and sums |
//! | `units` | derivations by unit |
//! | `sources` | rows at every level, with the scope that they have |
//!
//! *Attack: the question that singles out.* The asker chooses which records are counted. A set of one record, or two sets
//! that differ by one, give that record away in exact figures. The rules leave no way to name a unit, or an exact value of
//! a measure; the methods of protection withhold or perturb the figures that remain. About people the asker does not choose
//! sets at all ([`crate::table`]).

mod conditions;
mod figures;
mod joins;
mod keys;
mod sources;
mod spelling;
pub(crate) mod units;

pub(crate) use conditions::Rules;
pub use figures::Counted;
pub use keys::Key;
pub(crate) use spelling::{spelled, spelled_scalar};
