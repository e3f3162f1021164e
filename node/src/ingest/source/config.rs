//! The `[[dataset.source]]` section, parsed once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::header::Header;
use super::reader::Paths;
use super::unpivot::Unpivot;

/// The format in which the rows of a source are written.
#[derive(Clone, Copy, Debug, Deserialize, serde::Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Every column is text. An empty field is NULL.
    Csv,
    Ndjson,
    Parquet,
    Xlsx,
    Sqlite,
    Postgres,
}

/// The section as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceEntry {
    pub(super) name: String,
    pub(super) format: Format,
    path: Option<PathEntry>,
    pub(super) encoding: Option<String>,
    pub(super) delimiter: Option<char>,
    pub(super) quote: Option<char>,
    header: Option<HeaderEntry>,
    columns: Option<Vec<String>>,
    #[serde(default)]
    pub(super) pad: bool,
    #[serde(default)]
    pub(super) rename: BTreeMap<String, String>,
    pub(super) unpivot: Option<Unpivot>,
    pub(super) sheet: Option<SheetEntry>,
    /// Texts that stand for nothing, in all columns and in single ones.
    #[serde(default)]
    pub(super) missing: Vec<String>,
    #[serde(default)]
    pub(super) missing_in: BTreeMap<String, Vec<String>>,
    query: Option<String>,
    pub(super) connection: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
    pub(super) timeout_seconds: Option<u64>,
    #[serde(default)]
    pub(super) appends: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PathEntry {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

/// One sheet, or several that are read one after another.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum SheetEntry {
    One(String),
    Many(Vec<String>),
}

impl SheetEntry {
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name.clone()],
            Self::Many(names) => names.clone(),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum HeaderEntry {
    At(u64),
    With(Vec<String>),
}

impl SourceEntry {
    /// Refuses settings that no kind of source can use.
    ///
    /// # Errors
    /// The error says which settings do not fit together, and gives the fix.
    pub(super) fn check(&self) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return Err(self.fault("write a name of letters, digits and _: it is a table in the mapping's SQL"));
        }
        self.check_keys().map_err(|why| self.fault(&why))?;
        self.header().map(|_| ())
    }

    /// Words for a fault of this source.
    pub(super) fn fault(&self, why: &str) -> String {
        format!("source '{}': {why}", self.name)
    }

    /// The record that names the columns. Without a setting, it is the first.
    pub(super) fn header(&self) -> Result<Header, String> {
        match (&self.header, &self.columns) {
            (Some(_), Some(_)) => Err(self.fault("header and columns: one of them names the columns")),
            (Some(HeaderEntry::At(0)), None) => Err(self.fault("header = 0: write `columns` for a file without one")),
            (Some(HeaderEntry::At(at)), None) => Ok(Header::At(*at)),
            (Some(HeaderEntry::With(names)), None) => Ok(Header::With(names.clone())),
            (None, Some(columns)) => Ok(Header::Given(columns.clone())),
            (None, None) => Ok(Header::At(1)),
        }
    }

    /// The paths of the files. `extension` chooses the files of a folder.
    pub(super) fn paths(&self, base: &Path, extension: &'static str) -> Result<Paths, String> {
        match &self.path {
            Some(PathEntry::One(path)) => Ok(Paths { patterns: vec![base.join(path)], extension }),
            Some(PathEntry::Many(paths)) if !paths.is_empty() => {
                Ok(Paths { patterns: paths.iter().map(|path| base.join(path)).collect(), extension })
            }
            Some(PathEntry::Many(_)) | None => Err(self.fault("it has no path")),
        }
    }

    /// The SELECT of a database.
    pub(super) fn query(&self) -> Result<String, String> {
        self.query.clone().ok_or_else(|| self.fault("it has no query: write the SELECT that gives its rows"))
    }

    /// The one ASCII character of a setting, if it is given.
    pub(super) fn byte(&self, given: Option<char>, what: &str) -> Result<Option<u8>, String> {
        match given.map(u8::try_from) {
            None => Ok(None),
            Some(Ok(byte)) if byte.is_ascii() => Ok(Some(byte)),
            Some(_) => Err(self.fault(&format!("{what} is one ASCII character"))),
        }
    }

    /// A setting of another format is a mistake, and must not be ignored.
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
