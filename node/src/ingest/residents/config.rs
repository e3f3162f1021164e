//! The `[residents]` section, parsed once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::ingest::config::Refresh;
use crate::ingest::mapping::Mapping;
use crate::ingest::source::{Source, SourceEntry};

/// The services that know people, and how their index is kept.
#[derive(Clone, Debug)]
pub struct ResidentsConfig {
    pub services: Vec<Service>,
    /// The file with the decisions of reviewers.
    pub decided: Option<PathBuf>,
    pub refresh: Refresh,
}

/// One service's records of people.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    /// Whether the service holds each person at most once.
    pub once: bool,
    /// One SELECT. It gives `key`, and those of `given`, `surname`, `born`, `number`, `street`, `town`, `postcode`,
    /// `nhs` and `nino` that the service knows.
    pub mapping: Mapping,
}

impl ResidentsConfig {
    pub(crate) fn names(&self) -> Vec<String> {
        self.services.iter().map(|service| service.name.clone()).collect()
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.services.iter().flat_map(|service| service.mapping.files()).chain(self.decided.clone())
    }
}

/// The section as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResidentsEntry {
    service: Vec<ServiceEntry>,
    decided: Option<PathBuf>,
    refresh: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceEntry {
    name: String,
    #[serde(default)]
    once: bool,
    sql: String,
    source: Vec<SourceEntry>,
    #[serde(default)]
    codes: BTreeMap<String, BTreeMap<String, String>>,
}

impl ResidentsEntry {
    /// Parses the section. Paths are relative to `base`.
    ///
    /// # Errors
    /// The error says which settings do not fit together, and gives the fix.
    pub(crate) fn parse(self, base: &Path) -> Result<ResidentsConfig, String> {
        let mut services: Vec<Service> = Vec::new();
        for ServiceEntry { name, once, sql, source, codes } in self.service {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if name.is_empty() || !name.chars().all(plain) {
                return Err(format!("[[residents.service]] '{name}': write a name of letters, digits, - and _"));
            }
            if services.iter().any(|service| service.name == name) {
                return Err(format!("[[residents.service]] '{name}' stands twice"));
            }
            let within = |why| format!("[[residents.service]] '{name}': {why}");
            let sources = source.into_iter().map(|source| Source::of_entry(source, base).map_err(within));
            let sources = sources.collect::<Result<Vec<_>, _>>()?;
            if sources.iter().any(|source| source.appends) {
                return Err(within("who is who takes all records together: leave out `appends`".to_owned()));
            }
            let mapping = Mapping::new(sources, sql, codes).map_err(within)?;
            services.push(Service { name: name.clone(), once, mapping });
        }
        if services.is_empty() {
            return Err("[residents] has no service: add [[residents.service]], or leave it out".to_owned());
        }
        Ok(ResidentsConfig {
            services,
            decided: self.decided.map(|path| base.join(path)),
            refresh: Refresh::of_entry(self.refresh.as_deref())?,
        })
    }
}
