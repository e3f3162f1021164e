//! The doors for people's own tools: real clients against real processes, and intruders.

mod abuse;
mod ending;
pub mod flight;
mod guides;
mod http;
mod provider;
mod sentinel;
mod strangers;
