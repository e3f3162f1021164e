//! The reason column: why values of a row are NULL, incomplete or uncertain.
//!
//! ```text
//! c                                      each protected figure of the row
//! n: c | share: lacks 1 of 33 boroughs   each figure by its name
//! n: c | row: judged by a figure …       the last part is about the row itself
//! ```
//!
//! | mark | meaning |
//! |---|---|
//! | `c` | withheld |
//! | `x: no answer`, `x: refused` | the borough is missing |
//! | `lacks 2 of 33 boroughs: …`, `lacks 2 of 9 cells: …` | a total without some of its parts |
//! | `in part …` | a total of released cells, without the cells of too few units |
//! | `about 4 estimated …`, `3 of 9 cells estimated` | a total with estimates |
//! | anything else | what the words say |

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use arrow::datatypes::{DataType, Field};

/// The name of the reason column, unless the asker has a column of that name.
pub const NAME: &str = "reason";

/// What stands before the mark of the row.
pub const ROW: &str = "row: ";

/// What stands between the parts of a reason.
pub const BETWEEN: &str = " | ";

/// The metadata key of the reason column. Its value is `1`.
const REASON: &str = "loda.reason";

/// The reason column beside columns of these names. Its own name is none of them.
pub fn field<'a>(beside: impl IntoIterator<Item = &'a str>) -> Field {
    let taken: BTreeSet<&str> = beside.into_iter().collect();
    Field::new(free(NAME, &|name| taken.contains(name)), DataType::Utf8, true)
        .with_metadata(HashMap::from([(REASON.to_owned(), "1".to_owned())]))
}

/// Whether a column is the reason column.
pub fn is_reason(field: &Field) -> bool {
    field.metadata().get(REASON).is_some_and(|value| value == "1")
}

/// `wanted`, or a name made from it that is not taken.
pub fn free(wanted: &str, is_taken: &dyn Fn(&str) -> bool) -> String {
    let own = || std::iter::once(format!("loda_{wanted}")).chain((2_u32..).map(|n| format!("loda_{wanted}_{n}")));
    std::iter::once(wanted.to_owned()).chain(own()).find(|name| !is_taken(name)).unwrap_or_default()
}

/// A column's name as it stands in a reason: in double quotes if it could be taken for something else.
pub fn name(column: &str) -> Cow<'_, str> {
    if column.contains([':', '|', '"']) || is_code(column) {
        Cow::Owned(format!("\"{}\"", column.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(column)
    }
}

/// The marks of one row.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Marks<'a> {
    /// The parts with the name of a figure.
    named: Vec<(Cow<'a, str>, &'a str)>,
    /// The mark of each protected figure.
    all: Option<&'a str>,
    /// The mark of the row: it might not be there, or stand elsewhere.
    pub row: Option<&'a str>,
}

impl<'a> Marks<'a> {
    /// Reads a reason.
    pub fn read(reason: Option<&'a str>) -> Self {
        let mut marks = Self::default();
        let mut rest = reason.unwrap_or_default();
        while !rest.is_empty() {
            let (part, next) = ended(rest);
            match part.strip_prefix(ROW) {
                Some(row) => marks.row = Some(row),
                None => match named(part) {
                    (Some(name), mark) => marks.named.push((name, mark)),
                    (None, mark) => marks.all = Some(mark),
                },
            }
            rest = next;
        }
        marks
    }

    /// The mark of a column's value.
    pub fn of(&self, column: &str, protected: bool) -> Option<&'a str> {
        let named = self.named.iter().find(|(name, _)| name == column).map(|(_, mark)| *mark);
        named.or(self.all.filter(|_| protected))
    }

    /// The parts of the reason about figures, with the names before them.
    pub fn parts(&self) -> impl Iterator<Item = (Option<&str>, &'a str)> {
        let named = self.named.iter().map(|(name, mark)| (Some(name.as_ref()), *mark));
        named.chain(self.all.iter().map(|mark| (None, *mark)))
    }
}

/// The first part, and what follows. A quoted name may hold the separator.
fn ended(rest: &str) -> (&str, &str) {
    let name = rest.strip_prefix('"').and_then(|quoted| Some(closed(quoted)?.saturating_add(1))).unwrap_or(0);
    let end = rest.get(name..).and_then(|after| after.find(BETWEEN)).map(|at| at.saturating_add(name));
    match end.and_then(|end| Some((rest.get(..end)?, rest.get(end.saturating_add(BETWEEN.len())..)?))) {
        Some(parts) => parts,
        None => (rest, ""),
    }
}

/// The place of the quotation mark that closes a name.
fn closed(quoted: &str) -> Option<usize> {
    let mut from = 0_usize;
    loop {
        let at = quoted.get(from..)?.find('"')?.saturating_add(from);
        if quoted.get(at.saturating_add(1)..)?.starts_with('"') {
            from = at.saturating_add(2);
        } else {
            return Some(at);
        }
    }
}

/// The name at the beginning of a part, and its mark. The marks that have a colon are no names.
fn named(part: &str) -> (Option<Cow<'_, str>>, &str) {
    let quoted = part.strip_prefix('"').and_then(|quoted| {
        let at = closed(quoted)?;
        let mark = quoted.get(at.saturating_add(1)..)?.strip_prefix(": ")?;
        Some((Some(Cow::Owned(quoted.get(..at)?.replace("\"\"", "\""))), mark))
    });
    quoted.unwrap_or_else(|| match part.split_once(": ") {
        Some((name, mark)) if !is_code(name) => (Some(Cow::Borrowed(name)), mark),
        _ => (None, part),
    })
}

/// Whether a mark may begin with these words and a colon.
fn is_code(words: &str) -> bool {
    matches!(words, "c" | "x" | "z" | "row") || words.starts_with("lacks ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const MARKS: [&str; 10] = [
        "c",
        "c: made from a withheld figure",
        "x: no answer",
        "x: refused: made from a missing figure",
        "z: after the data end (2020-11-30)",
        "lacks 3 of 33 boroughs: 2 withheld, 1 no answer; about 4 estimated in 2 of 33 boroughs",
        "lacks 1 of 9 cells: withheld",
        "in part in 2 of 33 boroughs",
        "about 4 estimated",
        "3 of 9 cells estimated",
    ];

    #[test]
    fn a_mark_without_a_name_is_every_figures() {
        for mark in MARKS {
            let marks = Marks::read(Some(mark));
            assert_eq!((marks.of("n", true), marks.of("n", false)), (Some(mark), None), "{mark}");
        }
        assert_eq!(Marks::read(None), Marks::default());
    }

    #[test]
    fn the_reason_column_has_a_name_of_its_own() {
        assert_eq!(field(["a", "b"]).name(), "reason");
        assert_eq!(field(["reason"]).name(), "loda_reason");
        assert_eq!(field(["loda_reason", "reason"]).name(), "loda_reason_2");
        assert!(is_reason(&field(["reason"])) && !is_reason(&Field::new("reason", DataType::Utf8, true)));
    }

    proptest! {
        /// Whatever the columns are called, each gets its own mark back.
        #[test]
        fn each_name_gets_its_mark_back(
            figures in prop::collection::btree_map("[a-z(*)|:\" ';]{1,12}|c|x|z|n|row", 0..MARKS.len(), 1..5),
            row in prop::option::of(Just("row: judged by a figure that is not complete")),
        ) {
            let parts = figures.iter().map(|(column, mark)| format!("{}: {}", name(column), MARKS[*mark]));
            let reason = parts.chain(row.map(str::to_owned)).collect::<Vec<_>>().join(BETWEEN);
            let marks = Marks::read(Some(&reason));
            for (column, mark) in &figures {
                prop_assert_eq!(marks.of(column, false), Some(MARKS[*mark]), "{} in {}", column, reason);
            }
            prop_assert_eq!((marks.all, marks.row.is_some()), (None, row.is_some()));
        }
    }
}
