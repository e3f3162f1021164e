//! Parts that only tests use.

#[cfg(feature = "unprotected")]
pub(crate) mod laboratory;
#[cfg(feature = "simulation")]
pub(crate) mod simulation;
