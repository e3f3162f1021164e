//! What `[residents]` says, parsed once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::mapping::Mapping;
use crate::refresh::Refresh;
use crate::source::SourceEntry;

/// Services that know people, and how the index of them is kept.
#[derive(Clone, Debug)]
pub struct ResidentsConfig {
    pub services: Vec<Service>,
    /// What somebody who looked at pairs says of them.
    pub decided: Option<PathBuf>,
    pub refresh: Refresh,
}

/// One service's records of people.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    /// Whether it holds a person once at most.
    pub once: bool,
    /// One SELECT that gives `key`, and of `given`, `surname`, `born`, `number`, `street`, `town`, `postcode`, `nhs`, `nino`
    /// what the service knows.
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

/// As it stands in the file.
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
    /// # Errors
    /// What does not fit together, and what to write.
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
            let sources = source.into_iter().map(|source| source.parse(base).map_err(within));
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
