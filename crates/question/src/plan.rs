//! From and to DataFusion's logical plans.
//!
//! `rows` and `input` read an analyst's joins, subqueries and filters, `expr` his expressions, `from` his Aggregate; `to` gives the expressions and the
//! plan of a derived question; `beside` takes published records apart from people's. DataFusion never sees wire bytes: they
//! become a question first.

/// The metadata of a column that has its codes, for LIKE; and what stands between two of them.
pub const CODES: &str = "loda.codes";
pub const CODE_END: char = '\u{1f}';

mod beside;
mod expr;
mod from;
mod input;
mod literal;
mod rows;
mod to;

pub use beside::{Beside, BesideFigure, BesideValue, PEOPLE, PUBLISHED};
pub use from::{ReadAggregate, ReadFigure, Reading, Spread, read_aggregate};
pub use literal::{column_type, value_at};
pub use rows::{BOROUGH, Lookup, Reader};
pub use to::{
    Tables, arrow_schema, arrow_type, column_expr, plan, predicate_expr, rows_plan, scalar_expr, value_scalar,
};
