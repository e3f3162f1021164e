//! From and to DataFusion's logical plans.
//!
//! `from` reads an analyst's Aggregate into the parts of a draft; `to` gives the expressions and the
//! plan of a derived question. DataFusion never sees wire bytes: they become a question first.

mod from;
mod literal;
mod to;

pub use from::{ReadAggregate, ReadFigure, Reading, read_aggregate};
pub use literal::value_at;
pub use to::{arrow_schema, arrow_type, plan, predicate_expr, scalar_expr, value_scalar};
