//! The record of a file that names the columns, and their names in SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::ingest::redacted_error::RedactedError;

/// The record that names the columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Header {
    /// The record of this number, counted from 1.
    At(u64),
    /// The first record that has all of these names.
    With(Vec<String>),
    /// No record does. These are the names.
    Given(Vec<String>),
}

impl Header {
    /// The names, if this record is the header. `number` counts from 1.
    pub(super) fn names(&self, number: u64, record: &[&str]) -> Option<Vec<String>> {
        match self {
            Self::At(at) => (number == *at).then(|| clean_names(record.iter().copied())),
            Self::With(wanted) => {
                let names = clean_names(record.iter().copied());
                wanted.iter().all(|w| names.iter().any(|n| n.eq_ignore_ascii_case(w))).then_some(names)
            }
            Self::Given(_) => None,
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Self::At(at) => format!("record {at}"),
            Self::With(names) => format!("a record with {}", names.join(", ")),
            Self::Given(_) => "none".to_owned(),
        }
    }
}

/// For each name in the file, the name that the column gets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rename(pub(crate) BTreeMap<String, String>);

impl Rename {
    pub(super) fn apply(&self, names: Vec<String>) -> Vec<String> {
        names.into_iter().map(|name| self.0.get(&name).cloned().unwrap_or(name)).collect()
    }
}

/// Names that SQL can use: trimmed, with single spaces, unique and not empty.
pub(crate) fn clean_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut clean: Vec<String> = Vec::new();
    for (number, name) in names.into_iter().enumerate() {
        let name = name.trim_start_matches('\u{feff}').split_whitespace().collect::<Vec<_>>().join(" ");
        let name = if name.is_empty() { format!("column {}", number + 1) } else { name };
        let mut fresh = name.clone();
        let mut copy = 2;
        while clean.contains(&fresh) {
            fresh = format!("{name} {copy}");
            copy += 1;
        }
        clean.push(fresh);
    }
    clean
}

/// The width that records have, from the widths of some of them: up to the last column that one record in ten fills. A cell
/// beyond is an accident.
pub(crate) fn usual_width(widths: &[usize]) -> usize {
    let enough = |width: &usize| widths.iter().filter(|other| *other >= width).count() * 10 >= widths.len();
    widths.iter().copied().filter(enough).max().unwrap_or(0)
}

/// Names for columns under blank cells at the end of a header.
pub(super) fn padded(mut names: Vec<String>, width: usize) -> Vec<String> {
    while names.len() < width {
        names.push(format!("column {}", names.len().saturating_add(1)));
    }
    names
}

/// Columns of text.
pub(super) fn text_schema(names: impl IntoIterator<Item = String>) -> SchemaRef {
    Arc::new(Schema::new(names.into_iter().map(|n| Field::new(n, DataType::Utf8, true)).collect::<Vec<_>>()))
}

/// The places of the wanted columns in a file. The file may have them in another order.
///
/// # Errors
/// A column is missing or new: the header has changed.
pub(super) fn places(wanted: &SchemaRef, found: &[String]) -> anyhow::Result<Vec<usize>> {
    let missing: Vec<&str> =
        wanted.fields().iter().map(|f| f.name().as_str()).filter(|w| !found.iter().any(|f| f == w)).collect();
    let fresh: Vec<&str> = found.iter().map(String::as_str).filter(|f| wanted.field_with_name(f).is_err()).collect();
    if !missing.is_empty() || !fresh.is_empty() {
        let list = |names: &[&str]| names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ");
        let told = |lacks: String, has: String| {
            format!(
                "its header is not that of the first file: it lacks {lacks}, and has {has}. Give it a source of its own, or \
                 `rename` its columns"
            )
        };
        // A file without its header has a record in that place, so the names may quote it.
        return Err(RedactedError::new(
            told(
                if missing.is_empty() { "nothing".to_owned() } else { list(&missing) },
                if fresh.is_empty() { "nothing new".to_owned() } else { list(&fresh) },
            ),
            told(format!("{} columns", missing.len()), format!("{} others", fresh.len())),
        )
        .into());
    }
    let place = |name: &str| found.iter().position(|f| f == name).context("a column has no place");
    wanted.fields().iter().map(|f| place(f.name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_clean_and_apart() {
        assert_eq!(
            clean_names(["\u{feff} Supplier  Name", "Total", "", "Total"]),
            ["Supplier Name", "Total", "column 3", "Total 2"]
        );
    }
}
