//! Builds stage batches from plain rows, and reads results back, for all tests of this crate.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray, UInt16Array, UInt64Array,
};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type, Schema};
use loda_disclosure::{
    DisclosureError, DomainSpec, FigureKind, FigureSpec, MeasureSpec, Method, Moment, NoiseKey, TableSpec, disclose,
};

/// One row of the (cell, unit) stage, with one Int64 key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageRow {
    pub cell: Option<i64>,
    /// One unit id a domain.
    pub units: Vec<u64>,
    pub mask: u16,
    pub rows: i64,
    /// (sum, non-null count) a measure.
    pub sums: Vec<(Option<i128>, i64)>,
}

/// (cell, figures) of a result.
pub type Released = BTreeMap<Option<i64>, Vec<Option<i128>>>;

/// A table with the Int64 key "cell", domains "d0", "d1", … and measures of scale 2.
pub fn table(one_row: &[bool], conditions: usize, lowers: &[i128]) -> TableSpec {
    let name = |index: usize| format!("d{index}");
    let domains = one_row.iter().enumerate();
    TableSpec {
        keys: vec![Arc::new(Field::new("cell", DataType::Int64, true))],
        domains: domains.map(|(i, one_row)| DomainSpec { name: name(i), max_rows: one_row.then_some(1) }).collect(),
        conditions,
        measures: lowers.iter().map(|lower| value(*lower, 1_000_000)).collect(),
        figures: Vec::new(),
        possible: None,
    }
}

/// A value of scale 2 between bounds.
pub fn value(lower: i128, upper: i128) -> MeasureSpec {
    MeasureSpec { scale: 2, lower, upper, moment: Moment::Value }
}

/// A node's secret, the same in every test.
pub fn noise_key() -> NoiseKey {
    NoiseKey::new(&[7; 32])
}

impl StageRow {
    pub fn new(cell: i64, unit: u64, mask: u16) -> Self {
        Self { cell: Some(cell), units: vec![unit], mask, rows: 1, sums: Vec::new() }
    }
}

/// Adds a figure that is withheld on its own.
pub fn ask(spec: &mut TableSpec, kind: FigureKind, requires: u16) {
    let together = spec.figures.len();
    let name = format!("f{together}");
    spec.figures.push(FigureSpec { name, kind, requires, together });
}

pub fn batch(spec: &TableSpec, rows: &[StageRow]) -> RecordBatch {
    let keys: Vec<ArrayRef> = if spec.keys.is_empty() {
        Vec::new()
    } else {
        vec![Arc::new(rows.iter().map(|row| row.cell).collect::<Int64Array>())]
    };
    let column = |domain: usize| rows.iter().map(move |row| row.units[domain]);
    let domains = (0..spec.domains.len()).map(|domain| column(domain).collect::<Vec<_>>());
    let masks = rows.iter().map(|row| row.mask).collect();
    let counts = rows.iter().map(|row| row.rows).collect();
    let measures =
        (0..spec.measures.len()).map(|measure| rows.iter().map(|row| row.sums[measure]).unzip()).collect::<Vec<_>>();
    assemble(spec, keys, domains.collect(), masks, counts, measures)
}

/// The columns of the stage in their order.
pub fn assemble(
    spec: &TableSpec,
    keys: Vec<ArrayRef>,
    domains: Vec<Vec<u64>>,
    masks: Vec<u16>,
    rows: Vec<i64>,
    measures: Vec<(Vec<Option<i128>>, Vec<i64>)>,
) -> RecordBatch {
    let mut columns = keys;
    for units in domains {
        columns.push(Arc::new(UInt64Array::from(units)));
    }
    columns.push(Arc::new(UInt16Array::from(masks)));
    columns.push(Arc::new(Int64Array::from(rows)));
    for ((sums, counts), measure) in measures.into_iter().zip(&spec.measures) {
        let decimal = DataType::Decimal128(38, measure.scale);
        columns.push(Arc::new(Decimal128Array::from(sums).with_data_type(decimal)));
        columns.push(Arc::new(Int64Array::from(counts)));
    }
    from_columns(columns)
}

pub fn from_columns(columns: Vec<ArrayRef>) -> RecordBatch {
    let field = |(index, column): (usize, &ArrayRef)| -> FieldRef {
        Arc::new(Field::new(format!("c{index}"), column.data_type().clone(), true))
    };
    let fields: Vec<FieldRef> = columns.iter().enumerate().map(field).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Runs the method over the rows as one batch and reads the figures by cell.
pub fn run(spec: &TableSpec, rows: &[StageRow], method: &dyn Method) -> Result<Released, DisclosureError> {
    let released = disclose(spec, &[batch(spec, rows)], method)?;
    Ok(read(spec, released.get()))
}

pub fn read(spec: &TableSpec, released: &RecordBatch) -> Released {
    let cells = |row: usize| -> Option<i64> {
        let keys = (!spec.keys.is_empty()).then(|| released.column(0).as_primitive::<Int64Type>())?;
        keys.is_valid(row).then(|| keys.value(row))
    };
    let figure = |row: usize, index: usize| -> Option<i128> {
        let column = released.column(spec.keys.len() + index);
        if column.is_null(row) {
            return None;
        }
        Some(match spec.figures[index].kind {
            FigureKind::Sum { .. } => column.as_primitive::<Decimal128Type>().value(row),
            _ => i128::from(column.as_primitive::<Int64Type>().value(row)),
        })
    };
    (0..released.num_rows())
        .map(|row| (cells(row), (0..spec.figures.len()).map(|index| figure(row, index)).collect()))
        .collect()
}

pub fn strings(values: impl IntoIterator<Item = String>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<StringArray>())
}
