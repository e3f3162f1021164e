//! Turns released cells into the answer and its statement.

pub(crate) mod cell_group;
pub(crate) mod coverage;
pub(crate) mod derived_statistics;
pub(crate) mod figure_errors;
pub(crate) mod local_query;
pub(crate) mod marks;
pub(crate) mod merge;
pub(crate) mod output_columns;
pub(crate) mod post_process;
pub(crate) mod query_result;
pub(crate) mod row_pairs;
pub(crate) mod standard_errors;
pub(crate) mod statement;
