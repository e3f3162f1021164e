//! The disclosure algebra: which questions there are.
//!
//! A [`Draft`] is a question as somebody wrote it, as SQL or as bytes: it has a shape and nothing more. A
//! [`Question`] is a draft with a derivation over a contract: rows → units → cells. Nodes run
//! questions only, and [`Question::derive`] is the only way to make one. A draft without a derivation is a
//! [`Refusal`], which names the rule and the nearest thing that would be allowed, from contract and
//! question alone.
//!
//! Each module uses the ones above it alone:
//!
//! | module | its purpose |
//! |---|---|
//! | `refusal` | the rules by name, and refusals |
//! | `draft` | the shape: scalars, predicates, figures |
//! | `logic` | three-valued evaluation |
//! | `normal` | one spelling for each predicate, and fixing a column to a value |
//! | `text` | drafts as SQL, for messages |
//! | `scope` | the columns and units of the joined sources |
//! | `enumerate` | the values that columns and scalars can have by contract |
//! | `rules` | conditions, joins, derivations by unit, keys, figures |
//! | `derive` | draft → question, the only constructor |
//! | `grid` | the cells of a question, and the condition masks possible in each |
//! | `coverage` | the cells outside the period that a borough's data cover |
//! | `wire` | the fragment format: encoding, and decoding under limits |
//! | `describe` | a question for people, in English and in SQL |
//! | `table` | questions about people: tables that contracts fix |
//! | `fragment` | a part of a question, as a borough is asked it: a question or a table |
//! | `plan` | from and to DataFusion plans (feature `datafusion`) |
//! | `wire_schema` | the columns of released cells (feature `datafusion`) |

#![deny(missing_docs)]

mod coverage;
mod derive;
mod describe;
mod draft;
mod enumerate;
mod fragment;
mod grid;
mod logic;
mod normal;
#[cfg(feature = "datafusion")]
pub mod plan;
mod refusal;
mod rules;
mod scope;
pub mod table;
mod text;
mod wire;
#[cfg(feature = "datafusion")]
pub mod wire_schema;

pub use coverage::{Beyond, Covered, Period};
pub use derive::{Moment, Question};
pub use draft::{
    Arithmetic, Comparison, DatePart, Draft, Figure, Join, JoinKind, Measure, PerUnit, Predicate, Rows, Scalar, Source,
    bare_name,
};
pub use fragment::Fragment;
pub use grid::{Cell, Possible};
pub use refusal::{Refusal, Rule};
pub use rules::{Counted, Key};
pub use scope::{Contracts, Scope, ScopeUnit, scale};
pub use wire::{LIMITS, Limits};
