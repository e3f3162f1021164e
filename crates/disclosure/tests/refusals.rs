//! Refusals, the form of the output, and the description of a method.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field};
use loda_disclosure::{
    CellKey, DisclosureError, FigureKind, Method, Public, TableSpec, Threshold, default_table, disclose,
};
use support::{StageRow, ask, batch, from_columns, run, table};

fn cell_key() -> CellKey {
    CellKey { table: Arc::new(default_table().unwrap()), noise: Some(support::noise_key()), threshold: 10 }
}

fn code(spec: &TableSpec, batch: &RecordBatch, method: &dyn Method) -> &'static str {
    disclose(spec, std::slice::from_ref(batch), method).map_or_else(|error| error.code(), |_| "released")
}

fn rows_of(units: u64) -> Vec<StageRow> {
    (0..units).map(|unit| StageRow { sums: vec![(Some(5), 1)], ..StageRow::new(1, unit, 0) }).collect()
}

#[test]
fn methods_say_what_they_do() {
    let threshold = Threshold::default();
    assert_eq!([Public.name(), threshold.name(), cell_key().name()], ["public", "threshold", "cell-key"]);
    assert_eq!(threshold.parameters(), "at least 10 units, (2, 90 %) dominance, p 10 %");
    assert_eq!(cell_key().parameters(), "modulus 4096, max noise 8, variance 5, threshold 10");
    assert!(threshold.absent_is_withheld() && cell_key().absent_is_withheld() && !Public.absent_is_withheld());
}

#[test]
fn columns_that_are_not_the_stage_are_errors() {
    let mut spec = table(&[true], 1, &[0]);
    ask(&mut spec, FigureKind::Rows, 0);
    let good = batch(&spec, &rows_of(12));
    assert_eq!(code(&spec, &good, &Public), "released");
    for column in 0..good.num_columns() {
        let mut columns = good.columns().to_vec();
        columns.remove(column);
        assert_eq!(code(&spec, &from_columns(columns), &Public), "Stage", "without {column}");
        let mut columns = good.columns().to_vec();
        columns[column] = Arc::new(arrow::array::Float64Array::from(vec![0.5; 12]));
        assert_eq!(code(&spec, &from_columns(columns), &Public), "Stage", "other {column}");
    }
    let mut columns = good.columns().to_vec();
    columns.push(Arc::clone(&columns[0]));
    assert_eq!(code(&spec, &from_columns(columns), &Public), "Stage", "too many");
    let mut columns = good.columns().to_vec();
    columns[1] = Arc::new(UInt64Array::from(vec![None; 12]));
    assert_eq!(code(&spec, &from_columns(columns), &Public), "Stage", "null units");
}

#[test]
fn values_out_of_range_are_errors() {
    let mut spec = table(&[true], 1, &[0]);
    ask(&mut spec, FigureKind::Sum { measure: 0 }, 0);
    let with = |change: fn(&mut StageRow)| {
        let mut rows = rows_of(3);
        change(&mut rows[1]);
        code(&spec, &batch(&spec, &rows), &Public)
    };
    assert_eq!(with(|row| row.mask = 2), "Stage");
    assert_eq!(with(|row| row.rows = 0), "Stage");
    assert_eq!(with(|row| row.sums = vec![(Some(1), 2)]), "Stage");
    assert_eq!(with(|row| row.sums = vec![(None, 1)]), "Stage");
    assert_eq!(with(|row| row.sums = vec![(Some(0), 0)]), "Stage");
    assert_eq!(with(|row| row.sums = vec![(None, 0)]), "released");
    let most = 10_i128.pow(38) - 1;
    assert_eq!(with(|row| row.sums = vec![(Some(10_i128.pow(38) - 1), 1)]), "Overflow");
    let negative =
        [(-5, 0), (most, 1)].map(|(sum, unit)| StageRow { sums: vec![(Some(sum), 1)], ..StageRow::new(1, unit, 0) });
    assert_eq!(run(&spec, &negative, &Public).unwrap()[&Some(1)], [Some(most - 5)]);
    let many = [0, 1].map(|unit| StageRow { rows: i64::MAX, sums: vec![(None, 0)], ..StageRow::new(1, unit, 0) });
    spec.figures[0].kind = FigureKind::Rows;
    assert_eq!(code(&spec, &batch(&spec, &many), &Public), "Overflow");
}

#[test]
fn specifications_that_contradict_themselves_are_errors() {
    let good = table(&[true], 2, &[0]);
    let refused = |change: &dyn Fn(&mut TableSpec)| {
        let mut spec = good.clone();
        change(&mut spec);
        let result = disclose(&spec, &[], &Public);
        assert!(matches!(result, Err(DisclosureError::Spec(_))), "{result:?}");
    };
    refused(&|spec| spec.domains.clear());
    refused(&|spec| spec.conditions = 17);
    refused(&|spec| spec.keys[0] = Arc::new(Field::new("k", DataType::Float64, true)));
    refused(&|spec| ask(spec, FigureKind::Rows, 4));
    refused(&|spec| ask(spec, FigureKind::Units { domain: 1 }, 0));
    refused(&|spec| ask(spec, FigureKind::Sum { measure: 1 }, 0));
    let zero = Threshold { units: 0, ..Threshold::default() };
    assert_eq!(disclose(&good, &[], &zero).unwrap_err().code(), "Spec");
}

#[test]
fn data_about_people_leave_as_closed_tables_alone() {
    let mut spec = table(&[true], 0, &[]);
    ask(&mut spec, FigureKind::Units { domain: 0 }, 0);
    assert!(matches!(disclose(&spec, &[batch(&spec, &rows_of(40))], &cell_key()), Err(DisclosureError::Spec(_))));
}

#[test]
fn a_table_without_records_has_no_cell_under_any_method() {
    let mut spec = table(&[true], 0, &[0]);
    spec.keys.clear();
    for kind in [FigureKind::Rows, FigureKind::Units { domain: 0 }, FigureKind::Sum { measure: 0 }] {
        ask(&mut spec, kind, 0);
    }
    for method in [&Public as &dyn Method, &Threshold::default()] {
        let released = disclose(&spec, &[], method).unwrap().into_inner();
        assert_eq!(released.num_rows(), 0);
        assert_eq!(released.column(2).data_type(), &DataType::Decimal128(38, 2));
    }
}

#[test]
fn rows_are_sorted_by_key_nulls_first_and_debug_is_silent() {
    let mut spec = table(&[true], 0, &[]);
    ask(&mut spec, FigureKind::Units { domain: 0 }, 0);
    let cells = [Some(9), None, Some(-3), Some(4)];
    let rows: Vec<StageRow> = (0..80)
        .map(|unit| StageRow { cell: cells[usize::try_from(unit % 4).unwrap()], ..StageRow::new(0, unit, 0) })
        .collect();
    let released = disclose(&spec, &[batch(&spec, &rows)], &Threshold::default());
    let released = released.unwrap();
    assert_eq!(format!("{released:?}"), "Released(..)");
    let expected: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(-3), Some(4), Some(9)]));
    assert_eq!(released.get().column(0), &expected);
    assert_eq!(released.get().schema().field(1).name(), "f0");
}
