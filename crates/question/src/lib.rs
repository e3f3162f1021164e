//! The disclosure algebra: what a question may be.
//!
//! A [`Draft`] is what somebody wrote, as SQL or as bytes: it has a shape and nothing more. A
//! [`Question`] is a draft with a derivation over a contract: rows → units → cells. Nodes run
//! questions only, and [`Question::derive`] is the only way to make one. What has no derivation is a
//! [`Refusal`], which names the rule and the nearest thing that would be allowed, from contract and
//! question alone.
//!
//! | module | what it does |
//! |---|---|
//! | `draft` | the shape: scalars, predicates, figures |
//! | `normal` | one spelling for each predicate |
//! | `logic` | three-valued evaluation, and fixing a column to a value |
//! | `scope` | what columns and units the joined sources have |
//! | `units` | rows → units: inner aggregates by unit |
//! | `rules`, `figures` | what may stand in conditions and keys, and what may be counted and summed |
//! | `derive` | draft → question, the only constructor |
//! | `grid` | the cells a question has, and the condition masks possible in each |
//! | `encode`, `decode` | the fragment format |
//! | `words` | rendering for people, in English and in SQL |
//! | `table` | what is asked about people: tables that contracts fix |
//! | `plan` | from and to DataFusion plans (feature `datafusion`) |

mod decode;
mod derive;
mod draft;
mod encode;
mod figures;
mod grid;
mod logic;
mod normal;
#[cfg(feature = "datafusion")]
pub mod plan;
mod refusal;
mod rules;
mod scope;
pub mod table;
mod units;
mod words;

pub use decode::{LIMITS, Limits};
pub use derive::{Counted, Key, Moment, Question};
pub use draft::{
    Arithmetic, Comparison, DatePart, Draft, Figure, Join, JoinKind, Measure, PerUnit, Predicate, Rows, Scalar, Source,
    bare_name,
};
pub use grid::{Cell, Possible};
pub use refusal::{Refusal, Rule};
pub use scope::{Contracts, Scope, ScopeUnit, scale};
