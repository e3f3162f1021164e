//! The attack families: sets of people whose figures differ by the target.

use super::targets::Target;
use super::worlds::{Borough, Secret, Set, World};
use crate::support::Dice;

pub(super) const FAMILIES: [&str; 7] = [
    "exclusion pair",
    "addition pair",
    "list pair",
    "inclusion-exclusion",
    "hidden exclusion",
    "margin less cells",
    "all six averaged",
];

/// The figures whose difference is the target, one list for each attempt.
pub(super) fn attempts(
    world: &World,
    borough: &Borough,
    target: &Target,
    family: &str,
    tries: usize,
) -> Vec<Vec<(f64, Set)>> {
    let mut dice = Dice::new(17);
    let known: Vec<usize> = world.known().collect();
    let width = |column: usize| borough.classes[column].len();
    let equal =
        |column: usize| Set::In(column, (0..width(column)).map(|class| class == target.person[column]).collect());
    let random = |column: usize, dice: &mut Dice| {
        let mut list: Vec<bool> = (0..width(column)).map(|_| dice.below(100) < 55).collect();
        list[target.person[column]] = true;
        list
    };
    let secret = match world.secret {
        Secret::Is(value) => {
            let column = known.len();
            vec![Set::In(column, borough.classes[column].iter().map(|class| class == value).collect())]
        }
        Secret::AtLeast(..) => Vec::new(),
    };
    let with = |sets: Vec<Set>| Set::All(secret.iter().cloned().chain(sets).collect());
    let mut found = Vec::new();
    if family == "margin less cells" {
        for (column, set) in &target.alone {
            let others = Set::In(*column, (0..width(*column)).map(|class| class != target.person[*column]).collect());
            let rest: Vec<Set> = set.iter().map(|c| equal(*c)).collect();
            let less = rest.iter().cloned().chain([others]).collect();
            found.push(vec![(1.0, with(rest)), (-1.0, with(less))]);
        }
        return found;
    }
    for attempt in 0..tries {
        let (x, set) = dice.pick(&target.alone).clone();
        let mut alone: Vec<Set> = set.iter().map(|c| equal(*c)).collect();
        alone.push(equal(x));
        let others: Vec<usize> = known.iter().copied().filter(|c| *c != x && !set.contains(c)).collect();
        let more = match attempt {
            0 => None,
            _ if others.is_empty() => None,
            _ => {
                let column = *dice.pick(&others);
                Some(Set::In(column, random(column, &mut dice)))
            }
        };
        let more = || more.iter().cloned();
        match family {
            "exclusion pair" => {
                let not = Set::Not(Box::new(Set::All(alone)));
                found.push(vec![(1.0, with(more().collect())), (-1.0, with(more().chain([not]).collect()))]);
            }
            "addition pair" => {
                let column = *dice.pick(&[&set[..], &[x]].concat());
                let mut list = random(column, &mut dice);
                list[target.person[column]] = false;
                let list = Set::In(column, list);
                let either = Set::Any(vec![list.clone(), Set::All(alone)]);
                found.push(vec![
                    (1.0, with(more().chain([either]).collect())),
                    (-1.0, with(more().chain([list]).collect())),
                ]);
            }
            "list pair" => {
                let lists: Vec<Set> = set
                    .iter()
                    .map(|c| if dice.one_in(3) { Set::In(*c, random(*c, &mut dice)) } else { equal(*c) })
                    .collect();
                // The target must still be the only one with that value of x.
                let is_alone = borough.people.iter().filter(|(person, _)| {
                    person[x] == target.person[x] && lists.iter().all(|list| list.holds(&|column| person[column]))
                });
                let lists = if is_alone.count() == 1 { lists } else { set.iter().map(|c| equal(*c)).collect() };
                let mut there: Vec<bool> = if dice.one_in(2) {
                    vec![true; width(x)]
                } else {
                    (0..width(x)).map(|_| dice.below(4) < 3).collect()
                };
                there[target.person[x]] = true;
                let mut gone = there.clone();
                gone[target.person[x]] = false;
                let and =
                    |list: Vec<bool>| with(lists.iter().cloned().chain(more()).chain([Set::In(x, list)]).collect());
                found.push(vec![(1.0, and(there)), (-1.0, and(gone))]);
            }
            "inclusion-exclusion" if !set.is_empty() => {
                let (a, b) = (equal(x), Set::All(set.iter().map(|c| equal(*c)).collect()));
                let of = |s: Set| with(more().chain([s]).collect());
                found.push(vec![(1.0, of(a.clone())), (1.0, of(b.clone())), (-1.0, of(Set::Any(vec![a, b])))]);
            }
            "hidden exclusion" if !set.is_empty() => {
                // The target is hidden among many others, by lists of one column that depend on another column.
                let y = *dice.pick(&set);
                let not = |set: Set| Set::Not(Box::new(set));
                let half = Set::In(y, (0..width(y)).map(|class| class == target.person[y] || dice.one_in(2)).collect());
                let all = Set::Any(vec![half.clone(), not(half.clone())]);
                let less = Set::Any(vec![Set::All(vec![half.clone(), not(equal(x))]), not(half)]);
                let rest: Vec<Set> = set.iter().filter(|c| **c != y).map(|c| equal(*c)).collect();
                let of = |s: Set| with(rest.iter().cloned().chain([equal(y), s]).collect());
                found.push(vec![(1.0, of(all)), (-1.0, of(less))]);
            }
            _ => {}
        }
    }
    found
}

/// For all families except lists, a hundred attempts give the same as twenty.
pub(super) fn tries_of(family: &str, tries: usize) -> usize {
    match family {
        "list pair" => tries,
        "all six averaged" => 1,
        _ => tries.min(20),
    }
}
