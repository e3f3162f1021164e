//! The limits of a fragment, and the decoder that counts against them.
//!
//! *Attack: a small fragment that exhausts a node.* Deep nesting exhausts the stack, many nodes or operands exhaust time and
//! memory. The length is checked before the bytes are parsed; depth, nodes and operands are checked before the decoder goes
//! further down.

use crate::refusal::{Checked, Refusal, Rule};

/// The most that a fragment may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Length of the whole.
    pub bytes: usize,
    /// Expression nodes in all.
    pub nodes: usize,
    /// Nesting; a long AND chain is one level with many operands.
    pub depth: usize,
    /// Operands of one node.
    pub operands: usize,
}

/// The limits that nodes apply.
pub const LIMITS: Limits = Limits { bytes: 64 << 10, nodes: 4_000, depth: 24, operands: 1_024 };

/// The refusal of bytes that are no canonical fragment.
pub(crate) fn fault(message: &str) -> Refusal {
    Refusal::new(Rule::Fragment, message, "Send the fragment that Prepare returned, unchanged")
}

/// Reads a fragment, and counts the nodes that it has read.
pub(super) struct Decoder {
    limits: Limits,
    nodes: usize,
}

impl Decoder {
    /// A decoder that has read nothing.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, nodes: 0 }
    }

    /// Counts a node at a depth.
    ///
    /// # Errors
    /// Rule `fragment`, beyond a limit.
    pub(super) fn enter(&mut self, depth: usize) -> Checked<()> {
        self.nodes = self.nodes.saturating_add(1);
        if depth > self.limits.depth || self.nodes > self.limits.nodes {
            return Err(fault("the fragment has more or deeper expressions than the limit"));
        }
        Ok(())
    }

    /// Checks how many operands a node has.
    ///
    /// # Errors
    /// Rule `fragment`, beyond the limit.
    pub(super) fn count_operands(&self, operands: usize) -> Checked<()> {
        if operands > self.limits.operands {
            return Err(fault("an expression has more operands than the limit"));
        }
        Ok(())
    }
}
