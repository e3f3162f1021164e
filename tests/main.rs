//! What the system promises, tried on real processes, real TLS and real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test says what went wrong by panicking, and why it was skipped by printing"
)]

mod algebra;
mod appending;
mod campaign;
mod clocks;
mod closed;
mod crashes;
mod differencing;
mod doors;
mod faults;
mod first_hour;
mod floods;
mod hostile;
mod hostile_sql;
mod hosts;
mod identity;
mod later;
mod linkage;
mod london;
mod monitoring;
mod network;
mod overload;
mod pooled;
mod properties;
mod protection;
mod residents;
mod scenarios;
mod simulation;
mod sources;
mod support;
mod unnoticed;
mod utility;
mod wire;
