//! SQLite databases, each read in its state of one moment.

use std::path::{Path, PathBuf};

use anyhow::Context;
use arrow::datatypes::SchemaRef;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::ingest::source::config::SourceEntry;
use crate::ingest::source::header::{Rename, clean_names, places, text_schema};
use crate::ingest::source::kind::SourceKind;
use crate::ingest::source::reader::{FileFormat, Files, Paths, Reader, Sink, file_name};

/// One SELECT over each of several databases.
#[derive(Clone, Debug)]
pub(crate) struct SqliteSource {
    paths: Paths,
    query: String,
}

impl SourceKind for SqliteSource {
    fn from_entry(entry: &SourceEntry, base: &Path) -> Result<Self, String> {
        Ok(Self { paths: entry.paths(base, "sqlite")?, query: entry.query()? })
    }

    fn paths(&self) -> Option<&Paths> {
        Some(&self.paths)
    }

    fn paths_mut(&mut self) -> Option<&mut Paths> {
        Some(&mut self.paths)
    }

    fn is_database(&self) -> bool {
        true
    }

    fn open(&self, _rename: &Rename, _read_before: &[PathBuf]) -> anyhow::Result<Box<dyn Reader>> {
        Ok(Box::new(open(self.paths.files()?, self.query.clone())?))
    }

    fn copy(&self) -> Box<dyn SourceKind> {
        Box::new(self.clone())
    }
}

struct Sqlite {
    query: String,
}

/// Opens a database for reading only.
fn connect(path: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}

fn open(files: Vec<PathBuf>, query: String) -> anyhow::Result<Files<Sqlite>> {
    let first = files.first().context("no file")?;
    let connection = connect(first).with_context(|| file_name(first))?;
    let statement = connection.prepare(&query).with_context(|| file_name(first))?;
    let columns = text_schema(clean_names(statement.column_names()));
    drop(statement);
    Ok(Files { paths: files, columns, format: Sqlite { query } })
}

impl FileFormat for Sqlite {
    fn read_file(&self, path: &Path, columns: &SchemaRef, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let connection = connect(path)?;
        sink.file(&file_name(path), "SQLite".to_owned());
        // One statement reads one state of the database.
        let mut statement = connection.prepare(&self.query)?;
        let order = places(columns, &clean_names(statement.column_names()))?;
        let mut rows = statement.query([])?;
        let mut number = 0_u64;
        while let Some(row) = rows.next()? {
            number = number.saturating_add(1);
            let mut texts = Vec::with_capacity(order.len());
            let mut fault = None;
            for column in &order {
                texts.push(match row.get_ref(*column)? {
                    ValueRef::Null => None,
                    ValueRef::Integer(number) => Some(number.to_string()),
                    ValueRef::Real(number) => Some(number.to_string()),
                    ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                        Ok(text) => (!text.is_empty()).then(|| text.to_owned()),
                        Err(_) => {
                            fault = Some("has text that is not UTF-8");
                            None
                        }
                    },
                    ValueRef::Blob(_) => {
                        fault = Some("has a blob: leave it out of the query");
                        None
                    }
                });
            }
            match fault {
                Some(fault) => sink.bad(number, fault.to_owned()),
                None => sink.row(number, &texts.iter().map(Option::as_deref).collect::<Vec<_>>())?,
            }
        }
        Ok(())
    }
}
