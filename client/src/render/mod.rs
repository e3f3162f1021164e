//! Answers, statements and plans as text and files.
//!
//! A NULL in a protected column is a withheld value: `[c]` in tables and CSV, `[x]` where a borough
//! did not answer. The reason column is shown as `note` only where it says more than "withheld".
//! JSON, Arrow and Parquet keep the NULLs and the reason column as they came.

mod catalogue;
mod cells;
mod csv;
mod explain;
mod files;
mod json;
mod nodes;
mod statement;
mod table;

pub use catalogue::{catalogue, catalogue_json, table_details};
pub use csv::csv;
pub use explain::explanation;
pub use files::{arrow, parquet};
pub use json::{json, statement_json};
pub use nodes::{nodes, nodes_json};
pub use statement::statement;
pub use table::{table, table_head};

pub(crate) use cells::thousands;
pub(crate) use json::escaped_pretty;
