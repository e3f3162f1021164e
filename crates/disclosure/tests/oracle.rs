//! Perturbation tables against expected results of the Office for National Statistics' own package
//! (`cell-key-perturbation` 3.1.0): ../shared/oracle/ckp, cases A, B, C, D and F.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use loda_disclosure::{PTable, pcv};

/// A CSV file by column.
struct Csv {
    columns: HashMap<String, Vec<String>>,
    rows: usize,
}

impl Csv {
    fn column(&self, name: &str) -> &[String] {
        &self.columns[name]
    }

    fn integers(&self, name: &str) -> Vec<i64> {
        self.column(name).iter().map(|field| field.parse().unwrap()).collect()
    }

    /// The fields of some columns, row by row.
    fn keys(&self, names: &[&str]) -> Vec<Vec<String>> {
        let key = |row: usize| names.iter().map(|name| self.column(name)[row].clone()).collect();
        (0..self.rows).map(key).collect()
    }
}

/// `None`, with a line of explanation, where the oracle is not beside the workspace.
fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/ckp");
    if !folder.is_dir() {
        println!("not run: no oracle at ../shared/oracle/ckp");
        return None;
    }
    Some(folder)
}

fn text(name: &str) -> Option<String> {
    Some(std::fs::read_to_string(folder()?.join(name)).unwrap())
}

fn csv(name: &str) -> Option<Csv> {
    let text = text(name)?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let mut columns: HashMap<String, Vec<String>> = HashMap::new();
    let mut rows = 0;
    for line in lines {
        rows += 1;
        for (name, field) in names.iter().zip(line.split(',')) {
            columns.entry((*name).to_owned()).or_default().push(field.to_owned());
        }
    }
    Some(Csv { columns, rows })
}

/// A perturbation table, and the least count that is released.
fn method(ptable: &str, modulus: u32, threshold: i64) -> Option<(PTable, i64)> {
    Some((PTable::parse_csv(&text(ptable)?, modulus).unwrap(), threshold))
}

const SYNTH: &str = "ptable_synth_0_255_intervals.csv";
const SYNTH_4096: &str = "ptable_synth_0_4095_intervals.csv";
const TEN_FIVE: &str = "ptable_10_5_compact.csv";

/// n + ptable(n, Σ record keys mod M) in each cell, where it is enough.
fn perturb(
    micro: &Csv,
    record_keys: &[u32],
    keys: &[&str],
    (table, threshold): &(PTable, i64),
) -> BTreeMap<Vec<String>, i64> {
    let mut cells: BTreeMap<Vec<String>, (u64, u32)> = BTreeMap::new();
    for (cell, key) in micro.keys(keys).into_iter().zip(record_keys) {
        let (count, sum) = cells.entry(cell).or_default();
        *count += 1;
        *sum = (*sum + key) % table.modulus();
    }
    let perturbed = cells
        .into_iter()
        .map(|(cell, (count, key))| (cell, i64::try_from(count).unwrap() + i64::from(table.lookup(count, key))));
    perturbed.filter(|(_, count)| count >= threshold).collect()
}

/// The expected cells: those with a count, apart from zero cells that no record is in.
fn expected(case: &Csv, keys: &[&str]) -> BTreeMap<Vec<String>, i64> {
    let before = case.integers("pre_sdc_count");
    let rows = case.keys(keys).into_iter().zip(case.column("count")).zip(before);
    rows.filter(|((_, count), before)| {
        if *before == 0 {
            assert!(count.is_empty() || *count == "0", "an empty cell has no noise");
        }
        !count.is_empty() && *before > 0
    })
    .map(|((key, count), _)| (key, count.parse().unwrap()))
    .collect()
}

fn check(case: &str, micro: &str, keys: &[&str], method: Option<(PTable, i64)>) {
    let (Some(case_csv), Some(micro), Some(method)) = (csv(case), csv(micro), method) else {
        return;
    };
    let record_keys: Vec<u32> = match micro.columns.get("record_key") {
        Some(keys) => keys.iter().map(|key| key.parse().unwrap()).collect(),
        None => {
            let ids = micro.column("ons_id").iter().map(|id| id.parse::<u64>().unwrap());
            ids.map(|id| u32::try_from(id % 4096).unwrap()).collect()
        }
    };
    let expected = expected(&case_csv, keys);
    assert!(!expected.is_empty());
    assert_eq!(perturb(&micro, &record_keys, keys, &method), expected, "{case}");
}

#[test]
fn case_a_rounding_table_in_three_dimensions() {
    check(
        "A_ons_var1xvar5xvar8_10_5_t10.csv",
        "micro_ons_1000.csv",
        &["var1", "var5", "var8"],
        method(TEN_FIVE, 256, 10),
    );
}

#[test]
fn case_b_tables_of_one_to_three_dimensions() {
    for (name, keys) in
        [("var1", &["var1"][..]), ("var1xvar2", &["var1", "var2"]), ("var1xvar5xvar8", &["var1", "var5", "var8"])]
    {
        for threshold in [0, 10] {
            let case = format!("B_ons_{name}_synth255_t{threshold}.csv");
            check(&case, "micro_ons_1000.csv", keys, method(SYNTH, 256, threshold));
        }
    }
}

#[test]
fn case_c_counts_beyond_the_table() {
    check("C_wrap_10_5_t10.csv", "micro_wrap.csv", &["area"], method(TEN_FIVE, 256, 10));
    check("C_wrap_synth255_t0.csv", "micro_wrap.csv", &["area"], method(SYNTH, 256, 0));
    let Some(map) = csv("C_pcv_map.csv") else { return };
    for (count, expected) in map.integers("count").into_iter().zip(map.integers("pcv")) {
        assert_eq!(i64::from(pcv(u64::try_from(count).unwrap())), expected, "count {count}");
    }
}

#[test]
fn case_d_keys_from_identifiers() {
    check(
        "D_onsid_4096_synth4095_t10.csv",
        "micro_onsid_1500.csv",
        &["var1", "var2", "var8"],
        method(SYNTH_4096, 4096, 10),
    );
}

#[test]
fn case_f_pooled_pairs_are_perturbed_once() {
    let keys = ["var1", "var8"];
    check("F_fed_pooled_expected_synth255_t0.csv", "micro_ons_1000.csv", &keys, method(SYNTH, 256, 0));

    // The pairs (n, Σ keys mod M) of the nodes add up to the pooled cell.
    let (Some(text), Some(partials)) = (text(SYNTH), csv("F_fed_partials_var1xvar8.csv")) else {
        return;
    };
    let table = PTable::parse_csv(&text, 256).unwrap();
    let mut pooled: BTreeMap<Vec<String>, (i64, i64)> = BTreeMap::new();
    let pairs = partials.integers("n").into_iter().zip(partials.integers("keysum_mod"));
    for (key, (n, keys)) in partials.keys(&keys).into_iter().zip(pairs) {
        let cell = pooled.entry(key).or_default();
        *cell = (cell.0 + n, (cell.1 + keys) % 256);
    }
    let out = |n: i64, key: i64| n + i64::from(table.lookup(u64::try_from(n).unwrap(), u32::try_from(key).unwrap()));
    let perturbed_once: BTreeMap<_, _> = pooled.into_iter().map(|(cell, (n, key))| (cell, out(n, key))).collect();
    let case = csv("F_fed_pooled_expected_synth255_t0.csv").unwrap();
    assert_eq!(perturbed_once, expected(&case, &keys));

    // The wrong way, each node on its own, is another answer; each part is still ONS's.
    let parts = csv("F_fed_pernode_perturbed_synth255_t0.csv").unwrap();
    let mut summed: BTreeMap<Vec<String>, i64> = BTreeMap::new();
    let pairs = parts.integers("pre_sdc_count").into_iter().zip(parts.integers("ckey"));
    for ((key, (n, ckey)), count) in parts.keys(&keys).into_iter().zip(pairs).zip(parts.integers("count")) {
        assert_eq!(out(n, ckey), count);
        *summed.entry(key).or_default() += count;
    }
    let different = summed.iter().filter(|(cell, count)| perturbed_once[*cell] != **count).count();
    assert_eq!(different, 11);
}
