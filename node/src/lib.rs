//! A borough's node.
//!
//! ```text
//! borough's tables ─ ingest ─► snapshot ─► inspect ─► execute ─► disclose ─► release ─► serve
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | `config`, `agreement` | what the borough wrote: parsed once, refused with file and fix |
//! | `ingest`, `check`, `dictionary`, `snapshot` | from sources to a checked snapshot with unit ids and record keys |
//! | `inspect` | from wire bytes to a typed job under contract and agreement |
//! | `borough` | what it brings: agreement, snapshots, engine and methods |
//! | `execute` | the (cell, unit) stage in DataFusion, under memory, time and output limits |
//! | `disclose` | the stage through the dataset's method: the only way to something released |
//! | `doctor` | what would keep a node from serving, and the fix |
//! | `ptable` | what a perturbation table does, for whoever chooses one |
//! | `release` | the one serial, durable point through which figures leave |
//! | `queries`, `jobs`, `turns` | queries as jobs that outlive a restart, in fair turns |
//! | `serve` | all of it over mTLS gRPC |

mod agreement;
mod borough;
mod check;
mod config;
mod dictionary;
mod disclose;
mod doctor;
mod execute;
mod ingest;
mod inspect;
mod jobs;
#[cfg(feature = "unprotected")]
mod laboratory;
mod ptable;
mod queries;
mod release;
mod serve;
#[cfg(feature = "simulation")]
mod simulation;
mod snapshot;
mod turns;

pub use config::{Config, ConfigError, Format};
pub use disclose::Methods;
pub use doctor::{Report, doctor};
pub use ingest::IngestReport;
#[cfg(feature = "unprotected")]
pub use laboratory::Laboratory;
pub use loda_disclosure::TableParameters;
pub use ptable::ptable;
pub use serve::{Node, run};
#[cfg(feature = "simulation")]
pub use simulation::{Rehearsed, Toil};
