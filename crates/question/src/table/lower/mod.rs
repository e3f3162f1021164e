//! Question → tables, and the cells of them that each figure adds up.
//!
//! The columns that a figure reads are its K. Its condition and its keys are evaluated over released cells, so that OR, NOT,
//! IN, CASE and functions make no new draw, and nothing of an asker's reaches a record. Columns that a figure cannot depend
//! on are dropped, by enumeration of their classes.
//!
//! Each module uses the ones above it alone:
//!
//! | module | its purpose |
//! |---|---|
//! | `lowered` | a question as tables, and how its figures follow from their cells |
//! | `attach` | how a question's sources hang on the register of one unit |
//! | `proposal` | the derived value that a figure needs: named by a contract, or to propose |
//! | `several` | conditions on one of several rows of a unit, as values of the unit |
//! | `conditions` | conditions, keys and measures as those of the register |
//! | `depends` | which columns a figure depends on |
//! | `figures` | one figure as columns, a functional and conditions over cells |
//! | `tables` | the figures of a question gathered into tables |

mod attach;
mod conditions;
mod depends;
mod figures;
mod lowered;
mod proposal;
mod several;
mod tables;

pub use lowered::Lowered;
pub(in crate::table) use lowered::LoweredFigure;
