//! The cells of an answer, and the meaning of their NULLs.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::answer::{Answer, is_protected, reason_at};
use crate::reason::{self, Marks};

/// A column that holds values. The reason column is not one of them.
pub struct Column {
    /// The position in the answer's schema.
    pub index: usize,
    /// The name of the column. It is not yet safe for a terminal.
    pub name: String,
    /// The kind of the values.
    pub kind: CellKind,
    /// Whether a NULL can be a withheld value.
    pub protected: bool,
}

/// The kind of a column's values, for printers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    /// Integers.
    Whole,
    /// Decimals of a fixed scale.
    Decimal,
    /// Floating-point numbers.
    Float,
    /// True or false.
    Truth,
    /// Texts.
    Text,
    /// Values of any other type, for example dates.
    Other,
}

impl CellKind {
    /// Whether the values are numbers.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Whole | Self::Decimal | Self::Float)
    }

    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Dictionary(_, values) => Self::of(values),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Boolean => Self::Truth,
            other if other.is_integer() => Self::Whole,
            other if other.is_floating() => Self::Float,
            other if other.is_decimal() => Self::Decimal,
            _ => Self::Other,
        }
    }
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// The value as Arrow prints it. A text is not yet safe for a terminal.
    Value(String),
    /// A withheld value, shown as `[c]`. It is withheld in this borough, or in so many boroughs that a London figure
    /// has no value.
    Withheld,
    /// A value that is missing because a borough did not answer, shown as `[x]`.
    NoAnswer,
    /// A value that is missing because the borough's data do not reach its time, shown as `[z]`.
    NoData,
    /// NULL in the data.
    Null,
}

/// The columns of an answer, without the reason column.
pub fn columns(answer: &Answer) -> Vec<Column> {
    let reason = answer.reason_column();
    let fields = answer.schema.fields().iter().enumerate().filter(|(index, _)| Some(*index) != reason);
    fields
        .map(|(index, field)| Column {
            index,
            name: field.name().clone(),
            kind: CellKind::of(field.data_type()),
            protected: is_protected(field),
        })
        .collect()
}

/// Calls `row` for each of the first `limit` rows, with the cells in the order of `columns`, and the reason.
///
/// # Errors
/// The first error of `row`. No row after it is visited.
pub fn each_row<E>(
    answer: &Answer,
    columns: &[Column],
    limit: usize,
    mut row: impl FnMut(&[Cell], Option<&str>) -> Result<(), E>,
) -> Result<(), E> {
    let reason = answer.reason_column();
    let options = FormatOptions::default();
    let mut left = limit;
    for batch in &answer.batches {
        let readers: Vec<_> = columns.iter().map(|column| Reader::new(batch, column, &options)).collect();
        for number in 0..batch.num_rows().min(left) {
            let why = reason_at(batch, reason, number);
            let marks = Marks::read(why.as_deref());
            let each = readers.iter().zip(columns);
            let cells: Vec<_> =
                each.map(|(reader, column)| reader.cell(number, marks.of(&column.name, column.protected))).collect();
            row(&cells, why.as_deref())?;
        }
        left = left.saturating_sub(batch.num_rows());
    }
    Ok(())
}

/// Whether the reason of any row says more than its cells show.
pub fn needs_note(answer: &Answer) -> bool {
    let columns = columns(answer);
    let mut needed = false;
    let found: Result<(), ()> = each_row(answer, &columns, usize::MAX, |cells, reason| {
        needed = !note(&columns, cells, reason).is_empty();
        if needed { Err(()) } else { Ok(()) }
    });
    found.is_err() || needed
}

/// The note of a row: what its cells do not show. A cell that is `[c]` says by itself that it is withheld.
pub fn note(columns: &[Column], cells: &[Cell], reason: Option<&str>) -> String {
    let shows = |name: Option<&str>| {
        let mut of =
            columns.iter().zip(cells).filter(|(column, _)| name.map_or(column.protected, |n| n == column.name));
        of.all(|(_, cell)| *cell == Cell::Withheld)
    };
    let marks = Marks::read(reason);
    let said = marks.parts().filter(|(name, mark)| *mark != "c" || !shows(*name)).map(|(name, mark)| {
        // The codes are for programs.
        let words = mark.strip_prefix("c: ").or_else(|| mark.strip_prefix("x: ")).or_else(|| mark.strip_prefix("z: "));
        let words = words.unwrap_or(mark);
        match name {
            Some(name) => format!("{}: {words}", reason::name(name)),
            None => words.to_owned(),
        }
    });
    let row = marks.row.map(|mark| format!("{}{mark}", reason::ROW));
    said.chain(row).collect::<Vec<_>>().join(reason::BETWEEN)
}

/// The name of the column of notes: none of the asker's.
pub fn note_name(columns: &[Column]) -> String {
    reason::free("note", &|name| columns.iter().any(|column| column.name == name))
}

/// Puts commas between the thousands of a number in plain decimal digits. Any other text stays as it is.
pub fn thousands(number: &str) -> String {
    let (sign, rest) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", number),
    };
    let (whole, fraction) = match rest.split_once('.') {
        Some((whole, fraction)) => (whole, format!(".{fraction}")),
        None => (rest, String::new()),
    };
    if whole.is_empty() || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return number.to_owned();
    }
    let mut grouped = String::with_capacity(whole.len().saturating_mul(4) / 3);
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{fraction}")
}

struct Reader<'a> {
    array: Option<&'a dyn Array>,
    values: Option<ArrayFormatter<'a>>,
    protected: bool,
}

impl<'a> Reader<'a> {
    fn new(batch: &'a RecordBatch, column: &Column, options: &FormatOptions<'a>) -> Self {
        let array = batch.columns().get(column.index).map(AsRef::as_ref);
        let values = array.and_then(|array| ArrayFormatter::try_new(array, options).ok());
        Self { array, values, protected: column.protected }
    }

    fn cell(&self, row: usize, mark: Option<&str>) -> Cell {
        // Logical nulls, because the NULL of a dictionary may be in its values.
        let is_null = self.array.is_none_or(|array| match array.logical_nulls() {
            Some(nulls) => nulls.is_null(row),
            None => false,
        });
        if !is_null {
            let value = self.values.as_ref().and_then(|values| values.value(row).try_to_string().ok());
            return Cell::Value(value.unwrap_or_else(|| "(not printable)".into()));
        }
        match mark {
            // A figure without a value lacks every part of it. One of the parts is withheld, or no borough answered, or no
            // borough has data.
            Some(text) if self.protected && text.contains("no answer") && !text.contains("withheld") => Cell::NoAnswer,
            Some(text) if self.protected && text.starts_with("x: ") => Cell::NoAnswer,
            Some(text) if self.protected && text.contains("no data") && !text.contains("withheld") => Cell::NoData,
            Some(text) if self.protected && text.starts_with("z: ") => Cell::NoData,
            Some(_) if self.protected => Cell::Withheld,
            _ => Cell::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::sample::sample;

    fn people(reasons: [Option<&str>; 4]) -> Vec<Cell> {
        let answer = sample(reasons);
        let columns = columns(&answer);
        let mut found = Vec::new();
        each_row(&answer, &columns, usize::MAX, |cells, _| {
            found.push(cells[1].clone());
            Ok::<_, ()>(())
        })
        .unwrap();
        found
    }

    #[test]
    fn a_null_means_what_the_reason_says() {
        let cells = people([None, Some("c"), Some("x: no answer"), None]);
        assert_eq!(cells[1..3], [Cell::Withheld, Cell::NoAnswer]);
        let cells =
            people([None, Some("z: after the data end (2020-11-30)"), Some("lacks 3 boroughs: 3 no data"), None]);
        assert_eq!(cells[1..3], [Cell::NoData, Cell::NoData]);
        let cells = people([None, Some("lacks 3 boroughs: 2 withheld, 1 no answer"), None, None]);
        assert_eq!(cells[1..3], [Cell::Withheld, Cell::Null]);
    }

    #[test]
    fn an_unprotected_null_is_a_null() {
        let answer = sample([None, None, Some("c"), None]);
        let columns = columns(&answer);
        assert_eq!(columns.len(), 3);
        let mut shares = Vec::new();
        each_row(&answer, &columns, 3, |cells, _| {
            shares.push(cells[2].clone());
            Ok::<_, ()>(())
        })
        .unwrap();
        assert_eq!(shares.len(), 3);
        assert_eq!(shares[2], Cell::Null);
    }

    #[test]
    fn a_note_is_needed_when_it_says_more_than_the_marker() {
        assert!(!needs_note(&sample([None, Some("c"), None, None])));
        assert!(needs_note(&sample([None, None, None, Some("lacks 1 borough: 1 withheld")])));
    }

    #[test]
    fn a_value_that_is_made_from_a_withheld_one_says_so() {
        let answer = sample([Some("c: made from a withheld figure"), Some("c"), None, None]);
        let columns = columns(&answer);
        let mut notes = Vec::new();
        each_row(&answer, &columns, usize::MAX, |cells, reason| {
            notes.push(note(&columns, cells, reason));
            Ok::<_, ()>(())
        })
        .unwrap();
        assert_eq!(notes, ["made from a withheld figure", "", "", ""]);
    }

    #[test]
    fn thousands_are_grouped() {
        for (plain, grouped) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("-1234567.891", "-1,234,567.891"),
            ("1e20", "1e20"),
            ("NaN", "NaN"),
        ] {
            assert_eq!(thousands(plain), grouped);
        }
    }
}
