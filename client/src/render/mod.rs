//! Answers, plans and lists as text. [`loda_answer`] writes answers as files.

mod audit;
pub(crate) mod audit_export;
mod catalogue;
mod explain;
mod heading;
mod nodes;
mod purposes;
mod sql;
mod table;
mod wrap;

pub(crate) use audit::{question, questions, questions_json, reconciled};
pub use catalogue::{catalogue, catalogue_json, table_details};
pub use explain::explanation;
pub use loda_answer::{Detail, arrow, csv, json, parquet, statement, statement_json, workbook};
pub use nodes::{nodes, nodes_json};
pub use purposes::{purposes, purposes_json};
pub use sql::laid_out;
pub(crate) use table::grid;
pub use table::{table, table_head};
pub use wrap::wrapped;
