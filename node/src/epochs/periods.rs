//! Closed periods: rows that are appended count in the period in which they come, and stand from then on.
//!
//! ```text
//! periods/<dataset>/<contract>/periods.json        the periods that are closed, each with the hash of its rows
//! periods/<dataset>/<contract>/2026-03-01.parquet  its rows, as a snapshot's piece; `__of`: the period that each names itself
//! ```
//!
//! A period closes with the first snapshot that describes a day `settle-days` after its end. Rows of it that come later count
//! in the period that closes next. A record that is corrected afterwards stays as it was: of each unit as many rows are taken
//! to be late as there are more of than before. What a period closed with is an entry of the node's log, so that no other
//! rows are ever served under its name, but for one declared restatement.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use chrono::{Days, NaiveDate};
use loda_contract::{Contract, Period, Value};
use serde::{Deserialize, Serialize};

use super::FEWEST_CHANGED;
use super::changed::{changed, hash};
use super::late::{Rows, dates, rows_of, rows_where};
use super::opening::{Opening, Openings};
use crate::snapshot::{Snapshot, write_piece};

/// The periods of a dataset that are closed, as tables read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Closed {
    /// In order; each is its first day.
    pub(crate) periods: Vec<Value>,
    /// Of each in words what keys of cells hold: the period, the hash of its rows, and whether they are restated.
    pub(crate) epochs: Vec<String>,
    pub(crate) files: Vec<PathBuf>,
}

/// A closed period on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedPeriod {
    #[serde(with = "iso")]
    pub(crate) period: NaiveDate,
    file: String,
    sha256: String,
    /// The snapshot that its rows are from, and the day that it describes.
    snapshot: u64,
    #[serde(with = "iso")]
    as_at: NaiveDate,
    #[serde(default)]
    restated: bool,
}

/// Days as people write them.
mod iso {
    use chrono::NaiveDate;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(day: &NaiveDate, into: S) -> Result<S::Ok, S::Error> {
        into.collect_str(day)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<NaiveDate, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which periods a configuration declares anew, and why.
pub(crate) type Restated = BTreeMap<NaiveDate, String>;

/// The periods of one dataset.
pub(super) struct Periods<'a> {
    contract: &'a Arc<Contract>,
    rule: &'a Period,
    folder: PathBuf,
    closed: Vec<ClosedPeriod>,
}

/// The day on which the period after one closes.
pub(crate) fn next_closing(rule: &Period, last: NaiveDate) -> NaiveDate {
    day_of(rule.every.next(days_of(last))).map_or(NaiveDate::MAX, |next| closes(rule, next))
}

/// The day on which a period closes.
fn closes(rule: &Period, period: NaiveDate) -> NaiveDate {
    let after = day_of(rule.every.next(days_of(period)));
    after.and_then(|day| day.checked_add_days(Days::new(rule.settle_days.into()))).unwrap_or(NaiveDate::MAX)
}

/// The periods that are closed, as the file says.
///
/// # Errors
/// Where there is a file that cannot be read.
pub(crate) fn listed(state: &Path, contract: &Contract) -> anyhow::Result<Vec<ClosedPeriod>> {
    let path = folder(state, contract).join("periods.json");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let closed: Vec<ClosedPeriod> = serde_json::from_slice(&text)
        .with_context(|| format!("{}: not as this node writes it. Restore it from the backup", path.display()))?;
    let plain = |closed: &ClosedPeriod| !closed.file.contains(['/', '\\']);
    ensure!(closed.iter().all(plain), "{}: a period's file has no plain name", path.display());
    Ok(closed)
}

/// Where the rows of a dataset's closed periods lie.
pub(super) fn folder(state: &Path, contract: &Contract) -> PathBuf {
    state.join("periods").join(&contract.dataset).join(version(contract))
}

/// Periods of another version of the contract are others: their columns may mean something else.
fn version(contract: &Contract) -> String {
    contract.sha256.chars().take(16).collect()
}

pub(super) fn days_of(day: NaiveDate) -> i32 {
    i32::try_from(day.signed_duration_since(NaiveDate::default()).num_days()).unwrap_or(i32::MAX)
}

fn day_of(days: i32) -> Option<NaiveDate> {
    NaiveDate::default().checked_add_signed(chrono::TimeDelta::days(days.into()))
}

impl<'a> Periods<'a> {
    /// Those that are closed, each whole and unchanged as the log tells; one that is to be declared anew may be lost.
    pub(super) fn open(
        state: &Path,
        contract: &'a Arc<Contract>,
        rule: &'a Period,
        opened: &Openings,
        restated: &Restated,
    ) -> anyhow::Result<Self> {
        let mut periods = Self { contract, rule, folder: folder(state, contract), closed: listed(state, contract)? };
        periods.recover(opened)?;
        for closed in &periods.closed {
            let logged = opened.of(&contract.dataset, &periods.name(closed.period));
            let as_logged = logged.is_some_and(|logged| logged.sha256 == closed.sha256);
            let whole = as_logged && hash(&[periods.folder.join(&closed.file)]).is_ok_and(|h| h == closed.sha256);
            let anew = !closed.restated && restated.contains_key(&closed.period);
            ensure!(
                whole || anew,
                "dataset '{}': the rows of period {} are lost, or not those that it closed with. Restore {} from the backup; if \
                 there is none, declare them anew, [dataset.restate] \"{}\" = \"why\", and they are served when the next epoch begins",
                contract.dataset,
                closed.period,
                periods.folder.display(),
                closed.period
            );
        }
        Ok(periods)
    }

    /// Takes up a period that the log knows and the file does not: the process ended between the two, or the file is an old one.
    fn recover(&mut self, opened: &Openings) -> anyhow::Result<()> {
        for (name, logged) in opened.names(&self.contract.dataset) {
            let Some((period, _)) = name.split_once('/').filter(|(_, of)| *of == version(self.contract)) else {
                continue;
            };
            let period: NaiveDate = period.parse().context("a period of the log has no date")?;
            let restated = logged.drawn == RESTATED;
            if self.closed.iter().any(|closed| closed.period == period && closed.restated == restated) {
                continue;
            }
            let (file, sha256) = (file_name(period, restated), logged.sha256.clone());
            self.closed.retain(|closed| closed.period != period);
            let as_at = closes(self.rule, period);
            self.closed.push(ClosedPeriod { period, file, sha256, snapshot: logged.snapshot, as_at, restated });
        }
        self.closed.sort_by_key(|closed| closed.period);
        Ok(())
    }

    /// Closes what a snapshot lets close, and declares anew what is to be, each durable and in the log before it counts.
    pub(super) fn close(
        &mut self,
        newest: &Snapshot,
        restated: &Restated,
        today: NaiveDate,
        opened: &mut Openings,
        tell: &dyn Fn(String) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let due = self.due(newest, today)?;
        let anew = self.closed.iter().filter(|closed| !closed.restated && restated.contains_key(&closed.period));
        let anew: Vec<NaiveDate> = anew.map(|closed| closed.period).collect();
        if due.is_empty() && anew.is_empty() {
            return Ok(());
        }
        let rows = Rows::of(self.contract, self.rule, newest)?;
        let (last, mut late) = (due.last().copied(), Vec::new());
        if last.is_some() {
            let closed: Vec<NaiveDate> = self.closed.iter().map(|closed| closed.period).collect();
            for period in closed.into_iter().filter(|period| !anew.contains(period)) {
                late.extend(rows.beyond(period, &self.known(period)?, true)?);
            }
        }
        for period in due {
            let mut own = rows.of_period(period);
            if Some(period) == last {
                own.append(&mut late);
            }
            self.write(period, false, &rows.taken(&own, period)?, newest)?;
            self.tell(period, opened, tell)?;
        }
        for period in anew {
            self.restate(period, &rows, newest, restated.get(&period).map_or("", String::as_str), opened, tell)?;
        }
        Ok(())
    }

    /// As tables read them; `None` where none is closed.
    pub(super) fn served(&self, newest: &Snapshot) -> Option<Snapshot> {
        let last = self.closed.iter().max_by_key(|closed| closed.snapshot)?;
        let files: Vec<PathBuf> = self.closed.iter().map(|closed| self.folder.join(&closed.file)).collect();
        let closed = Closed {
            periods: self.closed.iter().map(|closed| Value::Date(days_of(closed.period))).collect(),
            epochs: self.closed.iter().map(ClosedPeriod::epoch).collect(),
            files: files.clone(),
        };
        Some(Snapshot { id: last.snapshot, as_at: last.as_at, files, closed: Arc::new(closed), ..newest.clone() })
    }

    /// The periods of a snapshot that are not closed and whose day has come, in order.
    fn due(&self, newest: &Snapshot, today: NaiveDate) -> anyhow::Result<Vec<NaiveDate>> {
        let named = crate::tables::column(newest, &self.rule.column)?;
        let known: BTreeSet<NaiveDate> = self.closed.iter().map(|closed| closed.period).collect();
        let periods: BTreeSet<i32> = dates(&named)?.into_iter().map(|day| self.rule.every.floor(day)).collect();
        let periods = periods.into_iter().filter_map(day_of).filter(|period| !known.contains(period));
        Ok(periods.filter(|period| closes(self.rule, *period) <= newest.as_at.min(today)).collect())
    }

    fn name(&self, period: NaiveDate) -> String {
        format!("{period}/{}", version(self.contract))
    }

    /// The rows that name a period, wherever they count.
    fn known(&self, period: NaiveDate) -> anyhow::Result<Vec<RecordBatch>> {
        let mut found = Vec::new();
        for closed in &self.closed {
            found.extend(rows_of(&self.folder.join(&closed.file), period)?);
        }
        Ok(found)
    }

    fn write(
        &mut self,
        period: NaiveDate,
        restated: bool,
        rows: &RecordBatch,
        newest: &Snapshot,
    ) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let file = file_name(period, restated);
        let path = self.folder.join(&file);
        write_piece(&path, self.contract, &rows.schema(), std::slice::from_ref(rows))?;
        File::open(&self.folder)?.sync_all()?;
        let sha256 = hash(&[path])?;
        self.closed.retain(|closed| closed.period != period);
        self.closed.push(ClosedPeriod { period, file, sha256, snapshot: newest.id, as_at: newest.as_at, restated });
        self.closed.sort_by_key(|closed| closed.period);
        Ok(())
    }

    /// Tells the log, and then the file.
    fn tell(
        &self,
        period: NaiveDate,
        opened: &mut Openings,
        tell: &dyn Fn(String) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let closed = self.closed.iter().find(|closed| closed.period == period).context("a period is not closed")?;
        let (name, drawn) = (self.name(period), if closed.restated { RESTATED } else { "closed" }.to_owned());
        let opening = Opening { drawn, snapshot: closed.snapshot, sha256: closed.sha256.clone() };
        tell(opening.words("period", &name))?;
        opened.insert(&self.contract.dataset, &name, opening);
        let (path, partial) = (self.folder.join("periods.json"), self.folder.join("periods.partial"));
        std::fs::write(&partial, serde_json::to_vec_pretty(&self.closed)?)?;
        File::open(&partial)?.sync_all()?;
        std::fs::rename(&partial, &path).with_context(|| format!("renaming into {}", path.display()))?;
        Ok(File::open(&self.folder)?.sync_all()?)
    }

    /// Declares a period's rows anew, once: from then on it has those of the newest snapshot, and other draws.
    fn restate(
        &mut self,
        period: NaiveDate,
        rows: &Rows<'_>,
        newest: &Snapshot,
        why: &str,
        opened: &mut Openings,
        tell: &dyn Fn(String) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let before = self.closed.iter().find(|closed| closed.period == period).cloned().context("not closed")?;
        let old = self.folder.join(&before.file);
        let is_whole = hash(std::slice::from_ref(&old)).is_ok_and(|found| found == before.sha256);
        // What came late has been counted elsewhere, and late rows of others that count here stay.
        let mut elsewhere = Vec::new();
        for closed in self.closed.iter().filter(|closed| closed.period != period) {
            elsewhere.extend(rows_of(&self.folder.join(&closed.file), period)?);
        }
        let own = rows.taken(&rows.beyond(period, &elsewhere, false)?, period)?;
        let mut all = vec![own];
        if is_whole {
            all.extend(rows_where(&old, &|of| of != days_of(period))?);
        }
        let all = concat_batches(&rows.schema, &all)?;
        let closed = self.closed.clone();
        self.write(period, true, &all, newest)?;
        let anew = self.folder.join(file_name(period, true));
        let of_file = |file: PathBuf| Snapshot { files: vec![file], ..newest.clone() };
        let differ = match is_whole {
            true => changed(self.contract, &of_file(old), &of_file(anew.clone()))?,
            false => all.num_rows(),
        };
        if differ < FEWEST_CHANGED {
            self.closed = closed;
            std::fs::remove_file(&anew)?;
            tracing::warn!(
                dataset = self.contract.dataset,
                "the restatement of {period} waits: fewer than {FEWEST_CHANGED} units would change, and figures would tell who"
            );
            ensure!(is_whole, "the rows of period {period} are lost, and too few are there to declare them anew");
            return Ok(());
        }
        tell(format!("period {period} is restated: {}", why.escape_debug()))?;
        self.tell(period, opened, tell)
    }
}

const RESTATED: &str = "restated";

fn file_name(period: NaiveDate, restated: bool) -> String {
    let restated = if restated { ".restated" } else { "" };
    format!("{period}{restated}.parquet")
}

impl ClosedPeriod {
    fn epoch(&self) -> String {
        let restated = if self.restated { " restated" } else { "" };
        format!("{} {}{restated}", self.period, self.sha256)
    }
}
