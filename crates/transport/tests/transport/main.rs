//! Connections over real sockets: who gets in, as whom, and to which calls.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

mod admission;
mod calls;
mod dial;
#[path = "../../../identity/tests/identity/federation.rs"]
mod federation;
#[path = "../../../identity/tests/identity/folder.rs"]
mod folder;
mod limits;
mod revocation;
mod serving;
