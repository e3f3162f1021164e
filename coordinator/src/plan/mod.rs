//! Turns SQL into a plan, and the plan into fragments for boroughs.

pub(crate) mod advice;
pub(crate) mod arithmetic;
pub(crate) mod combined;
pub(crate) mod domains;
pub(crate) mod dry_run;
pub(crate) mod federated_aggregate;
pub(crate) mod federated_node;
pub(crate) mod forms;
pub(crate) mod grouping_sets;
pub(crate) mod growing_functions;
pub(crate) mod lineage;
pub(crate) mod planner;
pub(crate) mod published_join;
pub(crate) mod published_rows;
pub(crate) mod split;
pub(crate) mod syntax;
