//! Closed periods. An appended row counts in the period in which it comes, and stays as it is from then on.
//!
//! ```text
//! periods/<dataset>/<contract>-<version>/periods.json        the closed periods, each with the hash of its rows
//! periods/<dataset>/<contract>-<version>/2026-03-01.parquet  its rows; `__of`: the day that each names itself
//! ```
//!
//! A period closes with the first snapshot that describes a day `settle-days` after the period's end. It closes even
//! without rows, so the existence of a period tells nothing about the people in it. Rows that come later count in the
//! period that closes next. A record that is corrected afterwards stays as it was ([`super::late`]). The closing of a
//! period is an entry of the node's log. No other rows are ever served under the period's name, except for one declared
//! restatement.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::UInt64Type;
use chrono::{Days, NaiveDate};
use loda_contract::{Contract, Period, Value};
use loda_ledger::{Change, Opened, Span};
use serde::{Deserialize, Serialize};

use super::changed::{FEWEST_CHANGED, changed, hash};
use super::late::{PeriodRows, dates, days_of, rows_where};
use super::opening::Openings;
use crate::snapshot::{Closed, Snapshot, unit_column, write_piece};
use crate::tables;

/// A closed period on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedPeriod {
    #[serde(with = "iso")]
    pub(crate) period: NaiveDate,
    file: String,
    sha256: String,
    /// The snapshot that its rows come from.
    snapshot: u64,
    #[serde(default)]
    restated: bool,
}

/// Days as people write them, as in 2026-03-01.
pub(crate) mod iso {
    use chrono::NaiveDate;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(day: &NaiveDate, into: S) -> Result<S::Ok, S::Error> {
        into.collect_str(day)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<NaiveDate, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The periods that a configuration restates, each with the reason.
pub(crate) type Restated = BTreeMap<NaiveDate, String>;

/// The periods of one dataset.
pub(super) struct Periods<'a> {
    contract: &'a Arc<Contract>,
    rule: &'a Period,
    folder: PathBuf,
    closed: Vec<ClosedPeriod>,
    /// Periods that will be restated, because their rows are not as the log records them.
    lost: BTreeSet<NaiveDate>,
}

/// Periods close from the first one that has this many units, because everybody learns that a period exists.
const FEWEST_OF_FIRST: usize = 10;

/// The day on which the period after `last` closes.
pub(crate) fn next_closing(rule: &Period, last: NaiveDate) -> NaiveDate {
    closes(rule, after(rule, last))
}

/// The period after another one.
fn after(rule: &Period, period: NaiveDate) -> NaiveDate {
    day_of(rule.every.next(days_of(period))).unwrap_or(NaiveDate::MAX)
}

/// The day on which a period closes.
fn closes(rule: &Period, period: NaiveDate) -> NaiveDate {
    after(rule, period).checked_add_days(Days::new(rule.settle_days.into())).unwrap_or(NaiveDate::MAX)
}

/// The closed periods of a dataset, from the file that was written last.
///
/// # Errors
/// A file exists and cannot be read.
pub(crate) fn listed(state: &Path, contract: &Contract) -> anyhow::Result<Vec<ClosedPeriod>> {
    let folder = state.join("periods").join(&contract.dataset);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut newest = None;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let of_contract = entry.file_name().to_string_lossy().starts_with(&named(contract));
        if let Ok(about) = std::fs::metadata(entry.path().join("periods.json"))
            && of_contract
        {
            newest = newest.max(Some((about.modified()?, entry.path())));
        }
    }
    newest.map_or(Ok(Vec::new()), |(_, folder)| read(&folder))
}

fn read(folder: &Path) -> anyhow::Result<Vec<ClosedPeriod>> {
    let path = folder.join("periods.json");
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

/// The folder with the rows of a dataset's closed periods. `version`: the hash of everything that draws their cells.
/// Another contract, perturbation or secret has a folder of its own: two draws with equal keys would give the noise
/// away.
pub(super) fn folder(state: &Path, contract: &Contract, version: &str) -> PathBuf {
    state.join("periods").join(&contract.dataset).join(format!("{}{version}", named(contract)))
}

fn named(contract: &Contract) -> String {
    format!("{}-", contract.sha256.chars().take(16).collect::<String>())
}

fn day_of(days: i32) -> Option<NaiveDate> {
    NaiveDate::default().checked_add_signed(chrono::TimeDelta::days(days.into()))
}

impl<'a> Periods<'a> {
    /// Opens the closed periods. Each must be whole and unchanged, as the log records it. A period that will be
    /// restated may be lost.
    pub(super) fn open(
        folder: PathBuf,
        contract: &'a Arc<Contract>,
        rule: &'a Period,
        opened: &Openings,
        restated: &Restated,
    ) -> anyhow::Result<Self> {
        let closed = read(&folder)?;
        let mut periods = Self { contract, rule, folder, closed, lost: BTreeSet::new() };
        periods.recover(opened)?;
        for closed in &periods.closed {
            let logged = opened.of(&contract.dataset, &periods.name(closed.period));
            let as_logged = logged.is_some_and(|logged| logged.sha256 == closed.sha256);
            if as_logged && hash(&[periods.folder.join(&closed.file)]).is_ok_and(|h| h == closed.sha256) {
                continue;
            }
            ensure!(
                !closed.restated && restated.contains_key(&closed.period),
                "dataset '{}': the rows of period {} are lost, or not those that it closed with. Restore {} from the backup; if \
                 there is none, declare them anew, [dataset.restate] \"{}\" = \"why\", and they are served when the next epoch begins",
                contract.dataset,
                closed.period,
                periods.folder.display(),
                closed.period
            );
            periods.lost.insert(closed.period);
        }
        Ok(periods)
    }

    /// Takes up periods that the log knows and the file does not. Either the process ended between the two, or the file
    /// is an old one.
    fn recover(&mut self, opened: &Openings) -> anyhow::Result<()> {
        let version = self.version();
        for (name, logged) in opened.names(&self.contract.dataset) {
            let Some((period, _)) = name.split_once('/').filter(|(_, of)| *of == version) else { continue };
            let period: NaiveDate = period.parse().context("a period of the log has no date")?;
            let restated = logged.drawn == RESTATED;
            if self.closed.iter().any(|closed| closed.period == period && closed.restated == restated) {
                continue;
            }
            let (file, sha256) = (file_name(period, restated), logged.sha256.clone());
            self.closed.retain(|closed| closed.period != period);
            self.closed.push(ClosedPeriod { period, file, sha256, snapshot: logged.snapshot, restated });
        }
        self.closed.sort_by_key(|closed| closed.period);
        Ok(())
    }

    /// Restates the declared periods, and closes each period that `newest` lets close. Each is durable and in the log
    /// before it counts.
    pub(super) fn close(
        &mut self,
        newest: &Snapshot,
        restated: &Restated,
        today: NaiveDate,
        opened: &mut Openings,
        tell: &dyn Fn(Change) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let due = self.due(newest, today)?;
        let anew = self.closed.iter().filter(|closed| !closed.restated && restated.contains_key(&closed.period));
        let anew: Vec<NaiveDate> = anew.map(|closed| closed.period).collect();
        if due.is_empty() && anew.is_empty() {
            return Ok(());
        }
        let rows = PeriodRows::of(self.contract, self.rule, newest)?;
        for period in anew {
            self.restate(period, &rows, newest, restated.get(&period).map_or("", String::as_str), opened, tell)?;
        }
        let Some(first) = due.first() else { return Ok(()) };
        let mut known = Vec::new();
        for closed in &self.closed {
            known.extend(rows_where(&self.folder.join(&closed.file), &|_| true)?);
        }
        let mut late = match self.closed.first() {
            Some(since) => rows.late(since.period, *first, &known)?,
            None => Vec::new(),
        };
        for period in &due {
            let mut own = rows.of_period(*period);
            if Some(period) == due.last() {
                own.append(&mut late);
            }
            self.write(*period, false, &rows.taken(&own, *period)?, newest)?;
            self.tell(*period, opened, tell)?;
        }
        Ok(())
    }

    /// The closed periods as tables read them, or `None` if no period is closed.
    pub(super) fn served(&self, newest: &Snapshot) -> Option<Snapshot> {
        let last = self.closed.iter().max_by_key(|closed| closed.snapshot)?;
        let files: Vec<PathBuf> = self.closed.iter().map(|closed| self.folder.join(&closed.file)).collect();
        let closed = Closed {
            periods: self.closed.iter().map(|closed| Value::Date(days_of(closed.period))).collect(),
            epochs: self.closed.iter().map(|closed| closed.epoch(&self.version())).collect(),
            files: files.clone(),
        };
        let until = self.closed.last().and_then(|closed| after(self.rule, closed.period).pred_opt())?;
        Some(Snapshot { id: last.snapshot, as_at: until, files, closed: Arc::new(closed), ..newest.clone() })
    }

    /// The periods after the closed ones whose closing day has come, in order.
    fn due(&self, newest: &Snapshot, today: NaiveDate) -> anyhow::Result<Vec<NaiveDate>> {
        let until = newest.as_at.min(today);
        let mut next = match self.closed.last() {
            Some(last) => Some(after(self.rule, last.period)),
            None => Some(first(self.contract, self.rule, newest, until)?),
        };
        let mut due = Vec::new();
        while let Some(period) = next.filter(|period| closes(self.rule, *period) <= until) {
            due.push(period);
            next = Some(after(self.rule, period));
        }
        Ok(due)
    }

    fn is_of(&self, day: i32, period: NaiveDate) -> bool {
        self.rule.every.floor(day) == days_of(period)
    }

    fn name(&self, period: NaiveDate) -> String {
        format!("{period}/{}", self.version())
    }

    fn version(&self) -> String {
        self.folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
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
        self.closed.push(ClosedPeriod { period, file, sha256, snapshot: newest.id, restated });
        self.closed.sort_by_key(|closed| closed.period);
        Ok(())
    }

    /// Writes to the log first, and then to the file.
    fn tell(
        &self,
        period: NaiveDate,
        opened: &mut Openings,
        tell: &dyn Fn(Change) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let closed = self.closed.iter().find(|closed| closed.period == period).context("a period is not closed")?;
        let (name, drawn) = (self.name(period), if closed.restated { RESTATED } else { "closed" }.to_owned());
        let (snapshot, sha256) = (closed.snapshot, closed.sha256.clone());
        let opening = Opened { span: Span::Period, name, snapshot, drawn, sha256 };
        tell(Change::Opened(opening.clone()))?;
        opened.insert(&self.contract.dataset, opening);
        let (path, partial) = (self.folder.join("periods.json"), self.folder.join("periods.partial"));
        std::fs::write(&partial, serde_json::to_vec_pretty(&self.closed)?)?;
        File::open(&partial)?.sync_all()?;
        std::fs::rename(&partial, &path).with_context(|| format!("renaming into {}", path.display()))?;
        Ok(File::open(&self.folder)?.sync_all()?)
    }

    /// Restates a period, once. From then on it has the rows of the newest snapshot, and other draws.
    fn restate(
        &mut self,
        period: NaiveDate,
        rows: &PeriodRows<'_>,
        newest: &Snapshot,
        why: &str,
        opened: &mut Openings,
        tell: &dyn Fn(Change) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let before = self.closed.iter().find(|closed| closed.period == period).cloned().context("not closed")?;
        let old = self.folder.join(&before.file);
        let is_whole = !self.lost.contains(&period);
        // The period's own late rows are counted elsewhere and stay there. Late rows of other periods that count here
        // stay too.
        let mut elsewhere = Vec::new();
        let others = self.closed.iter().filter(|closed| closed.period != period && !self.lost.contains(&closed.period));
        for closed in others {
            elsewhere.extend(rows_where(&self.folder.join(&closed.file), &|day| self.is_of(day, period))?);
        }
        let own = rows.taken(&rows.not_among(period, &elsewhere)?, period)?;
        let mut all = vec![own];
        if is_whole {
            all.extend(rows_where(&old, &|day| !self.is_of(day, period))?);
        }
        let all = concat_batches(&rows.schema, &all)?;
        let closed = self.closed.clone();
        self.write(period, true, &all, newest)?;
        let anew = self.folder.join(file_name(period, true));
        let of_file = |file: PathBuf| Snapshot { files: vec![file], ..newest.clone() };
        let differ = match is_whole {
            true => changed(self.contract, &of_file(old), &of_file(anew.clone()))?,
            // The number of units that would change is unknown.
            false => usize::MAX,
        };
        if differ < FEWEST_CHANGED {
            self.closed = closed;
            std::fs::remove_file(&anew)?;
            tracing::warn!(
                dataset = self.contract.dataset,
                "the restatement of {period} waits: fewer than {FEWEST_CHANGED} units would change, and figures would tell who"
            );
            return Ok(());
        }
        self.lost.remove(&period);
        tell(Change::Note(format!("period {period} is restated: {}", why.escape_debug())))?;
        self.tell(period, opened, tell)
    }
}

const RESTATED: &str = "restated";

fn file_name(period: NaiveDate, restated: bool) -> String {
    let restated = if restated { ".restated" } else { "" };
    format!("{period}{restated}.parquet")
}

impl ClosedPeriod {
    fn epoch(&self, version: &str) -> String {
        let restated = if self.restated { " restated" } else { "" };
        format!("{} {} {version}{restated}", self.period, self.sha256)
    }
}

/// The first period with enough units. If none has enough, the newest period that closes. Rows that name an earlier
/// period are left out, so the existence of a period tells nothing about a few people.
fn first(contract: &Contract, rule: &Period, newest: &Snapshot, until: NaiveDate) -> anyhow::Result<NaiveDate> {
    let named = dates(&tables::column(newest, &rule.column)?)?;
    let unit = contract.main_unit().context("rows are of nobody")?;
    let ids = tables::column(newest, &unit_column(&unit.domain))?;
    let ids = ids.as_primitive_opt::<UInt64Type>().context("unit ids are of another type")?;
    let mut units: BTreeMap<i32, BTreeSet<u64>> = BTreeMap::new();
    for (day, id) in named.into_iter().zip(ids.values()) {
        units.entry(rule.every.floor(day)).or_default().insert(*id);
    }
    let enough = units.into_iter().find(|(_, units)| units.len() >= FEWEST_OF_FIRST);
    if let Some(first) = enough.and_then(|(period, _)| day_of(period)) {
        return Ok(first);
    }
    let mut last = day_of(rule.every.floor(days_of(until))).unwrap_or(until);
    while closes(rule, last) > until {
        let before = last.pred_opt().and_then(|day| day_of(rule.every.floor(days_of(day))));
        last = before.context("no period has ever closed")?;
    }
    Ok(last)
}
