//! Attack families over everything that an unlimited asker can get: the released cells for each set of columns, as the
//! running federation answers them. The answer about a set in an asker's words follows from such cells (`closed` and
//! `properties` check that). So for each target the cells of thousands of sets are added up here, and some sets are
//! asked for by SQL as a comparison.
//!
//! The secret is planted: each borough's extracts give it to people at random. So neither the known columns of people
//! nor the common features of groups reveal it.
//!
//! The families, and the guesses by difference, by change and by a likelihood learnt on other targets, are those of the
//! simulation behind the design of closed tables. `LODA_CAMPAIGN_TARGETS` sets the number of targets (`just campaign`).
//! `LODA_CAMPAIGN_LONDON=demo` attacks the demo's 300,000 residents under the contracts as they are (`dimensions = 2`).

mod automatic;
mod families;
mod plant;
mod solver;
mod targets;
mod worlds;

use std::collections::BTreeMap;

use crate::pooled::{Pooled, holdings};
use crate::scenarios::{ask, rows};
use crate::support::{self, Dice, Federation, Of};
use families::{FAMILIES, attempts, tries_of};
use plant::plant;
use targets::{targets, tenths};
use worlds::{Borough, STOPS, Secret, Set, WORLDS, World};

/// Shares of right guesses in per cent: by difference, by change, by learnt likelihood. Last, the share of targets with
/// any difference.
///
/// There are as many targets with the attribute as without. The targets with any difference are weighted so that both
/// kinds count equally. So a constant guess is right for one half, even if the attribute decides what can be asked at
/// all.
fn scored(world: &World, found: &[(bool, Vec<Option<f64>>)]) -> [f64; 4] {
    // In steps of one person, or of a quarter of a measure's edge.
    let (half, step) = match world.secret {
        Secret::Is(_) => (0.5, 1.0),
        Secret::AtLeast(_, edge) => (edge, edge / 4.0),
    };
    // A withheld difference is information, too: it has its own bin.
    let bin = |difference: Option<f64>| match difference {
        Some(difference) => ((difference / step).round().clamp(-30.0, 30.0) as i64 + 30) as usize,
        None => 61,
    };
    // By whether the target has the attribute: the right guesses, and the number of targets seen.
    let mut right = [[0.0; 3]; 2];
    let mut count = [0.0; 2];
    for fold in 0..2 {
        let (learnt, tried): (Vec<_>, Vec<_>) = found.iter().enumerate().partition(|(at, _)| (at / 2) % 2 == fold);
        let mut histogram = [vec![0.05; 62], vec![0.05; 62]];
        for (_, (has, differences)) in learnt {
            for difference in differences {
                histogram[usize::from(*has)][bin(*difference)] += 1.0;
            }
        }
        let totals: Vec<f64> = histogram.iter().map(|h| h.iter().sum()).collect();
        for (_, (has, differences)) in tried {
            let seen: Vec<f64> = differences.iter().copied().flatten().collect();
            if seen.is_empty() {
                continue;
            }
            let right = &mut right[usize::from(*has)];
            let guess = |says: f64| if says == 0.0 { 0.5 } else { f64::from(u8::from((says > 0.0) == *has)) };
            right[0] += guess(seen.iter().sum::<f64>() / seen.len() as f64 - half);
            right[1] += guess(if seen.iter().any(|d| d.abs() > 1e-9) { 1.0 } else { -1.0 });
            let likelihood = differences.iter().map(|difference| {
                let at = bin(*difference);
                (histogram[1][at] / totals[1]).ln() - (histogram[0][at] / totals[0]).ln()
            });
            right[2] += guess(likelihood.sum());
            count[usize::from(*has)] += 1.0;
        }
    }
    let seen = (count[0] + count[1]) / found.len().max(1) as f64;
    let share = |by: usize| {
        let of = |has: usize| if count[has] > 0.0 { right[has][by] / count[has] } else { 0.5 };
        100.0 * (seen * (of(0) + of(1)) / 2.0 + (1.0 - seen) / 2.0)
    };
    [share(0), share(1), share(2), 100.0 * seen]
}

/// The highest allowed share of right guesses, in per cent. A coin gives 50.
const BOUND: f64 = 60.0;

async fn campaign(world: &World, protected: &Federation, exact: &Federation) {
    let wanted = usize::try_from(support::rounds("LODA_CAMPAIGN_TARGETS", 60)).unwrap();
    let tries = if wanted >= 180 { vec![1, 20, 100, 1_000] } else { vec![1, 20] };
    let of = holdings(protected).await;
    let pooled = Pooled::new(&of);
    let dataset = world.from.split(' ').next().unwrap();
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for holding in of.iter().filter(|h| h.dataset == dataset) {
        *sizes.entry(&holding.gss).or_default() += holding.rows.iter().map(|batch| batch.num_rows()).sum::<usize>();
    }
    let mut sizes: Vec<(&str, usize)> = sizes.into_iter().collect();
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let least = if wanted >= 180 { world.boroughs } else { world.boroughs.min(8) };
    let (mut boroughs, mut exactly) = (Vec::new(), Vec::new());
    for (gss, _) in sizes.into_iter().take(world.boroughs) {
        // A handful of targets tells chance from an attack badly: more boroughs are read for a world with few in each.
        if boroughs.len() >= least && targets(world, &boroughs, wanted).len() >= wanted {
            break;
        }
        let borough = world.read(protected, &pooled, gss, true).await;
        // Checks that sets in SQL are the sums of cells that this campaign assumes.
        if boroughs.len() < 2 {
            compare(world, protected, gss, &borough).await;
        }
        boroughs.push(borough);
        exactly.push(world.read(exact, &pooled, gss, false).await);
    }
    solver::solved(world, &boroughs);
    automatic::looked_for(world, &boroughs);
    let targets = targets(world, &boroughs, wanted);
    told_of(world, protected, &mut boroughs, &targets).await;
    println!(
        "{}: {} targets of {} boroughs, alone in known columns; without questions 50.0 %",
        world.name,
        targets.len(),
        boroughs.len()
    );
    println!(
        "  {:20} {:>8} {:>11} {:>7} {:>11} {:>7} {:>6} {:>7}",
        "attack", "attempts", "difference", "change", "likelihood", "blind", "seen", "exact"
    );
    if targets.len() < 10 && world.dimensions < 3 {
        println!("  with tables of two columns there are too few of them to attack");
        return;
    }
    assert!(targets.len() >= 10, "{}: nobody to attack", world.name);
    let mut all: Vec<(bool, Vec<Option<f64>>)> = targets.iter().map(|t| (t.has, Vec::new())).collect();
    let mut all_blind = all.clone();
    for family in FAMILIES {
        for tries in &tries {
            if *tries > 1 && family == "margin less cells" || *tries != tries_of(family, *tries) {
                continue;
            }
            let found = |boroughs: &[Borough], blind: bool| -> Vec<(bool, Vec<Option<f64>>)> {
                let of = targets.iter().map(|target| {
                    let borough = &boroughs[target.borough];
                    let sets = attempts(world, borough, target, family, *tries);
                    let without = blind.then_some(target);
                    let difference = |terms: &Vec<(f64, Set)>| match blind {
                        true => borough.difference(terms, without),
                        false => borough.told(world, terms),
                    };
                    (target.has, sets.iter().map(difference).collect())
                });
                of.collect()
            };
            let (seen, blind, exact) = if family == "all six averaged" {
                (all.clone(), all_blind.clone(), all.clone())
            } else {
                (found(&boroughs, false), found(&boroughs, true), found(&exactly, false))
            };
            if *tries <= 20 && family != "all six averaged" {
                all.iter_mut().zip(&seen).for_each(|((_, every), (_, of))| every.extend(of));
                all_blind.iter_mut().zip(&blind).for_each(|((_, every), (_, of))| every.extend(of));
            }
            let [difference, change, likelihood, share] = scored(world, &seen);
            let by_exact = scored(world, &exact)[0];
            // The likelihood's knowledge about a group, without the target's own part.
            let blind = scored(world, &blind)[2];
            println!(
                "  {family:20} {tries:>8} {difference:>9.1} % {change:>5.1} % {likelihood:>9.1} % {blind:>5.1} % {share:>4.0} % {by_exact:>5.1} %"
            );
            // Few targets leave room for luck: two standard errors.
            let luck = 200.0 * (0.25 / targets.len() as f64).sqrt();
            for guessed in [difference, change, likelihood] {
                assert!(guessed <= BOUND + luck, "{}: {family}, {tries}: {guessed}", world.name);
            }
            if family == "margin less cells" {
                assert!(by_exact > 85.0, "{}: {family} does not work on exact counts: {by_exact}", world.name);
            }
        }
    }
    let (tenth, exact) = (tenths(world, &boroughs, wanted), tenths(world, &exactly, wanted));
    if tenth.len() >= 20 {
        let [difference, change, likelihood, _] = scored(world, &tenth);
        let by_exact = scored(world, &exact)[0];
        let tables = tenth.iter().map(|(_, seen)| seen.len()).sum::<usize>() as f64 / tenth.len() as f64;
        println!(
            "  a tenth person: {} targets in {tables:.1} tables each, {difference:.1} % {change:.1} % {likelihood:.1} %, exact {by_exact:.1} %",
            tenth.len()
        );
        assert!(by_exact > 95.0, "{}: {by_exact}", world.name);
        let luck = 200.0 * (0.25 / tenth.len() as f64).sqrt();
        for guessed in [difference, change, likelihood] {
            assert!(guessed <= BOUND + luck, "{}: a tenth person: {guessed}", world.name);
        }
    }
}

/// The attempts of a family whose sets are asked for by SQL. For the others, released cells are added up.
const ASKED: u64 = 3;

/// Asks for the sets of the attempts: fitted figures with their estimates, and figures that are withheld because their
/// error is too large.
async fn told_of(world: &World, federation: &Federation, boroughs: &mut [Borough], targets: &[targets::Target]) {
    let tries = usize::try_from(support::rounds("LODA_CAMPAIGN_ASKED", ASKED)).unwrap();
    let mut wanted: BTreeMap<usize, BTreeMap<String, Set>> = BTreeMap::new();
    for target in targets {
        let borough = &boroughs[target.borough];
        for family in FAMILIES {
            for (_, set) in attempts(world, borough, target, family, tries).into_iter().flatten() {
                if borough.figure(&set, None).is_some() {
                    wanted.entry(target.borough).or_default().insert(set.sql(world, &borough.classes), set);
                }
            }
        }
    }
    for (place, sets) in wanted {
        let borough = &mut boroughs[place];
        let sets: Vec<String> = sets.into_keys().collect();
        for some in sets.chunks(12) {
            let figures = some.iter().enumerate();
            let figures = figures.map(|(i, set)| format!("{} FILTER (WHERE {set}) AS f{i}", world.figure()));
            let figures = figures.collect::<Vec<_>>().join(", ");
            let sql = format!("SELECT {figures} FROM {} WHERE {} = '{}'", world.from, world.borough, borough.gss);
            // If one of them cannot be asked, they are asked one by one.
            match ask(&federation.client, &sql).await {
                Ok(answer) => {
                    let said = rows(&answer).remove(0);
                    let said = said.iter().map(|figure| figure.parse::<f64>().ok());
                    borough.told.extend(some.iter().cloned().zip(said));
                }
                Err(_) => {
                    for set in some {
                        let figure = format!("{} FILTER (WHERE {set})", world.figure());
                        let sql =
                            format!("SELECT {figure} FROM {} WHERE {} = '{}'", world.from, world.borough, borough.gss);
                        // For a refused set the cells are added up: more than an asker gets.
                        let Ok(answer) = ask(&federation.client, &sql).await else { continue };
                        borough.told.insert(set.clone(), rows(&answer)[0][0].parse().ok());
                    }
                }
            }
        }
    }
}

async fn compare(world: &World, federation: &Federation, gss: &str, borough: &Borough) {
    let mut dice = Dice::new(23);
    let mut sets = Vec::new();
    for table in world.tables() {
        let lists = table.iter().map(|column| {
            let mut list: Vec<bool> = borough.classes[*column].iter().map(|_| dice.one_in(2)).collect();
            list.first_mut().into_iter().for_each(|first| *first = true);
            list.last_mut().into_iter().for_each(|last| *last = false);
            Set::In(*column, list)
        });
        sets.push(Set::All(lists.collect()));
    }
    sets.retain(|set| borough.figure(set, None).is_some());
    for some in sets.chunks(6).take(6) {
        let figures: Vec<String> = some
            .iter()
            .enumerate()
            .map(|(i, set)| format!("{} FILTER (WHERE {}) AS f{i}", world.figure(), set.sql(world, &borough.classes)))
            .collect();
        let sql = format!("SELECT {} FROM {} WHERE {} = '{gss}'", figures.join(", "), world.from, world.borough);
        let answer = ask(&federation.client, &sql).await.unwrap_or_else(|e| panic!("{e}: {sql}"));
        if let Secret::AtLeast(measure, _) = world.secret {
            // A mean reveals no more than the sum and the count behind it.
            let set = some[0].sql(world, &borough.classes);
            let of = |figure: &str| format!("{figure}({measure}) FILTER (WHERE {set})");
            let sql = format!(
                "SELECT {}, {}, {} FROM {} WHERE {} = '{gss}'",
                of("AVG"),
                of("SUM"),
                of("COUNT"),
                world.from,
                world.borough
            );
            let answer = ask(&federation.client, &sql).await.unwrap_or_else(|e| panic!("{e}: {sql}"));
            let [mean, sum, count] = &rows(&answer)[0][..3] else { panic!("{sql}") };
            let told: Vec<f64> = [mean, sum, count].iter().filter_map(|figure| figure.parse().ok()).collect();
            if let [mean, sum, count] = told[..] {
                assert!((mean * count - sum).abs() <= 0.005 * count.abs() + 0.01, "{mean} {sum} {count}: {sql}");
            }
        }
        for (said, set) in rows(&answer)[0].iter().zip(some) {
            let added = borough.figure(set, None).unwrap();
            // A figure is withheld if its estimates are too uncertain.
            let Ok(said) = said.parse::<f64>() else { continue };
            let (cells, lacking) = borough.cells(set);
            // A withheld cell has up to seventeen people: nine, and those that its noise took away.
            let off = 5.0 * (5.0 * f64::from(cells)).sqrt() + 17.0 * f64::from(lacking);
            let off = off * if matches!(world.secret, Secret::Is(_)) { 1.0 } else { 1_250.0 };
            assert!((said - added).abs() <= off, "{said} {added} {off}: {}", set.sql(world, &borough.classes));
        }
    }
}

#[test]
fn no_family_of_sets_names_an_attribute_better_than_is_said() {
    support::run(async {
        let demo = std::env::var("LODA_CAMPAIGN_LONDON").is_ok_and(|london| london == "demo");
        let (of, dimensions) = if demo { (Of::Demo, 2) } else { (Of::Small, 3) };
        let protected = Federation::changed(33, of, loda_node::Methods::standard().unwrap(), &plant).await;
        let exact = Federation::changed(33, of, loda_node::Methods::unprotected().unwrap(), &plant).await;
        for world in WORLDS {
            campaign(&World { dimensions, ..*world }, &protected, &exact).await;
        }
    });
}

#[test]
fn no_family_of_sets_names_a_stop_better_than_is_said() {
    support::run(async {
        let (Some(protected), Some(exact)) = (support::real().await, support::real_unprotected().await) else { return };
        campaign(&STOPS, protected, exact).await;
    });
}
