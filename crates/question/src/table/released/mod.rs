//! Released cells of tables → the cells of a question.
//!
//! A figure is of the cells that satisfy its condition. A withheld cell and an empty one look alike. Everything here is a
//! function of released figures, lists of classes and contracts, which any asker could compute, and it tells nothing more of
//! anybody.
//!
//! Each module uses the ones above it alone:
//!
//! | module | its purpose |
//! |---|---|
//! | `cells` | the cells that a borough released of a table |
//! | `figure` | a figure in one of the question's cells, and its estimate |
//! | `known` | conditions and keys over many cells, each combination evaluated once |
//! | `fit` | withheld cells from released margins |
//! | `estimate` | the sum of some cells, released and withheld ones together |
//! | `adding` | one figure in each of the question's cells |
//! | `assemble` | all figures, cell by cell |

mod adding;
mod assemble;
mod cells;
mod estimate;
mod figure;
mod fit;
mod known;

pub use cells::{TableCells, TableRow};
pub use figure::{CellFigure, Estimate};
