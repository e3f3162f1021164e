//! Rows that are no records: totals, second headers and notes among the rows.

use std::collections::BTreeMap;

use super::markers::marker;
use super::vocabulary::words;
use crate::ingest::readings::money;

/// The most suspects of one source whose lines are kept.
const MOST: usize = 1_000;

/// The fewest rows before a total.
const FEWEST: u64 = 3;

/// The fewest values of a column that make it one of numbers.
const NUMBERS: u64 = 10;

/// Sums are kept in millionths.
const UNIT: f64 = 1e6;

/// What a row looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Suspicion {
    Total,
    Header,
    Note,
}

impl Suspicion {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Header => "header",
            Self::Note => "note",
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Total => "like totals of rows above",
            Self::Header => "like a second header",
            Self::Note => "like notes",
        }
    }
}

/// Looks at the rows of one source, one after another.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    names: Vec<String>,
    columns: Vec<Sums>,
    rows: u64,
    /// By file and line.
    found: BTreeMap<(String, u64), Suspicion>,
}

/// The sums of one column's numbers.
#[derive(Clone, Debug, Default)]
struct Sums {
    numbers: u64,
    texts: u64,
    all: i128,
    /// Since the last total, and the number of values.
    since: i128,
    values: u64,
    /// The cells that are filled.
    filled: u64,
    only: Only,
}

/// The one text that all rows of a file have in a column, such as the borough's name or the sheet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Only {
    #[default]
    Unseen,
    Text(String),
    Several,
}

impl Sums {
    /// Whether a row says something here that no other row of its file says.
    fn tells(&self, cell: Option<&str>) -> bool {
        match &self.only {
            Only::Text(text) => cell != Some(text.as_str()),
            Only::Unseen | Only::Several => true,
        }
    }

    fn is_of_texts(&self) -> bool {
        self.texts > 1_000 && self.numbers == 0
    }
}

impl Suspects {
    pub(crate) fn of(names: Vec<String>) -> Self {
        let columns = vec![Sums::default(); names.len()];
        Self { names, columns, ..Self::default() }
    }

    /// Begins another file: its totals are those of its own rows.
    pub(crate) fn file(&mut self) {
        for column in &mut self.columns {
            (column.all, column.since, column.values, column.only) = (0, 0, 0, Only::Unseen);
        }
    }

    /// Looks at a row. `None`: it is a record.
    pub(crate) fn row(&mut self, file: &str, line: u64, values: &[Option<&str>]) -> Option<Suspicion> {
        let cells: Vec<Option<&str>> =
            values.iter().map(|value| value.map(str::trim).filter(|text| !text.is_empty())).collect();
        let numbers: Vec<Option<i128>> = cells.iter().map(|cell| cell.and_then(millionths)).collect();
        let filled = cells.iter().flatten().count() as u64;
        let suspicion = self.suspicion(&cells, &numbers, filled);
        if let Some(suspicion) = suspicion {
            if self.found.len() < MOST {
                self.found.insert((file.to_owned(), line), suspicion);
            }
            if suspicion == Suspicion::Total {
                self.columns.iter_mut().for_each(|column| (column.since, column.values) = (0, 0));
            }
            return Some(suspicion);
        }
        self.rows = self.rows.saturating_add(1);
        for ((column, number), cell) in self.columns.iter_mut().zip(&numbers).zip(&cells) {
            column.filled = column.filled.saturating_add(u64::from(cell.is_some()));
            match (&column.only, cell) {
                (Only::Unseen, Some(text)) => column.only = Only::Text((*text).to_owned()),
                (Only::Text(only), cell) if *cell != Some(only.as_str()) => column.only = Only::Several,
                (Only::Unseen, None) => column.only = Only::Several,
                _ => {}
            }
            match (number, cell) {
                (Some(number), _) => {
                    column.numbers = column.numbers.saturating_add(1);
                    column.all = column.all.saturating_add(*number);
                    column.since = column.since.saturating_add(*number);
                    column.values = column.values.saturating_add(1);
                }
                // A column of many texts and no number stays one.
                (None, Some(text)) if column.is_of_texts() || marker(text).is_none() => {
                    column.texts = column.texts.saturating_add(1);
                }
                _ => {}
            }
        }
        None
    }

    fn suspicion(&self, cells: &[Option<&str>], numbers: &[Option<i128>], filled: u64) -> Option<Suspicion> {
        if filled == 0 || self.columns.len() < 2 {
            return None;
        }
        let same =
            cells.iter().zip(&self.names).filter(|(cell, name)| cell.is_some_and(|cell| is_same_name(cell, name)));
        if same.count() as u64 * 2 > filled {
            return Some(Suspicion::Header);
        }
        let is_number = |column: &Sums| column.numbers >= NUMBERS && column.texts * 20 <= column.numbers;
        let typed = self.columns.iter().zip(cells).zip(numbers).filter(|((column, _), _)| is_number(column));
        let (mut misfits, mut of) = (0_u64, 0_u64);
        for ((_, cell), number) in typed {
            of = of.saturating_add(1);
            misfits += u64::from(number.is_none() && cell.is_some_and(|cell| marker(cell).is_none()));
        }
        if misfits >= 2 && misfits * 2 > of {
            return Some(Suspicion::Header);
        }
        if self.is_note(cells, filled) {
            return Some(Suspicion::Note);
        }
        self.is_total(cells, numbers).then_some(Suspicion::Total)
    }

    /// One long text at the beginning of a row of several columns, after rows of several cells. A note that says so may be
    /// cut at its commas.
    fn is_note(&self, cells: &[Option<&str>], filled: u64) -> bool {
        let Some(Some(first)) = cells.first() else { return false };
        let all: u64 = self.columns.iter().map(|column| column.filled).sum();
        let usual = all.checked_div(self.rows).unwrap_or(0);
        if usual < 3 || filled * 2 > usual {
            return false;
        }
        let begins = ["note", "notes", "source", "sources", "footnote", "please"];
        let says =
            words(first).first().is_some_and(|word| begins.contains(&word.as_str())) || first.starts_with(['*', '#']);
        says || (filled == 1 && first.chars().count() > 40)
    }

    /// Whether the numbers of a row are the sums of those above, since the last total or from the beginning.
    fn is_total(&self, cells: &[Option<&str>], numbers: &[Option<i128>]) -> bool {
        let summed = self.columns.iter().zip(numbers).filter(|(column, _)| column.numbers >= FEWEST);
        let (mut equal, mut other) = (0_u64, 0_u64);
        for (column, number) in summed {
            let Some(number) = number else { continue };
            let since = column.values >= FEWEST && column.since == *number;
            if *number != 0 && (since || column.all == *number) {
                equal = equal.saturating_add(1);
            } else if *number != 0 {
                other = other.saturating_add(1);
            }
        }
        // Cells that are the same in all rows make no row fuller.
        let telling = || self.columns.iter().zip(cells).filter(|(column, cell)| column.tells(**cell));
        let filled = telling().filter(|(_, cell)| cell.is_some()).count() as u64;
        let usual: u64 = telling().map(|(column, _)| column.filled).sum();
        let sparse =
            self.rows >= FEWEST && filled.saturating_mul(self.rows).saturating_mul(10) < usual.saturating_mul(7);
        if equal == 0 && !sparse {
            return false;
        }
        let begins = ["total", "totals", "subtotal", "sub", "grand", "sum", "overall", "all"];
        let labelled = cells.iter().flatten().any(|cell| {
            let words = words(cell);
            let label = |word: &String| begins.contains(&word.as_str());
            words.first().is_some_and(label) && (words.len() <= 3 || words.iter().any(|word| word == "total"))
        });
        // A label alone may be a name such as `All Things Iced`. Equal sums alone may be chance.
        let first = cells.iter().flatten().next().map(|cell| words(cell)).unwrap_or_default();
        let says_total = first.first().is_some_and(|word| matches!(word.as_str(), "total" | "totals" | "subtotal"));
        match (equal, labelled, sparse) {
            (0, labelled, sparse) => labelled && says_total && sparse,
            (1, labelled, sparse) => labelled || sparse,
            (..) => labelled || sparse || equal > other.saturating_mul(3),
        }
    }

    pub(crate) fn found(&self) -> &BTreeMap<(String, u64), Suspicion> {
        &self.found
    }
}

/// Whether a cell is a column's name, in any capitals and signs.
fn is_same_name(cell: &str, name: &str) -> bool {
    if cell.eq_ignore_ascii_case(name) {
        return true;
    }
    let first = |text: &str| text.chars().find(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase());
    let near = cell.len() <= name.len().saturating_mul(2) && name.len() <= cell.len().saturating_mul(2);
    near && first(cell) == first(name) && first(name).is_some() && words(cell) == words(name)
}

#[allow(clippy::cast_possible_truncation, reason = "a number beyond it equals no sum")]
fn millionths(text: &str) -> Option<i128> {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 || digits.saturating_add(8) < text.len() {
        return None;
    }
    if let Some(plain) = plain_millionths(text) {
        return Some(plain);
    }
    let number: f64 = money(text)?.parse().ok()?;
    Some((number * UNIT).round() as i128)
}

/// The same for digits with a point among them at most, which most numbers are. `None`: it is another text.
fn plain_millionths(text: &str) -> Option<i128> {
    if text.len() > 18 {
        return None;
    }
    let (mut number, mut places): (i128, Option<u32>) = (0, None);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' => {
                number = number.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                places = places.map(|places| places.saturating_add(1));
            }
            b'.' if places.is_none() => places = Some(0),
            _ => return None,
        }
    }
    let scale = 6_u32.checked_sub(places.unwrap_or(0))?;
    number.checked_mul(10_i128.checked_pow(scale)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str], rows: &[&[&str]]) -> Vec<(u64, Suspicion)> {
        let mut suspects = Suspects::of(names.iter().map(|name| (*name).to_owned()).collect());
        for (line, row) in (2..).zip(rows) {
            let values: Vec<Option<&str>> = row.iter().map(|cell| (!cell.is_empty()).then_some(*cell)).collect();
            suspects.row("f.csv", line, &values);
        }
        suspects.found.iter().map(|((_, line), suspicion)| (*line, *suspicion)).collect()
    }

    #[test]
    fn totals_with_and_without_a_label() {
        let rows: [&[&str]; 9] = [
            &["A", "North", "10.50"],
            &["B", "North", "4"],
            &["C", "North", "£1,000"],
            &["", "", "1014.5"],
            &["D", "South", "7"],
            &["E", "South", "8"],
            &["F", "South", "9"],
            &["Subtotal South", "", "24"],
            &["Total", "", "1,038.50"],
        ];
        let total = |line| (line, Suspicion::Total);
        assert_eq!(found(&["Supplier", "Area", "Amount"], &rows), [total(5), total(9), total(10)]);
    }

    #[test]
    fn a_row_for_all_of_london_is_the_sum_of_its_boroughs() {
        let rows: [&[&str]; 4] =
            [&["Camden", "10", "3"], &["Brent", "20", "5"], &["Barnet", "5", "9"], &["London", "35", "17"]];
        assert_eq!(found(&["area", "people", "homes"], &rows), [(5, Suspicion::Total)]);
    }

    #[test]
    fn second_headers_and_notes() {
        let mut rows: Vec<Vec<String>> = (0..12)
            .map(|n| vec![format!("P{n}"), format!("{}", n * 7 % 13), format!("{}", n * 5 % 11), "x".into()])
            .collect();
        rows.push(["Ref", "Homes", "People", "Area"].map(str::to_owned).to_vec());
        rows.push(["Scheme", "Cost", "Year built", "Ward"].map(str::to_owned).to_vec());
        rows.push(["Source: housing register, as at the end of the month", "", "", ""].map(str::to_owned).to_vec());
        let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
        let expected = [(14, Suspicion::Header), (15, Suspicion::Header), (16, Suspicion::Note)];
        assert_eq!(found(&["Ref", "Homes", "People", "Area"], &rows), expected);
    }

    #[test]
    fn records_are_no_totals() {
        let rows: [&[&str]; 5] = [
            &["a", "1", "Fire"],
            &["b", "1", "Flood"],
            &["c", "1", "Total loss"],
            &["d", "3", "Fire"],
            &["e", "6", "Fire"],
        ];
        assert_eq!(found(&["ref", "number", "kind"], &rows), []);
        // A short row whose name begins like a total.
        let rows: [&[&str]; 4] = [
            &["Cafe Oval", "7841", "5", "Oval", "x"],
            &["Bar", "7842", "4", "Oval", "x"],
            &["Inn", "1", "3", "Oval", "x"],
            &["All Things Iced", "7841", "", "", ""],
        ];
        assert_eq!(found(&["name", "type", "rating", "ward", "kind"], &rows), []);
    }
}
