//! The coordinator: an analyst's SQL in, protected figures from many boroughs out.
//!
//! ```text
//! SQL ─ plan ─► split ─► log INTENT ─► dispatch ─► merge ─► post-process ─► log OUTCOME ─► result + statement
//! ```
//!
//! A room uses the rooms above it in this table, and never one below it.
//!
//! | room | what it does |
//! |---|---|
//! | `config`, `catalogue` | the manifest's contracts as tables with a `borough` column; the reference tables |
//! | `plan` | SQL to a plan, and each aggregate over records to a leaf that boroughs answer, or a refusal |
//! | `nodes` | fragments to nodes, and released cells back, under one deadline; the boroughs as witnesses of the log |
//! | `result` | borough cells to the cells of the question; the steps after the merge; the statement |
//! | `work` | planning, the steps after the merge and the writing of files, in processes that can be ended |
//! | `query` | the life of a query, also across a restart |
//! | `doors` | gRPC, HTTP and Flight SQL |
//! | `serve` | all rooms in one process |

#![cfg_attr(not(feature = "simulation"), allow(unreachable_pub, reason = "the simulation alone uses some"))]

mod catalogue;
mod config;
mod doors;
mod nodes;
mod plan;
mod query;
mod result;
mod serve;
#[cfg(feature = "simulation")]
mod testing;
mod work;

pub use config::{Config, ConfigError, DoorsConfig};
pub use doors::foreign;
#[cfg(feature = "simulation")]
pub use doors::grpc::GrpcDoor;
#[cfg(feature = "simulation")]
pub use nodes::channels::{ChannelFault, NodeChannel, NodeConnector};
pub use plan::dry_run::Dry;
pub use serve::{Coordinator, run};
#[cfg(feature = "simulation")]
pub use testing::{CoordinatorParts, Surroundings};
pub use work::work;
