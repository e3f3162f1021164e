//! The released cells of the tables that hold an attribute.

use crate::Dice;
use crate::plant::Planted;
use crate::population::{Attribute, Population, Rules};

/// One table, by the cell of the other columns and the class of the attribute.
pub(crate) struct Cells {
    /// For each record, its cell.
    pub(crate) of: Vec<u32>,
    /// For each cell and class, the figure and its weight, which is one over its variance.
    pub(crate) figures: Vec<f32>,
    pub(crate) weights: Vec<f32>,
    /// For each cell, the number of its records. An asker who knows all else knows this.
    pub(crate) held: Vec<f32>,
}

/// The weight of a withheld cell. Its count is somewhere below the threshold.
const WITHHELD: f32 = 1.0 / 30.0;

/// Releases the table of some columns with the attribute. `weight`: the weight of each figure, for tables that stand
/// for others.
pub(crate) fn release(
    population: &Population,
    columns: &[usize],
    subjects: &[u32],
    planted: &Planted,
    rules: &Rules<'_>,
    weight: f64,
    dice: &mut Dice,
) -> Cells {
    let (of, number) = population.cells(columns);
    let classes = planted.classes;
    let mut counts = vec![0_u32; number * classes];
    let mut held = vec![0.0_f32; number];
    for (cell, subject) in of.iter().zip(subjects) {
        let class = planted.codes.get(*subject as usize).copied().unwrap_or(0) as usize;
        counts.get_mut(*cell as usize * classes + class).into_iter().for_each(|n| *n += 1);
        held.get_mut(*cell as usize).into_iter().for_each(|n| *n += 1.0);
    }
    let variance = rules.noise.summary().variance.max(0.01);
    // Noise that is drawn again averages out, and sums say the same again.
    let draws = (f64::from(rules.epochs.max(1)) * (1.0 + rules.sums)).max(1.0);
    let believed = (draws * weight / variance) as f32;
    let (mut figures, mut weights) = (vec![0.0_f32; counts.len()], vec![0.0_f32; counts.len()]);
    for (n, (figure, weight)) in counts.iter().zip(figures.iter_mut().zip(&mut weights)) {
        let noise = noise(rules, *n, draws, dice);
        let released = f64::from(*n) + noise;
        if *n > 0 && released.round() >= f64::from(rules.threshold) {
            (*figure, *weight) = (released as f32, believed);
        }
    }
    withheld(&mut figures, &mut weights, &held, classes, rules.threshold);
    Cells { of, figures, weights, held }
}

/// The figures that a node released. The arguments are a table's columns in rising order, and the class of each.
/// `None`: the figure is withheld.
pub type Told<'a> = dyn Fn(&[usize], &[u32]) -> Option<f64> + 'a;

/// The table of some columns with the attribute, as a node released it.
pub(crate) fn told(
    population: &Population,
    columns: &[usize],
    attribute: Attribute,
    classes: usize,
    rules: &Rules<'_>,
    told: &Told<'_>,
) -> Cells {
    let (of, number) = population.cells(columns);
    let mut held = vec![0.0_f32; number];
    let mut first = vec![None; number];
    for (record, cell) in of.iter().enumerate() {
        held.get_mut(*cell as usize).into_iter().for_each(|n| *n += 1.0);
        first.get_mut(*cell as usize).into_iter().for_each(|first| *first = first.or(Some(record)));
    }
    let mut all = [columns, &[attribute.0]].concat();
    all.sort_unstable();
    let believed = (1.0 / rules.noise.summary().variance.max(0.01)) as f32;
    let (mut figures, mut weights) = (vec![0.0_f32; number * classes], vec![0.0_f32; number * classes]);
    let of_cells = first.iter().zip(figures.chunks_mut(classes)).zip(weights.chunks_mut(classes));
    for ((record, figures), weights) in of_cells {
        let Some(record) = record else { continue };
        for (class, (figure, weight)) in (0_u32..).zip(figures.iter_mut().zip(weights)) {
            let code = |column: &usize| match *column == attribute.0 {
                true => Some(class),
                false => population.columns.get(*column)?.codes.get(*record).copied(),
            };
            let codes: Option<Vec<u32>> = all.iter().map(code).collect();
            if let Some(value) = codes.and_then(|codes| told(&all, &codes)) {
                (*figure, *weight) = (value as f32, believed);
            }
        }
    }
    withheld(&mut figures, &mut weights, &held, classes, rules.threshold);
    Cells { of, figures, weights, held }
}

/// The mean of the noise of `draws` draws for a count of `n`.
fn noise(rules: &Rules<'_>, n: u32, draws: f64, dice: &mut Dice) -> f64 {
    let whole = (draws.round() as u32).clamp(1, 64);
    let sum: i64 = (0..whole).map(|_| i64::from(rules.noise.lookup(u64::from(n), (dice.next() >> 32) as u32))).sum();
    sum as f64 / f64::from(whole)
}

/// The number of a cell's records is known. Shares the rest of it among the classes that are withheld.
fn withheld(figures: &mut [f32], weights: &mut [f32], held: &[f32], classes: usize, threshold: u32) {
    let most = threshold.saturating_sub(1) as f32;
    for ((figures, weights), held) in figures.chunks_mut(classes).zip(weights.chunks_mut(classes)).zip(held) {
        let hidden = weights.iter().filter(|weight| **weight == 0.0).count();
        let told: f32 = figures.iter().sum();
        let each = ((held - told).max(0.0) / hidden.max(1) as f32).min(most);
        for (figure, weight) in figures.iter_mut().zip(weights).filter(|(_, weight)| **weight == 0.0) {
            (*figure, *weight) = (each, WITHHELD);
        }
    }
}
