//! The quality of figures about people: tables, filters and lists, small groups, shares and means, compared with other
//! methods of protection. Also whether each figure states its error correctly.
//!
//! The boroughs have the columns of a census, and the populations of a small and a large borough. `just utility` runs
//! at full size.

mod world;

use std::collections::{BTreeMap, BTreeSet};

use loda_contract::{ColumnType, Value};
use loda_question::table::{Estimate, Lowered};
use loda_question::{Draft, Figure, Measure, Predicate, Question, Rows, Scalar};
use world::{Truths, World, place, some};

use crate::support::{self, Dice};

/// A figure from an answer.
#[derive(Clone, Copy)]
struct Seen {
    /// The true value and the answer. `None`: it is withheld.
    truth: f64,
    told: Option<f64>,
    /// The stated standard error.
    stated: f64,
    /// The number of estimated units.
    estimated: f64,
}

/// All figures of one kind.
#[derive(Default)]
struct Kind(Vec<Seen>);

impl Kind {
    fn told(&self) -> Vec<(Seen, f64)> {
        self.0.iter().filter_map(|seen| Some((*seen, seen.told?))).collect()
    }

    fn off(&self) -> f64 {
        let told = self.told();
        told.iter().map(|(seen, told)| (told - seen.truth).abs()).sum::<f64>() / told.len().max(1) as f64
    }

    fn stated(&self) -> f64 {
        let told = self.told();
        told.iter().map(|(seen, _)| seen.stated).sum::<f64>() / told.len().max(1) as f64
    }

    /// The root of the mean square of the real errors, each in its stated standard errors. 1 means that these are correct.
    fn as_stated(&self) -> f64 {
        let told = self.told();
        let parts = told.iter().filter(|(seen, _)| seen.stated > 0.0);
        let squares: Vec<f64> = parts.map(|(seen, told)| ((told - seen.truth) / seen.stated).powi(2)).collect();
        (squares.iter().sum::<f64>() / squares.len().max(1) as f64).sqrt()
    }

    fn bias(&self) -> f64 {
        let told = self.told();
        told.iter().map(|(seen, told)| told - seen.truth).sum::<f64>() / told.len().max(1) as f64
    }

    fn line(&self, name: &str) -> String {
        let told = self.told();
        let all: f64 = told.iter().map(|(seen, _)| seen.truth).sum();
        let off: f64 = told.iter().map(|(seen, told)| (told - seen.truth).abs()).sum();
        let there = self.0.iter().filter(|seen| seen.truth > 0.0).count();
        let withheld = self.0.iter().filter(|seen| seen.truth > 0.0 && seen.told.is_none()).count();
        let estimated: f64 = told.iter().map(|(seen, _)| seen.estimated).sum();
        format!(
            "  {name:34} {:>7} {:>8.2} {:>8.2} {:>9.2} {:>7.2} {:>7.2} {:>9.1} {:>9.1}",
            told.len(),
            self.off(),
            self.stated(),
            self.as_stated(),
            self.bias(),
            100.0 * off / all.max(1.0),
            100.0 * withheld as f64 / there.max(1) as f64,
            100.0 * estimated / all.max(1.0),
        )
    }
}

fn head() -> String {
    format!(
        "  {:34} {:>7} {:>8} {:>8} {:>9} {:>7} {:>7} {:>9} {:>9}",
        "kind", "figures", "off", "stated", "as stated", "bias", "off %", "withheld %", "estimated %"
    )
}

fn is_in(world: &World, column: usize, classes: &BTreeSet<usize>) -> Predicate {
    let (name, words) = &world.columns[column];
    let values = classes.iter().map(|class| (Value::Text(words[*class].as_str().into()), ColumnType::Text));
    Predicate::In { of: Scalar::Column(name.clone()), values: values.collect() }
}

fn all(measure: Measure) -> Figure {
    Figure { measure, condition: None }
}

/// A question over one borough, by keys. Returns its cells, as the coordinator computes them.
fn asked(
    world: &World,
    keys: &[usize],
    filter: &[(usize, BTreeSet<usize>)],
    figures: Vec<Figure>,
    wholes: &BTreeMap<usize, usize>,
) -> BTreeMap<Vec<usize>, Vec<(Option<f64>, Estimate)>> {
    let contracts = |name: &str| (name == "people").then(|| world.contract.clone());
    let conditions: Vec<Predicate> = filter.iter().map(|(column, classes)| is_in(world, *column, classes)).collect();
    let rows = Rows::of("people", (!conditions.is_empty()).then_some(Predicate::And(conditions)));
    let keys: Vec<Scalar> = keys.iter().map(|key| Scalar::Column(world.columns[*key].0.clone())).collect();
    let names: Vec<Vec<String>> = keys
        .iter()
        .map(|key| match key {
            Scalar::Column(name) => world.columns[place(world, name)].1.clone(),
            _ => Vec::new(),
        })
        .collect();
    let question = Question::derive(Draft { rows, keys, figures }, &contracts).unwrap();
    let lowered = Lowered::of(&question, &contracts).unwrap();
    let cells = lowered.cells(&world.released(&lowered), true, true, wholes);
    cells
        .into_iter()
        .map(|(key, figures)| {
            let key = key.iter().zip(&names).map(|(value, words)| {
                words.iter().position(|w| *value == Value::Text(w.as_str().into())).unwrap_or(usize::MAX)
            });
            let figures = figures.into_iter().map(|figure| {
                let known = figure.estimate.unwrap_or_default();
                let told = figure.value.filter(|_| !figure.lacks && known.will_do());
                (told.map(|value| value as f64), known)
            });
            (key.collect(), figures.collect())
        })
        .collect()
}

/// The counts of a question over one borough, compared with the truth.
fn counted(world: &World, keys: &[usize], filter: &[(usize, BTreeSet<usize>)], into: &mut Kind) {
    let by_key = world.counts(keys, filter);
    for (key, figures) in asked(world, keys, filter, vec![all(Measure::Rows)], &BTreeMap::new()) {
        let (told, known) = figures[0];
        into.0.push(Seen {
            truth: by_key.get(&key).map_or(0.0, |(n, _)| *n as f64),
            told,
            stated: Estimate::standard_error(known.variance),
            estimated: known.withheld.unwrap_or(0.0),
        });
    }
}

fn subsets(world: &World, n: usize, dice: &mut Dice, most: usize) -> Vec<Vec<usize>> {
    let mut found: BTreeSet<Vec<usize>> = BTreeSet::new();
    for _ in 0..most * 20 {
        let mut of: BTreeSet<usize> = BTreeSet::new();
        while of.len() < n {
            of.insert(dice.index(world.columns.len()));
        }
        found.insert(of.into_iter().collect());
        if found.len() >= most {
            break;
        }
    }
    found.into_iter().collect()
}

fn of_counts(world: &World, seed: u64, questions: usize) -> BTreeMap<&'static str, Kind> {
    let mut dice = Dice::new(seed);
    let mut kinds: BTreeMap<&'static str, Kind> = BTreeMap::new();
    for (n, name) in [(1, "tables of one column"), (2, "tables of two"), (3, "tables of three")] {
        for columns in subsets(world, n, &mut dice, questions.div_ceil(2).min(9)) {
            counted(world, &columns, &[], kinds.entry(name).or_default());
        }
    }
    for (n, name) in [(2, "filters and lists over two columns"), (3, "filters and lists over three")] {
        for columns in subsets(world, n, &mut dice, questions) {
            let keyed = dice.index(n + 1);
            let keys: Vec<usize> =
                columns.iter().copied().enumerate().filter(|(at, _)| *at == keyed).map(|(_, c)| c).collect();
            let filter: Vec<(usize, BTreeSet<usize>)> =
                columns.iter().filter(|c| !keys.contains(c)).map(|c| (*c, some(world, *c, &mut dice))).collect();
            counted(world, &keys, &filter, kinds.entry(name).or_default());
        }
    }
    kinds
}

/// Sums and means of the costs, by a key and over lists.
fn of_costs(world: &World, seed: u64, questions: usize) -> BTreeMap<&'static str, Kind> {
    let mut dice = Dice::new(seed);
    let mut kinds: BTreeMap<&'static str, Kind> = BTreeMap::new();
    for columns in subsets(world, 2, &mut dice, questions) {
        let (key, listed) = (columns[0], columns[1]);
        let filters = [Vec::new(), vec![(listed, some(world, listed, &mut dice))]];
        let names = [("sums", "means"), ("sums over lists", "means over lists")];
        for (filter, (sums, means)) in filters.iter().zip(names) {
            let measures = [Measure::Sum("cost".to_owned()), Measure::Present("cost".to_owned())].map(all).to_vec();
            let truths = world.counts(&[key], filter);
            for (class, figures) in asked(world, &[key], filter, measures, &BTreeMap::new()) {
                let (n, truth) = truths.get(&class).map_or((0.0, 0.0), |(n, cost)| (*n as f64, *cost as f64));
                let ((sum, known), (count, _)) = (figures[0], figures[1]);
                kinds.entry(sums).or_default().0.push(Seen {
                    truth: truth / 100.0,
                    told: sum.map(|sum| sum / 100.0),
                    stated: Estimate::standard_error(known.variance) / 100.0,
                    estimated: 0.0,
                });
                let told = sum.zip(count).filter(|(_, n)| *n > 0.0);
                let mean = told.map_or(0.0, |(sum, n)| sum / n);
                let n_told = told.map_or(1.0, |(_, n)| n);
                let variance = known.variance - 2.0 * mean * known.covariance + mean * mean * known.doubt;
                kinds.entry(means).or_default().0.push(Seen {
                    truth: if n > 0.0 { truth / n / 100.0 } else { 0.0 },
                    told: told.map(|(sum, n)| sum / n / 100.0),
                    stated: Estimate::standard_error(variance) / n_told / 100.0,
                    estimated: 0.0,
                });
            }
        }
    }
    kinds
}

/// The share of a list in a group, in per cent.
fn of_shares(world: &World, seed: u64, questions: usize) -> Kind {
    let mut dice = Dice::new(seed);
    let mut kind = Kind::default();
    for columns in subsets(world, 2, &mut dice, questions) {
        let (key, listed) = (columns[0], columns[1]);
        let list = some(world, listed, &mut dice);
        let part = Figure { measure: Measure::Rows, condition: Some(is_in(world, listed, &list)) };
        let shares = asked(world, &[key], &[], vec![part, all(Measure::Rows)], &BTreeMap::from([(0, 1)]));
        let (groups, parts) = (world.counts(&[key], &[]), world.counts(&[key], &[(listed, list)]));
        for (class, figures) in shares {
            let ((told, known), (Some(of), whole)) = (figures[0], figures[1]) else { continue };
            let of_class = |truths: &Truths| truths.get(&class).map_or(0.0, |(n, _)| *n as f64);
            let (group, here) = (of_class(&groups), of_class(&parts));
            let share = told.map(|told| 100.0 * told / of);
            let ratio = told.unwrap_or(0.0) / of;
            let variance = known.variance - 2.0 * ratio * known.with_whole + ratio * ratio * whole.variance;
            kind.0.push(Seen {
                truth: 100.0 * here / group.max(1.0),
                told: share,
                stated: 100.0 * Estimate::standard_error(variance) / of,
                estimated: 0.0,
            });
        }
    }
    kind
}

/// Small groups, and lists over three and four columns of them.
fn of_few(world: &World) -> BTreeMap<&'static str, Kind> {
    let wards: BTreeSet<usize> = (0..10).collect();
    let at = |name: &str, classes: &[usize]| (place(world, name), classes.iter().copied().collect::<BTreeSet<usize>>());
    let wards = || (place(world, "ward"), wards.clone());
    let groups = [
        ("the two smallest ethnicities", vec![at("ethnicity", &[6, 7])]),
        ("  in ten wards", vec![at("ethnicity", &[6, 7]), wards()]),
        ("  and 65 or older", vec![at("ethnicity", &[6, 7]), wards(), at("age", &[8, 9, 10])]),
        ("rare languages in ten wards", vec![at("language", &[4, 5, 6, 7, 8, 9, 10, 11]), wards()]),
        ("  who rent from the council", vec![at("language", &[4, 5, 6, 7, 8, 9, 10, 11]), wards(), at("tenure", &[2])]),
    ];
    groups
        .into_iter()
        .map(|(name, filter)| {
            let mut kind = Kind::default();
            counted(world, &[], &filter, &mut kind);
            (name, kind)
        })
        .collect()
}

/// The errors of other methods for the same figures: a draw for each set, as before (variance 3), and differential
/// privacy with ρ = 0.1, spent on one question or on all tables of up to three of nine columns.
fn beside() -> String {
    let dp = |tables: f64| 0.797_9 * (tables / 0.2_f64).sqrt();
    format!(
        "  beside: a draw for each set 1.4; dp with rho 0.1 on one question {:.1}, on all 129 tables {:.1} a cell",
        dp(1.0),
        dp(129.0)
    )
}

fn merged(into: &mut BTreeMap<&'static str, Kind>, more: BTreeMap<&'static str, Kind>) {
    for (name, kind) in more {
        into.entry(name).or_default().0.extend(kind.0);
    }
}

/// The real errors and the stated errors of tables, filters and lists, sums, means and shares.
#[test]
fn figures_say_how_far_they_are_off() {
    let full = support::rounds("LODA_UTILITY", 0) > 0;
    let sizes: &[(usize, u64)] =
        if full { &[(5_000, 8), (20_000, 8), (100_000, 4), (300_000, 3)] } else { &[(5_000, 2), (20_000, 1)] };
    for (size, boroughs) in sizes {
        let (mut counts, mut few) = (BTreeMap::new(), BTreeMap::new());
        let questions = if full { 60 } else { 30 };
        for borough in 0..*boroughs {
            let mut world = World::synthetic(*size, 50 + borough);
            merged(&mut counts, of_counts(&world, 7 + borough, questions));
            merged(&mut counts, of_costs(&world, 70 + borough, questions / 4));
            merged(
                &mut counts,
                BTreeMap::from([("shares (per cent)", of_shares(&world, 90 + borough, questions / 3))]),
            );
            for epoch in 0..if full { 12 } else { 4 } {
                world.at(epoch);
                merged(&mut few, of_few(&world));
            }
        }
        println!("{size} people a borough, noise of variance {:.1}\n{}", World::synthetic(20, 1).variance(), head());
        for (name, kind) in counts.iter().chain(&few) {
            println!("{}", kind.line(name));
        }
        println!("{}", beside());
        for (name, kind) in &counts {
            // The mean square of n values is off by chance, by a share of 1/√n.
            let luck = 0.1 + 2.5 / (kind.told().len() as f64).sqrt();
            assert!((kind.as_stated() - 1.0).abs() < luck, "{name}: off by {:.2} of what they say", kind.as_stated());
        }
        let lists = &counts["filters and lists over three"];
        assert!(lists.off() <= 3.5, "{}", lists.off());
    }
}

/// Six boroughs of real stops, if the extracts are beside the project.
#[test]
fn figures_of_real_stops_are_as_good() {
    support::run(async {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../shared/data/stop_and_search/stop_and_search.parquet");
        if !path.exists() {
            support::skip::host("the open data do not lie beside the project");
            return;
        }
        let context = datafusion::prelude::SessionContext::new();
        let options = datafusion::prelude::ParquetReadOptions::default();
        context.register_parquet("stops", path.to_str().unwrap(), options).await.unwrap();
        let names =
            ["Gender", "Age range", "Self-defined ethnicity", "Outcome", "Object of search", "Legislation", "Type"];
        let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let sql = format!("SELECT borough_gss, {} FROM stops WHERE borough_gss <> '' ORDER BY 1", quoted.join(", "));
        let rows = crate::pooled::text(&context.sql(&sql).await.unwrap().collect().await.unwrap(), names.len() + 1);
        let mut boroughs: BTreeMap<&String, Vec<&Vec<String>>> = BTreeMap::new();
        rows.iter().for_each(|row| boroughs.entry(&row[0]).or_default().push(row));
        let mut all = BTreeMap::new();
        for (number, of) in boroughs.values().take(6).enumerate() {
            let classes = |column: usize| of.iter().map(|row| &row[column + 1]).collect::<BTreeSet<_>>();
            let classes: Vec<Vec<&String>> = (0..names.len()).map(|c| classes(c).into_iter().collect()).collect();
            let columns =
                names.iter().zip(&classes).enumerate().map(|(c, (_, of))| {
                    (format!("c{c}"), (0..of.len()).map(|class| format!("c{c}x{class:03}")).collect())
                });
            let people = of.iter().map(|row| {
                (0..names.len()).map(|c| classes[c].iter().position(|class| **class == row[c + 1]).unwrap()).collect()
            });
            let costs = vec![0; of.len()];
            let world = World::new("Stops", columns.collect(), people.collect(), costs, 900 + number as u64);
            merged(&mut all, of_counts(&world, 40 + number as u64, 24));
        }
        println!("six boroughs of stops\n{}", head());
        all.iter().for_each(|(name, kind)| println!("{}", kind.line(name)));
        println!("{}", beside());
        let lists = &all["filters and lists over three"];
        assert!(lists.off() <= 4.0 && (lists.as_stated() - 1.0).abs() < 0.3, "{} {}", lists.off(), lists.as_stated());
    });
}
