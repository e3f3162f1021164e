//! An answer with its statement, as text and as files. The command line and the coordinator's doors use it.
//!
//! A NULL in a protected column is a withheld value, or a value of a borough that did not answer. CSV and workbooks
//! show them as `[c]` and `[x]`. They show the reason column as `note`, and only where it says more than the cells.
//! JSON, Arrow and Parquet keep the NULLs and the reason column unchanged.
//!
//! | content | module |
//! |---|---|
//! | an answer | [`answer`] |
//! | the meaning of its NULLs | [`cells`] |
//! | an answer as a file | [`csv`](mod@csv), [`json`](mod@json), [`files`], [`workbook`](mod@workbook) |
//! | its statement, in words | [`statement`](mod@statement) |
//! | why values are missing | [`reason`] |
//! | texts that are safe to show to a person | [`plain`], [`boroughs`] |

#![deny(missing_docs)]

pub mod answer;
pub mod boroughs;
pub mod cells;
pub mod csv;
pub mod files;
pub mod json;
pub mod plain;
pub mod reason;
#[cfg(any(test, feature = "sample"))]
pub mod sample;
pub mod statement;
pub mod workbook;

pub use answer::{Answer, Malformed, PROTECTED, STATEMENT, is_protected, reason_at};
pub use csv::csv;
pub use files::{arrow, parquet};
pub use json::{json, statement_json};
pub use statement::{Detail, decimals_of, is_unanswered, is_whole, statement};
pub use workbook::workbook;
