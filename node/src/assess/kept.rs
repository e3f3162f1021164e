//! The results of an assessment, kept beside the snapshots, and the limits that a node takes from them.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use chrono::NaiveDate;
use loda_contract::Contract;
use loda_disclosure::TableParameters;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::epochs::iso;

/// The shares of right guesses for one column at one number of dimensions, in per cent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssessedColumn {
    /// As in `units of person` or `rows of repairs`.
    pub(crate) domain: String,
    pub(crate) column: String,
    pub(crate) dimensions: u32,
    pub(crate) chance: f64,
    pub(crate) asking: f64,
    pub(crate) typical: f64,
    pub(crate) exposed: f64,
    /// One standard error of `exposed`.
    pub(crate) luck: f64,
    pub(crate) alone: f64,
    /// The share for an asker who knows everything about everybody except this bit, which has two values. The other
    /// fields are the number of figures, and the records in them that a unit moves, on average and at most.
    pub(crate) everything: f64,
    pub(crate) figures: f64,
    pub(crate) moved: f64,
    pub(crate) most: f64,
}

/// The results for a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assessment {
    pub(crate) dataset: String,
    /// A hash of the contracts and the noise that the tables follow from: see [`rests_on`].
    pub(crate) rests_on: String,
    #[serde(with = "iso")]
    pub(crate) made: NaiveDate,
    /// Rounded up to the next thousand.
    pub(crate) units: u64,
    pub(crate) rows: u64,
    /// The day until which the data are served, and how often they are served with other noise.
    #[serde(with = "iso")]
    pub(crate) until: NaiveDate,
    pub(crate) epochs: u32,
    pub(crate) threshold: u32,
    /// A gain of more points than this is too much. The gain is counted from the guess without data.
    pub(crate) margin: f64,
    pub(crate) lines: Vec<AssessedColumn>,
}

impl AssessedColumn {
    /// The points beyond the guess without data, for the people with the greater gain.
    pub(crate) fn gain(&self) -> f64 {
        self.exposed.max(self.typical) - self.chance
    }
}

impl Assessment {
    /// The most dimensions at which no line gains more than the margin. 0 means that not even tables of one column are
    /// good.
    pub(crate) fn passes(&self) -> u32 {
        let bad = self.lines.iter().filter(|line| line.gain() > self.margin).map(|line| line.dimensions).min();
        let assessed = self.lines.iter().map(|line| line.dimensions).max().unwrap_or(0);
        bad.map_or(assessed, |bad| bad.saturating_sub(1))
    }

    /// The line with the greatest gain at this number of dimensions or fewer. Larger tables are not assessed where
    /// smaller ones tell far too much.
    pub(crate) fn worst(&self, dimensions: u32) -> Option<&AssessedColumn> {
        let of = self.lines.iter().filter(|line| line.dimensions <= dimensions);
        of.max_by(|a, b| a.gain().total_cmp(&b.gain()))
    }

    /// As in "assessed 27 November 2026, d = 2".
    pub(crate) fn words(&self) -> String {
        format!("assessed {}, d = {}", self.made.format("%-d %B %Y"), self.passes())
    }

    /// Writes the assessment. It is durable before the node believes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn keep(&self, state: &Path) -> anyhow::Result<PathBuf> {
        let path = file(state, &self.dataset);
        let folder = path.parent().context("no folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let partial = path.with_extension("partial");
        let mut written = File::create(&partial).with_context(|| format!("writing {}", partial.display()))?;
        written.write_all(&serde_json::to_vec_pretty(self)?)?;
        written.sync_all()?;
        std::fs::rename(&partial, &path).with_context(|| format!("renaming into {}", path.display()))?;
        Ok(path)
    }

    fn load(state: &Path, dataset: &str) -> anyhow::Result<Option<Self>> {
        let path = file(state, dataset);
        let text = match std::fs::read(&path) {
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("reading {}", path.display()))?,
        };
        let found: Self = serde_json::from_slice(&text).with_context(|| {
            format!("{}: not as this node writes it: run `loda-node assess {dataset}` again", path.display())
        })?;
        anyhow::ensure!(found.dataset == dataset, "{}: it is of dataset '{}'", path.display(), found.dataset);
        Ok(Some(found))
    }
}

/// The limits that a node takes from an assessment of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Believed {
    /// The node answers tables of at most this many dimensions.
    pub(crate) dimensions: u32,
    /// The words for the catalogue, the log and statements.
    pub(crate) words: String,
}

impl Believed {
    /// `None` means that the dataset was never assessed. An assessment of other tables, of other noise or for a shorter
    /// time still limits, and its words say that it is old. A file that cannot be read lets nothing through, and the
    /// fault is logged.
    pub(crate) fn of(state: &Path, dataset: &str, rests_on: &str, until: NaiveDate) -> Option<Self> {
        match Assessment::load(state, dataset) {
            Ok(None) => None,
            Ok(Some(found)) => {
                let stands = found.rests_on == rests_on && until <= found.until;
                let since = if stands { "" } else { ", before its tables, noise or agreement changed" };
                Some(Self { dimensions: found.passes(), words: format!("{}{since}", found.words()) })
            }
            Err(fault) => {
                tracing::error!(dataset, "nothing about people is answered of the dataset: {fault:#}");
                Some(Self { dimensions: 0, words: "its assessment cannot be read".to_owned() })
            }
        }
    }
}

/// A hash of everything that a borough's tables follow from: the noise, and every contract about people, because a
/// register covers all of them.
pub(crate) fn rests_on<'a>(contracts: impl Iterator<Item = &'a Contract>, noise: &TableParameters) -> String {
    let people = contracts.filter(|contract| contract.protection.may_be_about_people());
    let mut all: Vec<String> = people.map(|contract| format!("{} {}", contract.dataset, contract.sha256)).collect();
    all.sort();
    all.push(format!("noise {} {}", noise.max_noise, noise.variance));
    hex::encode(digest(&SHA256, all.join("\n").as_bytes()))
}

fn file(state: &Path, dataset: &str) -> PathBuf {
    state.join("assessments").join(format!("{dataset}.json"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(column: &str, dimensions: u32, exposed: f64) -> AssessedColumn {
        AssessedColumn {
            domain: "units of person".to_owned(),
            column: column.to_owned(),
            dimensions,
            chance: 25.0,
            asking: 25.0,
            typical: 25.0,
            exposed,
            luck: 1.0,
            alone: 0.0,
            everything: 90.0,
            figures: 10.0,
            moved: 1.0,
            most: 1.0,
        }
    }

    #[test]
    fn the_worst_column_decides() {
        let mut found = Assessment {
            dataset: "residents".to_owned(),
            rests_on: "ab".to_owned(),
            made: NaiveDate::from_ymd_opt(2026, 11, 27).unwrap(),
            units: 5_000,
            rows: 5_000,
            until: NaiveDate::from_ymd_opt(2026, 12, 31).unwrap(),
            epochs: 1,
            threshold: 10,
            margin: 15.0,
            lines: vec![
                line("a", 1, 25.0),
                line("a", 2, 39.9),
                line("b", 2, 30.0),
                line("a", 3, 48.0),
                line("b", 3, 30.0),
            ],
        };
        assert_eq!((found.passes(), found.words().as_str()), (2, "assessed 27 November 2026, d = 2"));
        assert_eq!(found.worst(3).unwrap().column, "a");
        let dir = tempfile::tempdir().unwrap();
        let path = found.keep(dir.path()).unwrap();
        assert_eq!(serde_json::from_slice::<Assessment>(&std::fs::read(path).unwrap()).unwrap(), found);
        let believed = |rests_on: &str, until: &str| {
            Believed::of(dir.path(), "residents", rests_on, until.parse().unwrap()).unwrap()
        };
        assert_eq!(believed("ab", "2026-12-31"), Believed { dimensions: 2, words: found.words() });
        // Another dataset in the register, other noise or a longer agreement: the old result still limits, and says
        // that it is old.
        for old in [believed("cd", "2026-12-31"), believed("ab", "2027-12-31")] {
            assert!(old.dimensions == 2 && old.words.ends_with("changed"), "{old:?}");
        }
        assert_eq!(Believed::of(dir.path(), "stops", "ab", found.until), None);
        std::fs::write(file(dir.path(), "residents"), "{").unwrap();
        assert_eq!(believed("ab", "2026-12-31").dimensions, 0);
        found.lines.push(line("b", 1, 60.0));
        assert_eq!(found.passes(), 0);
    }
}
