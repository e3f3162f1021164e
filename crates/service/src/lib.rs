//! What node and coordinator have around their services.
//!
//! | question | module |
//! |---|---|
//! | what is told to the operator, as text or JSON | [`log`] |
//! | how much memory there really is | [`memory`] |
//! | when to stop | [`stop`] |
//! | one process to a folder, and nobody else reads it | [`state`] |
//! | tasks that end with whoever waits for them | [`task`] |
//! | whose turn it is | [`turns`] |
//! | this program once more, in a process of its own | [`program`] |
//! | is it well, and what does it do: a local port for monitoring | [`operations`] |

pub mod log;
pub mod memory;
pub mod operations;
pub mod program;
pub mod state;
pub mod stop;
pub mod task;
pub mod turns;

pub use operations::{Operations, Outcomes, State};
pub use program::Program;
pub use state::{alone, private};
pub use task::{AbortOnDrop, Crew, Ended, compute};
pub use turns::{Turn, Turns};
