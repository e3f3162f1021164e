//! The fragment format `loda.fragment.v1`: the bytes of a question.
//!
//! *Attack: bytes that say more than the question.* A node never runs the bytes as they come. They become a typed draft
//! under limits, the draft becomes a question by the rules, and the question is encoded again: bytes that differ from that
//! encoding are refused. So no unknown field, second spelling or foreign schema reaches the engine.

mod decode;
pub(crate) mod encode;
mod expressions;
mod limits;

pub(crate) use limits::fault;
pub use limits::{LIMITS, Limits};
