//! An answer as a table for reading.

use comfy_table::{
    Cell as Field, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, Width,
};

use loda_answer::Answer;
use loda_answer::cells::{Cell, CellKind, Column, columns, each_row, needs_note, note, note_name, thousands};
use loda_answer::{decimals_of, plain};

use super::heading::heading;
use super::wrap::wrapped;

/// A line below the header, and no other lines.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// How a moment that is a day ends.
const MIDNIGHT: &str = "T00:00:00";

/// A longer word may be broken.
const LONGEST_WORD: usize = 28;

/// A narrower column of notes is hard to read: the notes then stand below the table.
const NARROW: usize = 24;

/// What stands in place of a figure, and what it means.
const SIGNS: [(&str, &str); 3] = [("[c]", "withheld"), ("[x]", "no answer"), ("[z]", "no data")];

/// The whole answer. `width` is the terminal's, in columns; without it lines have any length.
pub fn table(answer: &Answer, width: Option<u16>) -> String {
    table_head(answer, width, usize::MAX)
}

/// The first `limit` rows of an answer.
pub fn table_head(answer: &Answer, width: Option<u16>, limit: usize) -> String {
    let columns = columns(answer);
    let with_note = needs_note(answer);
    let mut rows: Vec<Vec<String>> = Vec::new();
    let styles: Vec<Style> = ungrouped(answer, &columns)
        .into_iter()
        .zip(&columns)
        .map(|(bare, column)| Style { bare, of_days: of_days(answer, column), decimals: decimals(answer, column) })
        .collect();
    let done: Result<(), std::convert::Infallible> = each_row(answer, &columns, limit, |cells, reason| {
        let format = |((cell, column), style): ((&Cell, &Column), &Style)| text(cell, column.kind, *style);
        let mut row: Vec<_> = cells.iter().zip(&columns).zip(&styles).map(format).collect();
        if with_note {
            row.push(plain::line(&note(&columns, cells, reason)));
        }
        rows.push(row);
        Ok(())
    });
    let Ok(()) = done;

    let mut names: Vec<_> = columns.iter().map(|column| heading(&plain::line(&column.name))).collect();
    let numbers: Vec<_> = columns.iter().map(|column| column.kind.is_number()).collect();
    let signs = SIGNS.iter().filter(|(sign, _)| rows.iter().flatten().any(|cell| cell == sign));
    let signs: Vec<String> = signs.map(|(sign, meaning)| format!("{sign} {meaning}")).collect();
    let mut below = String::new();
    if with_note {
        names.push(plain::line(&note_name(&columns)));
        let others = (0..columns.len()).map(|index| least_width(index, &names, &numbers, &rows));
        let left = width.map(|width| usize::from(width).saturating_sub(others.sum()));
        if left.is_some_and(|left| left < NARROW) {
            names.pop();
            below = notes_below(&mut rows);
        }
    }
    let mut text = grid(&names, &numbers, &rows, width);
    text.push_str(&wrapped(&below, width));
    if !signs.is_empty() {
        text.push_str(&format!("{}\n", signs.join("; ")));
    }
    text
}

/// Takes the notes out of the rows. Each is written once, after the numbers of its rows.
fn notes_below(rows: &mut [Vec<String>]) -> String {
    let mut notes: Vec<(String, Vec<usize>)> = Vec::new();
    for (number, row) in (1..).zip(rows) {
        let Some(note) = row.pop().filter(|note| !note.is_empty()) else { continue };
        match notes.iter_mut().find(|(known, _)| *known == note) {
            Some((_, of)) => of.push(number),
            None => notes.push((note, vec![number])),
        }
    }
    let line = |(note, of): &(String, Vec<usize>)| {
        let rows = if of.len() == 1 { "row" } else { "rows" };
        let of: Vec<String> = of.iter().map(usize::to_string).collect();
        format!("note on {rows} {}: {note}\n", of.join(", "))
    };
    notes.iter().map(line).collect()
}

/// The least width of a column with its margins. A number broken over two lines would be read as two numbers, and a name
/// as two names.
fn least_width(index: usize, names: &[String], numbers: &[bool], rows: &[Vec<String>]) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(index)).chain(names.get(index));
    let longest = if numbers.get(index).copied().unwrap_or(false) {
        cells.map(|text| text.chars().count()).max().unwrap_or(0)
    } else {
        cells.flat_map(|text| text.split(' ')).map(|word| word.chars().count()).max().unwrap_or(0).min(LONGEST_WORD)
    };
    longest.saturating_add(2)
}

/// Rows of safe text under `names`. Columns marked in `numbers` are aligned right and never broken.
pub(crate) fn grid(names: &[String], numbers: &[bool], rows: &[Vec<String>], width: Option<u16>) -> String {
    let is_number = |index: usize| numbers.get(index).copied().unwrap_or(false);
    let aligned = |(index, text): (usize, &String)| {
        let side = if is_number(index) { CellAlignment::Right } else { CellAlignment::Left };
        Field::new(text).set_alignment(side)
    };
    let mut table = Table::new();
    table.load_style(STYLE).force_no_tty();
    match width {
        Some(width) => table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_header(names.iter().enumerate().map(aligned));
    for row in rows {
        table.add_row(row.iter().enumerate().map(aligned));
    }
    for index in 0..names.len() {
        let least = u16::try_from(least_width(index, names, numbers, rows)).unwrap_or(u16::MAX);
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
        }
    }
    let mut text = table.trim_fmt();
    // The arrangement may give a column more than is left beside the least widths of the others.
    let over = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    if let Some(width) = width {
        for less in 1..=LESS {
            if over(&text) <= usize::from(width) {
                break;
            }
            table.set_width(width.saturating_sub(less));
            text = table.trim_fmt();
        }
    }
    text.push('\n');
    text
}

/// The most columns of the screen by which a table is made narrower to fit it.
const LESS: u16 = 12;

/// For each column, whether its whole numbers have no commas: they are unprotected and all below 10,000, like years.
fn ungrouped(answer: &Answer, columns: &[Column]) -> Vec<bool> {
    let mut bare: Vec<_> = columns.iter().map(|column| column.kind == CellKind::Whole && !column.protected).collect();
    let done: Result<(), std::convert::Infallible> = each_row(answer, columns, usize::MAX, |cells, _| {
        for (cell, bare) in cells.iter().zip(&mut bare) {
            let is_long = matches!(cell, Cell::Value(text) if text.len() > 4);
            *bare = *bare && !is_long;
        }
        Ok(())
    });
    let Ok(()) = done;
    bare
}

/// How the numbers of a column are written.
#[derive(Clone, Copy)]
struct Style {
    bare: bool,
    of_days: bool,
    /// The decimals that mean something. `None`: this is not known.
    decimals: Option<usize>,
}

/// The decimals that the column's error leaves: digits beyond it say nothing.
fn decimals(answer: &Answer, column: &Column) -> Option<usize> {
    let error = answer.statement.errors.iter().find(|error| error.column == column.name)?;
    let told = decimals_of(error.standard_error).map(|decimals| usize::try_from(decimals).unwrap_or(0))?;
    // Figures that the question rounds have no more decimals than it gives them.
    let mut written = 0;
    each_value(answer, column, |value| {
        written = written.max(value.split_once('.').map_or(0, |(_, decimals)| decimals.len()));
    });
    Some(told.min(written))
}

/// Whether all moments of a column are midnights: days, as `DATE_TRUNC` gives them.
fn of_days(answer: &Answer, column: &Column) -> bool {
    let (mut any, mut all) = (false, column.kind == CellKind::Other);
    if all {
        each_value(answer, column, |value| (any, all) = (true, all && value.ends_with(MIDNIGHT)));
    }
    any && all
}

fn each_value(answer: &Answer, column: &Column, mut of: impl FnMut(&str)) {
    let one = std::slice::from_ref(column);
    let done: Result<(), std::convert::Infallible> = each_row(answer, one, usize::MAX, |cells, _| {
        if let [Cell::Value(value)] = cells {
            of(value);
        }
        Ok(())
    });
    let Ok(()) = done;
}

fn text(cell: &Cell, kind: CellKind, style: Style) -> String {
    match cell {
        Cell::Withheld => "[c]".into(),
        Cell::NoAnswer => "[x]".into(),
        Cell::NoData => "[z]".into(),
        Cell::Null => "–".into(),
        Cell::Value(value) if kind == CellKind::Float => thousands(&rounded(value, style.decimals)),
        Cell::Value(value) if kind == CellKind::Decimal => thousands(&cut(value, style.decimals)),
        Cell::Value(value) if kind.is_number() && !style.bare => thousands(value),
        Cell::Value(value) if style.of_days => plain::line(value.strip_suffix(MIDNIGHT).unwrap_or(value)),
        Cell::Value(value) => plain::line(value),
    }
}

/// A decimal number with at most so many decimals.
fn cut(value: &str, decimals: Option<usize>) -> String {
    let written = value.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    match (decimals.filter(|decimals| *decimals < written), value.parse::<f64>()) {
        (Some(decimals), Ok(number)) if number.abs() < 1e15 => format!("{number:.decimals$}"),
        _ => value.to_owned(),
    }
}

/// Rounds to the decimals that mean something. Where this is not known: to four decimals, or to four significant digits
/// if all four decimals would be zero.
fn rounded(value: &str, decimals: Option<usize>) -> String {
    match (value.parse::<f64>(), decimals) {
        (Ok(number), Some(decimals)) if number.abs() < 1e15 => format!("{number:.decimals$}"),
        (parsed, _) => rounded_to_four(value, parsed),
    }
}

fn rounded_to_four(value: &str, parsed: Result<f64, std::num::ParseFloatError>) -> String {
    match parsed {
        Ok(number) if !number.is_finite() => value.to_owned(),
        Ok(number) if number != 0.0 && !(1e-3..1e15).contains(&number.abs()) => format!("{number:.3e}"),
        Ok(number) => {
            let fixed = format!("{number:.4}");
            fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Err(_) => plain::line(value),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use std::sync::Arc;

    use super::*;
    use loda_answer::sample::sample;
    use loda_proto::v1::ColumnError;

    #[test]
    fn numbers_are_grouped_and_nulls_marked() {
        let text = table(&sample([None, Some("c"), None, None]), Some(80));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines.len(), lines.last()), (7, Some(&"[c] withheld")), "{text}");
        assert!(lines[0].contains("outcome") && !text.contains("reason") && !text.contains("note"), "{text}");
        assert!(lines[2].contains("1,234,567") && lines[2].contains("0.25"), "{text}");
        assert!(lines[3].contains("=1+1") && lines[3].contains("[c]") && lines[3].contains("0.3333"), "{text}");
        assert!(lines[4].contains('–'), "{text}");
        // `[c]` is right-aligned: it ends where the longest number ends.
        let end = |line: &str, what: &str| line.find(what).map(|at| at + what.len());
        assert_eq!(end(lines[2], "1,234,567"), end(lines[3], "[c]"), "{text}");
    }

    #[test]
    fn a_reason_that_says_more_becomes_a_note() {
        let text = table(&sample([Some("lacks 1 borough: 1 withheld"), Some("x: no answer"), None, None]), None);
        assert!(text.contains("note") && text.contains("lacks 1 borough"), "{text}");
        assert!(text.contains("[x]"), "{text}");
    }

    #[test]
    fn a_table_that_can_fit_does() {
        let names = ["asked (UTC)", "question", "asker", "purpose", "datasets", "outcome"].map(str::to_owned);
        let row = |datasets: &str, outcome: &str| {
            ["2026-11-30 19:02", "75225993", "demo", "demo", datasets, outcome].map(str::to_owned).to_vec()
        };
        let rows = [
            row("residents", "answered by 8; 16 values, 0 withheld"),
            row("social_care_clients", "answered by 8; 8 values, 0 withheld"),
            row("", "refused: rows-stay-home"),
        ];
        for width in 80..=130 {
            let text = grid(&names, &[], &rows, Some(width));
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(width), "{width}: {text}");
        }
    }

    #[test]
    fn a_narrow_terminal_breaks_words_and_not_numbers() {
        let text = table(&sample([Some("lacks 1 borough: 1 withheld"), None, None, None]), Some(44));
        assert!(text.lines().all(|line| line.chars().count() <= 44), "{text}");
        assert!(text.contains("1,234,567") && text.contains("12,345.5"), "{text}");
    }

    #[test]
    fn notes_without_room_stand_below_the_table() {
        let marked = [Some("lacks 1 borough: 1 withheld"), None, Some("lacks 1 borough: 1 withheld"), Some("in part")];
        let text = table(&sample(marked), Some(52));
        assert!(text.contains("\nnote on rows 1, 3: lacks 1 borough: 1 withheld\nnote on row 4: in part\n"), "{text}");
        assert!(!table(&sample(marked), Some(100)).contains("note on"), "{text}");
    }

    #[test]
    fn the_head_is_the_first_rows() {
        assert_eq!(table_head(&sample([None; 4]), None, 2).lines().count(), 4);
    }

    #[test]
    fn floats_round_for_reading() {
        for (exact, read) in [("0", "0"), ("0.00001234", "1.234e-5"), ("12.5", "12.5"), ("NaN", "NaN")] {
            assert_eq!(rounded(exact, None), read);
        }
    }

    #[test]
    fn digits_beyond_the_error_are_not_shown() {
        for (exact, decimals, read) in [("0.0833333", 3, "0.083"), ("1234.5678", 1, "1234.6"), ("12345.5", 0, "12346")]
        {
            assert_eq!(rounded(exact, Some(decimals)), read);
        }
        assert_eq!(["7.25", "7.2549"].map(|exact| cut(exact, Some(2))), ["7.25", "7.25"]);
        let mut answer = sample([None, None, None, None]);
        let of = |column: &str, standard_error: f64| ColumnError {
            column: column.into(),
            standard_error,
            at_most: standard_error,
        };
        answer.statement.errors = vec![of("people", 2.2), of("share", 0.06)];
        let text = table(&answer, Some(80));
        assert!(text.contains("1,234,567") && text.contains("0.250") && text.contains("0.333\n"), "{text}");
    }

    #[test]
    fn rounded_figures_and_midnights_are_shown_as_they_are_meant() {
        use arrow::array::{ArrayRef, Date32Array, Float64Array, RecordBatch, TimestampSecondArray};

        let days: ArrayRef = Arc::new(TimestampSecondArray::from(vec![Some(1_735_689_600), None, Some(0)]));
        let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![Some(1_735_689_601), None, Some(0)]));
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(1), None, Some(2)]));
        let share: ArrayRef = Arc::new(Float64Array::from(vec![Some(33.8), Some(40.0), Some(-0.5)]));
        let batch = RecordBatch::try_from_iter_with_nullable(
            [("days", days), ("times", times), ("dates", dates), ("share", share)]
                .map(|(name, array)| (name, array, true)),
        )
        .unwrap();
        let mut answer = Answer {
            schema: batch.schema(),
            batches: vec![batch],
            statement: Default::default(),
            sha256: String::new(),
        };
        answer.statement.errors = vec![ColumnError { column: "share".into(), standard_error: 0.02, at_most: 0.02 }];
        let text = table(&answer, Some(80));
        assert!(text.contains(" 33.8") && !text.contains("33.80") && text.contains("-0.5"), "{text}");
        assert!(text.contains("2025-01-01 ") && text.contains("2025-01-01T00:00:01"), "{text}");
        assert!(text.contains("1970-01-01T00:00:00") && text.contains("1970-01-02"), "{text}");
    }
}
