//! The wire contract of the federation: services (`loda.v1`) and the fragment format (`loda.fragment.v1`).
//!
//! Generated from the .proto files beside this crate; the comments there are the reference.
#![forbid(unsafe_code)]

/// Services and their messages.
#[allow(missing_docs)]
pub mod v1 {
    tonic::include_proto!("loda.v1");
}

/// A subset of DataFusion 55's plan encoding, with the same field numbers.
#[allow(missing_docs)]
pub mod fragment {
    tonic::include_proto!("loda.fragment.v1");
}

/// The protocol versions that this build speaks, newest first.
pub const VERSIONS: [u32; 1] = [3];

/// The largest Arrow IPC chunk in one message, in bytes.
pub const CHUNK: usize = 1 << 20;
