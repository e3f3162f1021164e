//! Workbooks of spreadsheets: one sheet of each, or several of one shape.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use arrow::datatypes::SchemaRef;

use super::sheets::{Book, Row};
use crate::ingest::finding::Finding;
use crate::ingest::source::config::SourceEntry;
use crate::ingest::source::header::{Header, Rename, padded, places, text_schema, usual_width};
use crate::ingest::source::kind::SourceKind;
use crate::ingest::source::reader::{FileFormat, Files, Paths, Reader, Sink, file_name};

/// The number of rows in which a header is looked for.
const MAX_PREAMBLE: u64 = 100;

/// The column with the name of a row's sheet, where several are read.
const SHEET: &str = "sheet";

/// The rows of a sheet that are looked at for its header.
const FIRST: usize = 60;

/// Sheets of each of several workbooks. Without a name, the first that people see.
#[derive(Clone, Debug)]
pub(crate) struct WorkbookSource {
    pub(crate) paths: Paths,
    pub(crate) sheets: Vec<String>,
    pub(crate) header: Header,
}

impl SourceKind for WorkbookSource {
    fn from_entry(entry: &SourceEntry, base: &Path) -> Result<Self, String> {
        let sheets = entry.sheet.as_ref().map(|sheet| sheet.names()).unwrap_or_default();
        Ok(Self { paths: entry.paths(base, "xlsx")?, sheets, header: entry.header()? })
    }

    fn paths(&self) -> Option<&Paths> {
        Some(&self.paths)
    }

    fn paths_mut(&mut self) -> Option<&mut Paths> {
        Some(&mut self.paths)
    }

    fn open(&self, rename: &Rename, read_before: &[PathBuf]) -> anyhow::Result<Box<dyn Reader>> {
        let opened = open(self.paths.files()?, self.sheets.clone(), self.header.clone(), rename.clone())?;
        Ok(Box::new(opened.past(read_before)))
    }

    /// Sheets that nobody has named and that are not read.
    fn findings(&self, source: &str) -> Vec<Finding> {
        if !self.sheets.is_empty() {
            return Vec::new();
        }
        let others = |path: &PathBuf| {
            let names = Book::open(path).ok()?.names();
            let (first, others) = names.split_first().filter(|(_, others)| !others.is_empty())?;
            let others = others.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
            Some(Finding::new(
                format!("sheets:{source}"),
                file_name(path),
                format!("its sheet '{first}' is read, and it has others: {others}"),
                "name the sheet that has the rows (sheet = \"...\"), or several of one shape (sheet = [\"...\", \"...\"])",
            ))
        };
        self.paths.files().unwrap_or_default().iter().find_map(others).into_iter().collect()
    }

    fn copy(&self) -> Box<dyn SourceKind> {
        Box::new(self.clone())
    }
}

struct Workbook {
    sheets: Vec<String>,
    header: Header,
    rename: Rename,
}

fn open(files: Vec<PathBuf>, sheets: Vec<String>, header: Header, rename: Rename) -> anyhow::Result<Files<Workbook>> {
    let first = files.first().context("no file")?;
    let format = Workbook { sheets, header, rename };
    let names = format.names(first).with_context(|| file_name(first))?;
    Ok(Files { columns: text_schema(names), paths: files, format })
}

/// A sheet's name, and its first rows as they stand.
pub(crate) struct FirstRows {
    pub(crate) sheet: String,
    pub(crate) rows: Vec<Vec<String>>,
}

/// The first rows of each sheet of a workbook, for a search for its header.
pub(crate) fn first_rows(path: &Path) -> anyhow::Result<Vec<FirstRows>> {
    let mut book = Book::open(path).with_context(|| file_name(path))?;
    let mut sheets = Vec::new();
    for sheet in book.names() {
        let mut rows: Vec<Vec<String>> = Vec::new();
        let read = book.rows(&sheet, &mut |row| {
            // The reader gives no rows without cells. They show as gaps between the numbers.
            while (rows.len() as u64) + 1 < row.number && rows.len() < FIRST {
                rows.push(Vec::new());
            }
            rows.push(row.cells.iter().map(|cell| cell.clone().unwrap_or_default().trim().to_owned()).collect());
            Ok(rows.len() < FIRST)
        });
        read.with_context(|| file_name(path))?;
        sheets.push(FirstRows { sheet, rows });
    }
    Ok(sheets)
}

fn named(header: &Header, row: &Row) -> Option<Vec<String>> {
    if let Header::Given(names) = header {
        return Some(names.clone());
    }
    let filled = row.cells.iter().rposition(Option::is_some).map_or(0, |last| last.saturating_add(1));
    let cells: Vec<&str> = row.cells.iter().take(filled).map(|cell| cell.as_deref().unwrap_or("")).collect();
    header.names(row.number, &cells)
}

impl Workbook {
    /// The sheets of a workbook that are read.
    fn sheets_of(&self, book: &Book) -> anyhow::Result<Vec<String>> {
        match self.sheets.as_slice() {
            [] => Ok(vec![book.names().into_iter().next().context("it has no sheet")?]),
            named => Ok(named.to_vec()),
        }
    }

    /// The names of the columns, from the first sheet.
    fn names(&self, path: &Path) -> anyhow::Result<Vec<String>> {
        let mut book = Book::open(path)?;
        let sheets = self.sheets_of(&book)?;
        let first = sheets.first().context("it has no sheet")?;
        let (mut names, mut widths) = (Vec::new(), Vec::new());
        book.rows(first, &mut |row| {
            if names.is_empty() {
                let Some(found) = named(&self.header, row) else { return Ok(row.number < MAX_PREAMBLE) };
                names = found;
            } else {
                widths.push(row.cells.len());
            }
            Ok(widths.len() < FIRST)
        })?;
        if names.is_empty() {
            bail!("the sheet has no header: {} was expected", self.header.describe());
        }
        // The last cells of a header may be blank above columns that are not.
        let width = if matches!(self.header, Header::Given(_)) { 0 } else { usual_width(&widths) };
        Ok(self.columns(padded(names, width)))
    }

    /// The columns of a header with these names.
    fn columns(&self, names: Vec<String>) -> Vec<String> {
        let sheet = (self.sheets.len() > 1).then(|| SHEET.to_owned());
        self.rename.apply(names).into_iter().chain(sheet).collect()
    }
}

impl FileFormat for Workbook {
    fn read_file(&self, path: &Path, columns: &SchemaRef, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let mut book = Book::open(path)?;
        let sheets = self.sheets_of(&book)?;
        let name = file_name(path);
        for sheet in &sheets {
            // Lines are those of a sheet.
            match self.sheets.as_slice() {
                [] => sink.file(&name, "workbook, sheet 1".to_owned()),
                [_] => sink.file(&name, format!("workbook, sheet {sheet}")),
                _ => sink.file(&format!("{name} [{sheet}]"), format!("workbook, sheet {sheet}")),
            }
            self.read_sheet(&mut book, sheet, columns, sink).with_context(|| format!("sheet '{sheet}'"))?;
        }
        Ok(())
    }
}

impl Workbook {
    fn read_sheet(&self, book: &mut Book, sheet: &str, columns: &SchemaRef, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let own = columns.fields().len().saturating_sub(usize::from(self.sheets.len() > 1));
        let given = matches!(self.header, Header::Given(_));
        let mut order: Option<Vec<usize>> = given.then(|| (0..columns.fields().len()).collect());
        book.rows(sheet, &mut |row| {
            let Some(order) = &order else {
                match named(&self.header, row) {
                    Some(names) => order = Some(places(columns, &self.columns(padded(names, own)))?),
                    None if row.number >= MAX_PREAMBLE => bail!("the sheet has no header: {}", self.header.describe()),
                    None => {}
                }
                return Ok(true);
            };
            if row.cells.iter().all(Option::is_none) {
                sink.blank();
            } else if let Some(fault) = &row.fault {
                sink.bad(row.number, fault.clone());
            } else if row.cells.iter().skip(own).any(Option::is_some) {
                sink.bad(row.number, format!("has cells beyond its {own} columns"));
            } else {
                let cell = |place: &usize| match *place == own {
                    true => Some(sheet),
                    false => row.cells.get(*place).and_then(Option::as_deref),
                };
                let values: Vec<Option<&str>> = order.iter().map(cell).collect();
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
