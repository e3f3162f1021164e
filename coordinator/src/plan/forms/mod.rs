//! Questions in the forms that the algebra reads, from the forms that people and tools write.
//!
//! | module | what it rewrites |
//! |---|---|
//! | `empty` | rows that are none, whatever the data |
//! | `tabulated` | functions over coded columns |
//! | `ones` | counts that are written as sums and means of ones |
//! | `dimension_figures` | the least and the greatest value of a dimension, and how many values it has |

mod dimension_figures;
mod empty;
mod ones;
mod tabulated;

pub(crate) use dimension_figures::divided;
pub(crate) use empty::without_empty_scans;
pub(crate) use ones::in_known_forms;
pub(crate) use tabulated::tabulated;
