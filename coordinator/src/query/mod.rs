//! The life of a query, from SQL to answer and across a restart.

pub(crate) mod allowance;
pub(crate) mod answering;
pub(crate) mod explain;
pub(crate) mod log_recovery;
pub(crate) mod node_watch;
pub(crate) mod purposes;
#[allow(clippy::module_inception, reason = "the query itself, as the field calls it")]
pub(crate) mod query;
pub(crate) mod record;
mod recorded;
pub(crate) mod registry;
pub(crate) mod service;
mod signature;
