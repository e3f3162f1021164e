//! Federated equals pooled: each SQL scenario, with protection off, row by row. Also the questions that must be
//! refused, and the values that must be withheld.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use loda::{Answer, Client, ClientError};
use loda_contract::Contract;
use loda_demo::boroughs::BOROUGHS;
use loda_demo::datasets::{Dataset, SYNTHETIC};
use loda_identity::Gss;
use loda_node::Methods;
use sqllogictest::parser::{ExpectedError, parse_file};
use sqllogictest::{DefaultColumnType, QueryExpect, Record, SortMode, StatementExpect};

use crate::pooled::{Pooled, holdings, same, text};
use crate::support::{self, Federation};

const PURPOSES: [&str; 4] = loda_demo::layout::PURPOSES;

pub struct Scenario {
    pub sql: String,
    pub sorted: bool,
    pub expected: Vec<String>,
    pub line: String,
}

pub fn queries(file: &str) -> Vec<Scenario> {
    let records: Vec<Record<DefaultColumnType>> = parse_file(path(file)).unwrap();
    let query = |record| match record {
        Record::Query { sql, loc, expected: QueryExpect::Results { sort_mode, results, .. }, .. } => Some(Scenario {
            sql,
            sorted: sort_mode == Some(SortMode::RowSort),
            expected: results,
            line: loc.to_string(),
        }),
        _ => None,
    };
    records.into_iter().filter_map(query).collect()
}

/// The statements that must be refused: rule, SQL, position in the file.
pub fn refusals(file: &str) -> Vec<(String, String, String)> {
    let records: Vec<Record<DefaultColumnType>> = parse_file(path(file)).unwrap();
    let refusal = |record| match record {
        Record::Statement { sql, loc, expected: StatementExpect::Error(ExpectedError::Inline(rule)), .. } => {
            Some((rule.as_str().to_owned(), sql, loc.to_string()))
        }
        _ => None,
    };
    records.into_iter().filter_map(refusal).collect()
}

fn path(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(file)
}

pub async fn ask(client: &Client, sql: &str) -> Result<Answer, ClientError> {
    client.query(sql, PURPOSES[3], Some(std::time::Duration::from_secs(60)), |_| {}).await
}

/// An answer's rows without the reason column.
pub fn rows(answer: &Answer) -> Vec<Vec<String>> {
    text(&answer.batches, answer.schema.fields().len() - 1)
}

async fn federated_equals_pooled(file: &'static str, federation: &'static Federation) -> usize {
    let holdings = holdings(federation).await;
    let pooled = Pooled::new(&holdings);
    let scenarios = queries(file);
    let mut wrong = Vec::new();
    for scenario in &scenarios {
        let answer = match ask(&federation.client, &scenario.sql).await {
            Ok(answer) => answer,
            Err(e) => {
                wrong.push(format!("{}: {e}\n{}", scenario.line, scenario.sql));
                continue;
            }
        };
        if !answer.statement.complete {
            wrong.push(format!("{}: a borough gave no answer\n{}", scenario.line, scenario.sql));
            continue;
        }
        let mut federated = rows(&answer);
        let batches = pooled.ask(&scenario.sql).await;
        let mut whole = text(&batches, answer.schema.fields().len());
        let mut expected: Vec<Vec<String>> =
            scenario.expected.iter().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
        if scenario.sorted {
            federated.sort();
            whole.sort();
            expected.sort();
        }
        let differ = |a: &[Vec<String>], b: &[Vec<String>], tolerance: f64| {
            a.len() != b.len() || a.iter().zip(b).any(|(a, b)| !same(a, b, tolerance))
        };
        if differ(&federated, &whole, 1e-9) {
            wrong.push(format!("{}\n{}\nfederated {federated:?}\npooled {whole:?}", scenario.line, scenario.sql));
            continue;
        }
        for row in whole.iter_mut().flatten() {
            if row.is_empty() {
                "(empty)".clone_into(row);
            }
        }
        if differ(&whole, &expected, 2e-6) {
            wrong.push(format!("{}\n{}\npooled {whole:?}\nexpected {expected:?}", scenario.line, scenario.sql));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), scenarios.len(), wrong.join("\n"));
    scenarios.len()
}

#[test]
fn real_scenarios_equal_the_pooled_tables() {
    support::run(async {
        let Some(federation) = support::real_unprotected().await else { return };
        let count = federated_equals_pooled("real.slt", federation).await;
        println!("{count} scenarios equal");
        assert!(count >= 40);
    });
}

#[test]
fn synthetic_scenarios_equal_the_pooled_tables() {
    support::run(async {
        let federation = support::synthetic_unprotected().await.unwrap();
        let count = federated_equals_pooled("synthetic.slt", federation).await;
        // The allowed questions in place of the refused ones.
        let instead = federated_equals_pooled("closed.slt", federation).await;
        println!("{count} scenarios equal, and {instead} that are asked instead of refused ones");
        assert!(count >= 100 && instead >= 50);
        let holdings = holdings(federation).await;
        let pooled = Pooled::new(&holdings);
        for sql in [
            "SELECT borough, COUNT(*) AS n, COUNT(DISTINCT household_key) AS h FROM residents GROUP BY borough",
            "SELECT age_band, sex, COUNT(*) AS n FROM residents WHERE tenure IS NOT NULL GROUP BY age_band, sex",
            "SELECT sex, COUNT(*) FROM residents WHERE tenure LIKE '%rented' GROUP BY sex",
            "SELECT COUNT(*) FROM properties WHERE epc_band NOT LIKE 'G%' AND hmo_licence ILIKE '%A_or%'",
            "SELECT borough, COUNT(*) FROM (SELECT borough, uprn, MAX(hours_over_70) AS most FROM damp_sensors \
             GROUP BY borough, uprn) t WHERE most >= 168 GROUP BY borough",
            "SELECT COUNT(DISTINCT uprn) FROM council_tax WHERE single_person_discount AND moves_24m > 1",
            "SELECT phase, SUM(pupils), AVG(free_school_meals) FROM schools GROUP BY phase",
            "SELECT AVG(pupils) FROM schools WHERE borough <> 'E09000001'",
            "SELECT CASE WHEN moves_24m = 0 THEN 'none' WHEN moves_24m < 3 THEN 'some' ELSE 'many' END AS moves, \
             COUNT(*) FROM council_tax GROUP BY 1",
            // A row that is joined to a row without a match has no match either.
            "SELECT e.adult, COUNT(*) FROM residents r LEFT JOIN social_care_clients s ON r.person_key = s.person_key \
             AND r.borough = s.borough LEFT JOIN electoral_roll e ON s.person_key = e.person_key AND r.borough = e.borough \
             GROUP BY e.adult",
            "SELECT COUNT(*) FROM properties p LEFT JOIN (SELECT * FROM council_tax WHERE band = 'C') c ON p.uprn = c.uprn \
             LEFT JOIN properties q ON c.uprn = q.uprn WHERE q.storeys >= 2",
            // Published tables joined to tables about people: by a class, by a reference key, from either side, with a
            // filter, and without a match.
            "SELECT w.decile, COUNT(*), COUNT(DISTINCT c.uprn) FILTER (WHERE c.band = 'D' OR w.decile > 5) FROM council_tax c JOIN wards w ON c.ward = w.ward AND c.borough = w.borough GROUP BY w.decile",
            "SELECT c.band, COUNT(*) FROM wards w JOIN council_tax c ON c.ward_code = w.ward_code AND c.borough = w.borough \
             WHERE w.decile <= 3 AND c.single_person_discount GROUP BY c.band",
            "SELECT r.borough, CASE WHEN w.decile IS NULL THEN 'none' WHEN w.decile <= 5 AND r.sex = 'Female' THEN 'women' ELSE 'others' END AS k, \
             COUNT(*) FROM residents r LEFT JOIN wards w ON r.ward = w.ward AND r.borough = w.borough AND w.decile <= 7 GROUP BY r.borough, k",
            "SELECT COUNT(*), COUNT(DISTINCT p.uprn) FROM properties p WHERE EXISTS (SELECT 1 FROM wards w WHERE w.ward = p.ward \
             AND w.borough = p.borough AND w.decile = 1)",
            "SELECT p.epc_band, COUNT(*) FROM properties p WHERE NOT EXISTS (SELECT 1 FROM wards w WHERE w.ward = p.ward \
             AND w.borough = p.borough AND w.decile >= 4) GROUP BY p.epc_band",
            "SELECT w.decile, SUM(p.weekly_income), AVG(p.weekly_rent) FROM pension_credit p JOIN wards w ON p.ward = w.ward \
             AND p.borough = w.borough GROUP BY ROLLUP (w.decile)",
        ] {
            let answer = ask(&federation.client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            let mut federated = rows(&answer);
            let batches = pooled.ask(sql).await;
            let mut whole = text(&batches, 99);
            federated.sort();
            whole.sort();
            assert_eq!(federated.len(), whole.len(), "{sql}");
            assert!(federated.iter().zip(&whole).all(|(a, b)| same(a, b, 1e-9)), "{sql}\n{federated:?}\n{whole:?}");
        }
    });
}

#[test]
fn what_the_algebra_lacks_is_refused_by_its_rule() {
    support::run(async {
        let Some(federation) = support::real().await else { return };
        let (mut count, mut wrong) = (0, Vec::new());
        for (rule, sql, loc) in refusals("refused.slt") {
            count += 1;
            match ask(&federation.client, &sql).await {
                Err(ClientError::Refused { rule: found, message, advice }) => {
                    if found != rule {
                        wrong.push(format!("{loc}: expected {}, refused by {found}: {message}", rule));
                    }
                    assert!(!message.is_empty() && !advice.is_empty(), "{loc}: a refusal without advice");
                }
                Err(other) => wrong.push(format!("{loc}: {other}")),
                Ok(_) => wrong.push(format!("{loc}: answered: {sql}")),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let nodes = federation.client.nodes().await.unwrap().nodes;
        assert!(nodes.iter().all(|n| n.reachable));
        println!("{count} refused, each by its rule");
        assert!(count >= 30);
    });
}

#[test]
fn what_no_table_about_people_gives_is_refused_by_its_rule_with_advice() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let (mut by_rule, mut wrong) = (BTreeMap::new(), Vec::new());
        for (rule, sql, loc) in refusals("closed.slt") {
            match federation.client.prepare(&sql, PURPOSES[3], false).await {
                Err(ClientError::Refused { rule: found, message, advice }) => {
                    if found != rule {
                        wrong.push(format!("{loc}: expected {rule}, refused by {found}: {message}"));
                    }
                    assert!(!message.is_empty() && !advice.is_empty(), "{loc}: a refusal without advice");
                    // The advice proposes a contract.
                    if let Some(at) = advice.find("[[derived]]") {
                        assert!(toml::from_str::<toml::Table>(&advice[at..]).is_ok(), "{loc}: {advice}");
                    }
                    *by_rule.entry(rule).or_insert(0) += 1;
                }
                Err(other) => wrong.push(format!("{loc}: {other}")),
                Ok(_) => wrong.push(format!("{loc}: planned: {sql}")),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        println!("refused, by rule: {by_rule:?}");
        assert!(by_rule.values().sum::<i32>() >= 60);
    });
}

#[test]
fn what_would_single_out_is_withheld() {
    support::run(async {
        let Some(federation) = support::real().await else { return };
        let scenarios = queries("withheld.slt");
        assert!(scenarios.len() >= 8);
        for scenario in scenarios {
            let answer = ask(&federation.client, &scenario.sql).await;
            let answer = answer.unwrap_or_else(|e| panic!("{}: {e}\n{}", scenario.line, scenario.sql));
            let names = scenario.expected.iter().find_map(|l| l.strip_prefix("withheld-columns:")).unwrap();
            for name in names.split(',').map(str::trim) {
                let column = answer.schema.index_of(name).unwrap();
                assert!(answer.rows() > 0, "{}", scenario.line);
                for row in rows(&answer) {
                    assert_eq!(row[column], "NULL", "{}: {name} is released: {row:?}\n{}", scenario.line, scenario.sql);
                }
            }
        }
    });
}

#[test]
fn a_withheld_figure_is_null_to_the_question_and_open_groups_are_said() {
    support::run(async {
        let Some(federation) = support::real().await else { return };
        let sql = "SELECT borough, CASE WHEN n IS NULL THEN 'withheld' ELSE 'there' END AS f, n FROM \
                   (SELECT borough, COUNT(*) AS n FROM food_businesses WHERE rating = '0' GROUP BY borough) AS t";
        let answer = ask(&federation.client, sql).await.unwrap();
        for row in rows(&answer) {
            assert_eq!(row[1] == "withheld", row[2] == "NULL", "{row:?}");
        }
        let sql = "SELECT SUM(n) AS s FROM (SELECT borough, ward, COUNT(*) AS n FROM dwelling_fires GROUP BY borough, ward) AS t";
        let answer = ask(&federation.client, sql).await.unwrap();
        assert!(answer.statement.parts[0].open);
        let row = text(&answer.batches, 99).remove(0);
        let lacks = "may lack groups that are withheld and not listed";
        assert_eq!(row[1], lacks, "a total over groups that may be missing says so");
    });
}

/// A refusal for lack of a value for each unit prints the lines that a contract needs. With these lines the question
/// runs, and gives the same result as the pooled tables.
#[test]
fn what_refusals_propose_runs_once_contracts_say_it() {
    support::run(async {
        let refused = refusals("closed.slt");
        let mut contracts: BTreeMap<&str, String> =
            SYNTHETIC.iter().map(|dataset| (dataset.name, support::wide(dataset))).collect();
        let nodes = 6;
        let boroughs: Vec<Gss> = BOROUGHS.iter().take(nodes).map(|b| b.gss.parse().unwrap()).collect();
        let mut proposed = BTreeSet::new();
        let runs = loop {
            let parsed = contracts.iter().map(|(name, text)| Contract::parse(text, name).unwrap());
            let dry = loda_coordinator::Dry::new(parsed.collect(), boroughs.clone()).unwrap();
            let (before, mut runs) = (proposed.len(), Vec::new());
            for (_, sql, _) in &refused {
                match dry.fragments(sql).await {
                    Ok(_) => runs.push(sql),
                    Err(refusal) => {
                        let Some((_, toml)) = refusal.advice.split_once("propose to its owners: ") else { continue };
                        let of = refusal.message.split_once("the contract of ").unwrap().1;
                        let of = of.split(' ').next().unwrap();
                        if proposed.insert(toml.to_owned()) {
                            let text = contracts.get_mut(of).unwrap();
                            text.push_str(toml);
                            Contract::parse(text, of).unwrap_or_else(|e| panic!("{sql}\n{toml}\n{e}"));
                        }
                    }
                }
            }
            if proposed.len() == before {
                break runs;
            }
        };
        let contract = |dataset: &Dataset| contracts[dataset.name].clone();
        let federation = Federation::under(nodes, Methods::unprotected().unwrap(), &contract).await;
        let holdings = holdings(&federation).await;
        let pooled = Pooled::new(&holdings);
        for sql in &runs {
            let answer = ask(&federation.client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            let (mut federated, mut whole) = (rows(&answer), text(&pooled.ask(sql).await, 99));
            federated.sort();
            whole.sort();
            assert_eq!(federated.len(), whole.len(), "{sql}");
            assert!(federated.iter().zip(&whole).all(|(a, b)| same(a, b, 1e-9)), "{sql}\n{federated:?}\n{whole:?}");
        }
        println!("{} of {} refused run with {} derived values proposed", runs.len(), refused.len(), proposed.len());
        assert!(runs.len() >= 5 && proposed.len() >= 5);
    });
}

#[test]
fn questions_that_would_cost_too_much_are_refused_at_once() {
    support::run(async {
        let Some(federation) = support::real().await else { return };
        let chain = |n: usize| {
            (0..n).fold("SELECT n".to_owned(), |sql, _| sql + " + n")
                + " AS m FROM (SELECT COUNT(*) AS n FROM food_businesses) AS t"
        };
        let or = (0..6_000).map(|i| format!("rating_year > {i}")).collect::<Vec<_>>().join(" OR ");
        let nested = "(".repeat(900) + "1" + &")".repeat(900);
        let heavy = (0..100).map(|i| format!("gender >= 'x{i:04}'")).collect::<Vec<_>>().join(" OR ");
        for sql in [
            chain(8_000),
            chain(1_400),
            format!("SELECT COUNT(*) AS n FROM food_businesses WHERE {or}"),
            format!("SELECT {nested} AS n, COUNT(*) FROM food_businesses"),
            format!(
                "SELECT CASE WHEN legislation = 'L' OR object_of_search = 'O' OR outcome = 'U' OR officer_ethnicity = 'E' \
                 OR age_range = 'A' OR search_type = 'S' OR {heavy} THEN 'a' ELSE 'a' END AS k, COUNT(*) AS n \
                 FROM stop_and_search GROUP BY 1"
            ),
        ] {
            let begun = std::time::Instant::now();
            // The answer or refusal does not matter. The coordinator must live and serve others.
            let _either = ask(&federation.client, &sql).await;
            let nodes = federation.client.nodes().await.unwrap().nodes;
            assert!(nodes.iter().all(|n| n.reachable));
            assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{}", &sql[..60]);
        }
    });
}
