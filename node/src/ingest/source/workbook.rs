//! XLSX sheets, cell by cell.

use std::fs::File;
use std::io::{BufReader, Read, sink};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use arrow::datatypes::SchemaRef;
use calamine::{DataRef, Reader as _, Xlsx, open_workbook};

use super::config::SourceEntry;
use super::header::{Header, Rename, places, text_schema};
use super::kind::SourceKind;
use super::reader::{FileFormat, Files, Paths, Reader, Sink, file_name};

/// Bytes of an unpacked workbook at most. A small file can hold gigabytes of zeros.
const UNPACKED: u64 = 1 << 30;

/// The number of rows in which a header is looked for.
const MAX_PREAMBLE: u64 = 100;

/// Columns of a sheet at most. Cells beyond are an accident of formatting.
const WIDEST: usize = 4096;

/// One sheet of each of several workbooks. Without a name, it is the first.
#[derive(Clone, Debug)]
pub(crate) struct WorkbookSource {
    pub(crate) paths: Paths,
    pub(crate) sheet: Option<String>,
    pub(crate) header: Header,
}

impl SourceKind for WorkbookSource {
    fn from_entry(entry: &SourceEntry, base: &Path) -> Result<Self, String> {
        Ok(Self { paths: entry.paths(base, "xlsx")?, sheet: entry.sheet.clone(), header: entry.header()? })
    }

    fn paths(&self) -> Option<&Paths> {
        Some(&self.paths)
    }

    fn paths_mut(&mut self) -> Option<&mut Paths> {
        Some(&mut self.paths)
    }

    fn open(&self, rename: &Rename, read_before: &[PathBuf]) -> anyhow::Result<Box<dyn Reader>> {
        let opened = open(self.paths.files()?, self.sheet.clone(), self.header.clone(), rename.clone())?;
        Ok(Box::new(opened.past(read_before)))
    }

    fn copy(&self) -> Box<dyn SourceKind> {
        Box::new(self.clone())
    }
}

struct Workbook {
    sheet: Option<String>,
    header: Header,
    rename: Rename,
}

fn open(files: Vec<PathBuf>, sheet: Option<String>, header: Header, rename: Rename) -> anyhow::Result<Files<Workbook>> {
    let first = files.first().context("no file")?;
    let mut names = Vec::new();
    let found = rows(first, sheet.as_deref(), &mut |row| {
        let Some(found) = named(&header, row) else { return Ok(row.number < MAX_PREAMBLE) };
        names = found;
        Ok(false)
    });
    found.with_context(|| file_name(first))?;
    if names.is_empty() {
        bail!("{}: the sheet has no header: {} was expected", file_name(first), header.describe());
    }
    let columns = text_schema(rename.apply(names));
    Ok(Files { columns, paths: files, format: Workbook { sheet, header, rename } })
}

/// The first rows of a workbook's first sheet, for a search for its header.
pub(crate) fn first_rows(path: &Path) -> anyhow::Result<Vec<Vec<String>>> {
    let mut first: Vec<Vec<String>> = Vec::new();
    rows(path, None, &mut |row| {
        // The reader gives no rows without cells. They show as gaps between the numbers.
        while (first.len() as u64) + 1 < row.number && first.len() < 40 {
            first.push(Vec::new());
        }
        first.push(row.cells.iter().map(|cell| cell.clone().unwrap_or_default().trim().to_owned()).collect());
        Ok(first.len() < 40)
    })
    .with_context(|| file_name(path))?;
    Ok(first)
}

/// One row of a sheet, from its first column.
struct Row {
    number: u64,
    cells: Vec<Option<String>>,
    /// The first formula error of a cell.
    fault: Option<String>,
}

fn named(header: &Header, row: &Row) -> Option<Vec<String>> {
    if let Header::Given(names) = header {
        return Some(names.clone());
    }
    let filled = row.cells.iter().rposition(Option::is_some).map_or(0, |last| last.saturating_add(1));
    let cells: Vec<&str> = row.cells.iter().take(filled).map(|cell| cell.as_deref().unwrap_or("")).collect();
    header.names(row.number, &cells)
}

impl FileFormat for Workbook {
    fn read_file(&self, path: &Path, columns: &SchemaRef, sink: &mut dyn Sink) -> anyhow::Result<()> {
        sink.file(&file_name(path), format!("XLSX, sheet {}", self.sheet.as_deref().unwrap_or("1")));
        let given = matches!(self.header, Header::Given(_));
        let mut order: Option<Vec<usize>> = given.then(|| (0..columns.fields().len()).collect());
        rows(path, self.sheet.as_deref(), &mut |row| {
            let Some(order) = &order else {
                match named(&self.header, row) {
                    Some(names) => order = Some(places(columns, &self.rename.apply(names))?),
                    None if row.number >= MAX_PREAMBLE => bail!("the sheet has no header: {}", self.header.describe()),
                    None => {}
                }
                return Ok(true);
            };
            if row.cells.iter().all(Option::is_none) {
                sink.blank();
            } else if let Some(fault) = &row.fault {
                sink.bad(row.number, fault.clone());
            } else if row.cells.iter().skip(order.len()).any(Option::is_some) {
                sink.bad(row.number, format!("has cells beyond its {} columns", order.len()));
            } else {
                let values: Vec<Option<&str>> =
                    order.iter().map(|place| row.cells.get(*place).and_then(Option::as_deref)).collect();
                sink.row(row.number, &values)?;
            }
            Ok(true)
        })?;
        // Without a header, all rows of the sheet would count as lines above one.
        if order.is_none() {
            bail!("the sheet has no header: {}", self.header.describe());
        }
        Ok(())
    }
}

/// Gives a sheet's rows to `each`, in order, until it returns `false`.
fn rows(path: &Path, sheet: Option<&str>, each: &mut dyn FnMut(&Row) -> anyhow::Result<bool>) -> anyhow::Result<()> {
    unpacks_within(path, UNPACKED)?;
    let mut book: Xlsx<BufReader<File>> = open_workbook(path).context("it is no XLSX workbook")?;
    let names = book.sheet_names();
    let name = match sheet {
        Some(name) if names.iter().any(|n| n == name) => name.to_owned(),
        Some(name) => bail!("it has no sheet '{name}': it has {}", names.join(", ")),
        None => names.first().context("it has no sheet")?.clone(),
    };
    let mut cells = book.worksheet_cells_reader(&name)?;
    let mut row = Row { number: 0, cells: Vec::new(), fault: None };
    while let Some(cell) = cells.next_cell()? {
        let (number, column) = cell.get_position();
        let (number, column) = (u64::from(number).saturating_add(1), usize::try_from(column)?);
        if number != row.number {
            if row.number > 0 && !each(&row)? {
                return Ok(());
            }
            row = Row { number, cells: Vec::new(), fault: None };
        }
        if column >= WIDEST {
            bail!("row {number} has a cell in column {column}: a sheet is read up to column {WIDEST}");
        }
        let text = match cell.get_value() {
            DataRef::Error(fault) => {
                row.fault.get_or_insert_with(|| format!("has a formula's error {fault} in column {}", column + 1));
                None
            }
            value => text(value),
        };
        if let Some(text) = text {
            row.cells.resize(row.cells.len().max(column.saturating_add(1)), None);
            if let Some(slot) = row.cells.get_mut(column) {
                *slot = Some(text);
            }
        }
    }
    if row.number > 0 {
        each(&row)?;
    }
    Ok(())
}

/// A cell as people would type it: dates in ISO form, and numbers without a useless fraction.
fn text(value: &DataRef<'_>) -> Option<String> {
    let text = match value {
        DataRef::Empty | DataRef::Error(_) => return None,
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(truth) => truth.to_string(),
        DataRef::DateTime(moment) if moment.is_duration() => moment.as_f64().to_string(),
        DataRef::DateTime(moment) => {
            let (year, month, day, hour, minute, second, _) = moment.to_ymd_hms_milli();
            match (hour, minute, second) {
                (0, 0, 0) => format!("{year:04}-{month:02}-{day:02}"),
                _ => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"),
            }
        }
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
    };
    (!text.is_empty()).then_some(text)
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
