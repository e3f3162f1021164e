//! Names of columns in a draft: `t1.postcode`, or `postcode` over one dataset alone. They are made and read here alone.

/// A column's name, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ColumnName<'a> {
    /// The place of its source among the rows; none of a bare name.
    pub(crate) source: Option<usize>,
    pub(crate) name: &'a str,
}

impl<'a> ColumnName<'a> {
    /// Reads a name. A name whose first part is no source is bare.
    pub(crate) fn of(text: &'a str) -> Self {
        let (relation, name) = parts(text);
        match relation.and_then(source_of) {
            Some(source) => Self { source: Some(source), name },
            None => Self { source: None, name: text },
        }
    }
}

/// The relation that a name says, whichever it is, and the name in it: as plans and fragments hold columns.
pub(crate) fn parts(text: &str) -> (Option<&str>, &str) {
    match text.split_once('.') {
        Some((relation, name)) => (Some(relation), name),
        None => (None, text),
    }
}

/// The name of a source's column where several sources are read.
pub(crate) fn qualified(source: usize, column: &str) -> String {
    format!("{}.{column}", relation(source))
}

/// The name of a source.
pub(crate) fn relation(source: usize) -> String {
    format!("t{source}")
}

/// The place that a source's name says. It has one spelling.
pub(crate) fn source_of(relation: &str) -> Option<usize> {
    let digits = relation.strip_prefix('t')?;
    let plain = digits == "0" || !digits.starts_with(['0', '+']);
    digits.parse().ok().filter(|_| plain)
}

/// The column's name without its source.
#[must_use]
pub fn bare_name(column: &str) -> &str {
    parts(column).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        assert_eq!(ColumnName::of(&qualified(12, "d0")), ColumnName { source: Some(12), name: "d0" });
        for bare in ["postcode", "t.x", "t01.x", "t+1.x", "x1.x", "t-1.x"] {
            assert_eq!(ColumnName::of(bare), ColumnName { source: None, name: bare });
        }
        assert_eq!(bare_name("t1.postcode"), "postcode");
    }
}
