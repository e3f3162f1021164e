//! The doors for people and their tools: gRPC, an HTTP API, and Flight SQL.
//!
//! ```text
//! mTLS connection ─ certificate ──────────────────────────────────► grpc ──┐
//! web connection ─ sign_in (certificate | token | provider's token) ─► http/ ──┼─► service ─► queries
//!                                                                 └─► flight/ ┘
//! ```
//!
//! Each door is a thin adapter over [`service::DoorService`]. All doors have the same limits for each asker, and
//! translate the same [`fault::Fault`] into their own protocol.

pub(crate) mod fault;
mod flight;
pub mod foreign;
pub(crate) mod grpc;
mod http;
mod limiter;
pub(crate) mod listener;
mod middleware;
pub(crate) mod service;
pub(crate) mod sign_in;
