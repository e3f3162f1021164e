//! The sheets of workbooks, cell by cell: XLSX as a stream, and XLS and ODS as a whole.

use std::fs::File;
use std::io::{BufReader, Read, sink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use anyhow::{Context, bail};
use calamine::{
    Data, DataRef, ExcelDateTime, Reader as _, SheetType, SheetVisible, Sheets, Xlsx, open_workbook, open_workbook_auto,
};
use quick_xml::events::{BytesStart, Event};

/// Bytes of an unpacked workbook at most. A small file can hold gigabytes of zeros.
const UNPACKED: u64 = 1 << 30;

/// Bytes at most of a workbook that is read as a whole.
const WHOLE: u64 = 64 << 20;

/// Cells at most of a sheet that is read as a whole.
const MOST_CELLS: u64 = 5_000_000;

/// Columns of a sheet at most. Cells beyond are an accident of formatting.
const WIDEST: usize = 4096;

/// One row of a sheet, from its first column.
pub(super) struct Row {
    pub(super) number: u64,
    pub(super) cells: Vec<Option<String>>,
    /// The first formula error of a cell.
    pub(super) fault: Option<String>,
}

impl Row {
    fn of(number: u64) -> Self {
        Self { number, cells: Vec::new(), fault: None }
    }

    fn put(&mut self, column: usize, value: Result<Option<String>, String>) -> anyhow::Result<()> {
        if column >= WIDEST {
            bail!("row {} has a cell in column {column}: a sheet is read up to column {WIDEST}", self.number);
        }
        match value {
            Err(fault) => {
                let place = column.saturating_add(1);
                self.fault.get_or_insert_with(|| format!("has a formula's error {fault} in column {place}"));
            }
            Ok(None) => {}
            Ok(text) => {
                self.cells.resize(self.cells.len().max(column.saturating_add(1)), None);
                if let Some(slot) = self.cells.get_mut(column) {
                    *slot = text;
                }
            }
        }
        Ok(())
    }
}

/// An open workbook.
pub(super) enum Book {
    Stream(Box<Xlsx<BufReader<File>>>),
    Whole(Box<Sheets<BufReader<File>>>),
}

impl Book {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
        if extension == "xls" || extension == "ods" {
            let bytes = std::fs::metadata(path)?.len();
            if bytes > WHOLE {
                bail!("it has more than {} MiB: save it as XLSX or CSV", WHOLE >> 20);
            }
            if extension == "ods" {
                unpacks_within(path, UNPACKED)?;
                repeats_within(path, MOST_CELLS)?;
            }
            let book = guarded(|| open_workbook_auto(path).context("it is no workbook"))?;
            return Ok(Self::Whole(Box::new(book)));
        }
        unpacks_within(path, UNPACKED)?;
        let book = guarded(|| open_workbook(path).context("it is no XLSX workbook"))?;
        Ok(Self::Stream(Box::new(book)))
    }

    /// The names of its sheets of cells that people see.
    pub(super) fn names(&self) -> Vec<String> {
        let sheets = match self {
            Self::Stream(book) => book.sheets_metadata(),
            Self::Whole(book) => book.sheets_metadata(),
        };
        let shown = sheets.iter().filter(|s| s.typ == SheetType::WorkSheet && s.visible == SheetVisible::Visible);
        shown.map(|sheet| sheet.name.clone()).collect()
    }

    /// The names of all its sheets.
    fn all_names(&self) -> Vec<String> {
        match self {
            Self::Stream(book) => book.sheet_names(),
            Self::Whole(book) => book.sheet_names(),
        }
    }

    /// Gives a sheet's rows to `each`, in order, until it returns `false`.
    pub(super) fn rows(
        &mut self,
        sheet: &str,
        each: &mut dyn FnMut(&Row) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        if !self.all_names().iter().any(|name| name == sheet) {
            bail!("it has no sheet '{sheet}': it has {}", self.all_names().join(", "));
        }
        match self {
            Self::Stream(book) => {
                let mut cells = book.worksheet_cells_reader(sheet)?;
                let mut row = Row::of(0);
                while let Some(cell) = guarded(|| Ok(cells.next_cell()?))? {
                    let (number, column) = cell.get_position();
                    let (number, column) = (u64::from(number).saturating_add(1), usize::try_from(column)?);
                    if number != row.number {
                        if row.number > 0 && !each(&row)? {
                            return Ok(());
                        }
                        row = Row::of(number);
                    }
                    row.put(column, text(cell.get_value()))?;
                }
                if row.number > 0 {
                    each(&row)?;
                }
            }
            Self::Whole(book) => {
                let range = guarded(|| Ok(book.worksheet_range(sheet)?))?;
                let (first, left) = range.start().unwrap_or_default();
                for (number, cells) in (u64::from(first).saturating_add(1)..).zip(range.rows()) {
                    let mut row = Row::of(number);
                    for (column, cell) in (usize::try_from(left)?..).zip(cells) {
                        row.put(column, text_of(cell))?;
                    }
                    if !each(&row)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

/// A cell as people would type it: dates in ISO form, and numbers without a useless fraction. The error is a formula's.
fn text(value: &DataRef<'_>) -> Result<Option<String>, String> {
    let text = match value {
        DataRef::Empty => return Ok(None),
        DataRef::Error(fault) => return Err(fault.to_string()),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(truth) => truth.to_string(),
        DataRef::DateTime(moment) => moment_text(moment),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
    };
    Ok((!text.is_empty()).then_some(text))
}

fn text_of(value: &Data) -> Result<Option<String>, String> {
    let text = match value {
        Data::Empty => return Ok(None),
        Data::Error(fault) => return Err(fault.to_string()),
        Data::Int(number) => number.to_string(),
        Data::Float(number) => number.to_string(),
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => text.clone(),
        Data::Bool(truth) => truth.to_string(),
        Data::DateTime(moment) => moment_text(moment),
    };
    Ok((!text.is_empty()).then_some(text))
}

/// A day, or a time of day: a spreadsheet keeps that as a part of its day 0, at the end of 1899.
fn moment_text(moment: &ExcelDateTime) -> String {
    if moment.is_duration() {
        return moment.as_f64().to_string();
    }
    let (year, month, day, hour, minute, second, _) = moment.to_ymd_hms_milli();
    if moment.as_f64() < 1.0 {
        return format!("{hour:02}:{minute:02}:{second:02}");
    }
    match (hour, minute, second) {
        (0, 0, 0) => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"),
    }
}

/// A step of the library's readers. *Attack: a damaged workbook.* Some of the library's checks end in a panic.
fn guarded<T>(step: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    catch_unwind(AssertUnwindSafe(step))
        .unwrap_or_else(|_| bail!("the workbook is damaged: save it again as XLSX or CSV"))
}

/// Refuses an ODS workbook whose sheets become too large. *Attack: a few bytes that repeat a cell a million times.* The
/// library makes every cell up to the last one. The XML is read as the library reads it, so that no spelling of a tag
/// hides a repetition from the one and not from the other.
fn repeats_within(path: &Path, most: u64) -> anyhow::Result<()> {
    let mut archive = zip::ZipArchive::new(BufReader::new(File::open(path)?)).context("it is no ODS workbook")?;
    let content = archive.by_name("content.xml").context("it is no ODS workbook")?;
    let mut xml = quick_xml::Reader::from_reader(BufReader::new(content));
    let config = xml.config_mut();
    (config.check_end_names, config.check_comments, config.expand_empty_elements) = (false, false, true);
    let (mut rows, mut widest, mut blank) = (0_u64, 0_u64, 0_u64);
    let (mut repeat, mut column, mut last) = (1_u64, 0_u64, 0_u64);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match xml.read_event_into(&mut buffer).context("it is no ODS workbook")? {
            Event::Eof => return Ok(()),
            Event::Start(tag) => match tag.name().as_ref() {
                "table:table" => (rows, widest, blank) = (0, 0, 0),
                "table:table-row" => (repeat, column, last) = (repeated(&tag, "table:number-rows-repeated")?, 0, 0),
                "table:table-cell" | "table:covered-table-cell" => {
                    column = column.saturating_add(repeated(&tag, "table:number-columns-repeated")?);
                    if tag.attributes_raw().contains("value") || tag.attributes_raw().contains("formula") {
                        last = column;
                    }
                }
                // What stands in a cell.
                name if name.starts_with("text:") => last = column,
                _ => {}
            },
            Event::End(tag) if tag.name().as_ref() == "table:table-row" => {
                blank = blank.saturating_add(repeat);
                if last > 0 {
                    (rows, blank) = (rows.saturating_add(blank), 0);
                    widest = widest.max(last);
                }
            }
            _ => {}
        }
        if rows.saturating_mul(widest) > most {
            bail!("a sheet has more than {} million cells: save it as XLSX or CSV", most / 1_000_000);
        }
    }
}

/// How often a row or cell is repeated.
fn repeated(tag: &BytesStart<'_>, attribute: &str) -> anyhow::Result<u64> {
    let Some(found) = tag.try_get_attribute(attribute)? else { return Ok(1) };
    found.value.parse().with_context(|| format!("{attribute} is no number: save it as XLSX or CSV"))
}

/// Unpacks every part without keeping it, and stops above the limit. The sizes that an archive states may be false.
fn unpacks_within(path: &Path, limit: u64) -> anyhow::Result<()> {
    let mut archive = zip::ZipArchive::new(BufReader::new(File::open(path)?)).context("it is no XLSX workbook")?;
    let mut left = limit;
    for part in 0..archive.len() {
        let part = archive.by_index(part).context("a part of the workbook cannot be read")?;
        let unpacked = std::io::copy(&mut part.take(left.saturating_add(1)), &mut sink());
        left = match left.checked_sub(unpacked.context("a part of the workbook cannot be unpacked")?) {
            Some(left) => left,
            None => bail!("it unpacks to more than {} MiB: it is not read", limit >> 20),
        };
    }
    Ok(())
}
