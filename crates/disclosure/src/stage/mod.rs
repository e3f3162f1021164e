//! The (cell, unit) stage: rows in columns, put in order of their cells.
//!
//! ```text
//! batches ─ rows (typed columns) ─► cell_unit_stage (in order of cells) ─► cell (one cell's slices) ─► a method
//! ```

mod cell;
mod cell_unit_stage;
mod rows;
mod total;
mod units;

pub(crate) use cell::{Cell, holds};
pub(crate) use cell_unit_stage::Stage;
