//! How a borough writes the extract of one service, and how its node reads the extract back.
//!
//! The seed, the borough and the service decide everything. So the extract, and the mapping that reverses it, can be
//! made separately.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::random::Random;

use super::columns::{self, Column, Kind};
use super::places;
use super::services::{Table, Value};
use super::writing::{Dates, Names, Postcodes};

/// Separates the random streams of dialects from those of homes.
const STREAM: u64 = 0xd1a1_ec70;
/// The number of weeks for a service with one extract file a week.
pub(crate) const WEEKS: usize = 4;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Encoding {
    #[default]
    Utf8,
    Utf8Marked,
    Windows1252,
    Utf16,
}

/// A source of a node's configuration, as in `[[dataset.source]]`. Absent values are left out.
#[derive(Debug, Serialize)]
pub struct Source {
    /// The table's name in the SELECT.
    pub name: String,
    /// Relative to the borough's folder. A pattern if there are several files.
    pub path: String,
    pub format: &'static str,
    pub encoding: Option<&'static str>,
    pub delimiter: Option<char>,
    /// The number of the record with the column names.
    pub header: Option<u64>,
    pub pad: bool,
}

/// How to turn an extract back into canonical columns.
#[derive(Debug)]
pub struct Mapping {
    pub source: Source,
    pub select: String,
    /// The contract's word for each word in the extract, by code list.
    pub codes: BTreeMap<&'static str, BTreeMap<&'static str, &'static str>>,
}

/// A borough's way of writing one service's extract.
pub(crate) struct Dialect {
    service: &'static str,
    gss: &'static str,
    place: [u64; 3],
    columns: Vec<(&'static Column, String)>,
    pub(crate) parquet: bool,
    pub(crate) encoding: Encoding,
    delimiter: char,
    title: bool,
    /// Empty cells at the end of a row are left out.
    ragged: bool,
    /// Texts are padded with blanks, as in a fixed-width export.
    filled: bool,
    dates: Dates,
    yes_no: (&'static str, &'static str),
    pounds: (&'static str, bool),
    uprn_end: &'static str,
    file: &'static str,
    postcodes: Postcodes,
}

impl Dialect {
    pub(crate) fn of(seed: u64, index: usize, number: usize, table: &'static Table) -> Self {
        let place = [seed, index as u64, number as u64];
        let mut random = stream(place, 0);
        let style = random.pick(&[(Names::Words, 3), (Names::Snake, 3), (Names::Camel, 2), (Names::Shouting, 2)]);
        let names = std::iter::once("record_ref").chain(table.columns.split_whitespace()).filter_map(columns::find);
        let columns: Vec<_> = names.map(|column| (column, style.name(synonym(column, &mut random)))).collect();
        let hourly = columns.iter().any(|(column, _)| column.kind == Kind::Hour);
        let dates = if hourly {
            random.pick(&[(Dates::Slashes, 1), (Dates::Iso, 1)])
        } else {
            random.pick(&[
                (Dates::Slashes, 40),
                (Dates::Iso, 25),
                (Dates::Dots, 8),
                (Dates::ShortMonth, 12),
                (Dates::LongMonth, 5),
                (Dates::Midnight, 10),
            ])
        };
        Self {
            service: table.name,
            gss: places::gss(index),
            place,
            columns,
            parquet: random.chance(150),
            encoding: random.pick(&[
                (Encoding::Utf8, 45),
                (Encoding::Utf8Marked, 20),
                (Encoding::Windows1252, 27),
                (Encoding::Utf16, 8),
            ]),
            delimiter: random.pick(&[(',', 70), (';', 12), ('\t', 8), ('|', 10)]),
            title: random.chance(200),
            ragged: random.chance(120),
            filled: random.chance(100),
            dates,
            yes_no: random.pick(&[
                (("Y", "N"), 4),
                (("Yes", "No"), 2),
                (("1", "0"), 2),
                (("TRUE", "FALSE"), 1),
                (("true", "false"), 1),
            ]),
            pounds: random.pick(&[(("", false), 5), (("£", true), 2), (("", true), 2), (("£", false), 1)]),
            uprn_end: random.pick(&[("", 80), (".0", 20)]),
            file: random.code("plain 5|dated 4|loud 2"),
            postcodes: random.pick(&[(Postcodes::Proper, 5), (Postcodes::Closed, 3), (Postcodes::Small, 2)]),
        }
    }

    /// The column names as the extract has them.
    pub(crate) fn header(&self) -> Vec<String> {
        self.columns.iter().filter(|(column, _)| column.kind != Kind::Hour).map(|(_, name)| name.clone()).collect()
    }

    /// The extract's files: one, or one for each week.
    pub(crate) fn files(&self) -> Vec<String> {
        if self.hourly() {
            (1..=WEEKS).map(|week| self.path(&format!("_w{week}"))).collect()
        } else {
            vec![self.path("")]
        }
    }

    fn hourly(&self) -> bool {
        self.columns.iter().any(|(column, _)| column.kind == Kind::Hour)
    }

    fn path(&self, part: &str) -> String {
        let kind = if self.parquet { "parquet" } else { "csv" };
        match self.file {
            "dated" => format!("{}_20251231{part}.{kind}", self.service),
            "loud" => format!("EXTRACT_{}{part}.{kind}", self.service.to_uppercase()),
            _ => format!("{}{part}.{kind}", self.service),
        }
    }

    /// The text before the first row.
    pub(crate) fn preamble(&self) -> String {
        let mut text = String::new();
        if self.title {
            text.push_str(&format!("{} as at 31 December 2025\r\n", Names::Words.name(self.service)));
        }
        self.line(&self.header(), &mut text);
        text
    }

    /// A record's cells as the extract has them.
    pub(crate) fn cells(&self, values: &[Value]) -> Vec<String> {
        let mut cells: Vec<String> = Vec::with_capacity(values.len());
        for ((column, _), value) in self.columns.iter().zip(values) {
            match (column.kind, value, cells.last_mut()) {
                (Kind::Hour, Value::Whole(hour), Some(date)) => date.push_str(&format!(" {hour:02}:00:00")),
                _ => cells.push(self.cell(column, value)),
            }
        }
        cells
    }

    /// Spoils a record so that no mapping can rescue it. Its subject (a property, a school, a day, or else an amount)
    /// becomes invalid.
    pub(crate) fn spoil(&self, cells: &mut [String], random: &mut Random) {
        let event = |c: &Column| c.kind == Kind::Day && c.name != "date_of_birth";
        let at = |wanted: &dyn Fn(&Column) -> bool| self.columns.iter().position(|(column, _)| wanted(column));
        let uprn = at(&|c| c.kind == Kind::Uprn);
        let (at, text) = match uprn.or_else(|| at(&|c| c.name == "urn")) {
            Some(at) => (Some(at), random.pick(&[("", 1), ("TBC", 1), ("see notes", 1)])),
            None => match at(&event) {
                Some(at) => (Some(at), "31/02/2025"),
                None => (at(&|c| c.kind == Kind::Money), "n/a"),
            },
        };
        if let Some(cell) = at.and_then(|at| cells.get_mut(at)) {
            text.clone_into(cell);
        }
    }

    /// Appends one line to a text extract.
    pub(crate) fn line(&self, cells: &[String], text: &mut String) {
        let filled = cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
        let count = if self.ragged { filled } else { cells.len() };
        for (place, cell) in cells.iter().take(count).enumerate() {
            if place > 0 {
                text.push(self.delimiter);
            }
            if cell.contains([self.delimiter, '"', '\n']) {
                text.push('"');
                text.push_str(&cell.replace('"', "\"\""));
                text.push('"');
            } else {
                text.push_str(cell);
            }
        }
        text.push_str("\r\n");
    }

    fn cell(&self, column: &Column, value: &Value) -> String {
        match (column.kind, value) {
            (Kind::Code, Value::Word(word)) => self.word(column.name, word).to_owned(),
            (Kind::Postcode, Value::Text(text)) => self.postcodes.write(text),
            (Kind::Uprn, Value::Whole(uprn)) => format!("{uprn}{}", self.uprn_end),
            (Kind::Money, Value::Hundredths(pence)) => self.money(*pence),
            (Kind::Text, Value::Text(text)) if self.filled => format!("{text:<14}"),
            (_, Value::Text(text)) => text.clone(),
            (_, Value::Word(word)) => (*word).to_owned(),
            (_, Value::Day(day)) => self.dates.write(*day),
            (_, Value::Flag(flag)) => if *flag { self.yes_no.0 } else { self.yes_no.1 }.to_owned(),
            (_, Value::Whole(number)) => number.to_string(),
            (_, Value::Hundredths(number)) => format!("{}.{:02}", number / 100, number % 100),
            (_, Value::Null) => String::new(),
        }
    }

    /// The rendering of a word. It is fixed for each word, list, service and borough.
    fn word(&self, list: &str, word: &'static str) -> &'static str {
        let words = columns::renderings(list).enumerate();
        let found = words.into_iter().find(|(_, renderings)| renderings.first() == Some(&word));
        found.and_then(|(place, renderings)| self.rendering(place, &renderings)).unwrap_or(word)
    }

    fn rendering(&self, place: usize, renderings: &[&'static str]) -> Option<&'static str> {
        let chosen = stream(self.place, 1 + place as u64).below(renderings.len() as u64);
        renderings.get(usize::try_from(chosen).ok()?).copied()
    }

    fn money(&self, pence: u64) -> String {
        let (sign, grouped) = self.pounds;
        let (whole, pence) = (pence / 100, pence % 100);
        if grouped && whole >= 1000 {
            format!("{sign}{},{:03}.{pence:02}", whole / 1000, whole % 1000)
        } else {
            format!("{sign}{whole}.{pence:02}")
        }
    }

    /// The mapping with which a node reads the extract.
    pub(crate) fn mapping(&self) -> Mapping {
        let mut before = "";
        let mut select = Vec::new();
        let mut codes = BTreeMap::new();
        for (column, name) in &self.columns {
            let Column { name: canonical, kind, .. } = **column;
            let read = match kind {
                Kind::Text => format!("NULLIF(trim(\"{name}\"), '')"),
                Kind::Code => format!("code('{canonical}', \"{name}\")"),
                Kind::Day => format!("uk_date(\"{name}\")"),
                Kind::Hour => format!("CAST(substr(\"{before}\", 12, 2) AS BIGINT)"),
                Kind::Flag => format!("yes_no(\"{name}\")"),
                Kind::Whole => format!("CAST(\"{name}\" AS BIGINT)"),
                Kind::Hundredths | Kind::Money => format!("money(\"{name}\")"),
                Kind::Uprn => format!("uprn(\"{name}\")"),
                Kind::Postcode => format!("postcode(\"{name}\")"),
                Kind::Nhs => format!("nhs_number(\"{name}\")"),
                Kind::Nino => format!("nino(\"{name}\")"),
            };
            select.push(format!("{read} AS {canonical}"));
            before = name;
            if kind == Kind::Code {
                let list = columns::renderings(canonical).enumerate().filter_map(|(place, renderings)| {
                    Some((self.rendering(place, &renderings)?, *renderings.first()?))
                });
                codes.insert(canonical, list.collect());
            }
        }
        let text = |value| (!self.parquet).then_some(value);
        let encoding = match self.encoding {
            Encoding::Utf8 | Encoding::Utf8Marked => "utf-8",
            Encoding::Windows1252 => "windows-1252",
            Encoding::Utf16 => "utf-16le",
        };
        Mapping {
            source: Source {
                name: self.service.to_owned(),
                path: if self.hourly() { self.path("_w*") } else { self.path("") },
                format: if self.parquet { "parquet" } else { "csv" },
                encoding: text(encoding),
                delimiter: (!self.parquet).then_some(self.delimiter),
                header: (!self.parquet && self.title).then_some(2),
                pad: !self.parquet && self.ragged,
            },
            select: format!("SELECT {} FROM {}", select.join(", "), self.service),
            codes,
        }
    }

    pub(crate) fn gss(&self) -> &'static str {
        self.gss
    }
}

/// How many of 1,000 rows of a borough's extract cannot be rescued: at most two.
pub(crate) fn spoiled(seed: u64, index: usize) -> u64 {
    stream([seed, index as u64, 0], 99).below(3)
}

fn stream(place: [u64; 3], part: u64) -> Random {
    let [seed, borough, service] = place;
    Random::at(&[seed, borough, STREAM, service, part])
}

fn synonym(column: &Column, random: &mut Random) -> &'static str {
    random.pick(&column.synonyms.split('|').map(|words| (words, 1)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::london::services::TABLES;

    #[test]
    fn codes_come_back_and_headers_are_distinct() {
        for index in 0..33 {
            for (number, table) in TABLES.iter().enumerate() {
                let dialect = Dialect::of(3, index, number, table);
                let mut header = dialect.header();
                header.sort();
                header.dedup();
                assert_eq!(header.len(), dialect.header().len(), "{header:?}");
                for (list, codes) in dialect.mapping().codes {
                    for renderings in columns::renderings(list) {
                        let word = renderings.first().copied().unwrap_or_default();
                        assert_eq!(codes.get(dialect.word(list, word)), Some(&word), "{list}");
                    }
                }
            }
        }
    }
}
