//! The methods of disclosure control, each in a file of its own. A dataset has one method for an epoch, the same for every
//! asker.
//!
//! A method sees the statistics that it asks for ([`Statistics`]) and no other data. The trait has no default methods, so that
//! a new protection method cannot fail open.

mod cell_key;
mod exact_figures;
mod method;
mod public;
mod threshold;
#[cfg(feature = "unprotected")]
mod unprotected;

pub use cell_key::CellKey;
pub use method::{Method, Statistics};
pub use public::Public;
pub use threshold::Threshold;
#[cfg(feature = "unprotected")]
pub use unprotected::Unprotected;
