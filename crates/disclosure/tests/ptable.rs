//! Properties of perturbation tables over every row, and the refusals of malformed tables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use loda_disclosure::{PTable, PTableError, default_table};

/// For one row: (noise, keys) moments Σ v, Σ v² over all keys, and the values seen.
fn row(table: &PTable, pcv: u64) -> (i64, i64, Vec<i64>) {
    let values: Vec<i64> = (0..table.modulus()).map(|key| i64::from(table.lookup(pcv, key))).collect();
    let mut seen = values.clone();
    seen.sort_unstable();
    seen.dedup();
    (values.iter().sum(), values.iter().map(|v| v * v).sum(), seen)
}

#[test]
fn every_row_has_its_support_mean_zero_and_variance() {
    for (modulus, max_noise, variance, blocked) in
        [(4096, 5, 3.0, 2), (4096, 5, 3.0, 0), (4096, 10, 12.5, 4), (1024, 3, 2.0, 3), (256, 2, 1.0, 2)]
    {
        let table = PTable::generate(modulus, max_noise, variance, blocked).unwrap();
        let noise = i64::from(max_noise);
        for pcv in 1..=750_u64 {
            let n = i64::try_from(pcv).unwrap();
            let (first, second, seen) = row(&table, pcv);
            for value in &seen {
                assert!(value.abs() <= noise, "row {pcv}: noise {value}");
                let output = n + value;
                assert!(output == 0 || output > i64::from(blocked), "row {pcv}: output {output}");
            }
            if n > noise {
                assert_eq!(first, 0, "row {pcv} of {modulus}, {max_noise}, {variance}, {blocked}");
            } else {
                assert!(first.abs() <= noise, "row {pcv}: Σ v = {first} of {modulus} keys");
            }
            // Full supports bear the variance asked for; a rounding of widths moves it by less than
            // half a key at each value, and the mean's correction by a few more.
            if n > noise + i64::from(blocked) {
                let actual = second as f64 / f64::from(modulus);
                let slack = f64::from(max_noise * max_noise * 4) / f64::from(modulus);
                assert!((actual - variance).abs() <= slack.max(0.01), "row {pcv}: variance {actual}");
                assert_eq!(seen.len(), 2 * usize::try_from(noise).unwrap() + 1, "row {pcv}: {seen:?}");
            }
        }
    }
}

#[test]
fn full_rows_have_the_shape_of_maximum_entropy() {
    // p(v) ∝ exp(λ v²): symmetric, and log p is quadratic: ln(p0/p1) : ln(p0/p2) = 1 : 4.
    let table = PTable::generate(1 << 20, 5, 3.0, 0).unwrap();
    let mut keys = [0_f64; 11];
    for key in 0..table.modulus() {
        keys[usize::try_from(table.lookup(100, key) + 5).unwrap()] += 1.0;
    }
    for v in 1..=5 {
        assert!((keys[5 + v] - keys[5 - v]).abs() <= 4.0, "{keys:?}");
    }
    let ratio = (keys[5] / keys[7]).ln() / (keys[5] / keys[6]).ln();
    assert!((ratio - 4.0).abs() < 0.01, "{ratio}");
}

#[test]
fn a_variance_out_of_reach_gives_the_closest() {
    // n = 1, blocked 2: noise −1, or 2..=5. Least variance 2 on {−1, 2}, most 5 on {−1, 5}.
    let wide = PTable::generate(4096, 5, 20.0, 2).unwrap();
    let (first, second, _) = row(&wide, 1);
    assert!(first == 0 && (5.0 - second as f64 / 4096.0).abs() < 0.01, "the largest: on -1 and 5");
    let narrow = PTable::generate(4095, 5, 0.5, 2).unwrap();
    assert_eq!(row(&narrow, 1), (0, 2 * 4095, vec![-1, 2]));
    // With 1..=9 blocked and D = 8, a count of 1 can only go down.
    let none = PTable::generate(4096, 8, 3.0, 9);
    assert!(matches!(none, Err(PTableError::NoDistribution { .. })), "{none:?}");
}

#[test]
fn a_wrong_row_shows() {
    let table = default_table().unwrap();
    for pcv in 1..750_u64 {
        let differ = (0..4096).filter(|key| table.lookup(pcv, *key) != table.lookup(pcv + 1, *key)).count();
        assert!(differ > 1000, "rows {pcv} and the next agree on all but {differ} keys");
    }
    // Beyond the table: 751 → 501, 1000 → 750, and no row for 0.
    for key in 0..4096 {
        assert_eq!(table.lookup(751, key), table.lookup(501, key));
        assert_eq!(table.lookup(1000, key), table.lookup(750, key));
        assert_eq!(table.lookup(0, key), 0);
    }
}

#[test]
fn the_default_table_is_the_same_everywhere() {
    let table = default_table().unwrap();
    let again = default_table().unwrap();
    assert_eq!(table, again);
    // FNV-1a over every noise value. If this changes, released figures of every node change: that
    // needs a new epoch.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for pcv in 1..=750 {
        for key in 0..4096 {
            hash = (hash ^ u64::from(table.lookup(pcv, key).unsigned_abs())).wrapping_mul(0x100_0000_01b3);
            hash = (hash ^ u64::from(table.lookup(pcv, key) < 0)).wrapping_mul(0x100_0000_01b3);
        }
    }
    let summary = table.summary();
    println!("default table: {summary:?}, hash {hash:#018x}");
    assert_eq!((summary.modulus, summary.max_noise), (4096, 8));
    assert!((summary.variance - 5.0).abs() < 0.05 && summary.mean.abs() < 1e-3);
    assert_eq!(hash, DEFAULT_HASH);
}

const DEFAULT_HASH: u64 = 0x2949_b345_341b_dbd6;

#[test]
fn malformed_tables_name_their_line() {
    let line = |text: &str| match PTable::parse_csv(text, 256) {
        Err(PTableError::Line { line, .. }) => line,
        other => panic!("{text:?}: {other:?}"),
    };
    let header = "pcv,ckey_lo,ckey_hi,pvalue\n";
    assert_eq!(line(""), 1);
    assert_eq!(line("a,b\n1,2\n"), 1);
    assert_eq!(line(&format!("{header}1,0,9,0\n1,9,20,1\n")), 3, "overlap");
    assert_eq!(line(&format!("{header}2,20,30,1\n\n2,0,20,0\n")), 4, "overlap, other order");
    assert_eq!(line(&format!("{header}751,0,9,0\n")), 2);
    assert_eq!(line(&format!("{header}0,0,9,0\n")), 2);
    assert_eq!(line(&format!("{header}5,0,255,0\n6,0,256,0\n")), 3);
    assert_eq!(line(&format!("{header}5,9,8,0\n")), 2);
    assert_eq!(line(&format!("{header}5,0,9,-6\n")), 2, "a negative output");
    assert_eq!(line(&format!("{header}5,0,9\n")), 2);
    assert_eq!(line(&format!("{header}5,0,9,1,1\n")), 2);
    assert_eq!(line("pcv,pvalue\n5,1\n5,2\n"), 3, "two values for every key");
    assert_eq!(line("pcv,pvalue\n5,one\n"), 2);

    let gaps = PTable::from_rows(256, [(5, 10, 19, -2), (5, 30, 39, 3)].into_iter()).unwrap();
    let looked_up = [9, 10, 19, 20, 29, 30, 39, 40, 266].map(|key| gaps.lookup(5, key));
    assert_eq!(looked_up, [0, -2, -2, 0, 0, 3, 3, 0, -2], "no row: no noise; keys modulo 256");
    assert!(PTable::from_rows(1, std::iter::empty()).is_err());
    for (modulus, noise, variance) in [(1, 5, 3.0), (4096, 0, 3.0), (4096, 5, 0.0), (4096, 5, f64::NAN)] {
        let made = PTable::generate(modulus, noise, variance, 0);
        assert!(matches!(made, Err(PTableError::Parameter(_))), "{made:?}");
    }
}
