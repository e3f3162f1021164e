//! Closed tables under attack: random lists and least squares, the same people counted again, hand-made bytes, refreshes.
//!
//! `LODA_CLOSED_QUESTIONS` sets how many questions the reconstruction asks (default 1,200).

use std::collections::{BTreeMap, BTreeSet};

use loda_question::LIMITS;
use loda_question::table::Table;

use crate::pooled::{contract, holdings, text};
use crate::scenarios::ask;
use crate::support::{self, Dice, Federation};

fn list(names: &[&String]) -> String {
    names.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect::<Vec<_>>().join(", ")
}

/// Figures of a statement's one row, or of each of its rows; `None`: withheld.
async fn figures(federation: &Federation, sql: &str) -> Vec<Vec<String>> {
    let answer = ask(&federation.client, sql).await.unwrap_or_else(|e| panic!("{e}: {sql}"));
    text(&answer.batches, answer.schema.fields().len() - 1)
}

/// Least squares with bounds, cell after cell: Σ over a set of what each cell holds is what was answered.
fn solved(sets: &[Vec<usize>], answers: &[f64], cells: usize) -> Vec<f64> {
    let (mut shared, mut wanted) = (vec![0.0; cells * cells], vec![0.0; cells]);
    for (set, answer) in sets.iter().zip(answers) {
        for a in set {
            wanted[*a] += answer;
            set.iter().for_each(|b| shared[a * cells + b] += 1.0);
        }
    }
    let mut held = vec![0.5; cells];
    for _ in 0..2_000 {
        for cell in 0..cells {
            let row = &shared[cell * cells..(cell + 1) * cells];
            if row[cell] > 0.0 {
                let off = wanted[cell] - row.iter().zip(&held).map(|(a, b)| a * b).sum::<f64>();
                held[cell] = (held[cell] + off / row[cell]).max(0.0);
            }
        }
    }
    held
}

/// The attack that read a borough's exact table in 20 statements: random unions of wards and age bands, by sex, and
/// least squares. For people who are alone in ward and age the sex is guessed.
#[test]
fn random_unions_and_least_squares_name_nobody() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let exact = support::synthetic_unprotected().await.unwrap();
        let questions = support::rounds("LODA_CLOSED_QUESTIONS", 1_200);
        let mut scores = Vec::new();
        for federation in [federation, exact] {
            let holdings = holdings(federation).await;
            let (mut right, mut seen, mut commonest) = (0.0, 0, 0.0);
            for gss in ["E09000001", "E09000022"] {
                let held = holdings.iter().find(|h| h.dataset == "residents" && h.gss == gss).unwrap();
                let names: Vec<String> = contract("residents").columns.iter().map(|c| c.name.clone()).collect();
                let place = |name: &str| names.iter().position(|n| n == name).unwrap();
                let people = text(&held.rows, 99);
                let column = |name: &str| -> Vec<String> {
                    let of: BTreeSet<String> = people.iter().map(|row| row[place(name)].clone()).collect();
                    of.into_iter().collect()
                };
                let (wards, ages) = (column("ward"), column("age_band"));
                let cell = |row: &Vec<String>| {
                    let ward = wards.iter().position(|w| *w == row[place("ward")]).unwrap();
                    ward * ages.len() + ages.iter().position(|a| *a == row[place("age_band")]).unwrap()
                };
                let mut dice = Dice::new(7);
                let mut sets = Vec::new();
                let mut conditions = Vec::new();
                for _ in 0..questions / 2 {
                    let some = |of: &'_ [String], dice: &mut Dice| -> Vec<usize> {
                        let chosen: Vec<usize> = (0..of.len()).filter(|_| dice.one_in(2)).collect();
                        if chosen.is_empty() { vec![0] } else { chosen }
                    };
                    let (w, a) = (some(&wards, &mut dice), some(&ages, &mut dice));
                    let inside = |ward: usize, age: usize| w.contains(&ward) == a.contains(&age);
                    let cells = (0..wards.len()).flat_map(|ward| (0..ages.len()).map(move |age| (ward, age)));
                    sets.push(
                        cells
                            .filter(|(ward, age)| inside(*ward, *age))
                            .map(|(ward, age)| ward * ages.len() + age)
                            .collect(),
                    );
                    let named = |of: &[String], places: &[usize]| {
                        list(&places.iter().map(|place| &of[*place]).collect::<Vec<_>>())
                    };
                    conditions.push(format!(
                        "(ward IN ({})) = (age_band IN ({}))",
                        named(&wards, &w),
                        named(&ages, &a)
                    ));
                }
                let mut answers: BTreeMap<String, Vec<f64>> = BTreeMap::new();
                for some in conditions.chunks(15) {
                    let counted = some.iter().enumerate().map(|(i, c)| format!("COUNT(*) FILTER (WHERE {c}) AS f{i}"));
                    let counted = counted.collect::<Vec<_>>().join(", ");
                    let sql = format!(
                        "SELECT sex, {counted} FROM residents WHERE borough = '{gss}' GROUP BY sex ORDER BY sex"
                    );
                    for row in figures(federation, &sql).await {
                        let of = answers.entry(row[0].clone()).or_default();
                        of.extend(row[1..].iter().map(|n| n.parse::<f64>().unwrap_or(0.0)));
                    }
                }
                let found: BTreeMap<&String, Vec<f64>> = answers
                    .iter()
                    .map(|(sex, answers)| (sex, solved(&sets, answers, wards.len() * ages.len())))
                    .collect();
                let mut alone: BTreeMap<usize, usize> = BTreeMap::new();
                people.iter().for_each(|row| *alone.entry(cell(row)).or_default() += 1);
                for row in people.iter().filter(|row| alone[&cell(row)] == 1) {
                    let at = |sex: &str| found.get(&sex.to_owned()).map_or(0.0, |held| held[cell(row)]);
                    let (female, male) = (at("Female"), at("Male"));
                    // Where the two are as good as equal a coin decides.
                    right += match (female - male).abs() < 0.02 {
                        true => 0.5,
                        false => f64::from(u8::from((female > male) == (row[place("sex")] == "Female"))),
                    };
                    seen += 1;
                }
                let women =
                    people.iter().filter(|row| row[place("sex")] == "Female").count() as f64 / people.len() as f64;
                commonest += women.max(1.0 - women) / 2.0;
            }
            scores.push((right * 100.0 / f64::from(seen.max(1)), seen, commonest * 100.0));
        }
        let [(protected, seen, commonest), (exact, ..)] = scores[..] else { panic!() };
        println!(
            "{questions} random sets: the sex of {seen} people alone in ward and age is named for {protected:.1} %, \
             the commonest for {commonest:.1} %, from exact counts {exact:.1} %"
        );
        assert!(seen >= 10 && exact > 80.0, "the attack does not work on exact counts: {exact} of {seen}");
        let luck = 150.0 / f64::from(seen).sqrt();
        assert!(protected <= 53.0 + luck, "{protected}");
    });
}

/// The same people, worded and joined otherwise, by other doors and after a restart of nothing: one answer.
#[test]
fn nobody_draws_twice_for_the_same_people() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let mut tried = 0;
        for gss in ["E09000022", "E09000004"] {
            for (column, value) in [
                ("tenure", "Social rented"),
                ("sex", "Male"),
                ("age_band", "25-34"),
                ("age_band", "45-54"),
                ("sex", "Female"),
            ] {
                let is = format!("{column} = '{value}'");
                let here = format!("borough = '{gss}'");
                let wordings = [
                    format!("SELECT COUNT(*) FROM residents WHERE {here} AND {is}"),
                    format!("SELECT COUNT(1) FROM residents AS x WHERE NOT ({column} <> '{value}') AND {here}"),
                    format!(
                        "SELECT COUNT(person_key) FROM residents WHERE {here} AND {column} IN ('{value}', 'nobody')"
                    ),
                    format!(
                        "SELECT COUNT(DISTINCT person_key) FROM residents WHERE {here} AND {column} LIKE '{value}'"
                    ),
                    format!("SELECT COUNT(*) FILTER (WHERE {is}) FROM residents WHERE {here}"),
                    format!("SELECT SUM(CASE WHEN {is} THEN 1 ELSE 0 END) FROM residents WHERE {here}"),
                    format!(
                        "SELECT n FROM (SELECT {column}, COUNT(*) AS n FROM residents WHERE {here} GROUP BY {column}) t WHERE {is}"
                    ),
                    format!(
                        "SELECT COUNT(*) FROM residents a JOIN residents b ON a.person_key = b.person_key AND a.borough = b.borough WHERE a.{here} AND b.{is}"
                    ),
                    format!(
                        "SELECT COUNT(*) FROM residents a LEFT JOIN residents b ON a.person_key = b.person_key AND a.borough = b.borough WHERE a.{here} AND b.{is}"
                    ),
                    format!(
                        "SELECT COUNT(*) FROM residents a WHERE a.{here} AND EXISTS (SELECT 1 FROM residents b WHERE b.person_key = a.person_key AND b.borough = a.borough AND b.{is})"
                    ),
                    format!(
                        "SELECT COUNT(*) FROM residents a LEFT JOIN social_care_clients s ON a.person_key = s.person_key AND a.borough = s.borough WHERE a.{here} AND a.{is}"
                    ),
                    format!(
                        "SELECT COUNT(*) FROM residents WHERE {here} AND {is} AND (sex = 'Male' OR sex = 'Female')"
                    ),
                ];
                let mut answers = BTreeSet::new();
                for sql in wordings {
                    match ask(&federation.client, &sql).await {
                        Ok(answer) => {
                            tried += 1;
                            answers.extend(text(&answer.batches, 1).into_iter().flatten());
                        }
                        Err(fault) => panic!("{fault}: {sql}"),
                    }
                }
                assert_eq!(answers.len(), 1, "{gss} {is}: {answers:?}");
            }
        }
        println!("{tried} wordings, one answer each");
        assert!(tried == 120);
    });
}

/// Whatever is asked about people, what boroughs are sent is a table of the contracts: no literal, name or function of the
/// asker's is in it.
#[test]
fn nothing_of_an_askers_is_in_what_boroughs_are_sent() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let mut dice = Dice::new(support::seed());
        let columns = [
            ("residents", "age_band", vec!["0-4", "25-34", "85 and over"]),
            ("residents", "sex", vec!["Female", "Male"]),
            ("residents", "tenure", vec!["Social rented", "Private rented"]),
            ("properties", "epc_band", vec!["A", "D", "G"]),
            ("properties", "hmo_licence", vec!["None", "Mandatory"]),
            ("benefits", "benefit", vec!["Housing Benefit", "Council Tax Support"]),
        ];
        let (mut sent, mut distinct) = (0, BTreeSet::new());
        for _ in 0..support::rounds("LODA_CLOSED_STATEMENTS", 150) {
            let (dataset, key, _) = dice.pick(&columns).clone();
            let of: Vec<_> = columns.iter().filter(|(d, ..)| *d == dataset).cloned().collect();
            let (_, column, values) = dice.pick(&of).clone();
            let value = *dice.pick(&values);
            let condition = match dice.below(6) {
                0 => format!("{column} = '{value}'"),
                1 => format!("{column} <> '{value}' OR {column} IS NULL"),
                2 => format!("upper({column}) IN (upper('{value}'), 'ZQMARKER')"),
                3 => format!("CASE WHEN {column} = '{value}' THEN 'ZQMARKER' ELSE 'x' END = 'ZQMARKER'"),
                4 => format!("{column} >= '{value}' AND {column} < 'ZQMARKER'"),
                _ => format!("NOT ({column} IN ('{value}', 'ZQMARKER'))"),
            };
            let sql = format!(
                "SELECT {key} AS zqmarker, COUNT(*) FILTER (WHERE {condition}) AS zqmarker2 FROM {dataset} AS zqmarker3 \
                 WHERE borough = 'E09000022' GROUP BY {key}"
            );
            let prepared = federation.client.prepare(&sql, "demo", false).await.unwrap();
            for fragment in prepared.fragments {
                assert!(Table::decode(&fragment.bytes, LIMITS, &|name| Some(contract(name))).is_ok(), "{sql}");
                let lower = String::from_utf8_lossy(&fragment.bytes).to_lowercase();
                let there = value.len() > 3 && lower.contains(&value.to_lowercase());
                assert!(!lower.contains("zqmarker") && !there, "{sql}: {lower}");
                distinct.insert(fragment.bytes);
                sent += 1;
            }
        }
        println!("{sent} tables sent, {} of them different", distinct.len());
        assert!(sent >= 100 && distinct.len() < 40);
    });
}

/// A node that starts again on other extracts within an epoch serves what it served, to the byte; and so does one that has
/// answered other tables in between.
#[test]
fn refreshes_and_restarts_within_an_epoch_change_no_byte() {
    use loda_demo::layout::Layout;
    use loda_question::table::{ColumnRef, Functional, RowDomain};
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(&support::options(dir.path(), 2, None), &mut |_| {}).unwrap();
        let gss = layout.boroughs[1].gss;
        let folder = layout.node(gss);
        let handle = support::RUNTIME.handle().clone();
        let table = |columns: &[&str]| {
            let columns = columns.iter().map(|c| ColumnRef::parse(c).unwrap());
            let counted = [Functional::Units("person".to_owned())];
            Table::new(RowDomain::Units("person".to_owned()), columns, counted, &|name| Some(contract(name))).unwrap()
        };
        let (wanted, other) = (table(&["residents.sex", "residents.age_band"]), table(&["residents.ward"]));
        let residents = folder.join(format!("data/{gss}/residents.csv"));
        let mut answers = BTreeSet::new();
        for start in 0..3 {
            let config = loda_node::Config::load(&folder.join("node.toml")).unwrap();
            let node =
                loda_node::Node::open(config, loda_node::Methods::standard().unwrap(), handle.clone()).await.unwrap();
            let listener = node.bind().await.unwrap();
            let serving = handle.spawn(async move { node.serve(listener).await.unwrap() });
            for _ in 0..2 {
                let client = || support::node_client(&layout, gss, &layout.coordinator());
                answers.insert(crate::protection::released_by(client(), gss, &wanted.encode()).await);
                crate::protection::released_by(client(), gss, &other.encode()).await;
            }
            serving.abort();
            let _ended = serving.await.is_err();
            // Some move away, and others change their ages.
            let text = std::fs::read_to_string(&residents).unwrap();
            let kept = text.lines().enumerate().filter(|(n, _)| *n == 0 || n % (20 - start) != 3);
            let changed: String = kept.map(|(_, line)| format!("{}\n", line.replace(",25-34,", ",35-44,"))).collect();
            assert_ne!(changed, text);
            std::fs::write(&residents, changed).unwrap();
        }
        assert_eq!(answers.len(), 1);
    });
}
