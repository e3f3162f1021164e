//! A borough's node.
//!
//! ```text
//! borough's tables ─ ingest ─► snapshot ─► inspect ─► execute ─► disclose ─► release ─► serve
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | `config`, `agreement` | what the borough wrote: parsed once, refused with file and fix |
//! | `source` | files, workbooks and databases as tables whose rows know where they came from |
//! | `mapping`, `functions` | the borough's SQL over them, and what it may call |
//! | `residents` | who is who over the borough's own services |
//! | `ingest`, `check`, `report` | mapped rows against the contract, and what became of every row |
//! | `dictionary`, `snapshot` | unit ids, and the files that questions read |
//! | `quoting` | what of a fault may stand in a log |
//! | `reading`, `refresh` | extracts read in a process of its own, at the start and while the node serves |
//! | `init` | a first mapping from what extracts look like |
//! | `inspect` | from wire bytes to a typed job under contract and agreement |
//! | `borough` | what it brings: agreement, snapshots, engine and methods |
//! | `scan` | a snapshot's pieces as the engine reads them |
//! | `execute` | the (cell, unit) stage in DataFusion, under memory, time and output limits |
//! | `epochs` | the data about people that stand still, and what waits |
//! | `tables` | tables about people, from registers and rows |
//! | `assess` | what an unlimited asker would learn from them |
//! | `disclose` | the stage through the dataset's method: the only way to something released |
//! | `cli` | what `loda-node` can be told |
//! | `doctor` | what would keep a node from serving, and the fix |
//! | `ptable` | what a perturbation table does, for whoever chooses one |
//! | `release` | the one serial, durable point through which figures leave |
//! | `queries`, `jobs` | queries as jobs that outlive a restart, in fair turns |
//! | `serve` | all of it over mTLS gRPC |

mod agreement;
mod appending;
mod assess;
mod borough;
mod check;
mod cli;
mod config;
mod dictionary;
mod disclose;
mod doctor;
mod epochs;
mod execute;
mod functions;
mod ingest;
mod init;
mod inspect;
mod jobs;
#[cfg(feature = "unprotected")]
mod laboratory;
mod mapping;
mod ptable;
mod queries;
mod quoting;
mod reading;
mod refresh;
mod release;
mod report;
mod residents;
mod scan;
mod serve;
#[cfg(feature = "simulation")]
mod simulation;
mod snapshot;
mod source;
mod tables;

pub use cli::command;
pub use config::{AsAt, Config, ConfigError, DatasetConfig};
pub use disclose::Methods;
#[cfg(feature = "unprotected")]
pub use laboratory::Laboratory;
pub use loda_disclosure::TableParameters;
pub use loda_service::Program;
pub use mapping::Mapping;
pub use refresh::Refresh;
pub use report::{ColumnReport, Place, Rejected, Report};
pub use residents::{ResidentsConfig, Service};
pub use serve::{Node, run};
#[cfg(feature = "simulation")]
pub use simulation::{Rehearsed, Toil};
pub use source::{Format, Source, SourceReport};
