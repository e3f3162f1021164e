//! The rows of periods: the late rows of a snapshot, and the rows of a period's file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, RecordBatch, UInt64Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef, UInt64Type};
use arrow::row::{RowConverter, SortField};
use chrono::NaiveDate;
use loda_contract::{Contract, Domain, Grain, Period, Role};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::snapshot::{Snapshot, snapshot_schema, unit_column};

/// The column with the day that a row itself names. The row may count in a later period.
const OF: &str = "__of";

/// This number of rows may always differ, regardless of their share of all rows.
const FEW: usize = 100;

/// The unit of a row, and a hash of the rest of the row with the day that it names.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Print {
    unit: u64,
    rest: u64,
}

/// The rows of a snapshot, to be divided by period.
pub(super) struct PeriodRows<'a> {
    contract: &'a Contract,
    /// The contract's columns, with [`OF`] last.
    pub(super) schema: SchemaRef,
    whole: RecordBatch,
    rule: &'a Period,
    /// The grain of the date column of periods.
    grain: Grain,
    /// The place of that column, and the period that each row names.
    place: usize,
    named: Vec<i32>,
}

impl<'a> PeriodRows<'a> {
    pub(super) fn of(contract: &'a Contract, rule: &'a Period, newest: &Snapshot) -> anyhow::Result<Self> {
        let plain = snapshot_schema(contract);
        let place = plain.index_of(&rule.column)?;
        let mut batches = Vec::new();
        for file in &newest.files {
            for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.build()? {
                batches.push(RecordBatch::try_new(Arc::clone(&plain), batch?.columns().to_vec())?);
            }
        }
        let whole = concat_batches(&plain, &batches)?;
        let named = dates(whole.column(place))?.into_iter().map(|day| rule.every.floor(day)).collect();
        let of = Field::new(OF, DataType::Date32, false);
        let fields = plain.fields().iter().cloned().chain([Arc::new(of)]).collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(fields));
        let grain = match contract.period().map(|(_, column)| &column.role) {
            Some(Role::Dimension(Domain::Dates { grain, .. })) => *grain,
            _ => bail!("periods are of no date"),
        };
        Ok(Self { contract, schema, whole, rule, grain, place, named })
    }

    pub(super) fn of_period(&self, period: NaiveDate) -> Vec<usize> {
        let wanted = days_of(period);
        self.named.iter().enumerate().filter(|(_, named)| **named == wanted).map(|(row, _)| row).collect()
    }

    /// The rows of a period that are not among `others`, in order.
    pub(super) fn not_among(&self, period: NaiveDate, others: &[RecordBatch]) -> anyhow::Result<Vec<usize>> {
        let mut left: HashMap<Print, usize> = HashMap::new();
        for batch in others {
            self.prints(batch)?.into_iter().for_each(|print| *left.entry(print).or_default() += 1);
        }
        let own = self.of_period(period);
        let mut kept = Vec::new();
        for (row, print) in own.iter().zip(self.prints(&take(&self.whole, &own)?)?) {
            match left.get_mut(&print).filter(|left| **left > 0) {
                Some(left) => *left -= 1,
                None => kept.push(*row),
            }
        }
        Ok(kept)
    }

    /// The rows, in order, that have not been counted yet and name a period from `since` to just before `first`.
    /// `since` is the earliest closed period, and `first` is the first that closes now.
    ///
    /// Rows have no identity, so a corrected row looks like a new one. A unit therefore has no more late rows than it
    /// has more rows than before. A row is not late either if an equal row of another unit is gone: then only the ids
    /// of units changed. Some extracts hold only the last years. Rows of periods that an extract no longer holds do not
    /// count as gone.
    ///
    /// # Errors
    /// Most known rows are gone, and as many are new. The units have lost their ids, and every row would count twice.
    pub(super) fn late(&self, since: NaiveDate, first: NaiveDate, known: &[RecordBatch]) -> anyhow::Result<Vec<usize>> {
        let closed = days_of(since)..days_of(first);
        let still: BTreeSet<i32> = self.named.iter().copied().collect();
        let mut left: HashMap<Print, usize> = HashMap::new();
        for batch in known {
            let of = batch.column_by_name(OF).context("a period's file does not say what its rows name")?;
            let is_still = |day: i32| still.contains(&self.rule.every.floor(day));
            for (_, print) in dates(of)?.into_iter().zip(self.prints(batch)?).filter(|(day, _)| is_still(*day)) {
                *left.entry(print).or_default() += 1;
            }
        }
        let earlier: Vec<usize> =
            (0..self.named.len()).filter(|row| self.named.get(*row).is_some_and(|of| closed.contains(of))).collect();
        let (mut same, mut fresh) = (0_usize, BTreeMap::<u64, Vec<(u64, usize)>>::new());
        for (row, print) in earlier.iter().zip(self.prints(&take(&self.whole, &earlier)?)?) {
            match left.get_mut(&print).filter(|left| **left > 0) {
                Some(left) => (*left, same) = (*left - 1, same + 1),
                None => fresh.entry(print.unit).or_default().push((print.rest, *row)),
            }
        }
        let mut gone: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (print, count) in left {
            gone.entry(print.unit).or_default().extend(std::iter::repeat_n(print.rest, count));
        }
        let (new, lost) = (fresh.values().map(Vec::len).sum::<usize>(), gone.values().map(Vec::len).sum::<usize>());
        ensure!(
            new.min(lost) <= same.max(FEW),
            "nearly all rows of closed periods are others than before: units have lost their ids, or the source is another. Restore \
             state/units and record.key from the backup; no period closes meanwhile"
        );
        let mut late: Vec<(u64, usize)> = Vec::new();
        for (unit, rows) in &mut fresh {
            rows.sort_unstable();
            let of_unit = gone.entry(*unit).or_default();
            let corrected = rows.len().min(of_unit.len());
            of_unit.truncate(of_unit.len() - corrected);
            late.extend(rows.drain(corrected..));
        }
        let mut elsewhere: HashMap<u64, usize> = HashMap::new();
        gone.into_values().flatten().for_each(|rest| *elsewhere.entry(rest).or_default() += 1);
        late.retain(|(rest, _)| match elsewhere.get_mut(rest).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                false
            }
            None => true,
        });
        let mut late: Vec<usize> = late.into_iter().map(|(_, row)| row).collect();
        late.sort_unstable();
        Ok(late)
    }

    /// The prints of a batch's rows. A row that is a unit of its own has no unit here, so a corrected row is another
    /// row.
    fn prints(&self, batch: &RecordBatch) -> anyhow::Result<Vec<Print>> {
        let unit = self.contract.main_unit().filter(|unit| unit.column.is_some());
        let unit = unit.map(|unit| unit_column(&unit.domain));
        let ids: Option<&UInt64Array> = match &unit {
            None => None,
            Some(unit) => {
                let ids = batch.column_by_name(unit).context("rows have no ids")?;
                Some(ids.as_primitive_opt::<UInt64Type>().context("unit ids are of another type")?)
            }
        };
        let mut columns: Vec<ArrayRef> = Vec::new();
        let of_file = batch.column_by_name(OF).is_some();
        let mut day = None;
        for (place, (column, field)) in batch.columns().iter().zip(batch.schema().fields()).enumerate() {
            if place == self.place && of_file || Some(field.name()) == unit.as_ref() {
                continue;
            }
            let column = match column.data_type() {
                DataType::Dictionary(_, words) => cast(column, words)?,
                _ => Arc::clone(column),
            };
            // The day comes last, wherever its column is.
            if place == self.place { day = Some(column) } else { columns.push(column) }
        }
        columns.extend(day);
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
        let rows = RowConverter::new(fields.collect())?.convert_columns(&columns)?;
        let of_row = |(place, row): (usize, arrow::row::Row<'_>)| {
            let mut hasher = DefaultHasher::new();
            hasher.write(row.as_ref());
            Print { unit: ids.map_or(0, |ids| ids.value(place)), rest: hasher.finish() }
        };
        Ok(rows.iter().enumerate().map(of_row).collect())
    }

    /// Rows as they stand in a period's file. A row that names an earlier period gets the last day of this one.
    pub(super) fn taken(&self, rows: &[usize], period: NaiveDate) -> anyhow::Result<RecordBatch> {
        let taken = take(&self.whole, rows)?;
        let mut columns = taken.columns().to_vec();
        let when = columns.get_mut(self.place).context("rows have no period")?;
        let of = Arc::clone(when);
        let own = dates(when)?;
        let (first, last) = (days_of(period), self.rule.every.next(days_of(period)).saturating_sub(1));
        let came =
            own.iter().map(|day| if self.rule.every.floor(*day) == first { *day } else { self.grain.floor(last) });
        *when = Arc::new(Date32Array::from_iter_values(came));
        columns.push(of);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

fn take(batch: &RecordBatch, rows: &[usize]) -> anyhow::Result<RecordBatch> {
    let rows: UInt64Array = rows.iter().map(|row| *row as u64).collect();
    Ok(take_record_batch(batch, &rows)?)
}

pub(super) fn dates(values: &ArrayRef) -> anyhow::Result<Vec<i32>> {
    ensure!(values.null_count() == 0, "a row has no period");
    Ok(values.as_primitive_opt::<Date32Type>().context("a period is no date")?.values().to_vec())
}

/// The rows of a period's file that name a wanted day.
pub(super) fn rows_where(file: &Path, wanted: &dyn Fn(i32) -> bool) -> anyhow::Result<Vec<RecordBatch>> {
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

pub(super) fn days_of(day: NaiveDate) -> i32 {
    i32::try_from(day.signed_duration_since(NaiveDate::default()).num_days()).unwrap_or(i32::MAX)
}
