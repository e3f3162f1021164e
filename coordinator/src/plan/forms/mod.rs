//! Questions in the forms that the algebra reads, from the forms that people and tools write.
//!
//! | module | what it rewrites |
//! |---|---|
//! | `empty` | rows that are none, whatever the data |
//! | `on_grain` | dates between the values of a column |
//! | `tabulated` | functions over coded columns |
//! | `ones` | counts that are written as sums and means of ones |
//! | `outer_rows` | reference tables whose rows all stay beside records |
//! | `dimension_figures` | the least and the greatest value of a dimension, and how many values it has |

mod dimension_figures;
mod empty;
mod on_grain;
mod ones;
mod outer_rows;
mod over_records;
mod tabulated;

pub(crate) use dimension_figures::divided;
pub(crate) use empty::without_empty_scans;
pub(crate) use on_grain::on_grain;
pub(crate) use ones::in_known_forms;
pub(crate) use outer_rows::outer_rows;
pub(crate) use tabulated::tabulated;
