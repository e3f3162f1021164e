//! Closed tables: statistics that add up, keys that follow from a cell's identity, and a threshold on perturbed units.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{Decimal128Type, Int8Type, Int64Type};
use loda_disclosure::table::{
    ABSENT, CLASSES, CellStatistics, ColumnShape, FunctionalShape, Grouped, Labelled, MeasureShape, NULL, PeriodShape,
    Records, TableShape, UnitShape, release_table, statistics,
};
use loda_disclosure::{CellKey, NoiseKey, default_table};
use proptest::prelude::*;

fn labelled(label: &str, dataset: usize) -> Labelled {
    Labelled { label: label.to_owned(), datasets: vec![dataset] }
}

fn column(name: &str, dataset: usize, words: &[&str], unit: Option<usize>) -> ColumnShape {
    let classes: ArrayRef = Arc::new(StringArray::from(words.to_vec()));
    ColumnShape {
        listed: false,
        value: labelled(name, dataset),
        presence: labelled(&format!("{dataset}.*"), dataset),
        through: None,
        is_presence: false,
        unit,
        classes,
        words: words.iter().map(|w| (*w).to_owned()).collect(),
    }
}

fn presence(dataset: usize) -> ColumnShape {
    let classes: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    let name = format!("{dataset}.*");
    ColumnShape { is_presence: true, classes, words: vec!["true".to_owned()], ..column(&name, dataset, &[], None) }
}

fn shape(columns: Vec<ColumnShape>, functionals: Vec<FunctionalShape>) -> TableShape {
    TableShape {
        domain: Labelled { label: "units of person".to_owned(), datasets: Vec::new() },
        columns,
        units: vec![UnitShape { label: "person".to_owned() }, UnitShape { label: "household".to_owned() }],
        measures: vec![MeasureShape {
            value: labelled("cost", 0),
            presence: labelled("0.*", 0),
            scale: 2,
            lower: 0,
            upper: 50_000,
            nullable: true,
        }],
        functionals,
        threshold: 10,
        register: true,
        whole: None,
        max_rows: 1,
        epochs: vec!["a 2026Q4 00".to_owned(), "b 2026Q4 11".to_owned()],
        period: None,
    }
}

fn method() -> CellKey {
    let table = Arc::new(default_table().unwrap());
    CellKey { table, noise: Some(NoiseKey::new(&[7; 32])), threshold: 10 }
}

fn people(n: u64, code: impl Fn(u64) -> Vec<u32>) -> Records {
    let mut records = Records { columns: vec![Vec::new(); code(0).len()], ..Records::default() };
    records.units = vec![(0..n).collect(), (0..n).map(|id| id / 3).collect()];
    records.measures = vec![(0..n).map(|id| (id % 5 != 0).then(|| i128::from(id % 700) * 100)).collect()];
    for id in 0..n {
        for (column, code) in records.columns.iter_mut().zip(code(id)) {
            column.push(code);
        }
    }
    records
}

/// Figures by the states and values of a cell.
fn cells(batch: &RecordBatch) -> BTreeMap<Vec<String>, Vec<Option<i128>>> {
    let mut cells = BTreeMap::new();
    for row in 0..batch.num_rows() {
        let (mut cell, mut figures) = (Vec::new(), Vec::new());
        for (field, values) in batch.schema().fields().iter().zip(batch.columns()) {
            match &field.name()[..1] {
                "k" => {
                    let value = match values.as_string_opt::<i32>() {
                        Some(text) if text.is_valid(row) => text.value(row).to_owned(),
                        _ => "-".to_owned(),
                    };
                    cell.push(value);
                }
                "s" => {
                    let states = values.as_primitive::<Int8Type>();
                    cell.push(if states.is_valid(row) { states.value(row).to_string() } else { "rolled".to_owned() });
                }
                _ => figures.push(match values.as_primitive_opt::<Int64Type>() {
                    Some(counts) => counts.is_valid(row).then(|| i128::from(counts.value(row))),
                    None => values.is_valid(row).then(|| values.as_primitive::<Decimal128Type>().value(row)),
                }),
            }
        }
        cells.insert(cell, figures);
    }
    cells
}

fn released(shape: &TableShape, records: &Records) -> BTreeMap<Vec<String>, Vec<Option<i128>>> {
    let grouped = statistics(shape, records, &|| false).unwrap();
    cells(release_table(shape, &grouped, &method()).unwrap().get())
}

#[test]
fn who_is_in_no_class_of_a_dataset_is_the_presence_tables_cell_to_the_byte() {
    let functionals = vec![FunctionalShape::Units(0)];
    let by_class = shape(vec![column("0.sex", 0, &["F", "M"], None), presence(1)], functionals.clone());
    let by_presence = shape(vec![presence(0), presence(1)], functionals);
    let sex = |id: u64| if id.is_multiple_of(3) { ABSENT } else { CLASSES + u32::try_from(id % 2).unwrap() };
    let one = released(&by_class, &people(300, |id| vec![sex(id), CLASSES]));
    let other =
        released(&by_presence, &people(300, |id| vec![if sex(id) == ABSENT { ABSENT } else { CLASSES }, CLASSES]));
    let absent = |cells: &BTreeMap<Vec<String>, Vec<Option<i128>>>| {
        let of = cells.iter().find(|(cell, _)| cell[1] == "1" && cell[3] == "0");
        of.map(|(_, figures)| figures.clone()).unwrap()
    };
    assert_eq!(absent(&one), absent(&other));
    // The margin of a column that only some units have covers no other units: no dataset of that table holds them.
    assert!(!one.keys().any(|cell| cell[1] == "1" && cell[3] == "rolled"));
}

#[test]
fn a_cell_has_one_draw_whatever_stands_beside_it_and_another_in_another_epoch() {
    let columns = || vec![column("0.sex", 0, &["F", "M"], None), column("0.age", 0, &["a", "b", "c"], Some(1))];
    let code = |id: u64| vec![CLASSES + u32::try_from(id % 2).unwrap(), CLASSES + u32::try_from(id % 3).unwrap()];
    let all = vec![FunctionalShape::Sum(0), FunctionalShape::Units(0), FunctionalShape::Present(0)];
    let wide = released(&shape(columns(), all), &people(5_000, code));
    let narrow = released(
        &shape(vec![column("0.sex", 0, &["F", "M"], None)], vec![FunctionalShape::Units(0)]),
        &people(5_000, |id| code(id)[..1].to_vec()),
    );
    for (cell, figures) in &narrow {
        let same = wide.iter().find(|(of, _)| of[..2] == cell[..] && of[3] == "rolled").unwrap();
        assert_eq!(same.1[1], figures[0]);
    }
    // The order of columns and of records has no effect.
    let mut turned = shape(columns(), vec![FunctionalShape::Units(0)]);
    turned.columns.reverse();
    let of_turned = released(&turned, &people(5_000, |id| code(id).into_iter().rev().collect()));
    for (cell, figures) in of_turned.iter().filter(|(cell, _)| !cell.contains(&"rolled".to_owned())) {
        let straight = [&cell[2..], &cell[..2]].concat();
        assert_eq!(wide[&straight][1], figures[0]);
    }
    let mut later = shape(columns(), vec![FunctionalShape::Units(0)]);
    later.epochs[0] = "a 2027Q1 22".to_owned();
    let of_later = released(&later, &people(5_000, code));
    let differ = of_later.iter().filter(|(cell, figures)| wide[*cell][1] != figures[0]).count();
    assert!(differ > of_later.len() / 3, "{differ} of {}", of_later.len());
}

#[test]
fn cells_of_few_units_of_any_kind_that_they_tell_of_are_withheld() {
    // 300 people. One household makes up a class.
    let columns = vec![column("0.tenure", 0, &["own", "rent"], Some(1))];
    let few = shape(columns, vec![FunctionalShape::Units(0)]);
    let mut records = people(300, |id| vec![CLASSES + u32::from(id < 200)]);
    for (id, household) in records.units[1].iter_mut().enumerate() {
        *household = if id < 200 { id as u64 } else { 1_000 };
    }
    let cells = released(&few, &records);
    assert_eq!(cells.len(), 1, "{cells:?}");
    assert_eq!(cells.keys().next().unwrap()[0], "rent");
}

#[test]
fn noise_is_within_the_table_and_sums_within_their_bounds() {
    let largest = i128::from(default_table().unwrap().summary().max_noise);
    let classes: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    let words: Vec<&str> = classes.iter().map(String::as_str).collect();
    let of = shape(
        vec![column("0.ward", 0, &words, None)],
        vec![FunctionalShape::Units(0), FunctionalShape::Sum(0), FunctionalShape::Square(0)],
    );
    let records = people(4_000, |id| vec![if id % 41 == 0 { NULL } else { CLASSES + u32::try_from(id % 40).unwrap() }]);
    let exact = statistics(&of, &records, &|| false).unwrap();
    let exact: &BTreeMap<Vec<u32>, CellStatistics> = &exact[&1];
    let (mut seen, mut moved) = (0, 0);
    for (cell, figures) in released(&of, &records) {
        let code = cell[0].parse::<u32>().map_or(NULL, |n| CLASSES + n);
        let n = i128::from(exact[&vec![code]].units[0]);
        let said = figures[0].unwrap();
        assert!((said - n).abs() <= largest && said >= 10);
        moved += usize::from(said != n);
        seen += 1;
        assert!(figures[1].unwrap() >= 0);
    }
    assert!(seen > 35 && moved > seen / 2, "{moved} of {seen}");
}

/// The released counts of rows that come by period, by month (and by outcome, if the table has this column).
fn by_month(months: &[(&str, &str)], epoch: &str) -> BTreeMap<(String, Option<String>), i64> {
    let names: Vec<&str> = months.iter().map(|(month, _)| *month).collect();
    let columns = vec![column("month", 0, &names, None), column("outcome", 0, &["arrest", "none"], None)];
    let mut of = shape(columns, vec![FunctionalShape::Units(0)]);
    of.register = false;
    of.units.truncate(1);
    of.measures.clear();
    of.epochs = vec![epoch.to_owned(), String::new()];
    let epochs = months.iter().map(|(month, epoch)| format!("{month} {epoch}")).collect();
    of.period = Some(PeriodShape { column: 0, epochs });
    let rows: Vec<(u32, u32, u64)> = (0..names.len() as u32 * 400).map(|n| (n / 400, n % 2, u64::from(n))).collect();
    let records = Records {
        columns: vec![rows.iter().map(|r| CLASSES + r.0).collect(), rows.iter().map(|r| CLASSES + r.1).collect()],
        units: vec![rows.iter().map(|r| r.2).collect()],
        measures: Vec::new(),
    };
    let cells = statistics(&of, &records, &|| false).unwrap();
    let batch = release_table(&of, &cells, &method()).unwrap().into_inner();
    let (month, outcome) = (batch.column(0).as_string::<i32>(), batch.column(2).as_string::<i32>());
    let counts = batch.column(4).as_primitive::<Int64Type>();
    let of_row = |row: usize| {
        assert!(month.is_valid(row), "a cell of several months");
        let outcome = outcome.is_valid(row).then(|| outcome.value(row).to_owned());
        ((month.value(row).to_owned(), outcome), counts.value(row))
    };
    (0..batch.num_rows()).map(of_row).collect()
}

#[test]
fn a_closed_period_is_drawn_once_whatever_else_closes() {
    let first = by_month(&[("2026-01", "aa"), ("2026-02", "bb")], "2026Q1 11");
    let later = by_month(&[("2025-12", "cc"), ("2026-01", "aa"), ("2026-02", "bb")], "2026Q2 22");
    assert_eq!((first.len(), later.len()), (6, 9));
    assert!(first.iter().all(|(cell, count)| later[cell] == *count));
    let restated = by_month(&[("2026-01", "aa"), ("2026-02", "dd restated")], "2026Q1 11");
    let others = restated.iter().filter(|(cell, count)| first[*cell] != **count).count();
    assert!(others > 0);
    assert!(first.iter().filter(|((month, _), _)| month == "2026-01").all(|(cell, count)| restated[cell] == *count));
}

proptest! {
    /// Parts of the people merged are all of the people: over partitions by unit, and over boroughs.
    #[test]
    fn statistics_of_parts_add_up_to_those_of_the_whole(
        rows in proptest::collection::vec((0_u64..60, 0_u32..5, 0_u32..4, proptest::option::of(-500_i128..60_000)), 1..200),
        max_rows in 2_u64..5,
        parts in 1_u64..5,
    ) {
        let columns = vec![column("a", 0, &["x", "y"], None), column("b", 0, &["x"], None)];
        let functionals = vec![
            FunctionalShape::Units(0), FunctionalShape::Rows, FunctionalShape::Present(0), FunctionalShape::Sum(0),
            FunctionalShape::Square(0),
        ];
        let of = TableShape { register: false, max_rows, units: vec![UnitShape { label: "home".to_owned() }], ..shape(columns, functionals) };
        let records = |keep: &dyn Fn(u64) -> bool| {
            let kept: Vec<_> = rows.iter().filter(|(unit, ..)| keep(*unit)).collect();
            Records {
                columns: vec![kept.iter().map(|r| r.1).collect(), kept.iter().map(|r| r.2).collect()],
                units: vec![kept.iter().map(|r| r.0).collect()],
                measures: vec![kept.iter().map(|r| r.3).collect()],
            }
        };
        let whole = statistics(&of, &records(&|_| true), &|| false).unwrap();
        let mut merged = Grouped::new();
        for part in 0..parts {
            for (subset, cells) in statistics(&of, &records(&|unit| unit % parts == part), &|| false).unwrap() {
                let into = merged.entry(subset).or_default();
                for (cell, found) in cells {
                    into.entry(cell).or_default().merge(&found).unwrap();
                }
            }
        }
        prop_assert_eq!(whole, merged);
    }

    /// A table that is the sum of a finer table equals the table made from every record.
    #[test]
    fn tables_of_a_register_add_up_from_the_finest(
        rows in proptest::collection::vec((0_u32..5, 0_u32..4, 0_u32..6, proptest::option::of(-500_i128..60_000)), 1..200),
    ) {
        let columns = || vec![
            column("a", 0, &["x", "y"], None), column("b", 0, &["x"], None), column("c", 0, &["x", "y", "z"], None),
        ];
        let functionals = || vec![
            FunctionalShape::Units(0), FunctionalShape::Rows, FunctionalShape::Present(0), FunctionalShape::Sum(0),
            FunctionalShape::Square(0),
        ];
        let people = || (0..rows.len() as u64).collect::<Vec<u64>>();
        let records = Records {
            columns: vec![rows.iter().map(|r| r.0).collect(), rows.iter().map(|r| r.1).collect(), rows.iter().map(|r| r.2).collect()],
            units: vec![people()],
            measures: vec![rows.iter().map(|r| r.3).collect()],
        };
        let alone = TableShape { units: vec![UnitShape { label: "person".to_owned() }], ..shape(columns(), functionals()) };
        let added = statistics(&alone, &records, &|| false).unwrap();
        // Beside another unit every table is counted by itself.
        let mut counted = statistics(&shape(columns(), functionals()), &Records { units: vec![people(), people()], ..records }, &|| false).unwrap();
        counted.values_mut().flat_map(BTreeMap::values_mut).for_each(|cell| cell.units.truncate(1));
        prop_assert_eq!(added, counted);
    }

    /// The part of a kept table with fewer columns and figures equals the table released on its own.
    #[test]
    fn a_part_of_a_released_table_is_that_table_to_the_byte(
        rows in proptest::collection::vec((0_u32..5, 0_u32..4, 0_u32..6, proptest::option::of(-500_i128..60_000)), 1..400),
        bits in 0_usize..8,
        order in 0_usize..3,
    ) {
        let all = [
            column("a", 0, &["x", "y"], None), column("b", 0, &["x"], Some(1)), column("c", 0, &["x", "y", "z"], None),
        ];
        let figures = [FunctionalShape::Units(0), FunctionalShape::Present(0), FunctionalShape::Sum(0)];
        let people: Vec<u64> = (0..rows.len() as u64).collect();
        let codes = [rows.iter().map(|r| r.0).collect::<Vec<u32>>(), rows.iter().map(|r| r.1).collect(), rows.iter().map(|r| r.2).collect()];
        // No column here is reached through another dataset.
        let codes = codes.map(|of| of.into_iter().map(|code| if code == 1 { ABSENT } else { code }).collect::<Vec<u32>>());
        let of = |columns: &[usize], wanted: &[usize]| {
            let records = Records {
                columns: columns.iter().map(|c| codes[*c].clone()).collect(),
                units: vec![people.clone(), people.iter().map(|id| id / 3).collect()],
                measures: vec![rows.iter().map(|r| r.3).collect()],
            };
            let of = shape(columns.iter().map(|c| all[*c].clone()).collect(), wanted.iter().map(|f| figures[*f]).collect());
            release_table(&of, &statistics(&of, &records, &|| false).unwrap(), &method()).unwrap()
        };
        let columns: Vec<usize> = (0..3).filter(|c| bits >> c & 1 == 1).collect();
        let wanted: Vec<usize> = (0..3).filter(|f| *f == 2 || *f >= order).collect();
        let whole = of(&[0, 1, 2], &[0, 1, 2]);
        let part = loda_disclosure::table::part_of(&whole, 3, &columns, &wanted).unwrap();
        let alone = of(&columns, &wanted);
        prop_assert_eq!(part.get(), alone.get());
    }
}
