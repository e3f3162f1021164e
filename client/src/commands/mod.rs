//! The commands, one module each.
//!
//! ```text
//! args ─► dispatch ─► a command (query, explain, …) ─► connection ─► client
//!                        └─ session: output and error, failure: exit code
//! ```

mod audit;
mod connection;
mod dispatch;
mod explain;
mod failure;
mod federation;
mod files;
mod lists;
mod manual;
mod pki;
mod query;
mod question;
mod session;
mod token;

pub(crate) use dispatch::dispatch;
pub(crate) use session::Session;
