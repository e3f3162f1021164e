//! Plants an attribute at random. Only the release can tell anything about it.

use crate::Dice;
use crate::population::{Attribute, Population};

/// The attribute is planted among so many classes: the most frequent ones.
const CLASSES: usize = 4;

/// One subject in `ONE_IN` is planted as the most exposed, and as many others as typical. A small borough plants more,
/// because one person says nothing about shares.
const ONE_IN: usize = 100;
const FEWEST: usize = 34;
const SMALL: usize = 6;

/// A set of so many other columns can single a person out. So many sets are looked at.
const WIDE: usize = 3;
const LOOKED_AT: usize = 60;

pub(crate) struct Planted {
    /// For each subject, a class below `classes`. The classes from 0 to `top` − 1 are planted, and `top` stands for
    /// every other class.
    pub(crate) codes: Vec<u32>,
    pub(crate) top: usize,
    pub(crate) classes: usize,
    pub(crate) exposed: Vec<usize>,
    pub(crate) typical: Vec<usize>,
    /// The share of subjects with a record that is alone in a cell of some table.
    pub(crate) alone: f64,
}

/// `others`: for each table that holds the attribute, its other columns.
pub(crate) fn plant(population: &Population, attribute: Attribute, others: &[Vec<usize>], dice: &mut Dice) -> Planted {
    let (subjects, count) = population.subjects(attribute);
    let empty = Vec::new();
    let column = population.columns.get(attribute.0);
    let codes = column.map_or(&empty, |column| &column.codes);
    let mut frequent: Vec<(usize, u32)> = {
        let mut counts = vec![0_usize; column.map_or(0, |column| column.classes as usize)];
        codes.iter().for_each(|code| counts.get_mut(*code as usize).into_iter().for_each(|n| *n += 1));
        counts.into_iter().zip(0..).collect()
    };
    frequent.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
    frequent.retain(|(n, _)| *n > 0);
    frequent.truncate(CLASSES);
    let top = frequent.len();
    let rank = |code: u32| frequent.iter().position(|(_, of)| *of == code).unwrap_or(top) as u32;
    let mut of_subject = vec![top as u32; count];
    for (subject, code) in subjects.iter().zip(codes) {
        of_subject.get_mut(*subject as usize).into_iter().for_each(|slot| *slot = rank(*code));
    }
    let rare = alone_in(population, &wide(others, dice), &subjects, count);
    let whole: Vec<Vec<usize>> = others.iter().map(|columns| [columns.as_slice(), &[attribute.0]].concat()).collect();
    let alone = alone_in(population, &widest(&whole), &subjects, count).iter().filter(|n| **n > 0).count();
    let alone = alone as f64 / count.max(1) as f64;
    let few = few(count);
    // The subjects who are alone in the most tables come first. Chance decides between equals.
    let mut order: Vec<(std::cmp::Reverse<u32>, u64, usize)> =
        rare.iter().enumerate().map(|(subject, n)| (std::cmp::Reverse(*n), dice.next(), subject)).collect();
    order.sort_unstable();
    let exposed: Vec<usize> = order.iter().take(few).map(|(.., subject)| *subject).collect();
    let rest: Vec<usize> = order.iter().skip(few).map(|(.., subject)| *subject).collect();
    let typical: Vec<usize> =
        (0..few.min(rest.len())).filter_map(|_| rest.get(dice.below(rest.len())).copied()).collect();
    for subject in exposed.iter().chain(&typical) {
        let class = dice.below(top.max(1)) as u32;
        of_subject.get_mut(*subject).into_iter().for_each(|slot| *slot = class);
    }
    Planted { codes: of_subject, top, classes: top + 1, exposed, typical, alone }
}

/// How many of `count` subjects are planted as the most exposed.
pub(crate) fn few(count: usize) -> usize {
    (count / ONE_IN).max(FEWEST.min(count / SMALL)).max(1)
}

/// Sets of columns that may single people out, whether or not such a table exists.
fn wide(others: &[Vec<usize>], dice: &mut Dice) -> Vec<Vec<usize>> {
    let mut columns: Vec<usize> = others.iter().flatten().copied().collect();
    columns.sort_unstable();
    columns.dedup();
    let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..WIDE.min(columns.len()) {
        let longer = |set: &Vec<usize>| {
            let after = set.last().copied();
            let more = columns.iter().filter(move |column| after.is_none_or(|after| **column > after));
            more.map(|column| [set.as_slice(), &[*column]].concat()).collect::<Vec<_>>()
        };
        sets = sets.iter().flat_map(longer).collect();
    }
    while sets.len() > LOOKED_AT {
        sets.swap_remove(dice.below(sets.len()));
    }
    sets
}

fn widest(tables: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut widest = tables.to_vec();
    widest.sort_by_key(|columns| std::cmp::Reverse(columns.len()));
    widest.truncate(LOOKED_AT);
    widest
}

/// For each subject, the number of tables in which one of its records is alone in its cell. Each entry of `tables` is
/// the columns of a table.
fn alone_in(population: &Population, tables: &[Vec<usize>], subjects: &[u32], count: usize) -> Vec<u32> {
    let mut alone = vec![0_u32; count];
    for columns in tables {
        let (cells, number) = population.cells(columns);
        let mut held = vec![0_u32; number];
        cells.iter().for_each(|cell| held.get_mut(*cell as usize).into_iter().for_each(|n| *n += 1));
        for (cell, subject) in cells.iter().zip(subjects) {
            if held.get(*cell as usize) == Some(&1) {
                alone.get_mut(*subject as usize).into_iter().for_each(|n| *n += 1);
            }
        }
    }
    alone
}
