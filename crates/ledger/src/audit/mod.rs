//! What an auditor makes of entries: whether a log is whole, what became of each question, and whether all parties' logs
//! say the same.
//!
//! ```text
//! signed entries of one party ─► entries: signatures, chain, texts ─► questions: a life each
//!                                         └─ of all parties ─────────► reconcile: gaps
//! ```

mod entries;
mod gap;
mod questions;
mod reconcile;

pub use entries::{LogFault, Logged, chained, each_signed};
pub use gap::{Gap, GapKind};
pub use questions::{Question, questions};
pub use reconcile::{Days, PartyLog, Reconciled, reconcile};
