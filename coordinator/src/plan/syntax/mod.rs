//! Statements before they are planned: their bounds, their syntax, and one form for what can be written in several.

mod cast_figures;
pub(crate) mod cte_expansion;
pub(crate) mod date_formats;
pub(crate) mod dropped_syntax;
mod one_form;
mod postgres_dates;
pub(crate) mod sql_bounds;

pub(crate) use one_form::in_one_form;
