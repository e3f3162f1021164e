//! The spelling of names.

/// Checks that a name is an SQL identifier in lower case that needs no quotes, so that it has one spelling everywhere. `what`
/// names the thing in the error.
///
/// # Errors
/// The rule, if the name breaks it.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), String> {
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    if starts && name.len() <= 64 && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Ok(());
    }
    Err(format!("{what} '{name}' must begin with a–z and hold only a–z, 0–9 and _, at most 64"))
}
