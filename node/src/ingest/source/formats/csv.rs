//! Delimited text, as councils' systems write it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, bail};
use arrow::datatypes::SchemaRef;
use encoding_rs::Encoding;

use super::encoding::Decoding;
use crate::ingest::source::config::SourceEntry;
use crate::ingest::source::header::{Header, Rename, padded, places, text_schema, usual_width};
use crate::ingest::source::kind::SourceKind;
use crate::ingest::source::reader::{FileFormat, Files, Paths, Reader, Sink, file_name};

/// Bytes of one record at most. A quote that is never closed ends the reading here, and not at the end of memory.
const MAX_RECORD: u64 = 1 << 20;

/// The number of records in which a header is looked for.
const MAX_PREAMBLE: u64 = 100;

/// The rules by which a file is written.
#[derive(Clone, Debug)]
pub(crate) struct CsvRules {
    /// `None`: the encoding and the delimiter are found from the file.
    pub(crate) encoding: Option<&'static Encoding>,
    pub(crate) delimiter: Option<u8>,
    pub(crate) quote: u8,
    pub(crate) header: Header,
    /// Whether rows that end early are filled up with empty fields.
    pub(crate) pad: bool,
}

impl Default for CsvRules {
    fn default() -> Self {
        Self { encoding: None, delimiter: None, quote: b'"', header: Header::At(1), pad: false }
    }
}

/// Files of delimited text.
#[derive(Clone, Debug)]
pub(crate) struct CsvSource {
    pub(crate) paths: Paths,
    pub(crate) rules: CsvRules,
}

impl SourceKind for CsvSource {
    fn from_entry(entry: &SourceEntry, base: &Path) -> Result<Self, String> {
        let encoding = entry.encoding.as_deref().map(Decoding::named).transpose();
        let rules = CsvRules {
            encoding: encoding.map_err(|fault| entry.fault(&fault.to_string()))?,
            delimiter: entry.byte(entry.delimiter, "delimiter")?,
            quote: entry.byte(entry.quote, "quote")?.unwrap_or(b'"'),
            header: entry.header()?,
            pad: entry.pad,
        };
        Ok(Self { paths: entry.paths(base, "csv")?, rules })
    }

    fn paths(&self) -> Option<&Paths> {
        Some(&self.paths)
    }

    fn paths_mut(&mut self) -> Option<&mut Paths> {
        Some(&mut self.paths)
    }

    fn open(&self, rename: &Rename, read_before: &[PathBuf]) -> anyhow::Result<Box<dyn Reader>> {
        Ok(Box::new(open(self.paths.files()?, self.rules.clone(), rename.clone())?.past(read_before)))
    }

    fn copy(&self) -> Box<dyn SourceKind> {
        Box::new(self.clone())
    }
}

/// The format of files by `rules`, with other names for some columns.
struct Csv {
    rules: CsvRules,
    rename: Rename,
}

fn open(files: Vec<PathBuf>, rules: CsvRules, rename: Rename) -> anyhow::Result<Files<Csv>> {
    let first = files.first().context("no file")?;
    let mut opened = Opened::new(first, &rules).with_context(|| file_name(first))?;
    let names = opened.header(&rules.header).with_context(|| file_name(first))?;
    Ok(Files { columns: text_schema(rename.apply(names)), paths: files, format: Csv { rules, rename } })
}

/// The records that are looked at for a header.
const FIRST: usize = 60;

/// The first records of a file as they stand, for a search for its header.
pub(crate) fn first_records(path: &Path, rules: &CsvRules) -> anyhow::Result<Vec<Vec<String>>> {
    let mut opened = Opened::new(path, rules).with_context(|| file_name(path))?;
    let mut records = Vec::new();
    while records.len() < FIRST && opened.next().with_context(|| file_name(path))?.is_some() {
        records.push(opened.record.iter().map(|field| String::from_utf8_lossy(field).trim().to_owned()).collect());
    }
    Ok(records)
}

/// Reads text columns from a stream whose first record is the header, as COPY writes it.
pub(super) fn read_stream(input: impl Read + 'static, columns: &SchemaRef, sink: &mut dyn Sink) -> anyhow::Result<()> {
    let since = Rc::new(Cell::new(0));
    let watched = Watched {
        inner: Box::new(input),
        after_return: false,
        quote: b'"',
        since: Rc::clone(&since),
        quotes: Rc::default(),
    };
    let mut records = ::csv::ReaderBuilder::new().has_headers(true).flexible(true).from_reader(watched);
    let mut record = ::csv::ByteRecord::new();
    let mut number = 0_u64;
    loop {
        let next = number.saturating_add(1);
        let read = records.read_byte_record(&mut record).map_err(|fault| match fault.into_kind() {
            ::csv::ErrorKind::Io(fault) => anyhow::Error::from(fault).context(format!("row {next}")),
            other => anyhow::anyhow!("row {next}: {other:?}"),
        })?;
        if !read {
            return Ok(());
        }
        since.set(0);
        number = next;
        if record.len() != columns.fields().len() {
            sink.bad(number, format!("has {} of {} fields", record.len(), columns.fields().len()));
            continue;
        }
        match record.iter().map(value).collect::<Result<Vec<_>, _>>() {
            Ok(values) => sink.row(number, &values)?,
            Err(fault) => sink.bad(number, fault.to_owned()),
        }
    }
}

/// The text of a field, or `None` if it is empty.
fn value(field: &[u8]) -> Result<Option<&str>, &'static str> {
    match std::str::from_utf8(field) {
        Ok(text) if text.contains('\u{fffd}') => Err("has bytes that are not of the encoding"),
        Ok(text) if text.contains('\0') => Err("has a NUL byte"),
        Ok(text) => Ok((!text.is_empty()).then_some(text)),
        Err(_) => Err("has bytes that are not of the encoding"),
    }
}

impl FileFormat for Csv {
    fn read_file(&self, path: &Path, columns: &SchemaRef, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let mut opened = Opened::new(path, &self.rules)?;
        sink.file(&file_name(path), opened.describe());
        let names = opened.header(&self.rules.header)?;
        // A file may fill fewer of the columns whose names are blank.
        let names = self.rename.apply(padded(names, columns.fields().len()));
        let places = places(columns, &names)?;
        while let Some(line) = opened.next()? {
            let fields = opened.record.len();
            let surplus = opened.record.iter().skip(names.len()).any(|field| !field.trim_ascii().is_empty());
            if opened.record.iter().all(|field| field.trim_ascii().is_empty()) {
                sink.blank();
                continue;
            }
            if surplus || (fields < names.len() && !self.rules.pad) {
                let hint =
                    if surplus { "a delimiter within a value, or columns have shifted" } else { "it ends early" };
                sink.bad(line, format!("has {fields} of {} fields: {hint}", names.len()));
                continue;
            }
            if let Some(lines) = opened.swallowed(names.len()) {
                sink.bad(
                    line,
                    format!("holds {lines} lines in one value, each a row by itself: is a quote left open?"),
                );
                continue;
            }
            let values = places.iter().map(|place| value(opened.record.get(*place).unwrap_or_default()));
            match values.collect::<Result<Vec<_>, _>>() {
                Err(fault) => sink.bad(line, fault.to_owned()),
                Ok(values) => sink.row(line, &values)?,
            }
        }
        opened.ended()
    }
}

/// A file that is being read.
struct Opened {
    records: ::csv::Reader<Watched>,
    record: ::csv::ByteRecord,
    decoding: Decoding,
    delimiter: u8,
    /// How wide its first records are filled.
    width: usize,
    /// The bytes since the last record, and the number of all quotes.
    since: Rc<Cell<u64>>,
    quotes: Rc<Cell<u64>>,
    /// The first line of the last record, its number of lines, and its number.
    last: (u64, u64),
    number: u64,
    header_read: bool,
}

/// Counts the bytes that pass, and stops a record without end.
struct Watched {
    inner: Box<dyn Read>,
    /// Whether the last byte was a carriage return.
    after_return: bool,
    quote: u8,
    since: Rc<Cell<u64>>,
    quotes: Rc<Cell<u64>>,
}

/// Makes each line's end one newline, in place, so lines are counted as people count them. Returns the number of bytes
/// that are left.
fn one_kind_of_line_end(buffer: &mut [u8], read: usize, after_return: &mut bool) -> usize {
    let mut kept = 0;
    for at in 0..read {
        let Some(byte) = buffer.get(at).copied() else { break };
        let follows = std::mem::replace(after_return, byte == b'\r');
        if byte == b'\n' && follows {
            continue;
        }
        if let Some(slot) = buffer.get_mut(kept) {
            *slot = if byte == b'\r' { b'\n' } else { byte };
        }
        kept += 1;
    }
    kept
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.since.get() > MAX_RECORD {
            let why = "a record is longer than 1 MiB: is a quote not closed, or is this no delimited text?";
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why));
        }
        let read = loop {
            let read = self.inner.read(buffer)?;
            let kept = one_kind_of_line_end(buffer, read, &mut self.after_return);
            // If all bytes that were read are removed, the file is not at its end.
            if kept > 0 || read == 0 {
                break kept;
            }
        };
        self.since.set(self.since.get().saturating_add(read as u64));
        let quotes = buffer.iter().take(read).filter(|byte| **byte == self.quote).count();
        self.quotes.set(self.quotes.get().saturating_add(quotes as u64));
        Ok(read)
    }
}

impl Opened {
    fn new(path: &Path, rules: &CsvRules) -> anyhow::Result<Self> {
        let decoding = Decoding::of(path, rules.encoding)?;
        let mut start = Vec::new();
        decoding.reader(path)?.take(LOOKED_AT).read_to_end(&mut start)?;
        let mut after_return = false;
        let read = start.len();
        let kept = one_kind_of_line_end(&mut start, read, &mut after_return);
        start.truncate(kept);
        let delimiter = rules.delimiter.unwrap_or_else(|| sniff(&start, rules));
        let width = filled_width(&start, delimiter, rules);
        let (since, quotes) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let watched = Watched {
            inner: Box::new(decoding.reader(path)?),
            after_return: false,
            quote: rules.quote,
            since: Rc::clone(&since),
            quotes: Rc::clone(&quotes),
        };
        let records = ::csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .quote(rules.quote)
            .from_reader(watched);
        let record = ::csv::ByteRecord::new();
        Ok(Self {
            records,
            record,
            decoding,
            delimiter,
            width,
            since,
            quotes,
            last: (1, 1),
            number: 0,
            header_read: false,
        })
    }

    fn describe(&self) -> String {
        let delimiter = match self.delimiter {
            b'\t' => "tab".to_owned(),
            other => format!("'{}'", char::from(other)),
        };
        format!("{}, delimiter {delimiter}", self.decoding.describe())
    }

    /// Reads the next record, and returns its line.
    fn next(&mut self) -> anyhow::Result<Option<u64>> {
        let begin = self.records.position().line();
        let read = self.records.read_byte_record(&mut self.record).map_err(|fault| match fault.into_kind() {
            ::csv::ErrorKind::Io(fault) => anyhow::anyhow!("line {begin}: {fault}"),
            other => anyhow::anyhow!("line {begin}: {other:?}"),
        })?;
        if !read {
            return Ok(None);
        }
        // The bytes that the reader took in beyond this record belong to the next ones.
        self.since.set(0);
        self.number = self.number.saturating_add(1);
        let position = self.record.position().map_or(begin, ::csv::Position::line);
        // The reader counts empty lines before a record as part of it. The record begins as many lines before its end
        // as it has.
        let within = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
        let end = self.records.position().line();
        let line = position.max(end.saturating_sub(within).saturating_sub(1));
        self.last = (line, within.saturating_add(1));
        Ok(Some(line))
    }

    /// The names of the columns, from the record that holds them.
    fn header(&mut self, header: &Header) -> anyhow::Result<Vec<String>> {
        if let Header::Given(names) = header {
            return Ok(names.clone());
        }
        while !self.header_read {
            if self.number >= MAX_PREAMBLE || self.next()?.is_none() {
                bail!(
                    "it has no header: {} was expected in its first {} records",
                    header.describe(),
                    self.number.max(1)
                );
            }
            let text: Vec<String> =
                self.record.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
            let fields: Vec<&str> = text.iter().map(String::as_str).collect();
            if let Some(mut names) = header.names(self.number, &fields) {
                self.header_read = true;
                // Empty columns at the end come from a spreadsheet, and are no data.
                while names.len() > self.width
                    && fields.get(names.len().wrapping_sub(1)).is_some_and(|last| last.trim().is_empty())
                {
                    names.pop();
                }
                if names.is_empty() {
                    bail!("its header is empty");
                }
                return Ok(names);
            }
        }
        bail!("it has no header")
    }

    /// The number of rows within one value of the current record, if there are any. Two stray quotes far from each
    /// other lead to this.
    fn swallowed(&self, width: usize) -> Option<usize> {
        let delimiters = |line: &[u8]| line.iter().filter(|byte| **byte == self.delimiter).count();
        let fields = self.record.len();
        self.record.iter().enumerate().find_map(|(place, field)| {
            let lines: Vec<&[u8]> = field.split(|byte| *byte == b'\n').collect();
            let rows = match lines.as_slice() {
                // Two neighbouring rows: each has as many cells as a row, and the second begins like a row.
                [first, last] if width > 1 && place > 0 => {
                    let after = fields.saturating_sub(place).saturating_sub(1);
                    let whole = [place + delimiters(first), delimiters(last) + after].map(|cut| cut + 1 == width);
                    let begins = last.split(|byte| *byte == self.delimiter).next().unwrap_or_default();
                    whole == [true, true] && self.record.get(0).is_some_and(|like| shape(like) == shape(begins))
                }
                // The first and the last line are parts of rows.
                [_, inner @ .., _] if !inner.is_empty() => {
                    // Some of the swallowed rows may be blank, or have a delimiter in a value.
                    let rows = inner.iter().filter(|line| delimiters(line) + 1 == width).count();
                    width > 1 && rows * 2 > inner.len()
                }
                _ => false,
            };
            rows.then_some(lines.len())
        })
    }

    /// At the end of a file: refuses a quote that was left open and took the rest of the file into one field.
    fn ended(&self) -> anyhow::Result<()> {
        let (line, lines) = self.last;
        if !self.quotes.get().is_multiple_of(2) && lines > 1 {
            bail!("line {line}: a quote is opened and never closed; the rest of the file stands in it. Close it");
        }
        Ok(())
    }
}

/// The shape of a cell: its letters and digits by kind, and its other bytes.
fn shape(cell: &[u8]) -> Vec<u8> {
    let class = |byte: &u8| match byte {
        b'0'..=b'9' => b'9',
        b'a'..=b'z' | b'A'..=b'Z' => b'A',
        other => *other,
    };
    cell.trim_ascii().iter().map(class).collect()
}

/// The bytes and records at the beginning of a file that are cut for a trial.
const LOOKED_AT: u64 = 1 << 16;
const TRIED: usize = 200;

/// The delimiter that cuts nearly all of the first records into the same number of fields, and the header too: addresses
/// under `UPRN|Address|Ward` have commas, and their header has none.
fn sniff(start: &[u8], rules: &CsvRules) -> u8 {
    let score = |delimiter: u8| {
        let counts: Vec<usize> = cut(start, delimiter, rules).map(|record| record.len()).collect();
        let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
        counts.iter().for_each(|width| *widths.entry(*width).or_default() += 1);
        let usual =
            widths.into_iter().filter(|(width, _)| *width > 1).max_by_key(|(width, records)| (*records, *width));
        let (usual, records) = usual?;
        // Titles stand above the header, and a record before the first of usual width may be one.
        let first = counts.iter().position(|width| *width == usual)?.min(10);
        let agree = records as f64 / counts.len() as f64;
        Some(agree - 0.05 * first as f64 + 0.001 * usual.min(40) as f64)
    };
    let scored =
        [b',', b';', b'\t', b'|'].into_iter().rev().filter_map(|delimiter| Some((score(delimiter)?, delimiter)));
    scored.max_by(|(a, _), (b, _)| a.total_cmp(b)).map_or(b',', |(_, delimiter)| delimiter)
}

/// The first records of a text.
fn cut<'a>(start: &'a [u8], delimiter: u8, rules: &CsvRules) -> impl Iterator<Item = ::csv::ByteRecord> + use<'a> {
    let records = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .quote(rules.quote)
        .from_reader(start);
    records.into_byte_records().filter_map(Result::ok).take(TRIED)
}

/// How wide the records at the beginning of a text are filled.
fn filled_width(start: &[u8], delimiter: u8, rules: &CsvRules) -> usize {
    let filled = |record: ::csv::ByteRecord| {
        record.iter().rposition(|cell| !cell.trim_ascii().is_empty()).map_or(0, |last| last.saturating_add(1))
    };
    let widths: Vec<usize> = cut(start, delimiter, rules).map(filled).collect();
    usual_width(&widths)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ingest::source::header::text_schema;

    #[derive(Default)]
    struct Kept(Vec<(u64, String)>);

    impl Sink for Kept {
        fn row(&mut self, line: u64, values: &[Option<&str>]) -> anyhow::Result<()> {
            self.0.push((line, values.iter().map(|value| value.unwrap_or("-")).collect::<Vec<_>>().join("|")));
            Ok(())
        }

        fn batch(&mut self, _line: u64, _batch: arrow::array::RecordBatch) -> anyhow::Result<()> {
            Ok(())
        }

        fn bad(&mut self, line: u64, why: String) {
            self.0.push((line, format!("bad: {why}")));
        }

        fn blank(&mut self) {}

        fn file(&mut self, _name: &str, _described: String) {}
    }

    #[test]
    fn what_a_stream_has_that_is_no_text_is_a_named_row() {
        let columns = text_schema(vec!["a".to_owned(), "b".to_owned()]);
        let mut kept = Kept::default();
        let stream: &[u8] = b"a,b\n1,x\n2,\xe9\n3,\n4,\"y\0\"\n5\n6,z\n";
        read_stream(stream, &columns, &mut kept).unwrap();
        let said: Vec<String> = kept.0.into_iter().map(|(line, text)| format!("{line} {text}")).collect();
        assert_eq!(
            said,
            [
                "1 1|x",
                "2 bad: has bytes that are not of the encoding",
                "3 3|-",
                "4 bad: has a NUL byte",
                "5 bad: has 1 of 2 fields",
                "6 6|z"
            ]
        );
        let long = [b"a,b\n1,".as_slice(), &vec![b'x'; 3 << 20], b"\n"].concat();
        let fault = read_stream(std::io::Cursor::new(long), &columns, &mut Kept::default()).unwrap_err();
        assert!(format!("{fault:#}").starts_with("row 1: a record is longer than 1 MiB"), "{fault:#}");
    }
}
