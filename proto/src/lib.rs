//! The wire contract of the federation: services (`loda.v1`) and the fragment format (`loda.fragment.v1`).
//!
//! The code is generated from the .proto files beside this crate. Their comments are the reference.
#![forbid(unsafe_code)]

/// Services and their messages.
#[allow(missing_docs)]
pub mod v1 {
    tonic::include_proto!("loda.v1");
}

impl v1::State {
    /// Whether no other state follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Released | Self::NotAnswered | Self::Cancelled | Self::Refused => true,
            Self::Unspecified | Self::Queued | Self::Running | Self::Held => false,
        }
    }
}

/// A subset of DataFusion 55's plan encoding, with the same field numbers.
#[allow(missing_docs)]
pub mod fragment {
    tonic::include_proto!("loda.fragment.v1");
}

/// The protocol versions that this build speaks, newest first.
pub const VERSIONS: [u32; 1] = [3];

/// The bytes of one message's Arrow IPC chunk are fewer than this.
pub const CHUNK: usize = 1 << 20;
