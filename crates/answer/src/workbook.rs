//! An answer as a workbook. The figures are on one sheet, the statement on another.

use loda_proto::v1::Statement;
use rust_xlsxwriter::{Format, FormatAlign, Workbook, Worksheet, XlsxError};

use crate::answer::Answer;
use crate::cells::{Cell, CellKind, columns, each_row, needs_note, note, note_name};
use crate::plain;
use crate::statement::{Detail, statement};

/// A spreadsheet holds every whole number up to this one without rounding.
const EXACT: u64 = 1 << 53;

/// The number of characters of one cell at most.
const LONGEST: usize = 32_000;

/// An XLSX file. Numbers are numbers, except for whole numbers over 2⁵³. Booleans are booleans. Everything else is
/// text, and never a formula. The first row stays in sight. A withheld value is `[c]`, and a value of a borough that
/// did not answer is `[x]`. The sheet "Notes" explains these marks, names the boroughs that answered and gives the
/// errors of figures.
///
/// # Errors
/// The answer has more rows than a sheet (1,048,575).
pub fn workbook(answer: &Answer) -> Result<Vec<u8>, XlsxError> {
    let mut book = Workbook::new();
    let bold = Format::new().set_bold();
    let right = Format::new().set_align(FormatAlign::Right);
    let sheet = book.add_worksheet().set_name("Figures")?;
    sheet.set_freeze_panes(1, 0)?;
    let columns = columns(answer);
    let with_note = needs_note(answer);
    let note_name = note_name(&columns);
    let names = columns.iter().map(|column| column.name.as_str()).chain(with_note.then_some(note_name.as_str()));
    for (place, name) in (0_u16..).zip(names) {
        sheet.write_string_with_format(0, place, text(name), &bold)?;
    }
    let mut number = 0_u32;
    each_row(answer, &columns, usize::MAX, |cells, reason| {
        number = number.saturating_add(1);
        let mut place = 0_u16;
        for (cell, column) in cells.iter().zip(&columns) {
            match cell {
                Cell::Withheld => sheet.write_string_with_format(number, place, "[c]", &right)?,
                Cell::NoAnswer => sheet.write_string_with_format(number, place, "[x]", &right)?,
                Cell::NoData => sheet.write_string_with_format(number, place, "[z]", &right)?,
                Cell::Null => sheet,
                Cell::Value(value) => write(sheet, number, place, value, column.kind)?,
            };
            place = place.saturating_add(1);
        }
        let note = note(&columns, cells, reason);
        if !note.is_empty() {
            sheet.write_string(number, place, text(&note))?;
        }
        Ok::<_, XlsxError>(())
    })?;
    let notes = book.add_worksheet().set_name("Notes")?;
    notes.set_column_width(0, 110)?;
    for (number, line) in (0_u32..).zip(footnotes(&answer.statement)) {
        notes.write_string(number, 0, text(&line))?;
    }
    book.save_to_buffer()
}

fn write<'a>(
    sheet: &'a mut Worksheet,
    row: u32,
    column: u16,
    value: &str,
    kind: CellKind,
) -> Result<&'a mut Worksheet, XlsxError> {
    let exact = value.parse::<i64>().map_or(true, |whole| whole.unsigned_abs() <= EXACT);
    match (kind, value.parse::<f64>()) {
        (CellKind::Whole | CellKind::Decimal | CellKind::Float, Ok(number)) if number.is_finite() && exact => {
            sheet.write_number(row, column, number)
        }
        (CellKind::Truth, _) => sheet.write_boolean(row, column, value == "true"),
        _ => sheet.write_string(row, column, text(value)),
    }
}

/// A text without misleading characters, cut to the length of a cell.
fn text(value: &str) -> String {
    plain::line(value).chars().take(LONGEST).collect()
}

/// The lines of the sheet "Notes".
fn footnotes(of: &Statement) -> Vec<String> {
    let symbols = [
        "[c]  confidential: withheld so that nobody can be found in a small figure",
        "[x]  not available: the borough did not answer",
        "[z]  no data: the borough's data begin later or end before",
        "An empty cell: there is no value in the data",
        "",
    ];
    symbols.into_iter().map(str::to_owned).chain(statement(of, Detail::Verbose).lines().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sample::sample;

    #[test]
    fn it_is_a_workbook_with_two_sheets() {
        let bytes = workbook(&sample([None, Some("c"), None, None])).unwrap();
        assert!(bytes.starts_with(b"PK"));
        let notes = footnotes(&Statement { notes: vec!["=a\nb".to_owned()], ..Statement::default() });
        assert!(notes.iter().any(|line| line == "note: =a b"), "{notes:?}");
    }
}
