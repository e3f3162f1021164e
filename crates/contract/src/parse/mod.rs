//! From a contract's TOML text to a checked [`Contract`](crate::Contract).
//!
//! ```text
//! text ─ toml ─► file ─► columns ─► units ─► closure (with derived values) ─► Contract
//! ```

mod closure;
mod column;
mod derived;
mod file;
mod name;
mod unit;

pub use file::ContractError;
