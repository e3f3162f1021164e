//! From a manifest's text to its entries. Errors name the line.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::check::LinePlace;
use super::entries::{Authority, CoordinatorEntry, DatasetEntry, Manifest, Member};
use crate::error::ManifestError;

impl Manifest {
    /// Reads and checks a manifest file.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ManifestError> {
        let origin = path.as_ref().display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &origin),
            Err(source) => Err(ManifestError::Read { origin, source }),
        }
    }

    /// Parses and checks a manifest. `origin` names the source in errors.
    ///
    /// # Errors
    /// [`ManifestError::Invalid`], with the line.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ManifestError> {
        let line_of = |offset: usize| text.bytes().take(offset).filter(|b| *b == b'\n').count().saturating_add(1);
        let source: Source = toml::from_str(text).map_err(|error| ManifestError::Invalid {
            origin: origin.to_owned(),
            line: error.span().map(|span| line_of(span.start)),
            problem: error.message().trim_end().replace('\n', " "),
            fix: "correct this line; the manifest's fields are federation, domain, version, \
                  previous, approvals, witnesses, witness_minutes, coordinator, members, analysts and datasets"
                .to_owned(),
        })?;
        let spans = source.spans();
        let manifest = source.manifest();
        manifest.faults().map_err(|fault| {
            let line = spans.offset(fault.place).map(line_of);
            fault.into_error(origin, line)
        })?;
        Ok(manifest)
    }

    /// Checks a manifest made in a program; [`Manifest::parse`] has done so already.
    ///
    /// # Errors
    /// [`ManifestError::Invalid`], without a line.
    pub fn check(&self) -> Result<(), ManifestError> {
        self.faults().map_err(|fault| fault.into_error("manifest", None))
    }
}

/// The file's shape, with the place of each entry for error messages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    federation: String,
    domain: String,
    version: u64,
    previous: Option<String>,
    approvals: Option<u32>,
    witnesses: Option<u32>,
    witness_minutes: Option<u32>,
    coordinator: Spanned<CoordinatorEntry>,
    #[serde(default)]
    members: Vec<Spanned<Member>>,
    #[serde(default)]
    analysts: Vec<Spanned<Authority>>,
    #[serde(default)]
    datasets: Vec<Spanned<DatasetEntry>>,
}

impl Source {
    fn spans(&self) -> Spans {
        Spans {
            coordinator: self.coordinator.span().start,
            members: starts(&self.members),
            analysts: starts(&self.analysts),
            datasets: starts(&self.datasets),
        }
    }

    fn manifest(self) -> Manifest {
        Manifest {
            federation: self.federation,
            domain: self.domain,
            version: self.version,
            previous: self.previous,
            approvals: self.approvals,
            witnesses: self.witnesses,
            witness_minutes: self.witness_minutes,
            coordinator: self.coordinator.into_inner(),
            members: values(self.members),
            analysts: values(self.analysts),
            datasets: values(self.datasets),
        }
    }
}

/// Byte offsets of the entries in the text.
struct Spans {
    coordinator: usize,
    members: Vec<usize>,
    analysts: Vec<usize>,
    datasets: Vec<usize>,
}

impl Spans {
    fn offset(&self, place: LinePlace) -> Option<usize> {
        match place {
            LinePlace::Top => Some(0),
            LinePlace::Coordinator => Some(self.coordinator),
            LinePlace::Member(index) => self.members.get(index).copied(),
            LinePlace::Analyst(index) => self.analysts.get(index).copied(),
            LinePlace::Dataset(index) => self.datasets.get(index).copied(),
        }
    }
}

fn starts<T>(entries: &[Spanned<T>]) -> Vec<usize> {
    entries.iter().map(|entry| entry.span().start).collect()
}

fn values<T>(entries: Vec<Spanned<T>>) -> Vec<T> {
    entries.into_iter().map(Spanned::into_inner).collect()
}
