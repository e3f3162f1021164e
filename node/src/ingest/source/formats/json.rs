//! NDJSON: one object in each line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use arrow::datatypes::SchemaRef;
use serde_json::{Map, Value};

use crate::ingest::source::config::SourceEntry;
use crate::ingest::source::header::{Rename, text_schema};
use crate::ingest::source::kind::SourceKind;
use crate::ingest::source::reader::{FileFormat, Files, Paths, Reader, Sink, file_name};

/// Bytes of one line at most.
const MAX_LINE: u64 = 1 << 20;

/// The number of lines of the first file that are searched for its fields.
const LOOKED_AT: usize = 10_000;

/// Files with one JSON object a line.
#[derive(Clone, Debug)]
pub(crate) struct JsonSource {
    pub(crate) paths: Paths,
}

impl SourceKind for JsonSource {
    fn from_entry(entry: &SourceEntry, base: &Path) -> Result<Self, String> {
        Ok(Self { paths: entry.paths(base, "ndjson")? })
    }

    fn paths(&self) -> Option<&Paths> {
        Some(&self.paths)
    }

    fn paths_mut(&mut self) -> Option<&mut Paths> {
        Some(&mut self.paths)
    }

    fn open(&self, _rename: &Rename, read_before: &[PathBuf]) -> anyhow::Result<Box<dyn Reader>> {
        Ok(Box::new(open(self.paths.files()?)?.past(read_before)))
    }

    fn copy(&self) -> Box<dyn SourceKind> {
        Box::new(self.clone())
    }
}

struct Ndjson;

fn open(files: Vec<PathBuf>) -> anyhow::Result<Files<Ndjson>> {
    let mut names: Vec<String> = Vec::new();
    let first = files.first().context("no file")?;
    let mut lines = Lines::open(first)?;
    for _ in 0..LOOKED_AT {
        let Some((_, text)) = lines.next().with_context(|| file_name(first))? else { break };
        if let Ok(Value::Object(object)) = serde_json::from_slice(text) {
            for name in object.keys() {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
    }
    if names.is_empty() {
        bail!("{}: no line of it is a JSON object", file_name(first));
    }
    Ok(Files { columns: text_schema(names), paths: files, format: Ndjson })
}

impl FileFormat for Ndjson {
    fn read_file(&self, path: &Path, columns: &SchemaRef, sink: &mut dyn Sink) -> anyhow::Result<()> {
        sink.file(&file_name(path), "utf-8, one object a line".to_owned());
        let mut lines = Lines::open(path)?;
        while let Some((number, text)) = lines.next()? {
            if text.iter().all(u8::is_ascii_whitespace) {
                sink.blank();
                continue;
            }
            match serde_json::from_slice(text) {
                Ok(Value::Object(object)) => row(columns, number, &object, sink)?,
                Ok(_) => sink.bad(number, "is no JSON object".to_owned()),
                Err(fault) => {
                    sink.bad(number, format!("is no JSON: {:?} in column {}", fault.classify(), fault.column()));
                }
            }
        }
        Ok(())
    }
}

fn row(columns: &SchemaRef, number: u64, object: &Map<String, Value>, sink: &mut dyn Sink) -> anyhow::Result<()> {
    // A field that first occurs later would be lost silently.
    if let Some(fresh) = object.keys().find(|name| columns.field_with_name(name).is_err()) {
        sink.bad(number, format!("has a field '{fresh}' that the first {LOOKED_AT} lines do not have"));
        return Ok(());
    }
    let texts: Vec<Option<String>> = columns
        .fields()
        .iter()
        .map(|field| match object.get(field.name()) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => (!text.is_empty()).then(|| text.clone()),
            Some(other) => Some(other.to_string()),
        })
        .collect();
    sink.row(number, &texts.iter().map(Option::as_deref).collect::<Vec<_>>())
}

struct Lines {
    input: BufReader<File>,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { input: BufReader::new(File::open(path)?), line: Vec::new(), number: 0 })
    }

    fn next(&mut self) -> anyhow::Result<Option<(u64, &[u8])>> {
        self.line.clear();
        let read = self.input.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.line)?;
        self.number = self.number.saturating_add(1);
        if read as u64 >= MAX_LINE {
            bail!("line {} is longer than 1 MiB", self.number);
        }
        let line =
            self.line.strip_prefix(b"\xEF\xBB\xBF".as_slice()).filter(|_| self.number == 1).unwrap_or(&self.line);
        Ok((read > 0).then_some((self.number, line)))
    }
}
