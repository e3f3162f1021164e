//! `loda-node init`: looks at extracts, and writes a first mapping and the questions that remain.
//!
//! Without a contract, it also drafts one. A draft is a borough's proposal, because the federation agrees on contracts.

mod draft;
mod header_search;
mod looking;
mod questions;
mod workbooks;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use loda_contract::{Column, Contract, Domain, Role};
use loda_identity::Gss;

use self::draft::{DraftSource, Mapping, contract_of, mapping_of};
use self::header_search::header_of;
use self::looking::{Looked, look};
use self::questions::Questions;
use self::workbooks::chosen;
use crate::ingest::columns::judgement::{Uses, of_columns};
use crate::ingest::columns::markers::Marker;
use crate::ingest::columns::profile::{Profile, is_month};
use crate::ingest::source::{
    CsvRules, CsvSource, Format, Header, JsonSource, ParquetSource, Paths, Source, Unpivot, WorkbookSource,
    first_records,
};

/// Data that are older than so many days may describe another day.
const OLD: i64 = 120;

/// A table is wide if it has so many columns that are named after months.
const WIDE: usize = 6;

/// The files to look at, and the folder to write to.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) borough: Gss,
    /// The dataset's name, for a draft of a contract.
    pub(crate) name: String,
    pub(crate) files: Vec<PathBuf>,
    /// The agreed contract, if there is one.
    pub(crate) contract: Option<PathBuf>,
    pub(crate) out: PathBuf,
    pub(crate) as_at: chrono::NaiveDate,
    /// The sheets of workbooks to read; empty: they are chosen.
    pub(crate) sheets: Vec<String>,
}

/// Files of one format and header.
struct Group {
    name: String,
    files: Vec<PathBuf>,
    format: Format,
    header: Header,
    sheets: Vec<String>,
    unpivot: Option<Unpivot>,
    looked: Looked,
    rows: u64,
}

/// Writes node.toml, and a contract if none is given. Returns the findings, and the questions that remain.
///
/// # Errors
/// A file cannot be read, or a file would be overwritten.
pub(crate) fn init(request: &Request) -> anyhow::Result<String> {
    let mut told = String::new();
    let mut questions = Questions::default();
    let mut groups = grouped(request, &mut told, &mut questions)?;
    for group in &mut groups {
        let found = look(group.source().reader()?.as_ref())?;
        group.rows = found.rows();
        let early = found.bad.iter().filter(|(_, why)| why.contains("ends early")).count() as u64;
        if early > group.rows / 100 {
            questions.ask(
                format!("early:{}", group.name),
                format!(
                    "{}: {early} rows end early. If the system leaves out empty columns at the end, set pad = true for it.",
                    group.name
                ),
            );
        }
        let _infallible = writeln!(told, "{}: {} rows in {} files", group.name, group.rows, group.files.len());
        for (line, why) in found.bad.iter().take(5) {
            let _infallible = writeln!(told, "  line {line} {why}");
        }
        found.tell(&group.name, &mut told, &mut questions);
        group.looked = found;
    }
    for group in &mut groups {
        group.letters_that_stand_for_nothing();
    }
    // A wide table becomes long before it is described.
    for group in &mut groups {
        group.widen()?;
    }
    let sources: Vec<DraftSource<'_>> = groups
        .iter()
        .map(|group| DraftSource {
            name: group.name.as_str(),
            columns: group.looked.profiles.as_slice(),
            records: group.looked.records.clone(),
        })
        .collect();
    let (contract, draft) = match &request.contract {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            (Contract::parse(&text, &path.display().to_string())?, None)
        }
        None => {
            let text = contract_of(&request.name, &sources, &mut questions)?;
            let contract = Contract::parse(&text, "the draft")?;
            (contract, Some(text))
        }
    };
    let mapping = mapping_of(&contract, &request.borough, &sources, &mut questions);
    let declared: Vec<Declared> = groups.iter().map(|group| Declared::of(group, &contract, &mut questions)).collect();
    age(request, &sources, &mut questions);
    // What the check would find too.
    for group in &groups {
        let columns = group.looked.profiles.iter().map(|profile| profile.name.clone()).collect();
        let uses = Uses { columns, ..Uses::default() };
        for found in of_columns(&group.name, &group.looked.profiles, &uses) {
            if found.key.starts_with("rounded:") || found.key.starts_with("header:") {
                questions.ask(found.key, format!("{}: {}. {}.", found.place, found.seen, found.fix));
            }
        }
    }
    let contract_path = match (&request.contract, draft) {
        (Some(path), _) => relative(path, &request.out)?,
        (None, text) => {
            let path = PathBuf::from("contracts").join(format!("{}.toml", contract.dataset));
            put(&request.out.join(&path), &text.unwrap_or_default(), &mut told)?;
            path
        }
    };
    let entry = dataset_entry(request, &contract_path, &groups, &declared, &mapping, &questions)?;
    let node = request.out.join("node.toml");
    if node.exists() {
        let before = std::fs::read_to_string(&node)?;
        std::fs::write(&node, format!("{before}\n{entry}"))?;
        let _infallible = writeln!(told, "added the dataset to {}", node.display());
    } else {
        put(&node, &format!("{}\n{entry}", head(&request.borough)), &mut told)?;
    }
    let _infallible = writeln!(told, "\nTo decide, before this is served:");
    for (number, (key, question)) in questions.iter().enumerate() {
        let _infallible = writeln!(told, "  {}. {key}: {question}", number + 1);
    }
    let _infallible = writeln!(
        told,
        "\nNext: correct contract and mapping, say so with loda-node decide, and run loda-node check --config {}",
        node.display()
    );
    Ok(told)
}

/// Groups files by format and header.
fn grouped(request: &Request, told: &mut String, questions: &mut Questions) -> anyhow::Result<Vec<Group>> {
    let mut groups: Vec<(Vec<String>, Group)> = Vec::new();
    if request.files.is_empty() {
        bail!("no file: name the extracts to look at");
    }
    for file in &request.files {
        let extension = file.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
        let mut sheets = Vec::new();
        let (format, found) = match extension.as_str() {
            "csv" | "txt" | "tsv" => {
                let found = header_of(&first_records(file, &CsvRules::default())?);
                let found = found.with_context(|| format!("{}: it holds no table", file.display()))?;
                (Format::Csv, Some(found))
            }
            "xlsx" | "xlsm" | "xls" | "ods" => {
                let mut lines = Vec::new();
                let chosen = chosen(file, &request.sheets, &mut lines, questions)?;
                lines.iter().for_each(|line| told.push_str(&format!("{line}\n")));
                sheets = chosen.sheets;
                (Format::Xlsx, Some(chosen.found))
            }
            "ndjson" | "jsonl" => (Format::Ndjson, None),
            "parquet" => (Format::Parquet, None),
            _ => bail!(
                "{}: csv, ndjson, xlsx, xls, ods and parquet are looked at here; a database is written into node.toml by \
                 hand (deploy/sample/node.toml)",
                file.display()
            ),
        };
        if found.as_ref().is_some_and(|found| found.is_doubtful) {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            questions.ask(
                "header",
                format!(
                    "{name}: no record surely names the columns, so they are numbered. If one does, write header = and its \
                     line (header = 1) in place of columns."
                ),
            );
        }
        let (names, header) = found.map_or((Vec::new(), Header::At(1)), |found| (found.names, found.header));
        // Files with the same columns in another order are read together.
        let mut key = names.clone();
        key.sort();
        key.push(format!("{format:?} {sheets:?}"));
        match groups.iter_mut().find(|(of, _)| *of == key) {
            Some((_, group)) => {
                group.files.push(file.clone());
                // If one file has a title above its header, the header is searched for in all files.
                if let Header::With(_) = header {
                    group.header = header;
                }
            }
            None => {
                let name = format!("source_{}", groups.len() + 1);
                let (files, looked) = (vec![file.clone()], Looked::default());
                let group = Group { name, files, format, header, sheets, unpivot: None, looked, rows: 0 };
                groups.push((key, group));
            }
        }
    }
    if groups.len() > 1 {
        let _infallible =
            writeln!(told, "the files have {} different headers: each is a source of its own", groups.len());
    }
    Ok(groups.into_iter().map(|(_, group)| group).collect())
}

/// Asks whether data are as old as they look.
fn age(request: &Request, sources: &[DraftSource<'_>], questions: &mut Questions) {
    let newest = sources.iter().flat_map(|source| source.columns).filter_map(|column| column.dates).map(|(_, to)| to);
    let newest = newest.filter(|day| *day <= request.as_at).max();
    if let Some(newest) = newest.filter(|newest| (request.as_at - *newest).num_days() > OLD) {
        questions.ask(
            "as-at",
            format!(
                "The newest date in the data is {newest}, and the draft says as_at = {}: which day do the data describe?",
                request.as_at
            ),
        );
    }
}

impl Group {
    fn source(&self) -> Source {
        let paths = |extension| Paths { patterns: self.files.clone(), extension };
        let (name, header) = (self.name.clone(), self.header.clone());
        let plain = |kind| Source::plain(name, self.format, kind);
        match self.format {
            Format::Ndjson => plain(Box::new(JsonSource { paths: paths("ndjson") })),
            Format::Parquet => plain(Box::new(ParquetSource { paths: paths("parquet") })),
            Format::Xlsx => {
                let sheets = self.sheets.clone();
                plain(Box::new(WorkbookSource { paths: paths("xlsx"), sheets, header }))
            }
            Format::Csv | Format::Sqlite | Format::Postgres => {
                let rules = CsvRules { header, ..CsvRules::default() };
                plain(Box::new(CsvSource { paths: paths("csv"), rules }))
            }
        }
    }

    /// Turns columns that are named after months into rows.
    fn widen(&mut self) -> anyhow::Result<()> {
        let months = |profile: &&Profile| is_month(&profile.name);
        if self.looked.profiles.iter().filter(months).count() < WIDE {
            return Ok(());
        }
        let keep: Vec<String> =
            self.looked.profiles.iter().filter(|p| !is_month(&p.name)).map(|p| p.name.clone()).collect();
        let (wide, mut kept): (Vec<Profile>, Vec<Profile>) =
            std::mem::take(&mut self.looked.profiles).into_iter().partition(|p| is_month(&p.name));
        let rows = self.rows.saturating_mul(wide.len() as u64);
        kept.iter_mut().for_each(|profile| profile.times(wide.len() as u64));
        kept.push(Profile::of_names("month", wide.iter().map(|p| p.name.as_str()), self.rows));
        kept.push(Profile::together("value", wide));
        self.rows = rows;
        self.looked.profiles = kept;
        self.unpivot = Some(Unpivot { keep, name: "month".to_owned(), value: "value".to_owned() });
        Ok(())
    }
}

impl Group {
    /// A letter that marks a missing number is no code of another column.
    fn letters_that_stand_for_nothing(&mut self) {
        let of =
            |profile: &Profile| profile.missing().into_iter().map(|(text, ..)| text.to_owned()).collect::<Vec<_>>();
        let texts: BTreeSet<String> = self.looked.profiles.iter().flat_map(of).collect();
        for profile in &mut self.looked.profiles {
            texts.iter().for_each(|text| profile.stands_for_nothing(text));
        }
    }
}

/// The texts of a source that stand for nothing.
struct Declared {
    everywhere: BTreeSet<String>,
    columns: BTreeMap<String, BTreeSet<String>>,
}

impl Declared {
    /// What the columns have, aside from words that the contract has as codes.
    fn of(group: &Group, contract: &Contract, questions: &mut Questions) -> Self {
        let code = |text: &str| {
            let has = |column: &Column| match &column.role {
                Role::Dimension(Domain::Codes(codes)) => codes.iter().any(|code| code.eq_ignore_ascii_case(text)),
                _ => false,
            };
            contract.columns.iter().any(has)
        };
        let (mut everywhere, mut columns) = (BTreeSet::new(), BTreeMap::<String, BTreeSet<String>>::new());
        let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for profile in &group.looked.profiles {
            for (text, marker, _) in profile.missing().into_iter().filter(|(text, ..)| !code(text)) {
                seen.entry(text).or_default().push(&profile.name);
                if marker == Marker::Anywhere {
                    everywhere.insert(text.to_owned());
                } else if group.unpivot.is_none() {
                    columns.entry(profile.name.clone()).or_default().insert(text.to_owned());
                }
            }
        }
        for (text, of) in seen {
            let of = match of.as_slice() {
                [one] => format!("'{one}'"),
                many => format!("{} columns ({})", many.len(), many.join(", ")),
            };
            questions
                .ask("missing", format!("{}: '{text}' is taken for a missing value in {of}. Is it one?", group.name));
        }
        Self { everywhere, columns }
    }

    fn toml(&self) -> String {
        let list = |texts: &BTreeSet<String>| {
            toml::Value::Array(texts.iter().cloned().map(toml::Value::String).collect()).to_string()
        };
        let mut out = String::new();
        if !self.everywhere.is_empty() {
            let _infallible = writeln!(out, "missing = {}   # these stand for nothing", list(&self.everywhere));
        }
        if !self.columns.is_empty() {
            let of = |(name, texts): (&String, &BTreeSet<String>)| {
                format!("{} = {}", toml::Value::String(name.clone()), list(texts))
            };
            let all: Vec<String> = self.columns.iter().map(of).collect();
            let _infallible = writeln!(out, "missing_in = {{ {} }}", all.join(", "));
        }
        out
    }
}

/// A path as node.toml in `out` must name it.
fn relative(path: &Path, out: &Path) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let out = std::path::absolute(out)?;
    Ok(path.strip_prefix(&out).map(Path::to_owned).unwrap_or(path))
}

fn put(path: &Path, text: &str, told: &mut String) -> anyhow::Result<()> {
    if path.exists() {
        bail!("{} is there already: name another folder with --out, or another dataset with --name", path.display());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    let _infallible = writeln!(told, "wrote {}", path.display());
    Ok(())
}

fn head(borough: &Gss) -> String {
    format!(
        "# {}'s node. Every setting: deploy/sample/node.toml. Paths are relative to this file.\n\
         borough = \"{borough}\"\nlisten = \"127.0.0.1:7444\"\nmanifest = \"manifest.toml\"\nagreement = \"agreement.toml\"\n\
         state = \"state\"\n\n[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\nrevocation_lists = \"revocation\"\n",
        borough.name().unwrap_or(borough.as_str())
    )
}

fn dataset_entry(
    request: &Request,
    contract: &Path,
    groups: &[Group],
    declared: &[Declared],
    mapping: &Mapping,
    questions: &Questions,
) -> anyhow::Result<String> {
    let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let list = |values: &[String]| {
        let values: Vec<toml::Value> = values.iter().cloned().map(toml::Value::String).collect();
        toml::Value::Array(values).to_string()
    };
    let mut entry = format!(
        "[[dataset]]\ncontract = {}\nas_at = \"{}\"\nsql = '''\n{}'''\n",
        text(&contract.display().to_string()),
        request.as_at,
        mapping.sql
    );
    for (name, words) in &mapping.codes {
        let _infallible = writeln!(entry, "\n[dataset.codes.{name}]   # what the extract writes = the contract's word");
        for (from, to) in words {
            let _infallible = writeln!(entry, "{} = {}", text(from), text(to));
        }
    }
    entry.push_str("\n[dataset.questions]   # answer each, and say so with loda-node decide\n");
    for (key, question) in questions.iter() {
        let _infallible = writeln!(entry, "{} = {}", text(key), text(question));
    }
    entry.push_str("\n[dataset.decided]   # \"key\" = { by = \"who\", on = \"YYYY-MM-DD\", why = \"the reason\" }\n");
    for (group, declared) in groups.iter().zip(declared) {
        let files = group.files.iter().map(|file| Ok(relative(file, &request.out)?.display().to_string()));
        let files = files.collect::<anyhow::Result<Vec<String>>>()?;
        let path = match files.as_slice() {
            [one] => text(one),
            many => list(many),
        };
        let format = toml::Value::try_from(group.format)?.to_string();
        let _infallible = writeln!(
            entry,
            "\n[[dataset.source]]\nname = \"{}\"\npath = {path}   # a pattern such as \"extracts/*.csv\" takes new files in\nformat = {format}",
            group.name
        );
        match &group.header {
            Header::With(names) => {
                let _infallible = writeln!(entry, "header = {}   # the first record with these names", list(names));
            }
            Header::Given(names) => {
                let _infallible = writeln!(entry, "columns = {}   # no record names them", list(names));
            }
            Header::At(_) => {}
        }
        if !group.sheets.is_empty() {
            let _infallible = writeln!(entry, "sheet = {}", list(&group.sheets));
        }
        entry.push_str(&declared.toml());
        if let Some(unpivot) = &group.unpivot {
            let _infallible =
                writeln!(entry, "unpivot = {{ keep = {}, name = \"month\", value = \"value\" }}", list(&unpivot.keep));
        }
    }
    Ok(entry)
}
