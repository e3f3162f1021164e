//! Columns of snapshots as class numbers.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;

use anyhow::{Context, bail};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, UInt64Type};
use datafusion::common::ScalarValue;
use loda_contract::{Column, ColumnType, Period, Role, Test, Value};
use loda_disclosure::table::{CLASSES, Code, NULL};
use loda_question::plan::{arrow_type, value_at, value_scalar};
use loda_question::table::{Classes, Table, TableColumn};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::pinned::Pinned;
use crate::snapshot::{Snapshot, unit_column};

/// The classes of a column, by number.
#[derive(Clone, Debug)]
pub(crate) struct Dictionary {
    pub(crate) values: Vec<Value>,
    numbers: HashMap<Value, Code>,
    /// The lower bounds of bands, if the column has bands.
    bands: Option<Vec<i128>>,
}

/// A column of a register by unit id, and the other unit that each value describes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Codes {
    pub(crate) codes: Vec<Code>,
    pub(crate) units: Option<Vec<u64>>,
}

impl Codes {
    pub(crate) fn bytes(&self) -> usize {
        self.codes.len().saturating_mul(4).saturating_add(self.units.as_ref().map_or(0, |u| u.len().saturating_mul(8)))
    }
}

impl Dictionary {
    pub(crate) fn of(column: &TableColumn, table: &Table, snapshots: &Pinned<'_>) -> anyhow::Result<Self> {
        let values = match &column.classes {
            _ if column.period.is_some() => snapshots.of(&column.reference.dataset)?.closed.periods.clone(),
            Classes::Presence => vec![Value::Boolean(true)],
            Classes::Coded(values) => values.clone(),
            Classes::Open => {
                let contract = table.contract(&column.reference.dataset).context("a column of no dataset")?;
                let name = column.reference.column.as_deref().context("a column without a name")?;
                let words = snapshots.of(&contract.dataset)?.lists.get(name).context("a column without classes")?;
                words.iter().map(|word| Value::Text(word.as_str().into())).collect()
            }
        };
        let bands =
            matches!(column.made, loda_question::table::Made::Bands | loda_question::table::Made::Derived { .. });
        let bands = bands.then(|| values.iter().filter_map(units_of).collect());
        let numbers = values.iter().cloned().zip(CLASSES..).collect();
        Ok(Self { values, numbers, bands })
    }

    /// The class of a value. A value that is in no class has the class NULL.
    pub(crate) fn code(&self, value: &Value) -> Code {
        if *value == Value::Null {
            return NULL;
        }
        match (&self.bands, units_of(value)) {
            (Some(bands), Some(units)) => {
                let below = bands.partition_point(|band| *band <= units);
                Code::try_from(below.saturating_sub(1)).map_or(NULL, |place| place.saturating_add(CLASSES))
            }
            _ => self.numbers.get(value).copied().unwrap_or(NULL),
        }
    }

    /// The classes of a snapshot's column, row by row.
    pub(crate) fn codes(&self, values: &ArrayRef, kind: ColumnType) -> anyhow::Result<Vec<Code>> {
        let wanted = arrow_type(kind);
        if let Some(coded) = values.as_any_dictionary_opt() {
            let words = plain(coded.values(), kind)?;
            let of_word: Vec<Code> = (0..words.len())
                .map(|row| {
                    value_at(&words, kind, row).map(|value| self.code(&value)).context("a column of another type")
                })
                .collect::<anyhow::Result<_>>()?;
            let keys = coded.normalized_keys();
            let of_row = |row: usize| {
                if values.is_null(row) {
                    return NULL;
                }
                keys.get(row).and_then(|key| of_word.get(*key)).copied().unwrap_or(NULL)
            };
            return Ok((0..values.len()).map(of_row).collect());
        }
        let values = cast(values, &wanted)?;
        (0..values.len())
            .map(|row| value_at(&values, kind, row).map(|value| self.code(&value)).context("a column of another type"))
            .collect()
    }

    pub(super) fn to_array(&self, kind: &DataType) -> ArrayRef {
        let of_kind = ColumnType::Text;
        let scalars = self.values.iter().map(|value| match (value, kind) {
            (Value::Decimal(d), DataType::Decimal128(p, s)) => ScalarValue::Decimal128(Some(*d), *p, *s),
            (value, _) => value_scalar(value, of_kind),
        });
        let array = ScalarValue::iter_to_array(scalars);
        array.unwrap_or_else(|_| arrow::array::new_empty_array(kind))
    }
}

/// A whole column of a snapshot.
pub(crate) fn column(snapshot: &Snapshot, name: &str) -> anyhow::Result<ArrayRef> {
    read(snapshot, &[name])?.pop().context("a snapshot has no such column")
}

/// The values of a column, row by row.
pub(crate) fn values(snapshot: &Snapshot, name: &str) -> anyhow::Result<Vec<Value>> {
    let kind = snapshot.contract.column(name).context("no such column")?.kind;
    let values = plain(&column(snapshot, name)?, kind)?;
    (0..values.len()).map(|row| value_at(&values, kind, row).context("a column of another type")).collect()
}

/// The period of each row.
pub(crate) fn periods(snapshot: &Snapshot, period: &Period) -> anyhow::Result<Vec<Value>> {
    let of_value = |value| match value {
        Value::Date(day) => Value::Date(period.every.floor(day)),
        other => other,
    };
    Ok(values(snapshot, &period.column)?.into_iter().map(of_value).collect())
}

/// The words of a text column, in order.
pub(crate) fn words_of(snapshot: &Snapshot, name: &str) -> anyhow::Result<Vec<String>> {
    let words = values(snapshot, name)?.into_iter().filter_map(|value| match value {
        Value::Text(word) => Some(word.to_string()),
        _ => None,
    });
    Ok(words.collect::<BTreeSet<String>>().into_iter().collect())
}

pub(crate) fn units_of(value: &Value) -> Option<i128> {
    match value {
        Value::Integer(i) => Some(i128::from(*i)),
        Value::Decimal(d) => Some(*d),
        _ => None,
    }
}

/// Whole columns of a snapshot.
pub(crate) fn read(snapshot: &Snapshot, names: &[&str]) -> anyhow::Result<Vec<ArrayRef>> {
    let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); names.len()];
    for file in &snapshot.files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
        let only = ProjectionMask::columns(reader.parquet_schema(), names.iter().copied());
        for batch in reader.with_projection(only).with_batch_size(1 << 16).build()? {
            let batch = batch?;
            for (part, name) in parts.iter_mut().zip(names) {
                let column = batch.column_by_name(name).with_context(|| format!("a piece has no column {name}"))?;
                part.push(column.clone());
            }
        }
    }
    let columns = parts.into_iter().zip(names).map(|(part, name)| {
        let refs: Vec<&dyn Array> = part.iter().map(AsRef::as_ref).collect();
        if refs.is_empty() {
            let kind = snapshot.contract.column(name).map_or(DataType::UInt64, |c| arrow_type(c.kind));
            return Ok(arrow::array::new_empty_array(&kind));
        }
        Ok(concat(&refs)?)
    });
    columns.collect()
}

/// The dense ids of a unit domain, row by row.
pub(crate) fn ids(values: &ArrayRef) -> anyhow::Result<Vec<u64>> {
    let ids = values.as_primitive_opt::<UInt64Type>().context("unit ids are of another type")?;
    Ok(ids.values().to_vec())
}

pub(crate) fn id_column(domain: &str) -> String {
    unit_column(domain)
}

fn plain(values: &ArrayRef, kind: ColumnType) -> anyhow::Result<ArrayRef> {
    Ok(cast(values, &arrow_type(kind))?)
}

/// The values of a measure in scaled units, row by row.
pub(crate) fn numbers(values: &ArrayRef, column: &Column) -> anyhow::Result<Vec<Option<i128>>> {
    if !matches!(column.role, Role::Measure { .. }) {
        bail!("a column that is no measure");
    }
    let values = plain(values, column.kind)?;
    (0..values.len())
        .map(|row| value_at(&values, column.kind, row).map(|v| units_of(&v)).context("a measure of another type"))
        .collect()
}

/// Whether each row meets a test.
pub(crate) fn tested(values: &ArrayRef, column: &Column, test: &Test) -> anyhow::Result<Vec<bool>> {
    let values = plain(values, column.kind)?;
    let meets = |value: &Value| match test {
        _ if *value == Value::Null => false,
        Test::OneOf(values) => values.contains(value),
        Test::Between { from, below } => {
            from.as_ref().is_none_or(|from| value >= from) && below.as_ref().is_none_or(|below| value < below)
        }
    };
    (0..values.len())
        .map(|row| value_at(&values, column.kind, row).map(|v| meets(&v)).context("a column of another type"))
        .collect()
}

impl Dictionary {
    /// The column's name. If a borough lists the classes, a hash of the list is added, because another list makes other
    /// cells.
    pub(super) fn label(&self, column: &TableColumn) -> String {
        match &column.classes {
            Classes::Open => {
                let list = self.words(column).join("\u{1f}");
                let hash = ring::digest::digest(&ring::digest::SHA256, list.as_bytes());
                format!("{} {}", column.reference, hex::encode(hash))
            }
            Classes::Presence | Classes::Coded(_) => column.reference.to_string(),
        }
    }

    pub(super) fn array(&self, column: &TableColumn) -> ArrayRef {
        self.to_array(&arrow_type(column.kind))
    }

    pub(super) fn words(&self, column: &TableColumn) -> Vec<String> {
        self.values.iter().map(|value| value.plain(column.kind)).collect()
    }
}
