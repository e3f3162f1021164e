//! Parsers of input that anyone can send to the doors, for fuzzing.

use super::flight::stay_values;
use super::sign_in::read_foreign;

/// Reads an Authorization header and a provider's published keys. Returns whether one of the keys has signed the
/// header's token.
#[must_use]
pub fn is_signed(header: &[u8], keys: &[u8]) -> bool {
    read_foreign(header, keys).is_some()
}

/// Whether texts that are bound to the parameters of SQL stay values there. `None`: they cannot be bound.
#[must_use]
pub fn stays_values(sql: &str, texts: &[String]) -> Option<bool> {
    stay_values(sql, texts)
}
