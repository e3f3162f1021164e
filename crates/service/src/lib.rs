//! What node and coordinator have around their services.
//!
//! | question | module |
//! |---|---|
//! | what is told to the operator, as text or JSON | [`log`] |
//! | how much memory there really is | [`memory`] |
//! | when to stop | [`stop`] |
//! | tasks that end with whoever waits for them | [`task`] |
//! | is it well, and what does it do: a local port for monitoring | [`operations`] |

pub mod log;
pub mod memory;
pub mod operations;
pub mod stop;
pub mod task;

pub use operations::{Operations, Outcomes, State};
pub use task::{AbortOnDrop, Crew, Ended, compute};
