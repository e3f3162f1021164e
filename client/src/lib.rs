//! The analysts' and auditors' command line of the London data federation.
//!
//! | question | module |
//! |---|---|
//! | the words of a command line, and their execution | `args`, `command_line`, `commands` |
//! | the coordinator's address and the asker's certificate | [`config`] |
//! | what an auditor could read of the parties' logs | `audit` |
//! | the way from a question to an answer | [`client`], `chunks`, [`answer`], [`error`] |
//! | what boroughs would be asked, read and signed | `signing` |
//! | the look of answers and statements | [`render`] |
//! | the meaning of the exit code | [`exit`] |
//!
//! Every text from the wire passes [`loda_answer::plain`] before it is printed.

mod args;
mod audit;
mod chunks;
pub mod client;
mod command_line;
mod commands;
pub mod config;
pub mod error;
pub mod exit;
mod progress;
mod recorded;
pub mod render;
mod screen;
mod signing;

pub use client::Client;
pub use command_line::{run, run_on};
pub use config::{Config, ConfigError};
pub use error::ClientError;
pub use loda_answer::{self as answer, Answer};
pub use recorded::Recorded;
pub use screen::Screen;
pub use signing::Prepared;
