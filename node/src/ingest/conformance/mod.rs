//! Compares mapped rows with the contract: types, NULLs, code lists, ranges and bounds. A row that breaks the contract
//! is left out, and counted by column and reason.

//!
//! | module | its purpose |
//! |---|---|
//! | [`report`] | what was found, and whether the rows may be served |
//! | [`words`] | the report on a terminal and in a log |
//! | [`page`] | the report as a page |

mod page;
pub(crate) mod report;
mod words;

pub(crate) use page::page;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, filter};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, UInt64Type};
use loda_contract::{Column, ColumnType, Contract, Domain, Role};
use loda_question::plan::arrow_type;

use crate::ingest::conformance::report::{ColumnReport, Rejected, RowPlace};
use crate::ingest::finding::Finding;
use crate::ingest::source::{FILE, LINE};

/// The findings about the mapped rows so far.
#[derive(Default)]
pub(crate) struct Findings {
    rejected: BTreeMap<(String, &'static str), Rejected>,
    columns: BTreeMap<String, ColumnReport>,
    /// For each decimal column: the kept rows whose value has more places than the contract's.
    rounded: BTreeMap<String, u64>,
    pub(crate) read: u64,
    pub(crate) kept: u64,
}

impl Findings {
    pub(crate) fn rejected(&self) -> Vec<Rejected> {
        let mut rejected: Vec<Rejected> = self.rejected.values().cloned().collect();
        rejected.sort_by_key(|r| std::cmp::Reverse(r.rows));
        rejected
    }

    /// The columns whose values lose digits.
    pub(crate) fn rounded(&self) -> Vec<Finding> {
        let of = |(column, rows): (&String, &u64)| {
            Finding::new(
                format!("scale:{column}"),
                format!("column '{column}'"),
                format!("{rows} rows have more decimal places than the contract's scale: they would be rounded"),
                "propose a larger scale, or round in the mapping: round(money(...), 2)",
            )
        };
        self.rounded.iter().map(of).collect()
    }

    /// The reports in the contract's order of columns.
    pub(crate) fn columns(&self, contract: &Contract) -> Vec<ColumnReport> {
        contract.columns.iter().filter_map(|c| self.columns.get(&c.name).cloned()).collect()
    }
}

/// The rows of a mapped batch that keep the contract, with its columns in its order and types.
///
/// # Errors
/// A column is missing, or its type cannot become the contract's. The mapping is at fault, and no row is.
pub(crate) fn conforming(
    contract: &Contract,
    batch: &RecordBatch,
    findings: &mut Findings,
) -> anyhow::Result<Vec<ArrayRef>> {
    let mut keep = vec![true; batch.num_rows()];
    let mut columns = Vec::with_capacity(contract.columns.len());
    let first = findings.read;
    for column in &contract.columns {
        let Some(mapped) = batch.column_by_name(&column.name) else {
            bail!("the mapping gives no column '{}': add it to the SELECT", column.name);
        };
        fits(column, mapped.data_type())?;
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let values = cast_with_options(mapped, &arrow_type(column.kind), &options).with_context(|| {
            format!("column '{}' cannot become {}: CAST it in the mapping", column.name, column.kind)
        })?;
        let lost = digits_lost(column, mapped, &values);
        if lost > 0 {
            let rounded = findings.rounded.entry(column.name.clone()).or_default();
            *rounded = rounded.saturating_add(lost);
        }
        let values = at_grain(column, values);
        let verdict = verdicts(column, mapped, &values, &whole(column, mapped));
        for (row, fault) in verdict.into_iter().enumerate() {
            if let (Some(fault), Some(kept)) = (fault, keep.get_mut(row)) {
                // A row counts once, at the first column that it breaks.
                if *kept {
                    let place = || place(batch, row, first);
                    let rejected = findings.rejected.entry((column.name.clone(), fault)).or_default();
                    rejected.add(&column.name, fault, place, code_of(column, &values, row));
                }
                *kept = false;
            }
        }
        columns.push(values);
    }
    let keep = BooleanArray::from(keep);
    let columns = columns.iter().map(|c| Ok(filter(c, &keep)?)).collect::<anyhow::Result<Vec<ArrayRef>>>()?;
    for (column, values) in contract.columns.iter().zip(&columns) {
        let report = findings.columns.entry(column.name.clone()).or_insert_with(|| ColumnReport::new(&column.name));
        report.add(column, values);
    }
    findings.read = findings.read.saturating_add(batch.num_rows() as u64);
    findings.kept = findings.kept.saturating_add(columns.first().map_or(0, |c| c.len()) as u64);
    Ok(columns)
}

/// The origin of a row. If the mapping combined rows, it is the row's number in the mapping's result.
fn place(batch: &RecordBatch, row: usize, first: u64) -> RowPlace {
    let file = batch.column_by_name(FILE).and_then(|c| c.as_string_opt::<i32>()).filter(|c| c.is_valid(row));
    let line = batch.column_by_name(LINE).and_then(|c| c.as_primitive_opt::<UInt64Type>()).filter(|c| c.is_valid(row));
    match (file, line) {
        (Some(file), Some(line)) => RowPlace { file: file.value(row).to_owned(), line: line.value(row) },
        _ => RowPlace { file: String::new(), line: first.saturating_add(row as u64).saturating_add(1) },
    }
}

/// A code that the contract does not have. Codes are words of a system, and nobody's data. No value of another kind of
/// column is kept.
fn code_of(column: &Column, values: &ArrayRef, row: usize) -> Option<String> {
    let coded = matches!(column.role, Role::Dimension(Domain::Codes(_)));
    let texts = values.as_string_opt::<i32>().filter(|t| coded && t.is_valid(row))?;
    Some(texts.value(row).chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect())
}

/// Refuses a type that must not become the column's. A cast would accept most types, and give wrong values.
fn fits(column: &Column, mapped: &DataType) -> anyhow::Result<()> {
    let number = mapped.is_numeric() || matches!(mapped, DataType::Decimal128(..) | DataType::Decimal256(..));
    let text = matches!(mapped, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null);
    let right = match column.kind {
        ColumnType::Text => true,
        ColumnType::Integer | ColumnType::Decimal(_) => number,
        ColumnType::Date => matches!(mapped, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..)),
        ColumnType::Boolean => mapped == &DataType::Boolean,
    };
    if !right && !text {
        bail!("the mapping gives column '{}' as {mapped}, and the contract says {}", column.name, column.kind);
    }
    Ok(())
}

/// For a column of whole numbers: whether the number of a row is whole.
fn whole(column: &Column, mapped: &ArrayRef) -> Box<dyn Fn(usize) -> bool> {
    let fractions = mapped.data_type().is_floating() || matches!(mapped.data_type(), DataType::Decimal128(..));
    if column.kind != ColumnType::Integer || !fractions {
        return Box::new(|_| true);
    }
    match arrow::compute::cast(mapped, &DataType::Float64) {
        Ok(numbers) => {
            let numbers = numbers.as_primitive::<Float64Type>().clone();
            Box::new(move |row| numbers.is_null(row) || numbers.value(row).fract() == 0.0)
        }
        Err(_) => Box::new(|_| false),
    }
}

/// For a decimal column: the rows whose number has more places than the contract's scale.
fn digits_lost(column: &Column, mapped: &ArrayRef, values: &ArrayRef) -> u64 {
    let (ColumnType::Decimal(scale), Some(kept)) = (column.kind, values.as_primitive_opt::<Decimal128Type>()) else {
        return 0;
    };
    let unit = 10_f64.powi(i32::from(scale));
    let lost = |row: usize, exact: f64| {
        let kept = kept.value(row) as f64 / unit;
        (exact - kept).abs() > 1e-12 * exact.abs().max(1.0 / unit)
    };
    let rows = (0..values.len()).filter(|row| values.is_valid(*row) && mapped.is_valid(*row));
    if let Some(texts) = mapped.as_string_opt::<i32>() {
        let places =
            |text: &str| text.trim().split_once('.').map_or(0, |(_, places)| places.trim_end_matches('0').len());
        return rows.filter(|row| places(texts.value(*row)) > usize::try_from(scale).unwrap_or(0)).count() as u64;
    }
    let Ok(numbers) = arrow::compute::cast(mapped, &DataType::Float64) else { return 0 };
    let numbers = numbers.as_primitive::<Float64Type>().clone();
    rows.filter(|row| numbers.is_valid(*row) && lost(*row, numbers.value(*row))).count() as u64
}

/// Puts dates at the first day of the contract's grain, so nothing finer is ever stored.
fn at_grain(column: &Column, values: ArrayRef) -> ArrayRef {
    match (&column.role, values.as_primitive_opt::<Date32Type>()) {
        (Role::Dimension(Domain::Dates { grain, .. }), Some(dates)) => {
            let floored: Date32Array = dates.unary(|day| grain.floor(day));
            Arc::new(floored)
        }
        _ => values,
    }
}

/// For each row, its fault, if it has one.
fn verdicts(
    column: &Column,
    mapped: &ArrayRef,
    values: &ArrayRef,
    whole: &dyn Fn(usize) -> bool,
) -> Vec<Option<&'static str>> {
    let valid = domain_check(column, values);
    // A column of type NULL has no null bits.
    let nulls = mapped.logical_nulls();
    let missing = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    (0..values.len())
        .map(|row| match (missing(row), values.is_null(row)) {
            (true, _) if column.nullable => None,
            (true, _) => Some("is missing"),
            (false, true) => Some("has another type"),
            (false, false) if !whole(row) => Some("is no whole number"),
            (false, false) => (!valid(row)).then_some(match column.role {
                Role::Dimension(Domain::Codes(_)) => "is not in the code list",
                _ => "is outside the declared range",
            }),
        })
        .collect()
}

/// Whether the value of a row is in the contract's domain.
fn domain_check<'a>(column: &'a Column, values: &'a ArrayRef) -> Box<dyn Fn(usize) -> bool + 'a> {
    match &column.role {
        Role::Dimension(Domain::Codes(codes)) => {
            let codes: HashSet<&str> = codes.iter().map(String::as_str).collect();
            let texts = values.as_string::<i32>();
            Box::new(move |row| codes.contains(texts.value(row)))
        }
        Role::Dimension(Domain::Range { min, max }) => {
            let numbers = values.as_primitive::<Int64Type>();
            Box::new(move |row| (*min..=*max).contains(&numbers.value(row)))
        }
        Role::Dimension(Domain::Dates { from, to, grain }) => {
            let days = values.as_primitive::<Date32Type>();
            let from = grain.floor(*from);
            Box::new(move |row| (from..=*to).contains(&days.value(row)))
        }
        Role::Measure { lower, upper, .. } => {
            let bounds = *lower..=*upper;
            match column.kind {
                ColumnType::Decimal(_) => {
                    let units = values.as_primitive::<Decimal128Type>();
                    Box::new(move |row| bounds.contains(&units.value(row)))
                }
                _ => {
                    let units = values.as_primitive::<Int64Type>();
                    Box::new(move |row| bounds.contains(&i128::from(units.value(row))))
                }
            }
        }
        _ => Box::new(|_| true),
    }
}
