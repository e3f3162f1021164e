//! What node and coordinator have around their services.
//!
//! | question | module |
//! |---|---|
//! | how far query logs have come, on the wire | [`heads`] |
//! | what is told to the operator, as text or JSON | [`log`] |
//! | what is measured | [`measures`] |
//! | how much memory there really is | [`memory`] |
//! | when to stop | [`stop`] |
//! | one process to a folder, and nobody else reads it | [`state`] |
//! | versions of the manifest that another party missed | [`successors`] |
//! | tasks that end with whoever waits for them | [`task`] |
//! | whose turn it is | [`turns`] |
//! | this program once more, in a process of its own | [`program`] |
//! | is it well, and what does it do: a local port for monitoring | [`operations`] |

pub mod heads;
pub mod log;
pub mod measures;
pub mod memory;
pub mod operations;
pub mod program;
pub mod state;
pub mod stop;
pub mod successors;
pub mod task;
pub mod turns;

pub use measures::{Measure, Times};
pub use operations::{Operations, Outcomes, State};
pub use program::Program;
pub use state::{alone, private};
pub use task::{AbortOnDrop, Crew, Ended, compute};
pub use turns::{Turn, Turns};
