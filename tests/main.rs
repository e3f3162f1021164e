//! The promises of the system, tested with real processes, real TLS and real sockets.
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

mod advice;
mod algebra;
mod appending;
mod audit;
mod campaign;
mod clocks;
mod closed;
mod coverage;
mod crash_points;
mod crashes;
mod differencing;
mod doors;
mod drift;
mod extracts;
mod fault_reporting;
mod faults;
mod first_hour;
mod floods;
mod hostile;
mod hostile_sql;
mod hosts;
mod identity;
mod linkage;
mod marked_values;
mod monitoring;
mod network;
mod overload;
mod pooled;
mod properties;
mod protection;
mod residents;
mod scenarios;
mod signed;
mod simulation;
mod sources;
mod structure;
mod support;
mod synthetic_london;
mod transparency;
mod utility;
mod wire;
mod witnesses;
