//! What comes through the doors from anybody at all, for fuzzing.

use super::flight::stay_values;
use super::sign_in::read_foreign;

/// Reads an Authorization header and a provider's published keys. Whether a key of them has signed the header's token.
#[must_use]
pub fn is_signed(header: &[u8], keys: &[u8]) -> bool {
    read_foreign(header, keys).is_some()
}

/// Whether texts that are bound to the parameters of SQL are values there and nothing else; none where they cannot be bound.
#[must_use]
pub fn stays_values(sql: &str, texts: &[String]) -> Option<bool> {
    stay_values(sql, texts)
}
