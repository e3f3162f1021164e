//! An optimal solver over all released cells with an attribute. It knows all other columns of all people. It is
//! compared with an assessment of the same people (`loda-node assess`).

use std::collections::BTreeSet;

use loda_assessment::{Attack, Attribute, Column, Population, Rules, Tables, attack, reconstruct};
use loda_disclosure::TableParameters;

use super::worlds::{Borough, Secret, World};

/// The people of a borough; the secret is the last column.
fn population(borough: &Borough, columns: usize) -> Population {
    let of = |column: usize| Column {
        name: column.to_string(),
        codes: borough.people.iter().map(|(person, _)| person[column] as u32).collect(),
        classes: borough.classes[column].len() as u32,
        subjects: None,
    };
    Population { records: borough.people.len(), columns: (0..columns).map(of).collect() }
}

/// Prints the share of right guesses, for all people and for the most exposed: without the tables, by solving the
/// released cells, and as the assessment of the boroughs predicts.
pub(super) fn solved(world: &World, boroughs: &[Borough]) {
    let Secret::Is(value) = world.secret else { return };
    let columns = world.columns.len();
    let attribute = Attribute(columns - 1);
    let tables = Tables(world.tables().into_iter().map(|set: BTreeSet<usize>| set.into_iter().collect()).collect());
    let noise = TableParameters::default().table().unwrap();
    let rules = Rules { noise: &noise, threshold: 10, epochs: 1, sums: 0.0 };
    // Right guesses, the number of people, and the right guesses without any information: for all people, and for the
    // most exposed.
    let (mut right, mut of, mut chance, mut said) = ([0.0; 2], [0.0; 2], [0.0; 2], Vec::new());
    for (number, borough) in boroughs.iter().enumerate() {
        let population = population(borough, columns);
        let attacked = Attack { population: &population, tables: &tables, rules, seed: number as u64 };
        let told = |columns: &[usize], codes: &[u32]| {
            let cell: Vec<usize> = codes.iter().map(|code| *code as usize).collect();
            borough.released.get(&columns.iter().copied().collect::<BTreeSet<usize>>())?.get(&cell).copied()
        };
        let Some(guesses) = reconstruct(&attacked, attribute, &told) else {
            println!("  {value}: one of too many classes for the solver");
            return;
        };
        let actual = &population.columns[attribute.0].codes;
        let everybody: Vec<usize> = (0..population.records).collect();
        for (kind, who) in [&everybody, &guesses.exposed].into_iter().enumerate() {
            let classes = population.columns[attribute.0].classes;
            let share = |codes: &[u32], class: u32| {
                who.iter().filter(|subject| codes[**subject] == class).count() as f64 / who.len() as f64
            };
            right[kind] += who.iter().filter(|subject| guesses.classes[**subject] == actual[**subject]).count() as f64;
            chance[kind] +=
                (0..classes).map(|class| share(&guesses.classes, class) * share(actual, class)).sum::<f64>()
                    * who.len() as f64;
            of[kind] += who.len() as f64;
        }
        // Each assessment repeats itself until it has guessed about enough people, so a few boroughs are enough.
        if number < 4 {
            said.extend(attack(&attacked, attribute, &mut |_| true));
        }
    }
    let percent = |of_kind: [f64; 2], kind: usize| 100.0 * of_kind[kind] / of[kind];
    let mean = |figure: &dyn Fn(&loda_assessment::AttackScores) -> f64| {
        said.iter().map(figure).sum::<f64>() / said.len() as f64
    };
    let gain = [0, 1].map(|kind| percent(right, kind) - percent(chance, kind));
    let assessed = [mean(&|found| found.typical - found.chance), mean(&|found| found.exposed - found.chance)];
    println!(
        "  solver over all released tables: of all {} {:.1} % (by chance {:.1}), of {} most exposed {:.1} % ({:.1}); the \
         assessment says {:+.1} and {:+.1} points",
        of[0],
        percent(right, 0),
        percent(chance, 0),
        of[1],
        percent(right, 1),
        percent(chance, 1),
        assessed[0],
        assessed[1]
    );
    // The standard error of a share of n is 0.5/√n.
    let luck = |n: f64| 150.0 / n.sqrt();
    assert!(gain[0] <= assessed[0] + 5.0 + luck(of[0]), "{gain:?} {assessed:?}");
    assert!(gain[1] <= assessed[1] + 5.0 + luck(of[1]), "{gain:?} {assessed:?}");
}
