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

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, RecordBatch, UInt64Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef, UInt64Type};
use arrow::row::{RowConverter, SortField};
use chrono::{Days, NaiveDate};
use loda_contract::{Contract, Domain, Grain, Period, Role, Value};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};

use super::FEWEST_CHANGED;
use super::changed::{changed, hash};
use super::opening::{Opening, Openings};
use crate::ingest::snapshot_schema;
use crate::snapshot::{Snapshot, unit_column, write_piece};

/// The period that a row names itself, where it counts in a later one.
const OF: &str = "__of";

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

fn days_of(day: NaiveDate) -> i32 {
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
        let rows = Rows::of(self, newest)?;
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

/// A snapshot's rows, to be parted by period.
struct Rows<'a> {
    contract: &'a Contract,
    /// With [`OF`] last.
    schema: SchemaRef,
    whole: RecordBatch,
    rule: &'a Period,
    /// Of the column that says when.
    grain: Grain,
    /// Its place, and the period that each row names.
    place: usize,
    named: Vec<i32>,
}

impl<'a> Rows<'a> {
    fn of(periods: &Periods<'a>, newest: &Snapshot) -> anyhow::Result<Self> {
        let plain = snapshot_schema(periods.contract);
        let place = plain.index_of(&periods.rule.column)?;
        let mut batches = Vec::new();
        for file in &newest.files {
            for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.build()? {
                batches.push(RecordBatch::try_new(Arc::clone(&plain), batch?.columns().to_vec())?);
            }
        }
        let whole = concat_batches(&plain, &batches)?;
        let named = dates(whole.column(place))?.into_iter().map(|day| periods.rule.every.floor(day)).collect();
        let of = Field::new(OF, DataType::Date32, false);
        let fields = plain.fields().iter().cloned().chain([Arc::new(of)]).collect::<Vec<_>>();
        let (contract, rule, schema) = (periods.contract, periods.rule, Arc::new(Schema::new(fields)));
        let grain = match contract.period().map(|(_, column)| &column.role) {
            Some(Role::Dimension(Domain::Dates { grain, .. })) => *grain,
            _ => bail!("periods are of no date"),
        };
        Ok(Self { contract, schema, whole, rule, grain, place, named })
    }

    fn of_period(&self, period: NaiveDate) -> Vec<usize> {
        let wanted = days_of(period);
        self.named.iter().enumerate().filter(|(_, named)| **named == wanted).map(|(row, _)| row).collect()
    }

    /// The rows of a period that are not among those that are known, in order. `net`: of each unit no more than it has more
    /// rows than before: where one is gone as well, another was corrected.
    fn beyond(&self, period: NaiveDate, known: &[RecordBatch], net: bool) -> anyhow::Result<Vec<usize>> {
        let mut left: HashMap<(u64, u64), usize> = HashMap::new();
        for batch in known {
            for print in self.prints(batch)? {
                *left.entry(print).or_default() += 1;
            }
        }
        let own = self.of_period(period);
        let (mut fresh, mut of_unit): (BTreeMap<u64, Vec<(u64, usize)>>, HashMap<u64, usize>) = Default::default();
        for (row, (unit, print)) in own.iter().zip(self.prints(&take(&self.whole, &own)?)?) {
            match left.get_mut(&(unit, print)).filter(|left| **left > 0) {
                Some(left) => *left -= 1,
                None => fresh.entry(unit).or_default().push((print, *row)),
            }
        }
        for ((unit, _), count) in left {
            *of_unit.entry(unit).or_default() += count;
        }
        let mut beyond = Vec::new();
        for (unit, mut rows) in fresh {
            rows.sort_unstable();
            let gone = if net { of_unit.get(&unit).copied().unwrap_or(0) } else { 0 };
            beyond.extend(rows.into_iter().skip(gone).map(|(_, row)| row));
        }
        beyond.sort_unstable();
        Ok(beyond)
    }

    /// Of each row the unit that it is of and a hash of the rest, the period aside. A row that is a unit of its own is of none:
    /// a corrected one is another.
    fn prints(&self, batch: &RecordBatch) -> anyhow::Result<Vec<(u64, u64)>> {
        let unit = self.contract.main_unit().filter(|unit| unit.column.is_some());
        let ids: Option<&UInt64Array> = match unit {
            None => None,
            Some(unit) => {
                let ids = batch.column_by_name(&unit_column(&unit.domain)).context("rows have no ids")?;
                Some(ids.as_primitive_opt::<UInt64Type>().context("unit ids are of another type")?)
            }
        };
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (place, (column, field)) in batch.columns().iter().zip(batch.schema().fields()).enumerate() {
            if place == self.place || field.name() == OF {
                continue;
            }
            columns.push(match column.data_type() {
                DataType::Dictionary(_, words) => cast(column, words)?,
                _ => Arc::clone(column),
            });
        }
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
        let rows = RowConverter::new(fields.collect())?.convert_columns(&columns)?;
        let of_row = |(place, row): (usize, arrow::row::Row<'_>)| {
            let mut hasher = DefaultHasher::new();
            hasher.write(row.as_ref());
            (ids.map_or(0, |ids| ids.value(place)), hasher.finish())
        };
        Ok(rows.iter().enumerate().map(of_row).collect())
    }

    /// Rows as a period has them: those that name an earlier one come on its last day.
    fn taken(&self, rows: &[usize], period: NaiveDate) -> anyhow::Result<RecordBatch> {
        let taken = take(&self.whole, rows)?;
        let mut columns = taken.columns().to_vec();
        let when = columns.get_mut(self.place).context("rows have no period")?;
        let own = dates(when)?;
        let (first, last) = (days_of(period), self.rule.every.next(days_of(period)).saturating_sub(1));
        let of: Vec<i32> = own.iter().map(|day| self.rule.every.floor(*day)).collect();
        let came = own.iter().zip(&of).map(|(day, of)| if *of == first { *day } else { self.grain.floor(last) });
        *when = Arc::new(Date32Array::from_iter_values(came));
        columns.push(Arc::new(Date32Array::from(of)));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

fn take(batch: &RecordBatch, rows: &[usize]) -> anyhow::Result<RecordBatch> {
    let rows: UInt64Array = rows.iter().map(|row| *row as u64).collect();
    Ok(take_record_batch(batch, &rows)?)
}

fn dates(values: &ArrayRef) -> anyhow::Result<Vec<i32>> {
    ensure!(values.null_count() == 0, "a row has no period");
    Ok(values.as_primitive_opt::<Date32Type>().context("a period is no date")?.values().to_vec())
}

/// The rows of a period's file that name a period.
fn rows_of(file: &Path, period: NaiveDate) -> anyhow::Result<Vec<RecordBatch>> {
    rows_where(file, &|of| of == days_of(period))
}

fn rows_where(file: &Path, wanted: &dyn Fn(i32) -> bool) -> anyhow::Result<Vec<RecordBatch>> {
    let mut found = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.build()? {
        let batch = batch?;
        let Some(of) = batch.column_by_name(OF) else { bail!("a period's file does not say what its rows name") };
        let rows: Vec<usize> =
            dates(of)?.iter().enumerate().filter(|(_, of)| wanted(**of)).map(|(row, _)| row).collect();
        found.push(take(&batch, &rows)?);
    }
    Ok(found)
}
