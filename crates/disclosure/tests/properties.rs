//! Properties of the methods on random stages, each against a checker written independently.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt16Array};
use loda_disclosure::{FigureKind, Method, PossibleMasks, Public, TableSpec, Threshold, disclose};
use proptest::prelude::*;
use support::{StageRow, ask, batch, read, run, table};

const CONDITIONS: usize = 3;

/// A low threshold, so that small random tables lie on both sides of it.
const UNITS: u64 = 3;

fn threshold() -> Threshold {
    Threshold { units: UNITS, ..Threshold::default() }
}

/// Rows over three cells, two domains (the second coarser) and one measure.
fn stage_rows(most: usize) -> impl Strategy<Value = Vec<StageRow>> {
    let cell = prop_oneof![Just(None), Just(Some(1)), Just(Some(2))];
    let row = (cell, 0_u64..60, 0_u16..8, 1_i64..4, 0_i64..4, 0_i128..400).prop_map(
        |(cell, unit, mask, rows, count, sum)| {
            let count = count.min(rows);
            let sum = (count > 0).then_some(sum * i128::from(count));
            StageRow { cell, units: vec![unit, unit / 2], mask, rows, sums: vec![(sum, count)] }
        },
    );
    prop::collection::vec(row, 0..most)
}

/// Rows and units for each set of conditions; sums for some.
fn spec_with_figures() -> TableSpec {
    let mut spec = table(&[false, false], CONDITIONS, &[0]);
    for requires in 0..8_u16 {
        ask(&mut spec, FigureKind::Rows, requires);
        ask(&mut spec, FigureKind::Units { domain: usize::from(requires % 2) }, requires);
        if requires < 3 {
            ask(&mut spec, FigureKind::Sum { measure: 0 }, requires);
        }
    }
    spec
}

/// Masks that could occur, by cell; the observed ones are among them.
fn possible_masks(rows: &[StageRow], extra: &[(i64, u16)]) -> BTreeMap<Option<i64>, BTreeSet<u16>> {
    let mut masks: BTreeMap<_, BTreeSet<u16>> = BTreeMap::new();
    for (cell, mask) in rows.iter().map(|row| (row.cell, row.mask)) {
        masks.entry(cell).or_default().insert(mask);
    }
    for (cell, mask) in extra {
        masks.entry(Some(*cell)).or_default().insert(*mask);
    }
    masks
}

fn as_arrays(masks: &BTreeMap<Option<i64>, BTreeSet<u16>>) -> PossibleMasks {
    let pairs = masks.iter().flat_map(|(cell, masks)| masks.iter().map(move |mask| (*cell, *mask)));
    let keys: ArrayRef = Arc::new(pairs.clone().map(|(cell, _)| cell).collect::<Int64Array>());
    PossibleMasks { keys: vec![keys], masks: pairs.map(|(_, mask)| mask).collect::<Vec<_>>().into() }
}

/// Distinct units of one domain among the rows of a cell that pass a test of the mask.
fn units_where(rows: &[StageRow], cell: Option<i64>, domain: usize, test: impl Fn(u16) -> bool) -> u64 {
    let units: BTreeSet<u64> =
        rows.iter().filter(|row| row.cell == cell && test(row.mask)).map(|row| row.units[domain]).collect();
    units.len() as u64
}

/// Whether every possible atom of the conditions has enough units of both domains.
fn atoms_hold(rows: &[StageRow], cell: Option<i64>, conditions: u16, possible: &BTreeSet<u16>) -> bool {
    let atoms: BTreeSet<u16> = possible.iter().map(|mask| mask & conditions).collect();
    atoms
        .iter()
        .all(|atom| (0..2).all(|domain| units_where(rows, cell, domain, |mask| mask & conditions == *atom) >= UNITS))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn neither_order_nor_batches_matter(
        rows in stage_rows(150),
        shuffle in prop::collection::vec(any::<u32>(), 150),
        size in 1_usize..40,
    ) {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|index| shuffle[*index]);
        let shuffled: Vec<StageRow> = order.into_iter().map(|index| rows[index].clone()).collect();
        for method in [&Public as &dyn Method, &threshold()] {
            let spec = spec_with_figures();
            let parts: Vec<RecordBatch> = shuffled.chunks(size).map(|part| batch(&spec, part)).collect();
            let whole = disclose(&spec, &[batch(&spec, &rows)], method).unwrap();
            let split = disclose(&spec, &parts, method).unwrap();
            prop_assert_eq!(whole.get(), split.get());
        }
    }

    #[test]
    fn no_released_figure_rests_on_a_small_atom(
        rows in stage_rows(250),
        extra in prop::collection::vec((1_i64..4, 0_u16..8), 0..6),
        restrict in any::<bool>(),
    ) {
        // One figure of rows for each set of conditions, so that the released figures show the kept conditions.
        let mut spec = table(&[false, false], CONDITIONS, &[0]);
        for requires in 0..8 {
            ask(&mut spec, FigureKind::Rows, requires);
        }
        let masks = possible_masks(&rows, &extra);
        spec.possible = restrict.then(|| as_arrays(&masks));
        let released = run(&spec, &rows, &threshold()).unwrap();
        for cell in [None, Some(1), Some(2), Some(3)] {
            let all = (0..8).collect();
            let possible = if restrict { masks.get(&cell) } else { Some(&all) };
            let Some(figures) = released.get(&cell) else {
                prop_assert!(units_where(&rows, cell, 1, |_| true) < UNITS, "withheld without need");
                continue;
            };
            let possible = possible.unwrap();
            let kept = (0..8_u16).filter(|r| figures[usize::from(*r)].is_some()).fold(0, |k, r| k | r);
            prop_assert!(atoms_hold(&rows, cell, kept, possible));
            for condition in [1, 2, 4] {
                let more = kept | condition;
                prop_assert!(more == kept || !atoms_hold(&rows, cell, more, possible), "not maximal");
            }
            for requires in 0..8_u16 {
                let set = rows.iter().filter(|row| row.cell == cell && row.mask & requires == requires);
                let count: i64 = set.map(|row| row.rows).sum();
                let expected = (requires & !kept == 0).then_some(i128::from(count));
                prop_assert_eq!(figures[usize::from(requires)], expected);
            }
            // Subtraction: the set of `larger` is contained in that of `smaller`.
            for (smaller, larger) in (0..8_u16).flat_map(|s| (0..8_u16).map(move |l| (s, l))) {
                let both = figures[usize::from(smaller)].is_some() && figures[usize::from(larger)].is_some();
                if both && smaller != larger && smaller & larger == smaller {
                    let between = |mask: u16| mask & smaller == smaller && mask & larger != larger;
                    let structural = !possible.iter().any(|mask| between(*mask));
                    for domain in 0..2 {
                        let units = units_where(&rows, cell, domain, between);
                        let safe = if structural { units == 0 } else { units >= UNITS };
                        prop_assert!(safe, "{} minus {} leaves {} units", smaller, larger, units);
                    }
                }
            }
        }
    }

    #[test]
    fn units_beside_rows_need_both_kinds_of_units(rows in stage_rows(120)) {
        let mut spec = table(&[false, false], CONDITIONS, &[0]);
        ask(&mut spec, FigureKind::Rows, 0);
        ask(&mut spec, FigureKind::Units { domain: 0 }, 0);
        let released = run(&spec, &rows, &threshold()).unwrap();
        for (cell, figures) in released {
            let mut rows_of: BTreeMap<u64, i64> = BTreeMap::new();
            for row in rows.iter().filter(|row| row.cell == cell) {
                *rows_of.entry(row.units[0]).or_default() += row.rows;
            }
            let one = rows_of.values().filter(|rows| **rows == 1).count() as u64;
            let several = rows_of.len() as u64 - one;
            let expected = (one >= UNITS && several >= UNITS).then_some(rows_of.len() as i128);
            prop_assert_eq!(figures[1], expected);
        }
    }

    #[test]
    fn sums_follow_the_dominance_rules(
        parts in prop::collection::vec((0_u64..12, 0_i128..1000, 1_i64..3), 1..40),
        whale in prop::option::of(0_i128..20_000),
        lower in -50_i128..50,
    ) {
        let mut spec = table(&[false], 0, &[lower]);
        ask(&mut spec, FigureKind::Sum { measure: 0 }, 0);
        let part = |unit: u64, sum: i128, count: i64| StageRow {
            cell: Some(1), units: vec![unit], mask: 0, rows: count, sums: vec![(Some(sum), count)],
        };
        let mut rows: Vec<StageRow> = parts.iter().map(|(unit, sum, count)| part(*unit, *sum, *count)).collect();
        rows.extend(whale.map(|sum| part(99, sum, 1)));

        let mut of_unit: BTreeMap<u64, i128> = BTreeMap::new();
        for row in &rows {
            let (sum, count) = row.sums[0];
            *of_unit.entry(row.units[0]).or_default() += sum.unwrap() - lower * i128::from(count);
        }
        let mut sorted: Vec<i128> = of_unit.values().copied().collect();
        sorted.sort_by_key(|x| -x);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(0);
        let total: i128 = sorted.iter().sum();
        let safe = sorted.iter().all(|x| *x >= 0)
            && sorted.iter().filter(|x| **x != 0).count() as u64 >= UNITS
            && 100 * (at(0) + at(1)) < 90 * total
            && 100 * (total - at(0) - at(1)) >= 10 * at(0);
        let exact: i128 = rows.iter().map(|row| row.sums[0].0.unwrap()).sum();
        let expected = safe.then_some(exact);
        let released = run(&spec, &rows, &threshold()).unwrap();
        prop_assert_eq!(released.get(&Some(1)).map(|figures| figures[0].unwrap()), expected);
    }
}

#[test]
fn a_mask_that_is_not_possible_is_judged_as_if_any_were() {
    let mut spec = table(&[true], 1, &[]);
    ask(&mut spec, FigureKind::Rows, 0);
    ask(&mut spec, FigureKind::Rows, 1);
    let cells = [1, 2];
    let keys: ArrayRef = Arc::new(Int64Array::from(cells.to_vec()));
    spec.possible = Some(PossibleMasks { keys: vec![keys], masks: UInt16Array::from(vec![1, 1]) });
    let mut rows: Vec<StageRow> =
        cells.iter().flat_map(|cell| (0..20).map(|unit| StageRow::new(*cell, unit, 1))).collect();
    rows.push(StageRow::new(2, 20, 0));
    rows.extend((0..20).map(|unit| StageRow::new(3, unit, 1)));
    let released = run(&spec, &rows, &Threshold::default()).unwrap();
    // In the first cell the complement is empty by logic. In the others nothing can be relied on.
    let expected = [(1, vec![Some(20), Some(20)]), (2, vec![Some(21), None]), (3, vec![Some(20), None])];
    assert_eq!(released, expected.map(|(cell, figures)| (Some(cell), figures)).into());
}

#[test]
fn the_difference_of_two_sums_rests_on_enough_contributors() {
    let mut spec = table(&[true], 1, &[0]);
    ask(&mut spec, FigureKind::Sum { measure: 0 }, 0);
    ask(&mut spec, FigureKind::Sum { measure: 0 }, 1);
    let sums = |contributors: u64| {
        let within = (0..30).map(|unit| StageRow { sums: vec![(Some(100), 1)], ..StageRow::new(1, unit, 1) });
        // Ten units outside, of which only some contribute: their sum would be the difference.
        let outside = (30..40).map(|unit| {
            let moment = if unit < 30 + contributors { 100 } else { 0 };
            StageRow { sums: vec![(Some(moment), 1)], ..StageRow::new(1, unit, 0) }
        });
        let rows: Vec<StageRow> = within.chain(outside).collect();
        run(&spec, &rows, &Threshold::default()).unwrap().remove(&Some(1)).unwrap()
    };
    assert_eq!(sums(10), [Some(4_000), Some(3_000)]);
    assert_eq!(sums(1), [Some(3_100), None]);
}

#[test]
fn a_sum_beside_values_that_are_null_rests_on_those_that_are_not() {
    // A question about a measure with NULLs becomes the sum, and the count of all rows beside it.
    let mut spec = table(&[true], 1, &[0]);
    ask(&mut spec, FigureKind::Sum { measure: 0 }, 1);
    ask(&mut spec, FigureKind::Rows, 0);
    let released = |without: u64| {
        let with = (0..30).map(|unit| StageRow { sums: vec![(Some(100), 1)], ..StageRow::new(1, unit, 1) });
        let none = (30..30 + without).map(|unit| StageRow { sums: vec![(None, 0)], ..StageRow::new(1, unit, 0) });
        let rows: Vec<StageRow> = with.chain(none).collect();
        run(&spec, &rows, &Threshold::default()).unwrap().remove(&Some(1)).unwrap()
    };
    assert_eq!(released(10), [Some(3_000), Some(40)]);
    // Sum and mean beside the count of all rows would reveal the number of NULLs.
    assert_eq!(released(9), [None, Some(39)]);
    assert_eq!(released(1), [None, Some(31)]);
}

#[test]
fn parts_of_one_aggregate_are_withheld_together() {
    let mut spec = table(&[true], 0, &[0]);
    ask(&mut spec, FigureKind::Sum { measure: 0 }, 0);
    ask(&mut spec, FigureKind::Rows, 0);
    ask(&mut spec, FigureKind::Rows, 0);
    spec.figures[1].together = spec.figures[0].together;
    // Enough units, but one of them has nearly all.
    let row = |unit: u64| {
        let sums = vec![(Some(if unit == 0 { 1_000_000 } else { 1 }), 1)];
        StageRow { sums, ..StageRow::new(1, unit, 0) }
    };
    let rows: Vec<StageRow> = (0..30).map(row).collect();
    let method = Threshold::default();
    let released = run(&spec, &rows, &method).unwrap();
    assert_eq!(released[&Some(1)], [None, None, Some(30)]);
    let exact = disclose(&spec, &[batch(&spec, &rows)], &Public).unwrap();
    assert_eq!(read(&spec, exact.get())[&Some(1)], [Some(1_000_029), Some(30), Some(30)]);
}
