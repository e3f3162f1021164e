//! What `[[dataset.source]]` says, parsed once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::encoding::Decoding;
use super::{CsvRules, From, Header, Paths, Postgres, Rename, Source, Unpivot};

/// How the rows of a source are written.
#[derive(Clone, Copy, Debug, Deserialize, serde::Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Every column is text; an empty field is NULL.
    Csv,
    Ndjson,
    Parquet,
    Xlsx,
    Sqlite,
    Postgres,
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceEntry {
    name: String,
    format: Format,
    path: Option<PathEntry>,
    encoding: Option<String>,
    delimiter: Option<char>,
    quote: Option<char>,
    header: Option<HeaderEntry>,
    columns: Option<Vec<String>>,
    #[serde(default)]
    pad: bool,
    #[serde(default)]
    rename: BTreeMap<String, String>,
    unpivot: Option<Unpivot>,
    sheet: Option<String>,
    query: Option<String>,
    connection: Option<String>,
    password_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    timeout_seconds: Option<u64>,
    #[serde(default)]
    appends: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PathEntry {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum HeaderEntry {
    At(u64),
    With(Vec<String>),
}

impl SourceEntry {
    /// # Errors
    /// What does not fit together, and what to write.
    pub(crate) fn parse(self, base: &Path) -> Result<Source, String> {
        let name = self.name.clone();
        let fault = |why: &str| format!("source '{name}': {why}");
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return Err(fault("write a name of letters, digits and _: it is a table in the mapping's SQL"));
        }
        self.check_keys().map_err(|why| fault(&why))?;
        let header = match (&self.header, &self.columns) {
            (Some(_), Some(_)) => return Err(fault("header and columns: one of them names the columns")),
            (Some(HeaderEntry::At(0)), None) => {
                return Err(fault("header = 0: write `columns` for a file without one"));
            }
            (Some(HeaderEntry::At(at)), None) => Header::At(*at),
            (Some(HeaderEntry::With(names)), None) => Header::With(names.clone()),
            (None, Some(columns)) => Header::Given(columns.clone()),
            (None, None) => Header::At(1),
        };
        let paths = |extension: &'static str| match &self.path {
            Some(PathEntry::One(path)) => Ok(Paths { patterns: vec![base.join(path)], extension }),
            Some(PathEntry::Many(paths)) if !paths.is_empty() => {
                Ok(Paths { patterns: paths.iter().map(|path| base.join(path)).collect(), extension })
            }
            Some(PathEntry::Many(_)) => Err(fault("it has no path")),
            None => Err(fault("it has no path")),
        };
        let query = || self.query.clone().ok_or_else(|| fault("it has no query: write the SELECT that gives its rows"));
        let byte = |c: Option<char>, what: &str| match c.map(u8::try_from) {
            None => Ok(None),
            Some(Ok(byte)) if byte.is_ascii() => Ok(Some(byte)),
            Some(_) => Err(fault(&format!("{what} is one ASCII character"))),
        };
        let from = match self.format {
            Format::Csv => {
                let encoding = self.encoding.as_deref().map(Decoding::named).transpose();
                From::Csv {
                    paths: paths("csv")?,
                    rules: CsvRules {
                        encoding: encoding.map_err(|e| fault(&e.to_string()))?,
                        delimiter: byte(self.delimiter, "delimiter")?,
                        quote: byte(self.quote, "quote")?.unwrap_or(b'"'),
                        header,
                        pad: self.pad,
                    },
                }
            }
            Format::Ndjson => From::Json { paths: paths("ndjson")? },
            Format::Parquet => From::Parquet { paths: paths("parquet")? },
            Format::Xlsx => From::Workbook { paths: paths("xlsx")?, sheet: self.sheet.clone(), header },
            Format::Sqlite => From::Sqlite { paths: paths("sqlite")?, query: query()? },
            Format::Postgres => From::Postgres(Postgres {
                connection: self
                    .connection
                    .clone()
                    .ok_or_else(|| fault("it has no connection: write host=… dbname=… user=…"))?,
                password_file: self.password_file.as_ref().map(|file| base.join(file)),
                ca: self.ca.as_ref().map(|file| base.join(file)),
                query: query()?,
                timeout: Duration::from_secs(self.timeout_seconds.unwrap_or(600)),
            }),
        };
        Ok(Source {
            name: self.name,
            format: self.format,
            from,
            rename: Rename(self.rename),
            unpivot: self.unpivot,
            appends: self.appends,
            read_before: Vec::new(),
        })
    }

    /// A key that another format has is a mistake, and not to be passed over.
    fn check_keys(&self) -> Result<(), String> {
        use Format::{Csv, Ndjson, Parquet, Postgres, Sqlite, Xlsx};
        let keys: [(&str, bool, &[Format]); 13] = [
            ("encoding", self.encoding.is_some(), &[Csv]),
            ("delimiter", self.delimiter.is_some(), &[Csv]),
            ("quote", self.quote.is_some(), &[Csv]),
            ("pad", self.pad, &[Csv]),
            ("header", self.header.is_some(), &[Csv, Xlsx]),
            ("columns", self.columns.is_some(), &[Csv, Xlsx]),
            ("rename", !self.rename.is_empty(), &[Csv, Xlsx]),
            ("sheet", self.sheet.is_some(), &[Xlsx]),
            ("query", self.query.is_some(), &[Sqlite, Postgres]),
            ("connection", self.connection.is_some(), &[Postgres]),
            ("password_file", self.password_file.is_some(), &[Postgres]),
            ("ca", self.ca.is_some(), &[Postgres]),
            ("appends", self.appends, &[Csv, Ndjson, Parquet, Xlsx]),
        ];
        for (key, given, formats) in keys {
            if given && !formats.contains(&self.format) {
                return Err(format!("`{key}` has no meaning for this format: leave it out"));
            }
        }
        Ok(())
    }
}
