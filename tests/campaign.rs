//! Attack families over everything that an unlimited asker gets: for each set of columns the released cells, as the running
//! federation answers them. A set of people that an asker words is a sum of such cells (`closed` and `properties` hold that),
//! so thousands of sets for a target are added up here, and some are asked for by SQL to compare.
//!
//! What is to be found out is planted: each borough's extracts give it to people at random, so that nothing that is known of
//! them, and nothing that groups have in common, tells it.
//!
//! The families, and the guesses by difference, by change and by a likelihood learnt on other targets, are those of the
//! simulation that closed tables were designed by. `LODA_CAMPAIGN_TARGETS` sets how many targets (`just campaign`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::pooled::{Pooled, holdings, text};
use crate::scenarios::{ask, rows};
use crate::support::{self, Dice, Federation};

/// What is asked of, and what is to be found out of somebody who is known by the other columns.
struct World {
    name: &'static str,
    from: &'static str,
    borough: &'static str,
    /// Expressions, and what they weigh in a table.
    columns: &'static [(&'static str, u32)],
    secret: Secret,
    /// Boroughs that are attacked.
    boroughs: usize,
    dimensions: u32,
}

enum Secret {
    /// The last column has this value.
    Is(&'static str),
    /// A measure is at least this; its sums are asked for.
    AtLeast(&'static str, f64),
}

const WORLDS: &[World] = &[
    World {
        name: "residents by sex",
        from: "residents",
        borough: "borough",
        columns: &[("ward", 1), ("age_band", 1), ("tenure", 2), ("sex", 1)],
        secret: Secret::Is("Female"),
        boroughs: 33,
        dimensions: 3,
    },
    World {
        name: "residents joined to the register",
        from: "residents r LEFT JOIN electoral_roll e ON r.person_key = e.person_key AND r.borough = e.borough",
        borough: "r.borough",
        columns: &[
            ("r.ward", 1),
            ("r.age_band", 1),
            ("r.sex", 1),
            ("CASE WHEN e.person_key IS NULL THEN 'no' ELSE 'yes' END", 1),
        ],
        secret: Secret::Is("yes"),
        boroughs: 33,
        dimensions: 3,
    },
    World {
        name: "homes by adults (derived)",
        from: "council_tax c LEFT JOIN (SELECT uprn, COUNT(*) FILTER (WHERE adult) AS adults FROM electoral_roll GROUP BY uprn) e \
               ON c.uprn = e.uprn",
        borough: "c.borough",
        columns: &[
            ("c.ward", 1),
            ("c.band", 1),
            ("c.moves_24m", 1),
            ("c.single_person_discount", 1),
            ("CASE WHEN e.adults >= 2 THEN 'two' ELSE 'fewer' END", 1),
        ],
        secret: Secret::Is("two"),
        boroughs: 33,
        dimensions: 3,
    },
    World {
        name: "cost of care (sums)",
        from: "social_care_clients",
        borough: "borough",
        columns: &[("age_band", 1), ("need", 1), ("setting", 1)],
        secret: Secret::AtLeast("weekly_cost", 500.0),
        boroughs: 33,
        dimensions: 3,
    },
    World {
        name: "income of pensioners (sums)",
        from: "pension_credit",
        borough: "borough",
        columns: &[
            ("ward", 1),
            ("pension_credit", 1),
            (
                "CASE WHEN weekly_rent < 0.01 THEN 'none' WHEN weekly_rent < 100 THEN 'low' WHEN weekly_rent < 150 THEN 'some' \
                 WHEN weekly_rent < 200 THEN 'more' ELSE 'much' END",
                1,
            ),
        ],
        secret: Secret::AtLeast("weekly_income", 227.0),
        boroughs: 33,
        dimensions: 3,
    },
    World {
        name: "unclaimed credit (sums)",
        from: "pension_credit",
        borough: "borough",
        columns: &[
            ("ward", 1),
            (
                "CASE WHEN weekly_income < 100 THEN 'a' WHEN weekly_income < 150 THEN 'b' WHEN weekly_income < 200 THEN 'c' \
                 WHEN weekly_income < 227 THEN 'd' WHEN weekly_income < 300 THEN 'e' ELSE 'f' END",
                1,
            ),
            ("CASE WHEN weekly_rent < 0.01 THEN 'none' WHEN weekly_rent < 150 THEN 'some' ELSE 'much' END", 1),
        ],
        secret: Secret::AtLeast("unclaimed", 25.0),
        boroughs: 33,
        dimensions: 3,
    },
];

const STOPS: World = World {
    name: "stops by outcome",
    from: "stop_and_search",
    borough: "borough",
    columns: &[
        ("search_type", 1),
        ("legislation", 1),
        ("object_of_search", 1),
        ("gender", 1),
        ("age_range", 1),
        ("officer_ethnicity", 1),
        ("self_ethnicity", 1),
        ("outcome", 1),
    ],
    secret: Secret::Is("Arrest"),
    boroughs: 6,
    dimensions: 3,
};

/// A set of people, by lists of classes.
#[derive(Clone)]
enum Set {
    In(usize, Vec<bool>),
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
}

impl Set {
    fn holds(&self, of: &dyn Fn(usize) -> usize) -> bool {
        match self {
            Self::In(column, classes) => classes[of(*column)],
            Self::All(sets) => sets.iter().all(|set| set.holds(of)),
            Self::Any(sets) => sets.iter().any(|set| set.holds(of)),
            Self::Not(set) => !set.holds(of),
        }
    }

    fn columns(&self, into: &mut BTreeSet<usize>) {
        match self {
            Self::In(column, classes) if !classes.iter().all(|c| *c) => {
                into.insert(*column);
            }
            Self::In(..) => {}
            Self::All(sets) | Self::Any(sets) => sets.iter().for_each(|set| set.columns(into)),
            Self::Not(set) => set.columns(into),
        }
    }

    fn sql(&self, world: &World, classes: &[Vec<String>]) -> String {
        let each = |sets: &[Self], word: &str| {
            format!("({})", sets.iter().map(|set| set.sql(world, classes)).collect::<Vec<_>>().join(word))
        };
        match self {
            Self::In(column, of) => {
                let named = classes[*column].iter().zip(of).filter(|(_, there)| **there);
                let is = named.map(|(class, _)| is(world.columns[*column].0, class));
                format!("({})", is.collect::<Vec<_>>().join(" OR "))
            }
            Self::All(sets) => each(sets, " AND "),
            Self::Any(sets) => each(sets, " OR "),
            Self::Not(set) => format!("({}) IS NOT TRUE", set.sql(world, classes)),
        }
    }
}

fn is(column: &str, class: &str) -> String {
    match class {
        "NULL" => format!("{column} IS NULL"),
        "true" => column.to_owned(),
        "false" => format!("NOT {column}"),
        number if number.parse::<i64>().is_ok() => format!("{column} = {number}"),
        text => format!("{column} = '{}'", text.replace('\'', "''")),
    }
}

/// One borough as its people are, and as an unlimited asker sees it.
struct Borough {
    classes: Vec<Vec<String>>,
    /// For each person the class of each column, and the measure.
    people: Vec<(Vec<usize>, f64)>,
    released: HashMap<BTreeSet<usize>, HashMap<Vec<usize>, f64>>,
    /// Whether a cell that is not there may be withheld.
    protected: bool,
}

impl Borough {
    /// What is answered of a set: the sum of its released cells. `None`: refused, or nothing is released.
    ///
    /// `blind`: this person's own part is taken out of the released cells. What is still guessed comes from others.
    fn figure(&self, set: &Set, blind: Option<&Target>) -> Option<f64> {
        let mut columns = BTreeSet::new();
        set.columns(&mut columns);
        let cells = self.released.get(&columns)?;
        let places: HashMap<usize, usize> =
            columns.iter().enumerate().map(|(place, column)| (*column, place)).collect();
        let mut sum = None;
        for (cell, value) in cells {
            if set.holds(&|column| places.get(&column).map_or(0, |place| cell[*place])) {
                sum = Some(sum.unwrap_or(0.0) + value);
            }
        }
        if let (Some(target), Some(sum)) = (blind, &mut sum) {
            let cell: Vec<usize> = columns.iter().map(|column| target.person[*column]).collect();
            if cells.contains_key(&cell) && set.holds(&|column| target.person[column]) {
                *sum -= target.adds;
            }
        }
        if self.protected { sum } else { Some(sum.unwrap_or(0.0)) }
    }

    fn difference(&self, terms: &[(f64, Set)], blind: Option<&Target>) -> Option<f64> {
        terms.iter().map(|(sign, set)| Some(sign * self.figure(set, blind)?)).sum()
    }
}

impl World {
    /// The last column is the secret where it is a column.
    fn known(&self) -> std::ops::Range<usize> {
        match self.secret {
            Secret::Is(_) => 0..self.columns.len() - 1,
            Secret::AtLeast(..) => 0..self.columns.len(),
        }
    }

    fn figure(&self) -> String {
        match self.secret {
            Secret::Is(_) => "COUNT(*)".to_owned(),
            Secret::AtLeast(measure, _) => format!("SUM({measure})"),
        }
    }

    fn weight(&self, columns: &BTreeSet<usize>) -> u32 {
        columns.iter().map(|column| self.columns[*column].1).sum()
    }

    /// Sets of columns that are a table.
    fn tables(&self) -> Vec<BTreeSet<usize>> {
        let all = 0..1_u32 << self.columns.len();
        let sets = all.map(|bits| (0..self.columns.len()).filter(|c| bits >> c & 1 == 1).collect::<BTreeSet<usize>>());
        sets.filter(|set| !set.is_empty() && self.weight(set) <= self.dimensions).collect()
    }

    async fn read(&self, federation: &Federation, pooled: &Pooled, gss: &str, protected: bool) -> Borough {
        let exprs: Vec<&str> = self.columns.iter().map(|(expr, _)| *expr).collect();
        let measure = match self.secret {
            Secret::Is(_) => "0",
            Secret::AtLeast(measure, _) => measure,
        };
        let here = format!("FROM {} WHERE {} = '{gss}'", self.from, self.borough);
        let records = text(&pooled.ask(&format!("SELECT {}, {measure} {here}", exprs.join(", "))).await, 99);
        let mut classes: Vec<Vec<String>> = Vec::new();
        for column in 0..exprs.len() {
            let of: BTreeSet<&String> = records.iter().map(|record| &record[column]).collect();
            classes.push(of.into_iter().cloned().collect());
        }
        let number = |column: usize, class: &String| classes[column].iter().position(|c| c == class);
        let people = records.iter().map(|record| {
            let of = (0..exprs.len()).map(|column| number(column, &record[column]).unwrap()).collect();
            (of, record[exprs.len()].parse().unwrap_or(0.0))
        });
        let people = people.collect();
        let mut released = HashMap::new();
        for table in self.tables() {
            let keys: Vec<&str> = table.iter().map(|column| exprs[*column]).collect();
            let places: Vec<String> = (1..=keys.len()).map(|place| place.to_string()).collect();
            let sql =
                format!("SELECT {}, {} AS f {here} GROUP BY {}", keys.join(", "), self.figure(), places.join(", "));
            let answer = ask(&federation.client, &sql).await.unwrap_or_else(|e| panic!("{e}: {sql}"));
            let cells = rows(&answer).into_iter().filter_map(|row| {
                let (value, key) = row.split_last()?;
                let cell: Option<Vec<usize>> =
                    table.iter().zip(key).map(|(column, class)| number(*column, class)).collect();
                Some((cell?, value.parse::<f64>().ok()?))
            });
            let cells: HashMap<Vec<usize>, f64> = cells.collect();
            released.insert(table, cells);
        }
        Borough { classes, people, released, protected }
    }
}

/// Somebody, and the ways to be alone: with the columns of a set, and one more.
struct Target {
    borough: usize,
    person: Vec<usize>,
    has: bool,
    /// What this person adds to a figure.
    adds: f64,
    alone: Vec<(usize, Vec<usize>)>,
}

fn sets_of(columns: &[usize], most: usize) -> Vec<Vec<usize>> {
    let all = 0..1_u32 << columns.len();
    let sets = all.map(|bits| {
        columns.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, c)| *c).collect::<Vec<usize>>()
    });
    sets.filter(|set| set.len() <= most).collect()
}

/// Those who are alone in most ways: half of them have what is asked of.
fn targets(world: &World, boroughs: &[Borough], wanted: usize) -> Vec<Target> {
    let known: Vec<usize> = world.known().collect();
    let mut found = Vec::new();
    for (place, borough) in boroughs.iter().enumerate() {
        let secret = |(person, measure): &(Vec<usize>, f64)| match world.secret {
            Secret::Is(value) => borough.classes[known.len()][person[known.len()]] == value,
            Secret::AtLeast(_, edge) => *measure >= edge,
        };
        let share = borough.people.iter().filter(|p| secret(p)).count() as f64 / borough.people.len().max(1) as f64;
        let mut counts: HashMap<Vec<(usize, usize)>, usize> = HashMap::new();
        let sets = sets_of(&known, 3);
        let of = |person: &[usize], set: &[usize]| set.iter().map(|c| (*c, person[*c])).collect::<Vec<_>>();
        for (person, _) in &borough.people {
            for set in &sets {
                *counts.entry(of(person, set)).or_default() += 1;
            }
        }
        for record in &borough.people {
            let person = &record.0;
            let mut alone = Vec::new();
            for set in sets.iter().filter(|set| set.len() < 3) {
                // Enough of them that the figure of the set is there.
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

/// The most exposed, in pairs of one who has what is asked of and one of the same borough who has not: what cells of a borough
/// have in common, their noise above all, then says the same of both.
fn paired<T>(found: Vec<T>, wanted: usize, of: impl Fn(&T) -> (usize, bool, usize)) -> Vec<T> {
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

const FAMILIES: [&str; 7] = [
    "exclusion pair",
    "addition pair",
    "list pair",
    "inclusion-exclusion",
    "hidden exclusion",
    "margin less cells",
    "all six averaged",
];

/// The figures whose difference is the target, attempt by attempt.
fn attempts(world: &World, borough: &Borough, target: &Target, family: &str, tries: usize) -> Vec<Vec<(f64, Set)>> {
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
                // Still the only one with that value of x.
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
                // The target goes with many others, by lists of one column that depend on another.
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

/// Shares of right guesses in per cent: by difference, by change, by learnt likelihood; and of targets with any difference.
///
/// Of targets with and without the attribute as many are taken, and those with any difference are weighed so that they are as
/// many too: who always says the same is right for one half, also where what can be asked at all depends on the attribute.
fn scored(world: &World, found: &[(bool, Vec<Option<f64>>)]) -> [f64; 4] {
    // In steps of one person, or of a quarter of the edge of a measure.
    let (half, step) = match world.secret {
        Secret::Is(_) => (0.5, 1.0),
        Secret::AtLeast(_, edge) => (edge, edge / 4.0),
    };
    let bin = |difference: f64| (difference / step).round().clamp(-30.0, 30.0) as i64;
    // By whether they have it: right guesses, and how many were seen.
    let mut right = [[0.0; 3]; 2];
    let mut count = [0.0; 2];
    for fold in 0..2 {
        let (learnt, tried): (Vec<_>, Vec<_>) = found.iter().enumerate().partition(|(at, _)| (at / 2) % 2 == fold);
        let mut histogram = [vec![0.05; 61], vec![0.05; 61]];
        for (_, (has, differences)) in learnt {
            for difference in differences.iter().flatten() {
                histogram[usize::from(*has)][usize::try_from(bin(*difference) + 30).unwrap()] += 1.0;
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
            let likelihood = seen.iter().map(|difference| {
                let at = usize::try_from(bin(*difference) + 30).unwrap();
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

/// What a guess reaches at most, in per cent, where a coin gives 50.
const BOUND: f64 = 60.0;

fn shuffle(values: &mut [String], dice: &mut Dice) {
    for last in (1..values.len()).rev() {
        values.swap(last, dice.index(last + 1));
    }
}

/// Gives a column of an extract its own values in another order, or some of these.
fn shuffled(file: &std::path::Path, column: &str, dice: &mut Dice, values: Option<Vec<String>>) {
    let text = std::fs::read_to_string(file).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    let place = header.split(',').position(|name| name == column).unwrap();
    let mut rows: Vec<Vec<String>> = rows.lines().map(|row| row.split(',').map(str::to_owned).collect()).collect();
    assert!(rows.iter().all(|row| row.len() == header.split(',').count()), "{}", file.display());
    let mut values = values.unwrap_or_else(|| rows.iter().map(|row| row[place].clone()).collect());
    shuffle(&mut values, dice);
    rows.iter_mut().zip(values).for_each(|(row, value)| row[place] = value);
    let rows: Vec<String> = rows.iter().map(|row| row.join(",")).collect();
    std::fs::write(file, format!("{header}\n{}\n", rows.join("\n"))).unwrap();
}

fn column_of(file: &std::path::Path, column: &str) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let place = text.lines().next().unwrap().split(',').position(|name| name == column).unwrap();
    text.lines().skip(1).map(|row| row.split(',').nth(place).unwrap().to_owned()).collect()
}

/// Gives sex, a place on the register, electors, costs and incomes to people and homes at random.
fn plant(layout: &loda_demo::layout::Layout) {
    for (borough, seed) in layout.boroughs.iter().zip(1..) {
        let folder = layout.node(borough.gss).join("data").join(borough.gss);
        let file = |name: &str| folder.join(format!("{name}.csv"));
        let mut dice = Dice::new(seed);
        shuffled(&file("residents"), "sex", &mut dice, None);
        shuffled(&file("social_care_clients"), "weekly_cost", &mut dice, None);
        shuffled(&file("pension_credit"), "weekly_income", &mut dice, None);
        shuffled(&file("pension_credit"), "unclaimed", &mut dice, None);
        shuffled(&file("electoral_roll"), "person_key", &mut dice, Some(column_of(&file("residents"), "person_key")));
        // Who lives together stays together, in another home.
        let homes = column_of(&file("council_tax"), "uprn");
        let mut others: Vec<String> = homes.clone();
        shuffle(&mut others, &mut dice);
        let moved: HashMap<&String, &String> = homes.iter().zip(&others).collect();
        let text = std::fs::read_to_string(file("electoral_roll")).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        let place = header.split(',').position(|name| name == "uprn").unwrap();
        let rows = rows.lines().map(|row| {
            let mut row: Vec<String> = row.split(',').map(str::to_owned).collect();
            row[place] = moved.get(&row[place]).map_or(row[place].clone(), |home| (*home).clone());
            row.join(",")
        });
        let rows: Vec<String> = rows.collect();
        std::fs::write(file("electoral_roll"), format!("{header}\n{}\n", rows.join("\n"))).unwrap();
    }
}

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
    let most = if wanted >= 180 { world.boroughs } else { world.boroughs.min(8) };
    let (mut boroughs, mut exactly) = (Vec::new(), Vec::new());
    for (gss, _) in sizes.into_iter().take(most) {
        let borough = world.read(protected, &pooled, gss, true).await;
        // Sets in SQL are the sums of cells that they are taken for here.
        if boroughs.len() < 2 {
            compare(world, protected, gss, &borough).await;
        }
        boroughs.push(borough);
        exactly.push(world.read(exact, &pooled, gss, false).await);
    }
    let targets = targets(world, &boroughs, wanted);
    println!(
        "{}: {} targets of {most} boroughs, alone in known columns; without questions 50.0 %",
        world.name,
        targets.len()
    );
    println!(
        "  {:20} {:>8} {:>11} {:>7} {:>11} {:>7} {:>6} {:>7}",
        "attack", "attempts", "difference", "change", "likelihood", "blind", "seen", "exact"
    );
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
                    (target.has, sets.iter().map(|terms| borough.difference(terms, without)).collect())
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
            // What the likelihood learns of a group, and not of the one who is asked of.
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

/// Somebody who knows nine others that a cell counts, and asks whether this one is the tenth: what is withheld tells as well.
///
/// For each target and each table that tells: how far the cell is from the nine.
fn tenths(world: &World, boroughs: &[Borough], wanted: usize) -> Vec<(bool, Vec<Option<f64>>)> {
    let Secret::Is(value) = world.secret else { return Vec::new() };
    let secret = world.columns.len() - 1;
    let mut found: Vec<(usize, bool, Vec<Option<f64>>)> = Vec::new();
    for (number, borough) in boroughs.iter().enumerate() {
        let class = borough.classes[secret].iter().position(|class| class == value).unwrap_or(usize::MAX);
        // One for each cell, or the same noise would be looked at again: by person and what is seen of them.
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

/// All families but lists come to the same from a hundred attempts as from twenty.
fn tries_of(family: &str, tries: usize) -> usize {
    match family {
        "list pair" => tries,
        "all six averaged" => 1,
        _ => tries.min(20),
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
            // A mean tells no more than the sum and the count that it is of.
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
            let [mean, sum, count] = [mean, sum, count].map(|figure| figure.parse::<f64>().unwrap());
            assert!((mean * count - sum).abs() <= 0.005 * count.abs() + 0.01, "{mean} {sum} {count}: {sql}");
        }
        for (said, set) in rows(&answer)[0].iter().zip(some) {
            let added = borough.figure(set, None).unwrap();
            let said: f64 = said.parse().unwrap_or_else(|_| panic!("{said}: {sql}"));
            assert!((said - added).abs() < 0.01, "{said} {added}: {}", set.sql(world, &borough.classes));
        }
    }
}

#[test]
fn no_family_of_sets_names_an_attribute_better_than_is_said() {
    support::run(async {
        let protected = Federation::changed(33, loda_node::Methods::standard().unwrap(), &plant).await;
        let exact = Federation::changed(33, loda_node::Methods::unprotected().unwrap(), &plant).await;
        for world in WORLDS {
            campaign(world, &protected, &exact).await;
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
