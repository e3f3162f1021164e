//! The attacks on a planted attribute, and how often they are right.

use crate::Dice;
use crate::plant::{Planted, few, plant};
use crate::population::{Attribute, Population, Rules, Tables};
use crate::release::{Cells, Told, release, told};
use crate::solve::solve;

/// The number of people whose attribute is guessed at the least, of each kind. A small borough is attacked several
/// times, and `AGAIN` times at most.
const GUESSED: usize = 800;
const AGAIN: usize = 40;

/// Rounds of the solver.
const ROUNDS: usize = 300;

/// The number of classes of an attribute at most.
const MOST: usize = 8;

/// The number of tables that are released at most. If there are more, each of these stands for several, and weighs as
/// much as those.
const TABLES: usize = 72;

/// The result for one attribute: how many of 100 people are guessed rightly.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AttackScores {
    /// A guess without these data.
    pub chance: f64,
    /// An asker who only asks and knows the other columns of each person. The guesses are of the people easiest to
    /// single out.
    pub asking: f64,
    /// An asker who knows all other columns of everybody. The guesses are of people like others.
    pub typical: f64,
    /// The same asker. The guesses are of the people easiest to single out.
    pub exposed: f64,
    /// One standard error of `exposed`.
    pub luck: f64,
    /// The number of people in 100 who are alone in a cell of some table. Such cells are never shown.
    pub alone: f64,
    /// The number of figures that hold one person, over all tables. A table has two: with the attribute and without it.
    pub figures: f64,
}

/// The target of an attack.
pub struct Attack<'a> {
    /// The people who are attacked.
    pub population: &'a Population,
    /// The tables that are released.
    pub tables: &'a Tables,
    /// The rules of the release.
    pub rules: Rules<'a>,
    /// The seed of the random numbers. The same seed gives the same result.
    pub seed: u64,
}

/// Attacks one attribute. `told` gets the share that is done, from 0 to 1. If it returns `false`, the attack ends
/// without a result.
///
/// Returns `None` in that case, and if fewer than two classes of the attribute occur.
pub fn attack(attack: &Attack<'_>, attribute: Attribute, told: &mut dyn FnMut(f64) -> bool) -> Option<AttackScores> {
    let Attack { population, tables, rules, seed } = attack;
    let others = Population::others(tables, attribute);
    let (subjects, count) = population.subjects(attribute);
    let times = GUESSED.div_ceil(few(count)).clamp(1, AGAIN);
    let mut dice = Dice::new(*seed);
    let mut sums = Sums::default();
    for time in 0..times {
        let planted = plant(population, attribute, &others, &mut dice);
        if planted.top < 2 {
            return None;
        }
        let (chosen, weight) = some(&others, &mut dice);
        let release = |columns: &Vec<usize>| {
            release(population, columns, &subjects, &planted, rules, weight, &mut dice.clone_for(columns))
        };
        let cells: Vec<Cells> = chosen.iter().map(release).collect();
        let prior = shares(&planted, &subjects);
        let (mut done, mut given_up) = (0, false);
        let solved = solve(&cells, &subjects, count, &prior, ROUNDS, &mut || {
            done += 1;
            given_up |= !told((time as f64 + f64::from(done) / ROUNDS as f64) / times as f64);
            !given_up
        });
        if given_up {
            return None;
        }
        let asked = asking(&cells, &subjects, count, &prior, &planted);
        let of = |who: &[usize], scores: &[f32], base: &[f32]| {
            who.iter()
                .filter(|subject| guess(scores, **subject, base, planted.top) == planted.codes.get(**subject).copied())
                .count()
        };
        let none = vec![0.0; prior.len()];
        sums.typical += of(&planted.typical, &solved, &prior);
        sums.exposed += of(&planted.exposed, &solved, &prior);
        sums.asking += of(&planted.exposed, &asked, &none);
        sums.people += planted.typical.len();
        sums.of_exposed += planted.exposed.len();
        sums.chance = 1.0 / planted.top as f64;
        sums.alone += planted.alone / times as f64;
    }
    let share = |right: usize, of: usize| 100.0 * right as f64 / of.max(1) as f64;
    let exposed = share(sums.exposed, sums.of_exposed);
    Some(AttackScores {
        chance: 100.0 * sums.chance,
        asking: share(sums.asking, sums.of_exposed),
        typical: share(sums.typical, sums.people),
        exposed,
        luck: (exposed * (100.0 - exposed) / sums.of_exposed.max(1) as f64).sqrt(),
        alone: 100.0 * sums.alone,
        figures: 2.0 * others.len() as f64,
    })
}

/// Guesses about everybody, from figures that a node released.
#[derive(Clone, Debug, Default)]
pub struct Guesses {
    /// For each subject, the guessed class of the attribute.
    pub classes: Vec<u32>,
    /// The subjects who are easiest to single out: one in a hundred, and more in a small borough.
    pub exposed: Vec<usize>,
}

/// Guesses an attribute's true values from figures as they were released. The asker knows all other columns, and how
/// frequent each class is.
///
/// Returns `None` if there is no such column, or if it has more than eight classes.
pub fn reconstruct(attack: &Attack<'_>, attribute: Attribute, released: &Told<'_>) -> Option<Guesses> {
    let Attack { population, tables, rules, seed } = attack;
    let others = Population::others(tables, attribute);
    let (subjects, count) = population.subjects(attribute);
    let column = population.columns.get(attribute.0)?;
    let classes = column.classes as usize;
    if classes > MOST {
        return None;
    }
    let cells: Vec<Cells> =
        others.iter().map(|columns| told(population, columns, attribute, classes, rules, released)).collect();
    let mut prior = vec![0.0_f32; classes];
    for code in &column.codes {
        prior.get_mut(*code as usize).into_iter().for_each(|share| *share += 1.0 / population.records.max(1) as f32);
    }
    let solved = solve(&cells, &subjects, count, &prior, ROUNDS, &mut || true);
    let guessed = (0..count).map(|subject| guess(&solved, subject, &prior, classes).unwrap_or(0)).collect();
    let planted = plant(population, attribute, &others, &mut Dice::new(*seed));
    Some(Guesses { classes: guessed, exposed: planted.exposed })
}

#[derive(Default)]
struct Sums {
    typical: usize,
    exposed: usize,
    asking: usize,
    people: usize,
    of_exposed: usize,
    chance: f64,
    alone: f64,
}

impl Dice {
    /// Gives each table its own random numbers. A table that is left out then changes no other.
    fn clone_for(&self, columns: &[usize]) -> Self {
        let mixed = columns.iter().fold(self.0, |mixed, column| mixed.rotate_left(7) ^ (*column as u64 + 1));
        Self::new(mixed)
    }
}

/// The tables that are released, and how many tables each of them stands for.
fn some(others: &[Vec<usize>], dice: &mut Dice) -> (Vec<Vec<usize>>, f64) {
    if others.len() <= TABLES {
        return (others.to_vec(), 1.0);
    }
    let mut left = others.to_vec();
    let chosen = (0..TABLES).map(|_| left.swap_remove(dice.below(left.len()))).collect();
    (chosen, others.len() as f64 / TABLES as f64)
}

/// The share of each class. It is known without the tables.
fn shares(planted: &Planted, subjects: &[u32]) -> Vec<f32> {
    let mut counts = vec![0.0_f32; planted.classes];
    for subject in subjects {
        let class = planted.codes.get(*subject as usize).copied().unwrap_or(0) as usize;
        counts.get_mut(class).into_iter().for_each(|n| *n += 1.0);
    }
    let all: f32 = counts.iter().sum::<f32>().max(1.0);
    counts.iter().map(|n| n / all).collect()
}

/// For each subject and class, how much more of the class its cells hold than is usual. Each cell counts by its
/// variance.
fn asking(tables: &[Cells], subjects: &[u32], count: usize, prior: &[f32], planted: &Planted) -> Vec<f32> {
    let classes = planted.classes;
    let mut scores = vec![0.0_f32; count * classes];
    for table in tables {
        let mut of_cells = vec![0.0_f32; table.figures.len()];
        let rows = of_cells.chunks_mut(classes).zip(table.figures.chunks(classes)).zip(table.weights.chunks(classes));
        for ((row, figures), weights) in rows {
            let all: f32 = figures.iter().sum::<f32>().max(1.0);
            for (((score, figure), weight), prior) in row.iter_mut().zip(figures).zip(weights).zip(prior) {
                *score = (figure - prior * all) / (1.0 / weight + all * prior * (1.0 - prior));
            }
        }
        for (cell, subject) in table.of.iter().zip(subjects) {
            let (cell, subject) = (*cell as usize * classes, *subject as usize * classes);
            let (Some(of), Some(into)) =
                (of_cells.get(cell..cell + classes), scores.get_mut(subject..subject + classes))
            else {
                continue;
            };
            into.iter_mut().zip(of).for_each(|(into, of)| *into += of);
        }
    }
    scores
}

/// The class whose score for a subject exceeds the base most.
fn guess(scores: &[f32], subject: usize, base: &[f32], top: usize) -> Option<u32> {
    let classes = base.len();
    let row = scores.get(subject * classes..subject * classes + top)?;
    let more = row.iter().zip(base).map(|(score, base)| score - base);
    more.zip(0..).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, class)| class)
}
