//! The differencing campaign. An attacker can describe one person by columns that everyone may filter by. The attacker
//! asks for sets with and without that person, and subtracts. The campaign runs against the running federation and
//! against exact counts.
//!
//! `LODA_CAMPAIGN_TARGETS` sets the number of targets (default 60 here, 1,000 for `just campaign`). A guess by
//! *difference* says that the target has the attribute if the (averaged) difference of two counts is above one half. A
//! guess by *change* says so if anything changed at all.

use std::collections::BTreeMap;

use crate::pooled::{Holding, contract, holdings, text};
use crate::scenarios::ask;
use crate::support::{self, Dice, Federation};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};

/// The facts known about a target, and the attribute to find out.
struct Attack {
    dataset: &'static str,
    /// The columns whose values together only one person has.
    known: &'static [&'static str],
    attribute: (&'static str, &'static str),
    unit: &'static str,
}

const RESIDENTS: Attack = Attack {
    dataset: "residents",
    known: &["ward", "age_band"],
    attribute: ("sex", "Female"),
    unit: "COUNT(DISTINCT person_key)",
};

const STOPS: Attack = Attack {
    dataset: "stop_and_search",
    known: &["self_ethnicity", "age_range"],
    attribute: ("outcome", "Arrest"),
    unit: "COUNT(*)",
};

type Record = BTreeMap<String, String>;

struct Target {
    borough: String,
    record: Record,
    has: bool,
}

fn targets() -> usize {
    std::env::var("LODA_CAMPAIGN_TARGETS").ok().and_then(|n| n.parse().ok()).unwrap_or(60)
}

fn records(holdings: &[Holding], dataset: &str) -> Vec<(String, Vec<Record>)> {
    let of = holdings.iter().filter(|h| h.dataset == dataset);
    of.map(|holding| {
        let names: Vec<String> = contract(dataset).columns.iter().map(|c| c.name.clone()).collect();
        let rows = text(&holding.rows, 99).into_iter();
        (holding.gss.clone(), rows.map(|row| names.iter().cloned().zip(row).collect()).collect())
    })
    .collect()
}

/// People who are alone with their known values. Half of them have the attribute.
fn choose(attack: &Attack, holdings: &[Holding], wanted: usize, dice: &mut Dice) -> Vec<Target> {
    let mut candidates = Vec::new();
    for (borough, records) in records(holdings, attack.dataset) {
        let known = |r: &Record| attack.known.iter().map(|k| r[*k].clone()).collect::<Vec<_>>();
        let mut seen: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        records.iter().for_each(|r| *seen.entry(known(r)).or_default() += 1);
        let all_known = |r: &Record| attack.known.iter().all(|k| r[*k] != "NULL");
        for record in records.into_iter().filter(|r| seen[&known(r)] == 1 && all_known(r)) {
            let has = record[attack.attribute.0] == attack.attribute.1;
            candidates.push(Target { borough: borough.clone(), record, has });
        }
    }
    let mut chosen = Vec::new();
    for wanted_has in [true, false] {
        let mut of: Vec<Target> = Vec::new();
        let mut rest = Vec::new();
        for candidate in candidates {
            if candidate.has == wanted_has { of.push(candidate) } else { rest.push(candidate) }
        }
        candidates = rest;
        while chosen.iter().filter(|t: &&Target| t.has == wanted_has).count() < wanted / 2 && !of.is_empty() {
            chosen.push(of.swap_remove(dice.index(of.len())));
        }
    }
    chosen
}

fn literal(attack: &Attack, column: &str, value: &str) -> String {
    let date = contract(attack.dataset).column(column).is_some_and(|c| c.kind == loda_contract::ColumnType::Date);
    let quoted = format!("'{}'", value.replace('\'', "''"));
    if date { format!("DATE {quoted}") } else { quoted }
}

/// The figures for one target: the conditions of the sets, and pairs of sets that differ by the target.
struct Sets {
    conditions: Vec<String>,
}

impl Sets {
    fn add(&mut self, condition: String) -> usize {
        self.conditions.push(condition);
        self.conditions.len() - 1
    }
}

/// (name, [(with, without)], inclusion–exclusion of three sets or not).
type Differences = Vec<(&'static str, Vec<Vec<(f64, usize)>>)>;

fn plan(attack: &Attack, target: &Target, dice: &mut Dice) -> (Sets, Differences) {
    let mut sets = Sets { conditions: Vec::new() };
    let is = |column: &str| format!("{column} = {}", literal(attack, column, &target.record[column]));
    let all = |columns: &[&str]| columns.iter().map(|c| is(c)).collect::<Vec<_>>().join(" AND ");
    let alone = all(attack.known);
    let not_alone = format!("({alone}) IS NOT TRUE");
    let attribute = format!("{} = {}", attack.attribute.0, literal(attack, attack.attribute.0, attack.attribute.1));
    let (first, rest) = attack.known.split_at(attack.known.len() / 2);
    let mut differences: Differences = Vec::new();
    let with = sets.add(attribute.clone());
    let without = sets.add(format!("{attribute} AND {not_alone}"));
    differences.push(("a pair of sets", vec![vec![(1.0, with), (-1.0, without)]]));
    let a = sets.add(format!("{attribute} AND {}", all(first)));
    let b = sets.add(format!("{attribute} AND {}", all(rest)));
    let either = sets.add(format!("{attribute} AND (({}) OR ({}))", all(first), all(rest)));
    differences.push(("inclusion and exclusion", vec![vec![(1.0, a), (1.0, b), (-1.0, either)]]));
    // Margin less cells: all people of one category, less those who also differ in one more column.
    let margin = sets.add(format!("{attribute} AND {}", is(attack.known[1])));
    let cells = sets.add(format!("{attribute} AND {} AND {not_alone}", is(attack.known[1])));
    differences.push(("margin less cells", vec![vec![(1.0, margin), (-1.0, cells)]]));
    // Unions by IN lists: random codes of the second known column, with and without the target.
    let codes = match contract(attack.dataset).column(attack.known[1]).map(|c| c.role.clone()) {
        Some(loda_contract::Role::Dimension(loda_contract::Domain::Codes(codes))) => codes,
        _ => Vec::new(),
    };
    let mut unions = Vec::new();
    for _ in 0..4 {
        let some: Vec<String> =
            codes.iter().filter(|_| !dice.one_in(3)).map(|c| literal(attack, attack.known[1], c)).collect();
        if some.is_empty() {
            continue;
        }
        let list = format!("{} IN ({})", attack.known[1], some.join(", "));
        let with = sets.add(format!("{attribute} AND ({list} OR ({alone}))"));
        let without = sets.add(format!("{attribute} AND {list} AND {not_alone}"));
        unions.push(vec![(1.0, with), (-1.0, without)]);
    }
    differences.push(("unions by IN lists", unions.clone()));
    let mut every: Vec<Vec<(f64, usize)>> = differences.iter().take(3).flat_map(|(_, d)| d.clone()).collect();
    every.extend(unions);
    differences.push(("all of these averaged", every));
    (sets, differences)
}

/// The released figures of one borough, one for each condition. `None`: withheld.
async fn figures(federation: &Federation, attack: &Attack, borough: &str, conditions: &[String]) -> Vec<Option<f64>> {
    let mut found = Vec::new();
    for some in conditions.chunks(15) {
        let figures: Vec<String> =
            some.iter().enumerate().map(|(i, c)| format!("{} FILTER (WHERE {c}) AS f{i}", attack.unit)).collect();
        let sql = format!("SELECT {} FROM {} WHERE borough = '{borough}'", figures.join(", "), attack.dataset);
        let answer = ask(&federation.client, &sql).await.unwrap_or_else(|e| panic!("{e}: {sql}"));
        let batch = &answer.batches[0];
        found.extend((0..some.len()).map(|i| number(batch, i)));
    }
    found
}

fn number(batch: &RecordBatch, column: usize) -> Option<f64> {
    let values = batch.column(column);
    if values.is_null(0) {
        return None;
    }
    match values.as_primitive_opt::<Int64Type>() {
        Some(numbers) => Some(numbers.value(0) as f64),
        None => Some(
            arrow::compute::cast(values, &arrow::datatypes::DataType::Float64)
                .unwrap()
                .as_primitive::<Float64Type>()
                .value(0),
        ),
    }
}

#[derive(Default)]
struct Score {
    by_difference: usize,
    by_change: usize,
    seen: usize,
    /// Withheld differences: there is nothing to subtract.
    blind: usize,
}

impl Score {
    fn add(&mut self, differences: &[Option<f64>], has: bool) {
        let known: Vec<f64> = differences.iter().copied().flatten().collect();
        self.seen += 1;
        if known.is_empty() {
            // Without a difference, the guess is a coin toss.
            self.blind += 1;
            let guess = self.blind.is_multiple_of(2);
            self.by_difference += usize::from(guess == has);
            self.by_change += usize::from(guess == has);
            return;
        }
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        self.by_difference += usize::from((mean > 0.5) == has);
        self.by_change += usize::from(known.iter().any(|d| d.abs() > 1e-9) == has);
    }

    fn share(right: usize, seen: usize) -> f64 {
        right as f64 * 100.0 / seen.max(1) as f64
    }
}

async fn campaign(
    attack: &Attack,
    federation: &'static Federation,
    targets: &[Target],
) -> BTreeMap<&'static str, Score> {
    let mut scores: BTreeMap<&'static str, Score> = BTreeMap::new();
    let mut dice = Dice::new(11);
    for target in targets {
        let (sets, differences) = plan(attack, target, &mut dice);
        let found = figures(federation, attack, &target.borough, &sets.conditions).await;
        for (name, of) in differences {
            let values: Vec<Option<f64>> = of
                .iter()
                .map(|terms| terms.iter().map(|(sign, place)| found[*place].map(|v| sign * v)).sum::<Option<f64>>())
                .collect();
            scores.entry(name).or_default().add(&values, target.has);
        }
    }
    scores
}

/// The highest allowed share of right guesses, in per cent. A coin gives 50. No question can form a set with a cell of
/// only one person.
const BOUND: f64 = 60.0;

async fn differencing(attack: &Attack, protected: &'static Federation, exact: &'static Federation) {
    let holdings = holdings(protected).await;
    let chosen = choose(attack, &holdings, targets(), &mut Dice::new(5));
    println!("{}: {} targets alone in {}", attack.dataset, chosen.len(), attack.known.join(", "));
    println!("  the attribute is {} = {}; without questions 50.0 %", attack.attribute.0, attack.attribute.1);
    println!("  {:26} {:>12} {:>10} {:>8} {:>12}", "attack", "difference", "change", "blind", "exact counts");
    let scores = campaign(attack, protected, &chosen).await;
    let exactly = campaign(attack, exact, &chosen).await;
    for (name, score) in &scores {
        let by = Score::share(score.by_difference, score.seen);
        let change = Score::share(score.by_change, score.seen);
        let exact = &exactly[name];
        let exact = Score::share(exact.by_difference, exact.seen);
        println!("  {name:26} {by:>10.1} % {change:>8.1} % {:>8} {exact:>10.1} %", score.blind);
        assert!(exact > 95.0, "{name}: the attack does not work on exact counts: {exact}");
        // Few targets leave room for luck: four standard errors.
        let luck = 400.0 * (0.25 / score.seen as f64).sqrt() * 0.5;
        assert!(by <= BOUND + luck && change <= BOUND + luck, "{name}: guessed {by} and {change} % of {}", score.seen);
    }
}

#[test]
fn differencing_residents_gains_no_more_than_is_said() {
    support::run(async {
        let protected = support::synthetic().await.unwrap();
        let exact = support::synthetic_unprotected().await.unwrap();
        differencing(&RESIDENTS, protected, exact).await;
    });
}

#[test]
fn differencing_stops_gains_no_more_than_is_said() {
    support::run(async {
        let (Some(protected), Some(exact)) = (support::real().await, support::real_unprotected().await) else { return };
        differencing(&STOPS, protected, exact).await;
    });
}

#[test]
fn repeating_rewording_and_other_derivations_give_nothing_to_average() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let wordings = [
            "SELECT COUNT(*) FROM residents WHERE borough = 'E09000022' AND tenure = 'Social rented' AND sex = 'Male'",
            "SELECT COUNT(DISTINCT person_key) FROM residents WHERE borough = 'E09000022' AND NOT (tenure <> 'Social rented' OR sex <> 'Male')",
            "SELECT COUNT(*) FILTER (WHERE sex = 'Male') FROM residents WHERE tenure IN ('Social rented') AND borough = 'E09000022'",
            "SELECT SUM(CASE WHEN tenure = 'Social rented' AND sex = 'Male' THEN 1 ELSE 0 END) FROM residents WHERE borough = 'E09000022'",
            "SELECT COUNT(*) FROM residents r WHERE borough = 'E09000022' AND tenure = 'Social rented' AND sex = 'Male' \
             AND EXISTS (SELECT 1 FROM residents s WHERE s.person_key = r.person_key AND s.borough = r.borough)",
            "SELECT COUNT(*) FROM residents r JOIN (SELECT borough, person_key, COUNT(*) AS n FROM residents GROUP BY borough, person_key) u \
             ON r.person_key = u.person_key AND r.borough = u.borough WHERE r.borough = 'E09000022' AND tenure = 'Social rented' AND sex = 'Male' AND n = 1",
            "SELECT COUNT(*) FROM (SELECT borough, person_key, COUNT(*) FILTER (WHERE tenure = 'Social rented' AND sex = 'Male') AS n \
             FROM residents GROUP BY borough, person_key) u WHERE n >= 1 AND borough = 'E09000022'",
        ];
        let mut answers = Vec::new();
        for sql in wordings.iter().chain(&wordings) {
            let answer = ask(&federation.client, sql).await.unwrap_or_else(|e| panic!("{e}: {sql}"));
            answers.push(number(&answer.batches[0], 0).expect("a figure"));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
    });
}

/// A row for each person protects the person's household as well, and an elector's row protects the home. A cell with
/// few people has few in any wording.
/// every wording.
#[test]
fn a_household_or_home_is_protected_by_a_derivation_too() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        for (dataset, unit, keys, domains) in [
            ("residents", "person_key", "tenure, age_band", ["person", "household"]),
            ("electoral_roll", "person_key", "adult, franchise", ["person", "property"]),
        ] {
            let plain = format!(
                "SELECT {keys}, COUNT(*) AS n FROM {dataset} WHERE borough = 'E09000022' GROUP BY {keys} ORDER BY {keys}"
            );
            let derived = format!(
                "SELECT {keys}, COUNT(*) AS n FROM (SELECT borough, {unit}, {keys}, COUNT(*) AS rows FROM {dataset} \
                 GROUP BY borough, {unit}, {keys}) u WHERE borough = 'E09000022' GROUP BY {keys} ORDER BY {keys}"
            );
            let [plain, derived] = [ask(&federation.client, &plain).await, ask(&federation.client, &derived).await];
            let (plain, derived) = (plain.unwrap(), derived.unwrap());
            for answer in [&plain, &derived] {
                assert_eq!(answer.statement.parts[0].units, domains);
            }
            assert!(plain.batches.iter().map(RecordBatch::num_rows).sum::<usize>() > 3);
            assert_eq!(plain.batches, derived.batches, "{dataset}");
        }
    });
}

#[test]
fn differencing_a_cost_is_no_better_than_guessing_it() {
    support::run(async {
        let protected = support::synthetic().await.unwrap();
        let exact = support::synthetic_unprotected().await.unwrap();
        let holdings = holdings(protected).await;
        let known = ["age_band", "need", "setting"];
        let mut alone = Vec::new();
        let mut all = Vec::new();
        for (borough, records) in records(&holdings, "social_care_clients") {
            let of = |r: &Record| known.map(|k| r[k].clone());
            let mut seen: BTreeMap<[String; 3], usize> = BTreeMap::new();
            records.iter().for_each(|r| *seen.entry(of(r)).or_default() += 1);
            for record in records {
                let cost: f64 = record["weekly_cost"].parse().unwrap();
                all.push(cost);
                if seen[&of(&record)] == 1 {
                    alone.push((borough.clone(), of(&record), cost));
                }
            }
        }
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        alone.truncate(targets());
        let mut errors = [Vec::new(), Vec::new()];
        let mut prior = Vec::new();
        for (borough, of, cost) in &alone {
            let alone: Vec<String> =
                known.iter().zip(of).map(|(k, v)| format!("{k} = '{}'", v.replace('\'', "''"))).collect();
            let sql = format!(
                "SELECT SUM(weekly_cost) AS s, SUM(weekly_cost) FILTER (WHERE ({}) IS NOT TRUE) AS t \
                 FROM social_care_clients WHERE borough = '{borough}'",
                alone.join(" AND ")
            );
            prior.push(cost - mean);
            for (federation, errors) in [protected, exact].into_iter().zip(&mut errors) {
                let answer = ask(&federation.client, &sql).await.unwrap_or_else(|e| panic!("{e}: {sql}"));
                let batch = &answer.batches[0];
                // If nothing can be subtracted, the mean is the best guess.
                let guess = number(batch, 0).zip(number(batch, 1)).map_or(mean, |(s, t)| s - t);
                errors.push(cost - guess);
            }
        }
        let rms = |errors: &[f64]| (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
        let (protected, exact, prior) = (rms(&errors[0]), rms(&errors[1]), rms(&prior));
        println!(
            "{} costs: off by £{protected:.0} from two perturbed sums, £{prior:.0} from the mean of all, £{exact:.2} from exact sums",
            alone.len()
        );
        assert!(exact < 0.01 && protected > prior, "{protected} {prior} {exact}");
    });
}
