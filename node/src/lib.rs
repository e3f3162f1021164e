//! A borough's node.
//!
//! ```text
//! borough's tables ─ ingest ─► snapshot ─► request ─► engine ─► disclose ─► release ─► serve
//! ```
//!
//! A room uses the rooms above it in this table, and never one below it.
//!
//! | room | content |
//! |---|---|
//! | `snapshot` | the files that questions read, and the origin of their rows |
//! | `tables` | tables about people, from registers and rows |
//! | `epochs` | the data about people, which change only at set times, and the data that wait |
//! | `ingest` | extracts to snapshots, with a report on every row |
//! | `config` | the borough's settings, parsed once and refused with file and fix |
//! | `assess` | how much an unlimited asker would learn from the tables |
//! | `query` | a fragment to released cells: request, agreement, engine, disclosure control, release |
//! | `refresh` | new readings of extracts, in a process of their own |
//! | `tools` | a first mapping, the faults that would keep a node from serving, the effects of a perturbation table |
//! | `serve`, `door`, `cli` | all of it in one process; the calls over mTLS gRPC; the command line of `loda-node` |

mod assess;
mod cli;
mod config;
mod door;
mod epochs;
mod ingest;
mod query;
mod refresh;
mod serve;
mod snapshot;
mod tables;
#[cfg(any(feature = "unprotected", feature = "simulation"))]
mod testing;
mod tools;

pub use cli::command;
pub use config::{Config, ConfigError};
pub use ingest::config::{AsAt, DatasetConfig, Refresh};
pub use ingest::conformance::report::{ColumnReport, Rejected, Report, RowPlace};
pub use ingest::mapping::Mapping;
pub use ingest::residents::{ResidentsConfig, Service};
pub use ingest::source::{Format, Source, SourceReport};
pub use loda_disclosure::TableParameters;
pub use loda_service::Program;
pub use query::disclose::Methods;
pub use serve::{Node, run};
#[cfg(feature = "unprotected")]
pub use testing::laboratory::Laboratory;
#[cfg(feature = "simulation")]
pub use testing::simulation::{CannedNode, SimulatedWork};
