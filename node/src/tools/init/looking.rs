//! A source as it looks: its columns, the rows that cannot be read, and those that are no records.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Context;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};

use super::draft::identifier;
use super::questions::Questions;
use crate::ingest::columns::profile::Profile;
use crate::ingest::columns::suspects::{Suspects, Suspicion};
use crate::ingest::finding::listed;
use crate::ingest::source::{FILE, LINE, Reader, Sink};

/// A source that was read once.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) profiles: Vec<Profile>,
    /// The rows that could not be read.
    pub(super) bad: Vec<(u64, String)>,
    /// The files and lines of rows that look like no records.
    suspects: BTreeMap<Suspicion, Vec<(String, u64)>>,
    /// A condition that leaves these rows out.
    pub(super) records: Option<String>,
}

/// Reads all of a source, and profiles its columns. Rows that look like no records are not among them.
pub(super) fn look(reader: &dyn Reader) -> anyhow::Result<Looked> {
    let schema = reader.columns();
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let mut looking = Looking {
        profiles: names.iter().map(|name| Profile::named(name)).collect(),
        suspects: Suspects::of(names),
        schema,
        bad: Vec::new(),
        lines: BTreeMap::new(),
        rows: Vec::new(),
        files: Vec::new(),
    };
    reader.read(&mut looking)?;
    let records = looking.records();
    let Looking { profiles, bad, lines, .. } = looking;
    Ok(Looked { profiles, bad, suspects: lines, records })
}

struct Looking {
    schema: SchemaRef,
    profiles: Vec<Profile>,
    suspects: Suspects,
    bad: Vec<(u64, String)>,
    lines: BTreeMap<Suspicion, Vec<(String, u64)>>,
    /// The cells of the suspects, the first of them.
    rows: Vec<Vec<Option<String>>>,
    files: Vec<String>,
}

/// The suspects whose cells are kept.
const KEPT: usize = 200;

impl Looking {
    /// A condition that leaves out all suspects, and no record.
    fn records(&self) -> Option<String> {
        if self.rows.is_empty() {
            return None;
        }
        let cells = |place: usize| self.rows.iter().map(move |row| row.get(place).and_then(Option::as_deref));
        let columns = || self.profiles.iter().enumerate();
        let always = |profile: &Profile| profile.present() == profile.rows && profile.rows > 0;
        // The columns that all records fill, and no suspect. A later record may lack one of them, and not all.
        let blank = columns().filter(|(place, profile)| always(profile) && cells(*place).all(|cell| cell.is_none()));
        let blank: Vec<String> = blank.map(|(_, profile)| identifier(&profile.name)).collect();
        match blank.as_slice() {
            [] => {}
            [only] => return Some(format!("{only} IS NOT NULL")),
            several => return Some(format!("COALESCE({}) IS NOT NULL", several.join(", "))),
        }
        // A column in which all suspects have what no record has.
        let own = columns().find_map(|(place, profile)| {
            let texts: BTreeSet<&str> = cells(place).map(|cell| cell.unwrap_or_default().trim()).collect();
            let apart =
                !texts.contains("") && texts.len() <= 5 && !texts.iter().any(|text| profile.values.contains_key(*text));
            (apart && !profile.overflows()).then_some((profile, texts))
        });
        if let Some((profile, texts)) = own {
            let list: Vec<String> = texts.iter().map(|text| literal(text)).collect();
            let name = identifier(&profile.name);
            return Some(format!("({name} IS NULL OR trim({name}) NOT IN ({}))", list.join(", ")));
        }
        self.by_line()
    }

    /// A condition that names the suspects' files and lines. `None`: two files of one name cannot be told apart.
    fn by_line(&self) -> Option<String> {
        let names: BTreeSet<&String> = self.files.iter().collect();
        if names.len() < self.files.len() {
            return None;
        }
        let mut files: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (file, line) in self.lines.values().flatten() {
            files.entry(file).or_default().push(line.to_string());
        }
        let each = files
            .iter()
            .map(|(file, lines)| format!("NOT ({FILE} = {} AND {LINE} IN ({}))", literal(file), lines.join(", ")));
        Some(each.collect::<Vec<_>>().join(" AND "))
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Sink for Looking {
    fn row(&mut self, line: u64, values: &[Option<&str>]) -> anyhow::Result<()> {
        let file = self.files.last().map_or("", String::as_str);
        if let Some(suspicion) = self.suspects.row(file, line, values) {
            self.lines.entry(suspicion).or_default().push((file.to_owned(), line));
            if self.rows.len() < KEPT {
                self.rows.push(values.iter().map(|value| value.map(str::to_owned)).collect());
            }
            return Ok(());
        }
        self.profiles.iter_mut().zip(values).for_each(|(column, value)| column.add(*value));
        Ok(())
    }

    fn batch(&mut self, _line: u64, batch: RecordBatch) -> anyhow::Result<()> {
        for (column, field) in self.profiles.iter_mut().zip(self.schema.fields()) {
            let values = batch.column_by_name(field.name()).context("a column is missing")?;
            let texts = cast(values, &DataType::Utf8)?;
            let texts = texts.as_string::<i32>();
            (0..texts.len()).for_each(|row| column.add(texts.is_valid(row).then(|| texts.value(row))));
        }
        Ok(())
    }

    fn bad(&mut self, line: u64, why: String) {
        self.bad.push((line, why));
    }

    fn blank(&mut self) {}

    fn file(&mut self, path: &str, _how: String) {
        self.files.push(path.to_owned());
        self.suspects.file();
    }
}

impl Looked {
    pub(super) fn rows(&self) -> u64 {
        self.profiles.first().map_or(0, |column| column.rows)
    }

    /// Tells the suspects, and asks about them.
    pub(super) fn tell(&self, source: &str, told: &mut String, questions: &mut Questions) {
        for (suspicion, lines) in &self.suspects {
            let lines = listed(lines.iter().map(|(file, line)| format!("{file} line {line}")), lines.len() as u64);
            let _infallible = writeln!(told, "  {lines}: {}", suspicion.words());
            // The check asks about other such rows, that the mapping takes.
            questions.ask(
                format!("left-out:{}:{source}", suspicion.name()),
                format!("{lines}: these look {}. The mapping leaves them out. Is that right?", suspicion.words()),
            );
        }
    }
}
