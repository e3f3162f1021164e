//! Identity over real sockets: who gets in, as whom, and to what.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

mod admission;
mod calls;
mod dial;
mod federation;
mod limits;
mod manifest;
mod pki;
mod revocation;
mod vectors;
