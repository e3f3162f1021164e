//! An answer as CSV. A spreadsheet that opens it takes none of its texts for a formula.

use std::io::{self, Write};

use crate::answer::Answer;
use crate::cells::{Cell, CellKind, Column, columns, each_row, needs_note, note, note_name};
use crate::plain;

/// Writes CSV as in RFC 4180, but with line feeds, in UTF-8 and with a header. NULL is an empty field. A withheld value
/// is `[c]`. A value of a borough that did not answer is `[x]`.
///
/// A spreadsheet takes a text for a formula if it begins with `=`, `+`, `-`, `@`, a tab or a carriage return. Such a
/// text gets a single quote before it. Numbers stay as they are. Control characters in texts are removed.
///
/// # Errors
/// The errors of `out`.
pub fn csv(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let columns = columns(answer);
    let with_note = needs_note(answer);
    let mut names: Vec<_> = columns.iter().map(|column| field(&column.name)).collect();
    if with_note {
        names.push(field(&note_name(&columns)));
    }
    writeln!(out, "{}", names.join(","))?;
    each_row(answer, &columns, usize::MAX, |cells, reason| {
        let mut row: Vec<_> = cells.iter().zip(&columns).map(text).collect();
        if with_note {
            let note = note(&columns, cells, reason);
            row.push(if note.is_empty() { note } else { field(&note) });
        }
        writeln!(out, "{}", row.join(","))
    })
}

fn text((cell, column): (&Cell, &Column)) -> String {
    match cell {
        Cell::Withheld => "[c]".into(),
        Cell::NoAnswer => "[x]".into(),
        Cell::NoData => "[z]".into(),
        Cell::Null => String::new(),
        Cell::Value(value) if column.kind == CellKind::Text => field(value),
        Cell::Value(value) => quoted(plain::line(value)),
    }
}

/// A text field, made harmless, and quoted where CSV needs it. An empty text is `""`, because NULL is an empty field.
#[must_use]
pub fn field(value: &str) -> String {
    let safe = plain::line(value);
    // Spreadsheets of some locales take the full-width forms for operators.
    let is_formula = |text: &str| text.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']);
    if is_formula(value) || is_formula(&safe) { quoted(format!("'{safe}")) } else { quoted(safe) }
}

fn quoted(text: String) -> String {
    let needs_quotes = text.is_empty() || text.starts_with(' ') || text.ends_with(' ') || text.contains([',', '"']);
    if needs_quotes { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::sample::sample;

    fn written(reasons: [Option<&str>; 4]) -> String {
        let mut out = Vec::new();
        csv(&sample(reasons), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn withheld_is_marked_and_numbers_are_exact() {
        let expected = "outcome,people,share\nArrest,1234567,0.25\n'=1+1,[c],0.3333333333333333\n,,\n\"a,\"\"b\"\"\",-12,12345.5\n";
        assert_eq!(written([None, Some("c"), None, None]), expected);
    }

    #[test]
    fn a_lacking_london_figure_keeps_its_note() {
        let text = written([Some("lacks 3 boroughs: 2 withheld, 1 no answer"), Some("x: no answer"), None, None]);
        assert!(text.starts_with("outcome,people,share,note\n"), "{text}");
        assert!(text.contains("Arrest,1234567,0.25,\"lacks 3 boroughs: 2 withheld, 1 no answer\"\n"), "{text}");
        assert!(text.contains("'=1+1,[x],0.3333333333333333,no answer\n"), "{text}");
    }

    #[test]
    fn formulas_are_neutralised() {
        for (given, expected) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "' =1"),
            ("\r=1", "' =1"),
            ("\u{1b}=1", "'=1"),
            ("＝1", "'＝1"),
            ("=1,2", "\"'=1,2\""),
            ("a=1", "a=1"),
            ("", "\"\""),
        ] {
            assert_eq!(field(given), expected, "{given:?}");
        }
    }
}
