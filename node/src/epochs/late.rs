//! The rows of periods: which of a snapshot's are late, and what a period's file holds.

use std::collections::{BTreeMap, HashMap};
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

use super::periods::days_of;
use crate::ingest::snapshot_schema;
use crate::snapshot::{Snapshot, unit_column};

/// The period that a row names itself, where it counts in a later one.
const OF: &str = "__of";

/// A snapshot's rows, to be parted by period.
pub(super) struct Rows<'a> {
    contract: &'a Contract,
    /// With [`OF`] last.
    pub(super) schema: SchemaRef,
    whole: RecordBatch,
    rule: &'a Period,
    /// Of the column that says when.
    grain: Grain,
    /// Its place, and the period that each row names.
    place: usize,
    named: Vec<i32>,
}

impl<'a> Rows<'a> {
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

    /// The rows of a period that are not among those that are known, in order. `net`: of each unit no more than it has more
    /// rows than before: where one is gone as well, another was corrected.
    pub(super) fn beyond(&self, period: NaiveDate, known: &[RecordBatch], net: bool) -> anyhow::Result<Vec<usize>> {
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
    pub(super) fn taken(&self, rows: &[usize], period: NaiveDate) -> anyhow::Result<RecordBatch> {
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

pub(super) fn dates(values: &ArrayRef) -> anyhow::Result<Vec<i32>> {
    ensure!(values.null_count() == 0, "a row has no period");
    Ok(values.as_primitive_opt::<Date32Type>().context("a period is no date")?.values().to_vec())
}

/// The rows of a period's file that name a period.
pub(super) fn rows_of(file: &Path, period: NaiveDate) -> anyhow::Result<Vec<RecordBatch>> {
    rows_where(file, &|of| of == days_of(period))
}

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
