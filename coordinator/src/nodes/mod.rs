//! Asks the boroughs: sends fragments and collects released cells.

pub(crate) mod answer_budget;
pub(crate) mod channels;
pub(crate) mod decode_cells;
pub(crate) mod dispatch;
pub(crate) mod log_heads;
pub(crate) mod witnesses;
