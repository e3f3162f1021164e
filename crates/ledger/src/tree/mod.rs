//! A log as a Merkle tree in files that other people's tools read: C2SP tlog-tiles, tlog-checkpoint, signed-note and
//! cosignatures.
//!
//! | module | what it holds |
//! |---|---|
//! | [`hash`] | hashes of entries and nodes: RFC 6962 |
//! | [`proof`] | roots and proofs, and their checks: RFC 9162 |
//! | [`tile`] | the files' names and contents |
//! | [`files`] | a tree that grows in a folder, and the check of one |
//! | [`note`] | signed notes, keys, signatures at a time |
//! | [`published`] | the tree of a log of signed lines |
//! | [`checkpoint`] | the size and root that a note signs |
//! | [`witness`] | confirmations of other parties' logs |

pub mod checkpoint;
pub mod files;
pub mod hash;
pub mod note;
pub mod proof;
pub mod published;
pub mod tile;
pub mod witness;
