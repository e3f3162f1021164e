//! The targets of the attacks: the most exposed people, in pairs with and without the secret.

use std::collections::{BTreeMap, HashMap};

use super::worlds::{Borough, Secret, World};

/// A person, and the ways in which the person is alone: with a set of columns and one more column.
pub(super) struct Target {
    pub(super) borough: usize,
    pub(super) person: Vec<usize>,
    pub(super) has: bool,
    /// The amount that this person adds to a figure.
    pub(super) adds: f64,
    pub(super) alone: Vec<(usize, Vec<usize>)>,
}

pub(super) fn sets_of(columns: &[usize], most: usize) -> Vec<Vec<usize>> {
    let all = 0..1_u32 << columns.len();
    let sets = all.map(|bits| {
        columns.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, c)| *c).collect::<Vec<usize>>()
    });
    sets.filter(|set| set.len() <= most).collect()
}

/// The people who are alone in the most ways. Half of them have the secret.
pub(super) fn targets(world: &World, boroughs: &[Borough], wanted: usize) -> Vec<Target> {
    let known: Vec<usize> = world.known().collect();
    let mut found = Vec::new();
    for (place, borough) in boroughs.iter().enumerate() {
        let secret = |(person, measure): &(Vec<usize>, f64)| match world.secret {
            Secret::Is(value) => borough.classes[known.len()][person[known.len()]] == value,
            Secret::AtLeast(_, edge) => *measure >= edge,
        };
        let share = borough.people.iter().filter(|p| secret(p)).count() as f64 / borough.people.len().max(1) as f64;
        let mut counts: HashMap<Vec<(usize, usize)>, usize> = HashMap::new();
        let most = world.dimensions as usize;
        let sets = sets_of(&known, most);
        let of = |person: &[usize], set: &[usize]| set.iter().map(|c| (*c, person[*c])).collect::<Vec<_>>();
        for (person, _) in &borough.people {
            for set in &sets {
                *counts.entry(of(person, set)).or_default() += 1;
            }
        }
        for record in &borough.people {
            let person = &record.0;
            let mut alone = Vec::new();
            for set in sets.iter().filter(|set| set.len() < most) {
                // Enough people that the figure of the set is released.
                let expected = match world.secret {
                    Secret::Is(_) => share,
                    Secret::AtLeast(..) => 1.0,
                };
                if counts[&of(person, set)] as f64 * expected < 12.0 {
                    continue;
                }
                for column in known.iter().filter(|c| !set.contains(c)) {
                    let mut both = set.clone();
                    both.push(*column);
                    both.sort_unstable();
                    if counts[&of(person, &both)] == 1 {
                        alone.push((*column, set.clone()));
                    }
                }
            }
            if !alone.is_empty() {
                let adds = match world.secret {
                    Secret::Is(_) => 1.0,
                    Secret::AtLeast(..) => record.1,
                };
                found.push(Target { borough: place, person: person.clone(), has: secret(record), adds, alone });
            }
        }
    }
    paired(found, wanted, |target| (target.borough, target.has, target.alone.len()))
}

/// The most exposed people, in pairs of one with the secret and one without, from the same borough. Common features of
/// a borough's cells, above all their noise, then affect both in the same way.
pub(super) fn paired<T>(found: Vec<T>, wanted: usize, of: impl Fn(&T) -> (usize, bool, usize)) -> Vec<T> {
    let mut boroughs: BTreeMap<usize, [Vec<T>; 2]> = BTreeMap::new();
    for target in found {
        let (borough, has, _) = of(&target);
        boroughs.entry(borough).or_default()[usize::from(has)].push(target);
    }
    let mut pairs: Vec<(T, T)> = Vec::new();
    for mut both in boroughs.into_values() {
        both.iter_mut().for_each(|targets| targets.sort_by_key(|target| std::cmp::Reverse(of(target).2)));
        let [without, with] = both;
        pairs.extend(with.into_iter().zip(without));
    }
    pairs.sort_by_key(|(a, b)| std::cmp::Reverse(of(a).2 + of(b).2));
    pairs.into_iter().take(wanted / 2).flat_map(|(a, b)| [a, b]).collect()
}

/// An attacker who knows nine other people in a cell asks whether this person is the tenth. A withheld cell is
/// information, too.
///
/// For each target and each table with the secret: the distance of the cell from nine.
pub(super) fn tenths(world: &World, boroughs: &[Borough], wanted: usize) -> Vec<(bool, Vec<Option<f64>>)> {
    let Secret::Is(value) = world.secret else { return Vec::new() };
    let secret = world.columns.len() - 1;
    let mut found: Vec<(usize, bool, Vec<Option<f64>>)> = Vec::new();
    for (number, borough) in boroughs.iter().enumerate() {
        let class = borough.classes[secret].iter().position(|class| class == value).unwrap_or(usize::MAX);
        // One target for each cell, because a second one would see the same noise. By person, with the values seen for
        // them.
        let mut by_person: BTreeMap<usize, Vec<Option<f64>>> = BTreeMap::new();
        for table in world.tables().into_iter().filter(|table| table.contains(&secret)) {
            let mut cells: BTreeMap<Vec<usize>, (usize, [Option<usize>; 2])> = BTreeMap::new();
            for (number, (person, _)) in borough.people.iter().enumerate() {
                let known = table.iter().filter(|column| **column != secret).map(|column| person[*column]).collect();
                let (with, first) = cells.entry(known).or_default();
                let has = person[secret] == class;
                *with += usize::from(has);
                first[usize::from(has)].get_or_insert(number);
            }
            for (mut cell, (with, first)) in cells {
                let target = match with {
                    9 => first[0],
                    10 => first[1],
                    _ => None,
                };
                cell.push(class);
                let seen = borough.released[&table].get(&cell);
                let seen = seen.map_or(if borough.protected { -30.0 } else { 0.0 }, |count| count - 9.0);
                if let Some(target) = target {
                    by_person.entry(target).or_default().push(Some(seen));
                }
            }
        }
        let has = |person: usize| borough.people[person].0[secret] == class;
        found.extend(by_person.into_iter().map(|(person, seen)| (number, has(person), seen)));
    }
    let pairs = paired(found, wanted, |(borough, has, seen)| (*borough, *has, seen.len()));
    pairs.into_iter().map(|(_, has, seen)| (has, seen)).collect()
}
