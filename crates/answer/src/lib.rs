//! An answer with its statement, as text and as files: for the command line, and for the coordinator's doors.
//!
//! A NULL in a protected column is a withheld value: `[c]` in CSV and workbooks, `[x]` where a borough did not answer. The
//! reason column is shown as `note` only where it says more than "withheld". JSON, Arrow and Parquet keep the NULLs and the
//! reason column as they came.
//!
//! | question | module |
//! |---|---|
//! | what is an answer | [`answer`] |
//! | what a NULL in it means | [`cells`] |
//! | as a file | [`csv`], [`json`], [`files`], [`workbook`] |
//! | what it says of itself, in words | [`statement`] |
//! | what may be shown to a person | [`plain`], [`boroughs`] |

pub mod answer;
pub mod boroughs;
pub mod cells;
pub mod csv;
pub mod files;
pub mod json;
pub mod plain;
#[cfg(any(test, feature = "sample"))]
pub mod sample;
pub mod statement;
pub mod workbook;

pub use answer::{Answer, Malformed, PROTECTED, REASON, STATEMENT, is_protected, reason_at};
pub use csv::csv;
pub use files::{arrow, parquet};
pub use json::{json, statement_json};
pub use statement::{is_whole, statement};
pub use workbook::workbook;
