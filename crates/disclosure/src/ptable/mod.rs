//! Perturbation tables: noise by (perturbation cell value, cell key).

mod csv;
mod entropy;
mod generate;
mod perturbation_table;

pub use generate::{TableParameters, default_table};
pub use perturbation_table::{PTable, PTableError, Summary, pcv};
