//! The doors for people's own tools: real clients against real processes, and intruders.

mod abuse;
mod description;
mod ending;
pub mod flight;
mod generators;
mod guides;
mod http;
pub(crate) mod provider;
mod sentinel;
mod strangers;
