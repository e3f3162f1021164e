//! `loda-node init`: looks at extracts, and writes a first mapping and the questions that remain.
//!
//! Without a contract, it also drafts one. A draft is a borough's proposal, because the federation agrees on contracts.

mod draft;
mod profile;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use loda_contract::Contract;
use loda_identity::Gss;

use self::draft::{Mapping, contract_of, mapping_of};
use self::profile::{Profile, is_month, profile};
use crate::ingest::source::{
    CsvRules, CsvSource, Format, Header, JsonSource, ParquetSource, Paths, Source, Unpivot, WorkbookSource,
    first_records, first_rows,
};

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
}

/// Files of one format and header.
struct Group {
    name: String,
    files: Vec<PathBuf>,
    format: Format,
    header: Header,
    unpivot: Option<Unpivot>,
    profiles: Vec<Profile>,
    rows: u64,
}

/// Writes node.toml, and a contract if none is given. Returns the findings, and the questions that remain.
///
/// # Errors
/// A file cannot be read, or a file would be overwritten.
pub(crate) fn init(request: &Request) -> anyhow::Result<String> {
    let mut told = String::new();
    let mut questions = Vec::new();
    let mut groups = grouped(request, &mut told)?;
    for group in &mut groups {
        let source = group.source();
        let reader = source.reader()?;
        let found = profile(reader.as_ref())?;
        group.rows = found.columns.first().map_or(0, |column| column.rows);
        let early = found.bad.iter().filter(|(_, why)| why.contains("ends early")).count() as u64;
        if early > group.rows / 100 {
            questions.push(format!(
                "{}: {early} rows end early. If the system leaves out empty columns at the end, set pad = true for it.",
                group.name
            ));
        }
        group.profiles = found.columns;
        let _infallible = writeln!(told, "{}: {} rows in {} files", group.name, group.rows, group.files.len());
        for (line, why) in found.bad.iter().take(5) {
            let _infallible = writeln!(told, "  line {line} {why}");
        }
    }
    // A wide table becomes long before it is described.
    for group in &mut groups {
        group.widen()?;
    }
    let profiles: Vec<(&str, &[Profile])> =
        groups.iter().map(|group| (group.name.as_str(), group.profiles.as_slice())).collect();
    let (contract, draft) = match &request.contract {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            (Contract::parse(&text, &path.display().to_string())?, None)
        }
        None => {
            let text = contract_of(&request.name, &profiles, &mut questions)?;
            let contract = Contract::parse(&text, "the draft")?;
            (contract, Some(text))
        }
    };
    let mapping = mapping_of(&contract, &request.borough, &profiles, &mut questions);
    let contract_path = match (&request.contract, draft) {
        (Some(path), _) => relative(path, &request.out)?,
        (None, text) => {
            let path = PathBuf::from("contracts").join(format!("{}.toml", contract.dataset));
            put(&request.out.join(&path), &text.unwrap_or_default(), &mut told)?;
            path
        }
    };
    let entry = dataset_entry(request, &contract_path, &groups, &mapping)?;
    let node = request.out.join("node.toml");
    if node.exists() {
        let before = std::fs::read_to_string(&node)?;
        std::fs::write(&node, format!("{before}\n{entry}"))?;
        let _infallible = writeln!(told, "added the dataset to {}", node.display());
    } else {
        put(&node, &format!("{}\n{entry}", head(&request.borough)), &mut told)?;
    }
    let _infallible = writeln!(told, "\nTo decide, before this is served:");
    for (number, question) in questions.iter().enumerate() {
        let _infallible = writeln!(told, "  {}. {question}", number + 1);
    }
    let _infallible = writeln!(told, "\nNext: loda-node check --config {}", node.display());
    Ok(told)
}

/// Groups files by format and header.
fn grouped(request: &Request, told: &mut String) -> anyhow::Result<Vec<Group>> {
    let mut groups: Vec<(Vec<String>, Group)> = Vec::new();
    if request.files.is_empty() {
        bail!("no file: name the extracts to look at");
    }
    for file in &request.files {
        let extension = file.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
        let (format, names, header) = match extension.as_str() {
            "csv" | "txt" | "tsv" => {
                let (names, header) = header_in(file, &first_records(file, &CsvRules::default())?)?;
                (Format::Csv, names, header)
            }
            "xlsx" => {
                let (names, header) = header_in(file, &first_rows(file)?)?;
                (Format::Xlsx, names, header)
            }
            "ndjson" | "jsonl" => (Format::Ndjson, Vec::new(), Header::At(1)),
            "parquet" => (Format::Parquet, Vec::new(), Header::At(1)),
            _ => bail!(
                "{}: csv, ndjson, xlsx and parquet are looked at here; a database is written into node.toml by hand \
                 (deploy/sample/node.toml)",
                file.display()
            ),
        };
        // Files with the same columns in another order are read together.
        let mut key = names.clone();
        key.sort();
        key.push(format!("{format:?}"));
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
                let group = Group {
                    name,
                    files: vec![file.clone()],
                    format,
                    header,
                    unpivot: None,
                    profiles: Vec::new(),
                    rows: 0,
                };
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

/// The names in a file's header, and the setting that finds the header.
fn header_in(file: &Path, records: &[Vec<String>]) -> anyhow::Result<(Vec<String>, Header)> {
    let at = header_of(records).with_context(|| {
        format!(
            "{}: no record of it looks like a header: as wide as the others, a name in every field. Write the source into \
             node.toml by hand, with `header` or `columns`",
            file.display()
        )
    })?;
    let names = records.get(at).cloned().unwrap_or_default();
    let names: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
    let header = if at == 0 { Header::At(1) } else { Header::With(names.clone()) };
    Ok((names, header))
}

/// The record that names the columns. It is as wide as most, has a text in every field, and no number in the first.
fn header_of(records: &[Vec<String>]) -> Option<usize> {
    let width = |record: &Vec<String>| record.iter().rposition(|f| !f.is_empty()).map_or(0, |last| last + 1);
    let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
    records.iter().for_each(|record| *widths.entry(width(record)).or_default() += 1);
    let usual = widths.into_iter().max_by_key(|(width, count)| (*count, *width)).map(|(width, _)| width)?;
    let names = |record: &Vec<String>| {
        let fields = record.iter().take(usual);
        let first = record.first().is_some_and(|f| f.parse::<f64>().is_err());
        width(record) == usual && first && fields.clone().all(|f| !f.is_empty()) && usual > 0
    };
    records.iter().position(names)
}

impl Group {
    fn source(&self) -> Source {
        let paths = |extension| Paths { patterns: self.files.clone(), extension };
        let (name, header) = (self.name.clone(), self.header.clone());
        let plain = |kind| Source::plain(name, self.format, kind);
        match self.format {
            Format::Ndjson => plain(Box::new(JsonSource { paths: paths("ndjson") })),
            Format::Parquet => plain(Box::new(ParquetSource { paths: paths("parquet") })),
            Format::Xlsx => plain(Box::new(WorkbookSource { paths: paths("xlsx"), sheet: None, header })),
            Format::Csv | Format::Sqlite | Format::Postgres => {
                let rules = CsvRules { header, ..CsvRules::default() };
                plain(Box::new(CsvSource { paths: paths("csv"), rules }))
            }
        }
    }

    /// Turns columns that are named after months into rows.
    fn widen(&mut self) -> anyhow::Result<()> {
        let months = |profile: &&Profile| is_month(&profile.name);
        if self.profiles.iter().filter(months).count() < WIDE {
            return Ok(());
        }
        let keep: Vec<String> = self.profiles.iter().filter(|p| !is_month(&p.name)).map(|p| p.name.clone()).collect();
        let (wide, mut kept): (Vec<Profile>, Vec<Profile>) =
            std::mem::take(&mut self.profiles).into_iter().partition(|p| is_month(&p.name));
        let rows = self.rows.saturating_mul(wide.len() as u64);
        kept.iter_mut().for_each(|profile| profile.times(wide.len() as u64));
        kept.push(Profile::of_names("month", wide.iter().map(|p| p.name.as_str()), self.rows));
        kept.push(Profile::together("value", wide));
        self.rows = rows;
        self.profiles = kept;
        self.unpivot = Some(Unpivot { keep, name: "month".to_owned(), value: "value".to_owned() });
        Ok(())
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

fn dataset_entry(request: &Request, contract: &Path, groups: &[Group], mapping: &Mapping) -> anyhow::Result<String> {
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
    for group in groups {
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
        if let Header::With(names) = &group.header {
            let _infallible = writeln!(entry, "header = {}   # the first record with these names", list(names));
        }
        if let Some(unpivot) = &group.unpivot {
            let _infallible =
                writeln!(entry, "unpivot = {{ keep = {}, name = \"month\", value = \"value\" }}", list(&unpivot.keep));
        }
    }
    Ok(entry)
}
