//! The type of values that may leave the node.

use std::fmt;

/// A value that went through disclosure control. There is no public constructor, so a function that takes `Released<T>` cannot
/// get any other value.
///
/// `Debug` prints the type only, so that a log line never holds a result.
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
