//! Things around the services that node and coordinator share.
//!
//! | content | module |
//! |---|---|
//! | the heads of query logs, on the wire | [`heads`] |
//! | the tree of a query log, in files | [`log_tree`] |
//! | entries of a query log, for an auditor | [`read_log`] |
//! | the end of words behind a query log | [`retention`] |
//! | messages to the operator, as text or JSON | [`log`] |
//! | measurements | [`measures`] |
//! | the memory that the process may use | [`memory`] |
//! | the signal to stop | [`stop`] |
//! | a state folder with one process, closed to others | [`state`] |
//! | versions of the manifest that another party missed | [`successors`] |
//! | tasks that end with their callers | [`task`] |
//! | turns between askers | [`fair_queue`] |
//! | this program again, in a process of its own | [`program`] |
//! | a local port for monitoring: health and activity | [`operations`] |

#![deny(missing_docs)]

pub mod fair_queue;
pub mod heads;
pub mod log;
pub mod log_tree;
pub mod measures;
pub mod memory;
pub mod operations;
pub mod program;
pub mod read_log;
pub mod retention;
pub mod state;
pub mod stop;
pub mod successors;
pub mod task;

pub use fair_queue::{FairQueue, Turn};
pub use measures::{Measure, Times};
pub use operations::{Operations, Outcomes, State};
pub use program::Program;
pub use state::{alone, private};
pub use task::{AbortOnDropHandle, Ended, TaskGroup, compute};
