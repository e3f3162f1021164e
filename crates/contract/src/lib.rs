//! Dataset contracts.
//!
//! A contract gives a dataset the same meaning in every borough. It names the columns with type and role, the values that can
//! occur, the units that rows describe (unit domains), and the protection of figures. An asker can learn all of this without
//! reading data.
//!
//! ```text
//! contract.toml ─ parse ─► Contract: units, columns, protection, closure (the tables about people)
//! ```

#![deny(missing_docs)]

mod check_together;
mod closure;
mod column;
mod contract;
mod derived;
mod domain;
mod parse;
mod protection;
mod value;

pub use check_together::check_together;
pub use closure::{Closure, Epoch, Period};
pub use column::{Attribute, Column, Role};
pub use contract::{Contract, Unit};
pub use derived::{Condition, Derived, Reduction, Test};
pub use domain::{Domain, GRID_LIMIT, Grain};
pub use parse::ContractError;
pub use protection::Protection;
pub use value::{ColumnType, Value};
