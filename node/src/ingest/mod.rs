//! From a borough's extracts to a snapshot.

pub(crate) mod columns;
pub(crate) mod config;
pub(crate) mod conformance;
pub(crate) mod dates;
pub(crate) mod finding;
pub(crate) mod html;
pub(crate) mod incremental;
pub(crate) mod mapping;
pub(crate) mod per_file_plan;
pub(crate) mod pipeline;
pub(crate) mod readings;
pub(crate) mod redacted_error;
pub(crate) mod residents;
pub(crate) mod served_dataset;
pub(crate) mod source;
pub(crate) mod sql_functions;
pub(crate) mod unit_ids;
