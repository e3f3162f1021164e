//! Words for people whose question cannot be asked as it stands: what is wrong, and what they can write instead.
//!
//! | module | its purpose |
//! |---|---|
//! | `nearest` | the text that somebody meant |
//! | `engine_errors` | the engine's errors as refusals |
//! | `values` | literals that no record can have |
//! | `names` | tables and columns that a statement can name |
//! | `dialects` | functions of other dialects |
//! | `clauses` | clauses of other dialects, or in the wrong place |
//! | `literals` | literals in the type of their column |
//! | `allowed` | figures that protection refuses, as the nearest that it allows |
//! | `protected` | records and units, as figures that can be asked |
//! | `repair` | a statement that can be asked in place of one that cannot |

mod allowed;
mod clauses;
mod dialects;
pub(crate) mod engine_errors;
mod literals;
mod names;
mod nearest;
mod protected;
mod repair;
mod values;

pub(crate) use names::Names;
pub(crate) use repair::repaired;
pub(crate) use values::{Checked, check};
