//! Tables: the only thing that is asked about people.
//!
//! Everything that can be learnt about people is a finite collection of tables that contracts fix. A table has a *row
//! domain*, a set K of *columns* and *figures*; a node answers it for K and for every subset of K. It holds no predicate,
//! literal or function of an asker's: conditions are evaluated over released cells ([`Lowered`]).
//!
//! *Attack: sets of the asker's choice.* Where each set of people is perturbed by itself, random unions of categories and
//! least squares read a borough's exact table, and two sets that differ by one person tell whether the answer changed (ADR
//! 1). Here the asker chooses no set: every question is answered from the same cells.
//!
//! Each module uses the ones above it alone:
//!
//! | module | its purpose |
//! |---|---|
//! | `column` | columns, their states and classes |
//! | `definition` | row domains, figures, and the table |
//! | `resolve` | a column of a row domain, as contracts define it |
//! | `rules` | which tables there are: weights, limits, alternatives |
//! | `whole` | tables that answer others |
//! | `wire` | the canonical bytes, a plan of `GROUP BY CUBE (K)` |
//! | `describe` | a table for people, in English and in SQL |
//! | `possible` | which cells there can be |
//! | `readings` | the value of a name in a cell |
//! | `lower` | question → tables, and the cells of them that each figure adds up |
//! | `released` | released cells → the question's cells, withheld ones estimated |

mod column;
mod definition;
mod describe;
mod lower;
mod possible;
mod readings;
mod released;
mod resolve;
mod rules;
#[cfg(test)]
mod tests;
mod whole;
mod wire;

pub use column::{Classes, ColumnRef, Made, State, TableColumn};
pub use definition::{Functional, RowDomain, Table};
pub use lower::Lowered;
pub use released::{CellFigure, Estimate, TableCells, TableRow};
