//! From and to DataFusion's logical plans.
//!
//! Each module uses the ones above it alone:
//!
//! | module | its purpose |
//! |---|---|
//! | `refusals` | refusals that several readers share |
//! | `figures` | the figures of an aggregate, as they were read |
//! | `literal` | literals and types |
//! | `input` | rows while they are read, and the reader |
//! | `expr` | an analyst's expressions as scalars and predicates |
//! | `aggregates` | an analyst's aggregate expressions as figures |
//! | `sources` | names, keys and boroughs of rows while they are read |
//! | `lookup` | reference tables of the coordinator's, as expressions over `borough` |
//! | `by_unit` | derivations by unit |
//! | `rows` | joins, subqueries and filters: a plan as rows |
//! | `from` | an Aggregate over records, read |
//! | `beside` | published records taken apart from people's |
//! | `to` | the expressions and the plan of a derived question |
//!
//! *Attack: an engine's plan as a question.* DataFusion never sees wire bytes: they become a question first, and `to`
//! builds the plan from that. A plan of an analyst's SQL is read the other way: an operator or expression without a rule is
//! refused.

mod aggregates;
mod beside;
mod by_unit;
mod expr;
mod figures;
mod from;
mod input;
mod literal;
mod lookup;
mod refusals;
mod rows;
mod sources;
mod to;

pub use beside::{Beside, BesideFigure, BesideValue, PEOPLE, PUBLISHED};
pub use expr::{CODE_END, CODES};
pub use figures::{FigureReading, ReadAggregate, ReadFigure, Spread};
pub use from::read_aggregate;
pub use input::{BOROUGH, BOROUGH_NAME, Lookup, Reader};
pub use literal::{bare, column_type, constant, value_at};
pub use to::{
    Tables, arrow_schema, arrow_type, column_expr, plan, predicate_expr, rows_plan, scalar_expr, value_scalar,
};
