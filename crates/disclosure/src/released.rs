//! The type of what may leave the node.

use std::fmt;

/// A value that went through disclosure control. There is no public constructor: a function that
/// takes `Released<T>` cannot be given anything else.
///
/// `Debug` prints the type alone, so that a log line never holds a result.
#[derive(Clone)]
pub struct Released<T>(T);

impl<T> Released<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    /// The protected value.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.0
    }

    /// The protected value, without the mark.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Released<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Released(..)")
    }
}
